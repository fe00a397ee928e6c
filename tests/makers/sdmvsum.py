"""Files of SM-MrHiSum and SM-VideoXum in their documented form, made up."""

import json

import h5py
import numpy as np


WIDTH = 512
METADATA = """video_id,yt8m_file,random_id,youtube_id,duration,views,labels
video_1,train0026,ORaA,yt-a,20,84554,[8]
video_2,train0026,IwaA,yt-b,20,170768,[11]
video_3,train2649,YGQT,yt-c,20,700,[2]
video_4,train2649,fRQT,yt-d,20,54809,[2]
"""
SPLIT = {"train": ["video_1", "video_2"], "val": ["video_3"], "test": ["video_4"]}


def texts(seed, count, width=WIDTH):
    return np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)


def by_second(features, times_s, seconds):
    """Transcripts spread over the seconds, zeros in silence."""
    rows = np.zeros((seconds, features.shape[1]), np.float32)
    for feature, (start, end) in zip(features, times_s, strict=True):
        rows[int(start) : int(np.ceil(end))] = feature
    return rows


def mrhisum_group(seed=0, seconds=20, fps=30, **changes):
    """A group of sm_mrhisum.h5 with shots in rows, the last ending at the last row; None removes a member."""
    scores = np.random.default_rng(seed).random(seconds).round(2)
    summary = np.zeros(seconds, np.float32)
    summary[4:7] = 1
    spoken, times_s = texts(seed + 1, 3), np.array([[0.5, 3.25], [5.0, 9.0], [12.5, 14.0]])
    group = {
        "n_frames": np.array(seconds * fps),
        "change_points": np.array([[0, 4], [4, 7], [7, 12], [12, seconds - 1]]),
        "gt_summary": summary,
        "gtscores": scores,
        "video_embeddings": texts(seed + 2, seconds),
        "script_embeddings": texts(seed + 3, 2),
        "transcript_embeddings": spoken,
        "transcript_timestamps": times_s,
        "aligned_transcripts": by_second(spoken, times_s, seconds),
    }
    return {key: value for key, value in (group | changes).items() if value is not None}


def videoxum_group(seed=0, seconds=20, users=10, **changes):
    """A group of sm_videoxum.h5: annotator u chose 3 seconds from u on and has a script of 1 + u % 3 sentences."""
    chosen = np.zeros((users, seconds), np.float32)
    scripts = np.zeros((users, 4, WIDTH), np.float32)
    for user in range(users):
        chosen[user, user : user + 3] = 1
        scripts[user, : 1 + user % 3] = texts(100 * seed + user, 1 + user % 3)
    spoken, times_s = texts(seed + 1, 2), np.array([[1.0, 3.0], [8.0, 15.5]])
    group = {
        "n_frames": np.array(seconds),
        "gtscores": chosen,
        "video_embeddings": texts(seed + 2, seconds),
        "script_embeddings": scripts,
        "transcript_embeddings": spoken,
        "transcript_timestamps": times_s,
        "aligned_transcripts": by_second(spoken, times_s, seconds),
    }
    return {key: value for key, value in (group | changes).items() if value is not None}


def write_groups(path, groups):
    with h5py.File(path, "w") as file:
        for name, members in groups.items():
            for key, value in members.items():
                file[f"{name}/{key}"] = value
    return path


def write_mrhisum(folder, metadata=METADATA, split=SPLIT, **changes):
    """SM-MrHiSum of four videos; `changes` are to members of video_1."""
    groups = {f"video_{k}": mrhisum_group(k, **(changes if k == 1 else {})) for k in range(1, 5)}
    write_groups(folder / "sm_mrhisum.h5", groups)
    (folder / "sm_mrhisum_split.json").write_text(json.dumps(split))
    if metadata:
        (folder / "metadata.csv").write_text(metadata)
    return folder


def write_videoxum(folder, users=10, **changes):
    """SM-VideoXum of three videos; `changes` are to members of v_a."""
    groups = {f"v_{k}": videoxum_group(i, users=users, **(changes if k == "a" else {})) for i, k in enumerate("abc")}
    write_groups(folder / "sm_videoxum.h5", groups)
    split = {"train": ["v_a"], "test": ["v_b"], "val": ["v_c"]}
    (folder / "sm_videoxum_split.json").write_text(json.dumps(split))
    return folder
