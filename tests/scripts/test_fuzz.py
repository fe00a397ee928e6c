"""Damaged files are refused in one line that names them: inputs of fuzz.py that once did something else.

A reader that ends in a traceback, a hang or all memory taken stops the work on every other video.
"""

import copy
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest


SCRIPTS = Path(__file__).parents[2] / "scripts/quality"
HUGE, DEEP = 10**400, "[" * 100_000
MANY = f"data:\n- &a [{', '.join('x' * 101)}]\n- [{', '.join(['*a'] * 101)}]\n"


@pytest.fixture(scope="module")
def fuzzing():
    """The modules of the script."""
    sys.path.insert(0, str(SCRIPTS))
    import fuzz

    from fuzzing import damage, targets

    yield fuzz, damage, targets
    sys.path.remove(str(SCRIPTS))
    for name in [name for name in sys.modules if name.split(".")[0] in ("fuzz", "fuzzing")]:
        del sys.modules[name]


@pytest.fixture
def read(fuzzing, tmp_path):
    """Reads a target's whole folder, with `change` done to a copy of its files."""
    _, damage, targets = fuzzing

    def change_and_read(name, change=lambda files: None):
        target = targets.TARGETS[name]
        files = copy.deepcopy(target.files()[0])
        change(files)
        for file, content in files.items():
            damage.write(tmp_path / file, content)
        return target.read(tmp_path)

    return change_and_read


def put(file, *path):
    """Replaces the member at a path (keys, then the new value) of a file's tree, or the whole file."""
    *keys, value = path

    def change(files):
        holder, last = (files, file) if not keys else (files[file], keys[-1])
        for key in keys[:-1]:
            holder = holder[key]
        holder[last] = value

    return change


def declared(shape, *path):
    def change(files):
        from fuzzing.damage import Declared

        put(*(path or ("t.h5", "video_1", "features")), Declared(shape))(files)

    return change


def swap(file, old, new):
    """Replaces bytes of a file that comes as bytes."""

    def change(files):
        assert old in files[file]
        files[file] = files[file].replace(old, new)

    return change


def scribble(file, old, new):
    """Replaces bytes of a file after it is written as HDF5."""

    def change(files):
        import io

        import h5py

        from fuzzing.damage import write_h5

        image = io.BytesIO()
        with h5py.File(image, "w") as target:
            write_h5(target, files[file])
        assert old in image.getvalue()
        files[file] = image.getvalue().replace(old, new)

    return change


def test_whole_files_are_accepted(fuzzing, tmp_path):
    """Else nothing that is damaged on purpose reaches what lies behind the first check."""
    _, damage, targets = fuzzing
    for name, target in targets.TARGETS.items():
        for number, files in enumerate(target.files() if name != "ffconcat" else ()):
            for file, content in files.items():
                damage.write(tmp_path / f"{name}{number}" / file, content)
            target.read(tmp_path / f"{name}{number}")


@pytest.mark.parametrize(
    ("target", "change", "message"),
    [
        ("replay", put("curves.json", 0, "heatMarkers", 1, "heatMarkerRenderer", 5), r"bin 2: expected \('startMillis"),
        ("replay", put("curves.json", 2, "markers", 0, "startMillis", HUGE), "bin 1: expected numbers for startMillis"),
        ("replay", put("curves.json", 1, "view_count", "9" * 30), r"expected views below 10\^18, found 999"),
        ("replay", put("curves.json", DEEP), "curves.json: expected JSON, found none"),
        ("bliss", put("annotation/val.json", "clip_val", "video_label", 0, HUGE), "val.json, clip clip_val: "),
        ("bliss", put("annotation/val.json", "clip_val", "sentence_time", 0, [0, HUGE]), "val.json, clip clip_val: "),
        ("bliss", put("annotation/val.json", DEEP), "val.json: expected JSON"),
        ("wikihow", put("annt.json", "b", 3, HUGE), "annt.json, video b: "),
        ("wikihow", put("tasks.json", "b", "Re\ud83dplace"), r"video b: .* found half a character: 'Re\\ud83d"),
        ("articles-folder", put("A-b.json", DEEP), "A-b.json: "),
        ("metadata-csv", put("mr_hisum_split.json", DEEP), "mr_hisum_split.json: expected JSON, found none"),
        ("description-json", put("d.json", DEEP), "d.json: expected JSON"),
        ("splits-json", put("s.json", DEEP), "s.json: expected a mapping"),
        ("splits-yml", put("s.yml", "[" * 1000), "s.yml: expected a mapping"),
        ("recipe", put("r.yaml", "[" * 1000), "r.yaml: expected a recipe in YAML"),
        ("recipe", put("r.yaml", MANY), "r.yaml: expected a recipe in YAML: found more than 10000 values"),
        ("plan", put(".plan.json", "profile", {"x": 1}), ".plan.json: expected the profile"),
        ("plan", put(".plan.json", [1]), r".plan.json: expected a plan with its profile, found \[1\]"),
        ("prepared", put("report.json", {}), "expected the None videos of its report.json, found 1"),
        ("prepared", put("dataset_info.json", {}), "dataset_info.json: expected an object with splits"),
        ("prepared", put("dataset_info.json", "splits", "train", 5), "expected an object with splits"),
        ("prepared", swap("data-00000.parquet", b"text", b"texd"), "data-00000.parquet: expected records, found a dam"),
        ("npz", put("v.npz", "video_features", np.full((6, 8), 1e300)), "v.npz: video_features: expected finite"),
        (
            "tvsum-texts",
            put("captions.json", "video_1", "duration", HUGE),
            "id video_1: expected a duration in seconds",
        ),
        ("tvsum-texts", put("captions.json", "video_1", "timestamps", [[0, HUGE], [0, 1]]), "expected timestamps"),
        ("tvsum-h5", declared((2**40, 8)), r"video_1: features: expected at most 1073741824 bytes, found shape"),
        (
            "tvsum-h5",
            put("t.h5", "video_1", "@video_encoder", np.arange(3)),
            "attribute video_encoder: expected a text",
        ),
        ("tvsum-h5", put("t.h5", "video_1", "gtscore", np.array([-3e38, 3e38, 0, 0, 0])), "gtscore: expected a range"),
        ("tvsum-h5", put("t.h5", "video_1", "fps", np.array(1e-308)), "fps: expected the rate of a video"),
        ("tvsum-h5", scribble("t.h5", b"SNOD", b"XXXX"), "t.h5: expected a complete HDF5 file, found a broken one"),
        ("tvsum-mat", put("a.mat", "tvsum50", "title", [np.zeros(20_000, np.uint16)]), "entry 1: .* 10000 letters"),
        ("mrhisum-h5", put("mr_hisum.h5", "video_2", np.zeros(9)), "video video_2: expected a Group, found a Dataset"),
        ("smmrhisum-h5", put("sm_mrhisum.h5", "video_2", np.zeros(9)), "video video_2: expected a Group, found a Data"),
        (
            "smvideoxum-h5",
            declared((2**40, 8), "sm_videoxum.h5", "video_2", "gtscores"),
            "video_2: .*shape .1099511627776",
        ),
        ("trimodal-h5", put("mosu_gt.h5", "video_1", np.array(3)), "video video_1: expected a Group"),
        ("trimodal-h5", put("mosu_feat_text_roberta.h5", "video_1", np.array(3.0)), "found none"),
        ("features-h5", put("features.h5", "b", {"features": np.ones((2, 3)), "times_s": np.array("x")}), "video b: "),
        ("features-h5", put("features.h5", "@fps", np.array([1.0, 2.0])), "video b: fps: expected a positive rate"),
        ("features-h5", put("features.h5", "@fps", 0.1), "video b: fps: expected a frame of the video for each"),
        ("features-h5", put("features.h5", "@sample_fps", 5e-324), "expected a positive rate|expected finite times"),
        ("ffconcat", lambda files: None, "a: expected a readable video"),
    ],
)
def test_what_once_was_not_refused_is_named(read, target, change, message):
    with pytest.raises(ValueError, match=message):
        read(target, change)


