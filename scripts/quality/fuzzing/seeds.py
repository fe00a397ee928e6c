"""Small whole files of every kind that the package reads, as `damage.write` takes them."""

from __future__ import annotations

import io
import json
import pickle
import struct
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import av
import numpy as np
from scipy.io import savemat

from hiersum_hf import HierSumConfig
from hiersum_hf.datasets.prepare import prepare
from hiersum_hf.datasets.readers.youtube8m import masked_crc32c
from hiersum_hf.records import Encoders, Sentence, VideoRecord
from hiersum_hf.results import Baseline, FoldResult, Results


RNG = np.random.default_rng(0)
SRT = "".join(
    f"{k}\n00:00:0{k},000 --> 00:00:0{k},900\n<i>Dr. Wood cuts</i> &amp; glues.\n- Why? {k}!\n\n" for k in range(6)
)
ASS = """[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize
Style: Default,Arial,20

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:01.00,0:00:02.50,Default,,0,0,0,,{\\k20}Cut the {\\b1}board{\\b0}.\\NThen glue it.
Dialogue: 0,0:00:02.00,0:00:03.00,Default,,0,0,0,fx,{\\p1}m 0 0 l 9 9{\\p0}
Comment: 0,0:00:03.00,0:00:04.00,Default,,0,0,0,,No speech.
"""
AUTO = "WEBVTT\nKind: captions\nLanguage: en\n\n" + "".join(
    f"00:00:0{k}.000 --> 00:00:0{k + 1}.990 align:start position:0%\nso line {k}\n"
    f"line<00:00:0{k}.320><c> {k + 1}</c>\n\n00:00:0{k + 1}.990 --> 00:00:0{k + 2}.000\nline {k + 1}\n \n\n"
    for k in range(5)
)
VTT = "WEBVTT\n\nNOTE a note\n\nSTYLE\n::cue { color: red }\n\nintro\n00:01.000 --> 00:02.000\n<v Ann>Hi, all.</v>\n"
JSON3 = {"wireMagic": "pb3", "events": [{"tStartMs": 0, "dDurationMs": 5000, "id": 1}, *(
    {"tStartMs": 1000 * k, "dDurationMs": 1900, "segs": [{"utf8": "so"}, {"utf8": f" line {k}", "tOffsetMs": 320}]}
    for k in range(4)
)]}  # fmt: skip
WHISPER = {"text": "Cut it. Glue it.", "language": "en", "segments": [
    {"id": k, "start": 1.0 * k, "end": k + 0.9, "text": f" Cut it {k}.", "words": [
        {"word": " Cut", "start": 1.0 * k, "end": k + 0.3, "probability": 0.9}]} for k in range(3)]}  # fmt: skip
SRV3 = """<?xml version="1.0" encoding="utf-8" ?><timedtext format="3"><head><pen id="1"/></head><body>
<p t="0" d="1900" w="1"><s ac="252">so</s><s t="320"> line</s></p><p t="1000" d="900">Cut &amp;amp; glue.</p>
</body></timedtext>
"""
SRV1 = (
    '<?xml version="1.0"?><transcript><text start="0.5" dur="1.5">Cut.</text><text start="2">End.</text></transcript>'
)
TTML = """<tt xmlns="http://www.w3.org/ns/ttml" xmlns:ttp="http://www.w3.org/ns/ttml#parameter" ttp:frameRate="25"
 ttp:tickRate="10000000" xml:lang="en"><body><div begin="1s"><p begin="00:00:00:10" dur="1.5s">Cut<br/>it.</p>
<p begin="20000000t" end="30000000t"><span>Glue it.</span></p></div></body></tt>
"""
SAMI = """<SAMI><HEAD><STYLE TYPE="text/css"><!-- .EN {Name:English; lang:en-US;} --></STYLE></HEAD><BODY>
<SYNC Start=500><P Class=EN>Cut it.<SYNC Start=1500><P Class=EN>&nbsp;<SYNC Start=2000><P Class=EN>Glue it.
</BODY></SAMI>
"""
MPL2 = "[5][15]Cut it.|Then\n[20][30]/Glue it.\n"
SBV = "0:00:00.500,0:00:01.500\nCut it.\n\n0:00:02.000,0:00:03.000\nGlue it.\n"
SCC = """Scenarist_SCC V1.0

00:00:01:00	9420 9420 94ad 94ad 9470 9470 c8e5 ecec efae 942f 942f

00:00:03:00	942c 942c

00:00:04:00	9425 9425 94ad 94ad 57ef f2ec 64ae
"""