def test_what_once_was_refused_is_read(read):
    read("ratings-tsv", put("anno.tsv", f"a\tVT\t{','.join('1' * 70_000)}\n"))  # 39 minutes of frames


def test_sentences_of_cues_that_overlap_are_in_order(read):
    cues = ("00:00:00,000 --> 00:00:09,000\nOne. Two.\n", "00:00:01,000 --> 00:00:02,000\nThree.\n")
    read("srt", put("a.srt", "".join(f"{k}\n{cue}\n" for k, cue in enumerate(cues))))


def test_long_cues_take_linear_time(read):
    begin = time.process_time()
    read("srt", put("a.srt", "1\n00:00:01,000 --> 00:00:02,000\n" + "?\n" * 50_000))
    assert time.process_time() - begin < 4, "linear, not quadratic"


def test_an_input_follows_from_seed_target_and_number(fuzzing, tmp_path):
    _, damage, targets = fuzzing
    made = {}
    for name in ("srt", "npz", "tvsum-h5"):
        folders, written = targets.TARGETS[name].files(), []
        for run, number in enumerate((7, 7, 8)):
            damage.make_input(tmp_path / f"{name}{run}", folders, "*", random.Random(f"0/{name}/{number}"))
            written.append([file.read_bytes() for file in sorted((tmp_path / f"{name}{run}").iterdir())])
        made[name] = written
    assert all(one == again != other for one, again, other in made.values())


def die(_):
    os.kill(os.getpid(), signal.SIGKILL)


def hang(_):
    while True:
        pass


@pytest.mark.parametrize(
    ("read", "why"),
    [
        (lambda folder: {}["x"], "KeyError in"),
        (hang, "more than 0.2 s"),
        (die, "the process ended with -9"),
        (lambda folder: np.ones(2**33), "MemoryError in"),
    ],
)
def test_every_kind_of_failure_is_counted_and_the_next_input_read(fuzzing, monkeypatch, read, why):
    fuzz, _, targets = fuzzing
    monkeypatch.setattr(fuzz, "SLOW_S", 0.2)
    monkeypatch.setitem(fuzz.TARGETS, "bad", targets.Target(lambda: [{"a.txt": "x"}], read))
    tally = fuzz.fuzz("bad", range(3, 5), 0, 1.0, None)
    assert (tally.inputs, tally.accepted, tally.refused, tally.uncaught) == (2, 0, 0, 2)
    (kind,) = tally.failures
    assert kind.startswith(why)
    assert tally.failures[kind] == 3, "the first input that gives it again"


@pytest.mark.slow
def test_the_script_counts_and_writes_figures(tmp_path):
    words = ["fuzz.py", "srt", "labels-csv", "--inputs", "20", "--json", str(tmp_path / "f.json")]
    done = subprocess.run([sys.executable, *words], cwd=SCRIPTS, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((tmp_path / "f.json").read_text())
    assert [row["target"] for row in rows] == ["srt", "labels-csv"]
    assert all(row["inputs"] == 20 == row["accepted"] + row["refused"] for row in rows)
    assert done.stdout.splitlines()[2].startswith(f"| srt | 20 | {rows[0]['accepted']} | ")


def test_an_unknown_target_is_named(fuzzing, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["fuzz.py", "srt", "mp5"])
    with pytest.raises(SystemExit) as stopped:
        fuzzing[0].main()
    assert stopped.value.code == 2
    assert "found mp5" in capsys.readouterr().err