# The head of EBU STL, and of each cue its number, its time codes (hours, minutes, seconds, frames) and its letters
STL = f"850STL25.0100009{'Title':<222}0000200002001402311000000010000000" "11FRA".ljust(1024).encode() + b"".join(
    struct.pack("<BHBB", 0, number, 255, 0)
    + bytes([10, 0, at, 0, 10, 0, at + 1, 12, 20, 2, 0])
    + text.ljust(112, b"\x8f")
    for number, (at, text) in enumerate([(1, b"Cut \xc1a."), (3, b"Glue\x8ait.")])
)  # fmt: skip
LRC = "[ar: Ann]\n[offset:+100]\n[00:00.50]Cut it.\n[00:01.50][00:04.00]<00:01.60>Glue <00:01.90>it.\n"
SPOKEN_TSV = "start\tend\ttext\n500\t1500\tCut it.\n2000\t3000\tGlue it.\n"
TRANSCRIPT = "0:01\nCut it.\n0:02\nGlue it.\n1:00:03\nEnd.\n"
SCORES = {"video_1": [0.1, 0.5, 0.2, 0.9], "video_2": [1, 2, 3, 4]}
SCORES_CSV = "id,index,score\n" + "".join(f"{i},{k},{v}\n" for i, row in SCORES.items() for k, v in enumerate(row))
CURVES: list[dict[str, Any]] = [
    {"video_id": "aaaaaaaaaaa", "title": "Chair", "views": "4,821,905 views", "heatMarkers": [
        {"heatMarkerRenderer": {"timeRangeStartMillis": k * 500, "markerDurationMillis": 500,
                                "heatMarkerIntensityScoreNormalized": k / 4}} for k in range(4)]},
    {"id": "b", "view_count": 70000, "heatmap": [
        {"start_time": k * 1.5, "end_time": k * 1.5 + 1.5, "value": 1 - k / 4} for k in range(4)]},
    {"video_id": "c", "markers": [
        {"startMillis": f"{k}000", "durationMillis": "1000", "intensityScoreNormalized": 0.5} for k in range(3)]},
    {"video_id": "d", "markers": None},
]  # fmt: skip
ARTICLE = {"video_url": "https://youtu.be/aaaaaaaaaaa", "1": {"text": "Cut the board.", "img": "", "vid": ""}}
ARTICLE |= {"2": {"text": "Glue it.", "img": "", "vid": ""}}
METADATA = "video_id,youtube_id,duration,views,random_id\nvideo_1,aaaaaaaaaaa,4,70000,abcd\nvideo_2,b,5,90000,efgh\n"
STEPS = [{"video_url": "u", "title": "A", "steps": ["b", {"text": "c"}]}]
DESCRIPTIONS = [["A", {"text": "b"}], {"title": "A", "steps": ["b"]}]
LABELS = "start_s,end_s,score\n0,1.5,0.5\n1.5,3,1\n"
RATINGS = "a\tVT\t1,2,3,4\na\tVT\t1,1,5,4\nb\tBK\t3,3\n"
SPLIT = {"train_keys": ["x/video_1"], "val_keys": [], "test_keys": ["x/video_2"]}
LONG_SPLIT = {"train_keys": ["video_1"], "val_keys": [], "test_keys": ["video_2"]}
SHORT_SPLIT = {"train": ["video_1"], "val": [], "test": ["video_2"]}
SPLIT_YML = """- train_keys: [../x/video_1, &a video_3]
  test_keys:
  - video_2
  val_keys: []
"""
PLAN = {"version": "1", "fingerprint": "f", "profile": {"video_dim": 8, "text_dim": 6, "encoders": {}}}
RECIPE = """# a comment
output_dir: runs/x
num_layers: 2
learning_rate: 1.0e-3
eval_strategy: epoch
save_strategy: "no"
bf16: false
report_to: [none]
lr_scheduler_kwargs: {num_decay_steps: 10}
"""
RESULTS = Results(
    dataset="tvsum",
    part="test",
    split="published#0",
    protocol="tvsum",
    scorer="random",
    metrics={"f1": 0.5, "kendall_tau": 0.1},
    baselines={"random": Baseline({"f1": 0.4}, 20, {"f1": 0.01}), "human": None},
    ci95={"f1": [0.4, 0.6]},
    per_video={f"video_{k}": {"f1": k / 8, "kendall_tau": 0.1 * k} for k in range(4)},
    data_fingerprint="f",
    spread={"f1": 0.1},
    folds=[FoldResult(0, None, 4, {"f1": 0.5})],
    labels={"positive_rate": 0.2, "rule": {"threshold": 0.5}},
)


CONFIG = {"model_type": "hiersum"} | {name: getattr(HierSumConfig(), name) for name in HierSumConfig.__annotations__}


def rows(count: int, width: int) -> np.ndarray:
    return RNG.standard_normal((count, width)).astype(np.float32)


def eccv16(width: int = 8) -> dict[str, Any]:
    """A group of a TVSum feature file with all of its extensions."""
    picks = np.arange(0, 64, 15)
    group = {
        "features": rows(5, width), "gtscore": np.linspace(0.2, 0.7, 5), "gtsummary": np.zeros(5), "picks": picks,
        "user_summary": RNG.integers(0, 2, (3, 64)).astype(np.float32), "n_frames": np.array(64),
        "change_points": np.array([[0, 29], [30, 37], [38, 63]]), "n_frame_per_seg": np.array([30, 8, 26]),
        "video_name": np.array("Air_Force_One"), "fps": np.array(30.0), "text": np.array(["Cut.", "Glue."], object),
        "text_times": np.array([[0, 1.0], [1, 2]]), "text_features": rows(2, 6), "user_scores": np.ones((3, 5)),
        "description": np.array(["Chair"], object), "description_features": rows(1, 6),
    }  # fmt: skip
    return group | {"@video_encoder": "v", "@text_encoder": "t", "@sample_fps": 2.0}


def curve_group() -> dict[str, Any]:
    scores, points = np.array([0.2, 0.1, 0.9, 0.15, 0], np.float32), np.array([[0, 2], [2, 3], [3, 5]])
    return {"gtscore": scores, "gtsummary": np.array([0, 0, 1, 0, 0]), "change_points": points}


def bliss_clip() -> dict[str, Any]:
    return {
        "video_id": "s", "num_frame": 4, "num_keyframe": 1, "num_sentence": 2, "video_label": [0, 1, 0, 0],
        "text_label": [0, 1], "sentence": ["A b.", "C d."], "sentence_time": [[0, 2], [2, 9]], "highlight": "C d.",
    }  # fmt: skip


def side_features() -> dict[str, Any]:
    arrays = {"video_features": rows(6, 8), "frame_times_s": np.arange(6) / 2, "text_features": rows(1, 6)}
    names = {"video_encoder": np.array("v"), "text_encoder": np.array("t"), "normalization": np.array("none")}
    stored = {"sample_fps": np.array(2.0), "duration_s": np.array(3.0), "end_s": np.array(3.0)}
    return arrays | names | stored | {"description_features": rows(2, 6), "warnings": np.array(["w"])}


def mat() -> dict[str, Any]:
    """TVSum's ratings: every field is a column of references to cells."""
    letters = {"video": "EE-bNr36nyA", "title": "Åke's chair", "category": "BK"}
    cells: dict[str, Any] = {key: [np.array([[ord(c)] for c in text], np.uint16)] for key, text in letters.items()}
    return {
        "tvsum50": cells | {"user_anno": [RNG.integers(1, 6, (3, 64)).astype(float)], "length": [np.array([[2.0]])]}
    }


def summe_mat() -> bytes:
    """SumMe's annotations of one video."""
    ranks = RNG.integers(0, 3, (64, 3)).astype(np.uint8)
    segments = np.array([[np.array([[0.0, 1.0]])] * 3], object)
    file = io.BytesIO()
    savemat(file, {"user_score": ranks, "segments": segments, "FPS": 25, "nFrames": 64}, do_compression=True)
    return file.getvalue()


def tfrecord() -> bytes:
    def field(number: int, content: bytes) -> bytes:
        size = len(content)
        return (
            bytes([number << 3 | 2]) + (bytes([size & 127 | 128, size >> 7]) if size > 127 else bytes([size])) + content
        )

    def listed(width: int) -> bytes:
        return b"".join(field(1, field(1, field(1, bytes(width)))) for _ in range(2))

    identity = field(1, field(1, b"id") + field(2, field(1, field(1, b"abcd"))))
    lists = [field(1, field(1, name) + field(2, listed(width))) for name, width in ((b"rgb", 1024), (b"audio", 128))]
    payload = field(1, identity) + field(2, b"".join(lists))
    header = struct.pack("<Q", len(payload))
    return header + struct.pack("<I", masked_crc32c(header)) + payload + bytes(4)


def archive() -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as tar:
        for name in ("Make-a-Chair.json", "Saut%C3%A9.json"):
            member, content = tarfile.TarInfo(f"steps/{name}"), json.dumps(ARTICLE).encode()
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return target.getvalue()


def npy_pickle(protocol: int) -> bytes:
    target = io.BytesIO()
    np.save(target, np.array({"clip": rows(2, 3), "half": np.float64(0.5)}, object))
    arrays = {"clip": rows(2, 3), "x/y": np.asfortranarray(rows(2, 3)), "one": np.float64(3.5)}
    return target.getvalue() if protocol < 0 else pickle.dumps(arrays, protocol)


def film(suffix: str, codec: str) -> bytes:
    """Two seconds of 64 x 48 pixels, with a tone and (Matroska) subtitles."""
    target, texts = io.BytesIO(), av.open(io.BytesIO(SRT.encode()), format="srt")
    with av.open(target, "w", format=suffix) as container:
        picture = container.add_stream(codec, rate=5)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        spoken = container.add_stream_from_template(texts.streams[0]) if suffix == "matroska" else None
        for k in range(10):
            image = np.full((48, 64, 3), 20 * k, np.uint8)
            container.mux(picture.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(picture.encode(None))
        for packet in texts.demux() if spoken else ():
            if packet.dts is not None:
                packet.stream = spoken
                container.mux(packet)
    return target.getvalue()


def prepared() -> dict[str, Any]:
    """A finished prepared folder of one video."""

    class One:
        video_ids, splits, findings = ("v",), {"train": ["v"], "test": []}, {}

        def read(self, video_id: str) -> VideoRecord:
            labels: dict[str, Any] = {"frame_scores": np.ones(3, np.float32), "frame_labels": np.array([0, 1, 0])}
            texts: dict[str, Any] = {
                "sentences": (Sentence("Cut.", 0, 1),),
                "text_features": rows(1, 6),
                "shots": np.array([[0, 3]]),
            }
            encoders = Encoders("v", "t", 1.0)
            return VideoRecord(video_id, rows(3, 8), np.arange(3.0), 3.0, encoders, n_frames=3, **texts, **labels)

    with tempfile.TemporaryDirectory() as folder:
        prepare(One(), Path(folder, "p"), [folder], progress=False)
        content = {file.name: file.read_bytes() for file in Path(folder, "p").iterdir() if file.name != "README.md"}
    return {name: json.loads(data) if name.endswith("json") else data for name, data in content.items()}


def info_folders() -> list[dict[str, Any]]:
    chapters = [{"title": "Cut", "start_time": 0}]
    told = {"id": "aaaaaaaaaaa", "title": "Chair", "description": "Line one\nLine two", "chapters": chapters}
    told |= {"view_count": 70000, "heatmap": CURVES[1]["heatmap"]}
    return [{"v.info.json": told, "v.npz": side_features(), "steps.json": STEPS}]


def list_folders() -> list[dict[str, Any]]:
    return [{"train.txt": "video_1 # a\n\nvideo_3\n", "test.txt": "video_2\n"}]


def bliss_folders() -> list[dict[str, Any]]:
    sizes = {"video_clip": (4, 512), "text_roberta": (2, 768), "video_summ_clip": (1, 512)}
    folder: dict[str, Any] = {}
    for part in ("train", "val"):
        folder[f"annotation/{part}.json"] = {f"clip_{part}": bliss_clip()}
        folder |= {f"feature/{kind}_{part}.h5": {f"clip_{part}": rows(*size)} for kind, size in sizes.items()}
    return [folder]


def wikihow_folders() -> list[dict[str, Any]]:
    pseudo = {"machine_summary": [0, 1], "machine_summary_scores": [0.1, -0.2]}
    return [
        {"annt.json": {"aaaaaaaaaaa": [0, 1] * 40, "b": [1] * 33, "c": []}, "tasks.json": {"b": "ReplaceCDDrive"}},
        {"annt.json": {"b": pseudo}, "tasks.json": {"b": "1234"}},
    ]


def side_folders() -> list[dict[str, Any]]:
    texts = {"v.srt": "1\n00:00:00,500 --> 00:00:01,000\nCut.\n", "v.txt": "Chair\nGlue it.\n"}
    return [{"v.npz": side_features(), "v.csv": LABELS} | texts]


def batch() -> dict[str, Any]:
    """One video as the feature extractor takes it."""
    texts = {"text_features": rows(2, 6), "text_times_s": np.array([[0, 1.0], [0.7, 2]])}
    frames = {"video_features": rows(6, 8), "frame_times_s": np.arange(6) / 2}
    return frames | texts | {"description_features": rows(1, 6)}


def tvsum_text_folders() -> list[dict[str, Any]]:
    group = {key: value for key, value in eccv16().items() if "text" not in key and not key.startswith("@")}
    caption = {"timestamps": [[0, 1], [1, 2]], "sentences": ["A", "b"], "duration": 2.2}
    spans = [{"start_mmss": f"0:0{at}", "end_mmss": f"0:0{at + 1}", "caption": "A"} for at in (0, 1)]
    span_form = {"sample_meta": {"total_frames": 64, "fps": 30}, "captions": spans}
    files = {"google_pool5.h5": {"video_1": group}, "text.h5": {"video_1": rows(2, 6)}}
    return [files | {"captions.json": {"video_1": form}} for form in (caption, span_form)]


def mrhisum_folders() -> list[dict[str, Any]]:
    groups = {f"video_{k}": curve_group() | {"features": rows(5, 1024)} for k in (1, 2)}
    return [{"mr_hisum.h5": groups, "metadata.csv": METADATA, "mr_hisum_split.json": LONG_SPLIT}]


def smmrhisum_folders() -> list[dict[str, Any]]:
    group: dict[str, Any] = {
        "n_frames": np.array(180), "change_points": np.array([[0, 2], [2, 4], [4, 5]]),
        "gt_summary": np.array([0, 1, 0, 0, 1, 0], np.float32),
        "gtscores": np.array([0.2, 0.9, 0.1, 0.1, 0.8, 0.3]), "video_embeddings": rows(6, 512),
    }  # fmt: skip
    groups = {f"video_{k}": group | spoken_members(2) for k in (1, 2)}
    return [{"sm_mrhisum.h5": groups, "sm_mrhisum_split.json": SHORT_SPLIT, "metadata.csv": METADATA}]


def smvideoxum_folders() -> list[dict[str, Any]]:
    chosen = np.eye(3, 6, dtype=np.float32)
    group = {"n_frames": np.array(6), "gtscores": chosen, "video_embeddings": rows(6, 512)}
    groups = {f"video_{k}": group | spoken_members((3, 2)) for k in (1, 2)}
    return [{"sm_videoxum.h5": groups, "sm_videoxum_split.json": SHORT_SPLIT}]


def spoken_members(scripts: int | tuple[int, ...]) -> dict[str, Any]:
    """Two transcripts of six seconds, and scripts of so many rows."""
    said, by_second = rows(2, 512), np.zeros((6, 512), np.float32)
    by_second[0:2], by_second[3:5] = said
    script = rows(int(np.prod(scripts)), 512).reshape((*np.atleast_1d(scripts), 512))
    times_s = np.array([[0.0, 2.0], [3.0, 5.0]])
    texts = {"transcript_embeddings": said, "transcript_timestamps": times_s, "aligned_transcripts": by_second}
    return texts | {"script_embeddings": script}


def trimodal_folders() -> list[dict[str, Any]]:
    features = {
        "mosu_feat_visual_clip.h5": {f"video_{k}": rows(5, 8) for k in (1, 2)},
        "mosu_feat_text_roberta.h5": {"video_1": rows(4, 6)},
    }
    texts = {"mosu_split.json": LONG_SPLIT, "mosu_metadata.csv": METADATA}
    return [{"mosu_gt.h5": {f"video_{k}": curve_group() for k in (1, 2)}} | features | texts]


def feature_folders() -> list[dict[str, Any]]:
    group = {"features": rows(6, 8), "times_s": np.arange(6) / 2}
    told = {"@sample_fps": 2.0, "@video_encoder": "v", "@fps": 16.0}
    features = {"aaaaaaaaaaa": group, "b": rows(9, 8), "c": rows(3, 8)} | told
    return [{"features.h5": features, "curves.json": CURVES, "annt.json": {"b": [0, 1] * 40}}]


def list_of_films() -> list[dict[str, Any]]:
    """Texts that a decoder takes for videos and that name another."""
    head, film_b = "ffconcat version 1.0\n", {"b": film("mp4", "mpeg4")}
    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nb\n#EXT-X-ENDLIST\n"
    texts = f"{head}file 'b'\ninpoint 0.2\noutpoint 0.9\nfile b\n", f"{head}file b\nduration 1\n", playlist
    return [{"a": text} | film_b for text in texts]
