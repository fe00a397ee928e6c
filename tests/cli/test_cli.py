"""The command as a user types it: what it writes, and what it says to bad input."""

import json
import os
import shutil
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image
from transformers.utils import logging as transformers_logging

import hiersum_hf
from hiersum_hf import HierSumConfig, HierSumFeatureExtractor, HierSumModel
from hiersum_hf.cli.main import COMMANDS, main, with_command
from hiersum_hf.features.text_encoder import OFFLINE_TEXT_ENCODER
from hiersum_hf.features.video_encoder import OFFLINE_VIDEO_ENCODER
from hiersum_hf.modeling.errors_hiersum import InputError
from hiersum_hf.records import Sentence
from hiersum_hf.summary.files import FILES
from hiersum_hf.summary.finished import MADE_WITH
from hiersum_hf.synthetic import features as synthetic
from hiersum_hf.texts.subtitles import read_subtitles, write_srt
from hiersum_hf.video.reader import probe


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """A rendered demo video, the first 20 s of it, with its subtitles and description."""
    from dataclasses import replace

    whole = synthetic.make_video(7)
    segments = tuple(s for s in whole.segments if s.end_s <= 20)
    short = replace(whole, segments=segments)
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    synthetic.render(short, path)
    write_srt(short.sentences, path.with_suffix(".srt"))
    path.with_suffix(".txt").write_text("\n".join(short.description))
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """An untrained network that says it was trained at both levels, for the offline encoders."""
    folder = tmp_path_factory.mktemp("checkpoint")
    config = HierSumConfig(
        video_dim=1280, text_dim=384, hidden_size=16, num_layers=1, trained_levels=["child", "parent"],
        default_level="both",
    )  # fmt: skip
    HierSumModel(config).save_pretrained(folder)
    HierSumFeatureExtractor(OFFLINE_VIDEO_ENCODER, OFFLINE_TEXT_ENCODER, 1280, 384, 2.0).save_pretrained(folder)
    return folder


def arguments(video, output, *more):
    files = ["--subtitles", video.with_suffix(".srt"), "--description", video.with_suffix(".txt")]
    kept = ["--cache", video.with_name("kept")]  # each test but the first is spared the encoder
    return [str(word) for word in ("summarize", video, *files, *kept, "--output", output, *more)]


def test_summarize_writes_a_video_within_the_budget_and_its_papers(video, checkpoint, tmp_path, capsys):
    assert main(arguments(video, tmp_path, "--model", checkpoint, "--budget", "8s", "--json")) == 0
    folder = tmp_path / "clip"
    assert {file.name for file in folder.iterdir()} == {*FILES, MADE_WITH}
    assert not list(tmp_path.glob(".*")), "nothing half-made may stay behind"
    summary = json.loads((folder / "summary.json").read_text())
    assert json.loads(capsys.readouterr().out) == summary, "--json prints the same and nothing else"
    keys = (
        "schema video duration_s budget level scorer fallback segments key_sentences shots scores checkpoint encoders"
    )
    assert set(summary) == {*keys.split(), "warnings", "selection", "queries", "steps", "kept", "skipped", "chapters"}
    assert summary["selection"] == {"rule": "importance", "min_segment_s": 3.0, "run_cost": 1.0}
    assert (summary["schema"], summary["level"], summary["scorer"]) == (2, "both", "checkpoint")
    assert summary["budget"] == {"kind": "seconds", "value": 8.0, "seconds": 8.0}
    assert summary["encoders"] == {"video": OFFLINE_VIDEO_ENCODER, "text": OFFLINE_TEXT_ENCODER}
    total_s = sum(segment["end_s"] - segment["start_s"] for segment in summary["segments"])
    assert 0 < total_s <= 8 + 1e-6
    assert all(one["end_s"] <= two["start_s"] for one, two in pairwise(summary["segments"]))
    assert probe(folder / "summary.mp4").duration_s == pytest.approx(total_s, abs=0.05)
    assert len(summary["scores"]["times_s"]) == len(summary["scores"]["values"]) == round(summary["duration_s"] * 2)
    assert Image.open(folder / "scores.png").size[0] > 800
    sentences = [(s.start_s, s.end_s) for s in read_subtitles(video.with_suffix(".srt"))]
    cuts = [cut_s for segment in summary["segments"] for cut_s in (segment["start_s"], segment["end_s"])]
    assert not [s for s in sentences for cut_s in cuts if s[0] + 1e-3 < cut_s < s[1] - 1e-3], "no sentence is cut"


@pytest.fixture
def films(video, tmp_path):
    """A folder with two videos, of which one has side files and one is broken."""
    folder = tmp_path / "films"
    folder.mkdir()
    for suffix in (".mp4", ".srt", ".txt"):
        shutil.copy(video.with_suffix(suffix), folder / f"whole{suffix}")
    (folder / "broken.mp4").write_text("I am no video.")
    return folder


def test_a_folder_is_done_but_for_what_fails(films, video, checkpoint, tmp_path, capsys):
    command = ["summarize", films, "--output", tmp_path / "out", "--model", checkpoint, "--json"]
    command = [*map(str, command), "--cache", str(video.with_name("kept"))]
    assert main([*command, "--budget", "0.5", "--budget", "4s", "--budget", ".50"]) == 1
    out, err = capsys.readouterr()
    assert [json.loads(line)["budget"]["seconds"] for line in out.splitlines()] == [8.5, 4.0]
    assert len({str(json.loads(line)["scores"]) for line in out.splitlines()}) == 1, "one pass"
    assert "broken.mp4: expected a readable video" in err
    assert "1 of 2 videos failed: broken.mp4" in err
    assert "Read from whole.srt, found beside the video." in err
    written = tmp_path / "out" / "whole"
    assert {folder.name for folder in written.iterdir()} == {"0.5", "4s"}
    assert all({file.name for file in folder.iterdir()} == {*FILES, MADE_WITH} for folder in written.iterdir())
    assert not (tmp_path / "out" / "broken").exists()


def test_a_dry_run_says_what_would_be_done_and_does_nothing(films, checkpoint, tmp_path, monkeypatch, capsys):
    for part in ("features.cache.iter_frames", "inference.scorer.load_video_encoder"):
        monkeypatch.setattr(f"hiersum_hf.{part}", None)
    monkeypatch.setattr("hiersum_hf.inference.scorer.load_text_encoder", None)
    (tmp_path / "out" / "whole").mkdir(parents=True)
    command = ["summarize", str(films / "*e.mp4"), "--output", str(tmp_path / "out"), "--budget", "0.25", "--dry-run"]
    assert main([*command, "--model", str(checkpoint)]) == 0
    said = capsys.readouterr().out
    assert "whole.mp4: 17.0 s" in said
    assert f"scored by: {checkpoint}" in said
    assert "at most 4.2 s to" in said
    assert "needs --overwrite" in said
    assert main([*command, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["scorer"], plan["summaries"][0]["exists"]) == ("training-free", True)
    assert plan["sentences"] > 0
    assert list((tmp_path / "out" / "whole").iterdir()) == []
    assert main([*command, "--model", str(tmp_path / "none")]) == 2
    assert "none: expected the folder or Hub id of a HierSum checkpoint" in capsys.readouterr().err
    (films / "whole.txt").unlink()
    assert main([*command, "--model", str(checkpoint), "--level", "parent"]) == 2
    assert "Level 'parent' reads the description: give one" in capsys.readouterr().err


def test_what_cannot_be_written_is_refused_before_any_work(films, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("hiersum_hf.inference.scorer.load_scorer", None)
    shutil.copy(films / "whole.mp4", films / "whole.mkv")
    command = ["summarize", str(films), "--output", str(tmp_path / "out")]
    assert main(command) == 2
    assert "out/whole: expected one video for it" in capsys.readouterr().err
    (films / "whole.mkv").unlink()
    assert main([*command, "--subtitles", "talk.srt"]) == 2
    assert "--subtitles and --description: expected one video, found 2" in capsys.readouterr().err
    (tmp_path / "out" / "whole" / "4s").mkdir(parents=True)
    assert main([*command, "--budget", "4s", "--budget", "9s"]) == 2
    assert "whole/4s: expected no such folder yet" in capsys.readouterr().err
    assert main(["summarize", str(films / "*.avi"), "--output", str(tmp_path / "out")]) == 2
    assert "*.avi: expected a video" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_no_page_can_link_is_refused_before_any_work(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("hiersum_hf.inference.scorer.load_scorer", None)
    (tmp_path / os.fsdecode(b"caf\xe9.mp4")).touch()
    assert main(["summarize", str(tmp_path), "--output", str(tmp_path / "out")]) == 2
    assert "caf\\udce9.mp4: expected a name in UTF-8" in capsys.readouterr().err


def test_features_kept_by_the_cache_are_not_computed_again(video, tmp_path, monkeypatch):
    command = arguments(video, tmp_path / "one", "--cache", tmp_path / "kept")
    assert main(command) == 0
    monkeypatch.setattr("hiersum_hf.features.cache.iter_frames", None)
    assert main(arguments(video, tmp_path / "two", "--cache", tmp_path / "kept")) == 0
    one, two = ((tmp_path / name / "clip" / "summary.json").read_text() for name in ("one", "two"))
    assert one == two


@pytest.mark.parametrize(
    ("rule", "why"), [("keyshot", "shorter than every shot"), ("importance", "best-scored window")]
)
def test_a_budget_shorter_than_every_shot_is_said(video, checkpoint, tmp_path, capsys, rule, why):
    flags = ["--model", checkpoint, "--budget", "0.3s", "--selection", rule]
    assert main(arguments(video, tmp_path, *flags)) == 0
    assert why in capsys.readouterr().err
    summary = json.loads((tmp_path / "clip" / "summary.json").read_text())
    assert summary["fallback"]
    assert probe(tmp_path / "clip" / "summary.mp4").duration_s == pytest.approx(0.3, abs=0.09)


def test_without_a_checkpoint_the_training_free_scorer_is_used_and_named(video, tmp_path, capsys):
    assert main(arguments(video, tmp_path)) == 0
    summary = json.loads((tmp_path / "clip" / "summary.json").read_text())
    assert (summary["scorer"], summary["level"], summary["checkpoint"]) == ("training-free", None, None)
    assert "training-free" in capsys.readouterr().err


def test_earlier_summary_stays_without_overwrite_and_other_files_stay_with_it(video, checkpoint, tmp_path, capsys):
    command = arguments(video, tmp_path, "--model", checkpoint)
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "summary.json").write_text("mine")
    (tmp_path / "clip" / "notes.txt").write_text("mine too")
    assert main(command) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / "clip" / "summary.json").read_text() == "mine"
    assert main([*command, "--overwrite"]) == 0
    assert json.loads((tmp_path / "clip" / "summary.json").read_text())["schema"] == 2
    assert (tmp_path / "clip" / "notes.txt").read_text() == "mine too"


def test_without_description_a_checkpoint_is_read_at_child_level_and_says_so(video, checkpoint, tmp_path, capsys):
    alone = tmp_path / "in" / "clip.mp4"
    alone.parent.mkdir()
    shutil.copy(video, alone)
    command = ["summarize", str(alone), "--model", str(checkpoint), "--output", str(tmp_path)]
    assert main(command) == 0
    summary = json.loads((tmp_path / "clip" / "summary.json").read_text())
    assert summary["level"] == "child"
    assert any("No description" in warning for warning in summary["warnings"])
    assert any("No subtitles" in warning for warning in summary["warnings"])
    capsys.readouterr()
    assert main([*command, "--overwrite", "--level", "parent"]) == 2
    assert "--description" in capsys.readouterr().err


def bad_video(folder, video):
    (folder / "talk.mp4").write_text("I am no video.")
    return {"video": folder / "talk.mp4"}, "talk.mp4"


def no_video(folder, video):
    return {"video": folder / "nowhere.mp4"}, "nowhere.mp4"


def late_subtitles(folder, video):
    write_srt([Sentence("Too late.", 500.0, 501.0)], folder / "late.srt")
    return {"--subtitles": folder / "late.srt"}, "late.srt: expected sentences within the"


def no_subtitles(folder, video):
    return {"--subtitles": folder / "none.srt"}, "none.srt"


def odd_bytes(folder, video):
    (folder / "odd.srt").write_bytes(bytes(range(256)) * 4)
    return {"--subtitles": folder / "odd.srt"}, "odd.srt"


def other_model(folder, video):
    (folder / "bert").mkdir()
    (folder / "bert" / "config.json").write_text('{"model_type": "bert"}')
    return {"--model": folder / "bert"}, "bert: expected a checkpoint with model_type 'hiersum', found 'bert'"


def no_model(folder, video):
    return {"--model": folder / "missing"}, "missing: expected the folder or Hub id of a HierSum checkpoint"


def model_without_weights(folder, video):
    HierSumConfig().save_pretrained(folder / "empty")
    HierSumFeatureExtractor().save_pretrained(folder / "empty")
    return {"--model": folder / "empty"}, "empty: expected a complete HierSum checkpoint"


def model_without_extractor(folder, video):
    HierSumModel(HierSumConfig(hidden_size=16, num_layers=1)).save_pretrained(folder / "half")
    return {"--model": folder / "half"}, "half: expected a complete HierSum checkpoint"


def model_cut_short(folder, video):
    HierSumModel(HierSumConfig(hidden_size=16, num_layers=1)).save_pretrained(folder / "cut")
    HierSumFeatureExtractor().save_pretrained(folder / "cut")
    weights = folder / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    return {"--model": folder / "cut"}, "cut: expected a complete HierSum checkpoint"


def model_lacking_a_head(folder, video):
    model = HierSumModel(HierSumConfig(video_dim=1280, text_dim=384, hidden_size=16, num_layers=1))
    weights = {name: t for name, t in model.state_dict().items() if not name.startswith("frame_head")}
    model.save_pretrained(folder / "headless", state_dict=weights)
    HierSumFeatureExtractor(OFFLINE_VIDEO_ENCODER, OFFLINE_TEXT_ENCODER, 1280, 384).save_pretrained(folder / "headless")
    return {"--model": folder / "headless"}, "headless: expected a complete HierSum checkpoint, missing frame_head"


def model_of_another_shape(folder, video):
    HierSumModel(HierSumConfig(hidden_size=16, num_layers=1)).save_pretrained(folder / "shape")
    HierSumConfig(hidden_size=32, num_layers=1).save_pretrained(folder / "shape")
    HierSumFeatureExtractor().save_pretrained(folder / "shape")
    return {"--model": folder / "shape"}, "shape: expected a complete HierSum checkpoint"


def model_of_a_data_set(folder, video):
    HierSumModel(HierSumConfig(video_dim=1024, hidden_size=16, num_layers=1)).save_pretrained(folder / "pool5")
    HierSumFeatureExtractor("googlenet-pool5", OFFLINE_TEXT_ENCODER, 1024, 384).save_pretrained(folder / "pool5")
    return {"--model": folder / "pool5"}, "cannot be computed from a video file"


def no_such_device(folder, video):
    return {"--device": "abacus"}, "device: expected one that this PyTorch can use, found 'abacus'"


def output_is_a_file(folder, video):
    (folder / "taken").write_text("mine")
    return {"--output": folder / "taken"}, "taken: expected a folder for summaries, found a file"


def wide_model(folder, video):
    """Its weights take other widths than its encoders give."""
    HierSumModel(HierSumConfig(video_dim=100, text_dim=384, hidden_size=16, num_layers=1)).save_pretrained(folder / "w")
    HierSumFeatureExtractor(OFFLINE_VIDEO_ENCODER, OFFLINE_TEXT_ENCODER, 100, 384).save_pretrained(folder / "w")
    return {"--model": folder / "w"}, "video_features must have shape (rows, 100)"


def no_such_budget(folder, video):
    return {"--budget": "150%"}, "budget: expected a share"


def level_without_model(folder, video):
    return {"--level": "child"}, "Level 'child' needs a checkpoint"


BAD = [
    bad_video, no_video, late_subtitles, no_subtitles, odd_bytes, other_model, no_model, model_without_weights,
    model_without_extractor, model_cut_short, model_lacking_a_head, model_of_another_shape, model_of_a_data_set,
    no_such_device, output_is_a_file, wide_model, no_such_budget, level_without_model,
]  # fmt: skip


@pytest.mark.parametrize("make", BAD, ids=lambda make: make.__name__)
def test_bad_input_is_named_with_exit_code_2_and_nothing_written(make, video, tmp_path, capsys):
    changes, message = make(tmp_path, video)
    words = {"--subtitles": video.with_suffix(".srt"), "--output": tmp_path / "out"} | changes
    path = words.pop("video", video)
    code = main(["summarize", str(path), *(str(word) for pair in words.items() for word in pair)])
    assert code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_a_crash_while_writing_leaves_nothing_behind(video, checkpoint, tmp_path, monkeypatch):
    def fails(*_):
        raise OSError("disk full")

    monkeypatch.setattr("hiersum_hf.summary.files.plot_summary", fails)
    assert main(arguments(video, tmp_path, "--model", checkpoint)) == 2
    assert list(tmp_path.iterdir()) == []


def test_help_teaches_and_usage_errors_exit_with_2(capsys):
    with pytest.raises(SystemExit) as done:
        main(["--help"])
    assert done.value.code == 0
    assert "hiersum summarize talk.mp4" in capsys.readouterr().out
    with pytest.raises(SystemExit) as done:
        main(["summarize"])  # no video
    assert done.value.code == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nasa_13013", "sintel_trailer"])
def test_real_videos_with_their_subtitles(test_data, name, tmp_path):
    """The main job on real input, as a process of its own."""
    source = test_data / "video" / f"{name}.mp4"
    shutil.copy(source.with_suffix(".srt"), tmp_path / "own.srt")
    command = [sys.executable, "-m", "hiersum_hf.cli.main", "summarize", source, "--subtitles", tmp_path / "own.srt"]
    done = subprocess.run([*command, "--output", tmp_path / "out", "--budget", "0.3"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "out" / name / "summary.json").read_text())
    total_s = sum(segment["end_s"] - segment["start_s"] for segment in summary["segments"])
    assert 0 < total_s <= 0.3 * summary["duration_s"] + 1e-6
    assert probe(tmp_path / "out" / name / "summary.mp4").duration_s == pytest.approx(total_s, abs=0.05)
    retimed = tmp_path / "out" / name / "summary.srt"
    if retimed.read_text().strip():
        assert max(sentence.end_s for sentence in read_subtitles(retimed)) <= total_s + 0.01
    assert np.isfinite(summary["scores"]["values"]).all()


def test_a_video_alone_is_summarized_beside_itself_and_never_over_an_earlier_summary(video, tmp_path, capsys):
    words = [str(shutil.copy(video, tmp_path)), "--cache", str(video.with_name("kept")), "--files", "summary.mp4"]
    assert main(words) == 0
    folder = tmp_path / "summaries" / "clip"
    result, written = capsys.readouterr().out.splitlines()
    assert result.startswith("clip.mp4: ")
    assert " of 17.0 s in " in result
    assert written == f"Written to {folder}: summary.mp4"
    before = (folder / "summary.mp4").read_bytes()
    assert main(words) == 0
    assert "1 finished before, of the same video and settings: passed over" in capsys.readouterr().err
    assert main([*words, "--budget", "5s"]) == 2
    assert "summaries/clip: expected no such folder yet" in capsys.readouterr().err
    assert (folder / "summary.mp4").read_bytes() == before
    (tmp_path / "more").mkdir()
    assert main([words[0], str(shutil.copy(video, tmp_path / "more")), *words[1:]]) == 2
    assert "--output: expected a folder for summaries of videos in 2 folders" in capsys.readouterr().err
    assert not transformers_logging.is_progress_bar_enabled(), "no bars of weights"


def test_only_what_looks_like_a_path_is_taken_for_a_video(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "films").mkdir()
    for first in ("talk.mp4", "films", "a/b", "*", "https://x.org/talk"):
        assert with_command([first, "--json"]) == ["summarize", first, "--json"]
    (tmp_path / "train").mkdir()
    for words in ([], ["--version"], ["sumarize", "talk.mp4"], *([name] for name in COMMANDS)):
        assert with_command(words) == words
    with pytest.raises(SystemExit) as done:
        main(["sumarize", "talk.mp4"])
    assert (done.value.code, "invalid choice: 'sumarize'" in capsys.readouterr().err) == (2, True)


def test_notes_come_before_the_work(video, tmp_path, monkeypatch, capsys):
    def broken(*args):
        raise InputError("no picture")

    monkeypatch.setattr("hiersum_hf.inference.source.Source.encode", broken)
    assert main(["summarize", str(video), "--output", str(tmp_path)]) == 2
    notes = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in notes] == ["note"] * (len(notes) - 1) + ["hiersum"]
    assert "note: No checkpoint given: scored by the training-free scorer." in notes


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_shells_complete_commands_and_flags(shell, monkeypatch, capsys):
    with pytest.raises(SystemExit) as done:
        main(["--print-completion", shell])
    script = capsys.readouterr().out
    assert done.value.code in (0, None)
    assert all(word in script for word in (*COMMANDS, "subtitle-encoding"))
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(SystemExit) as done:
        main(["--print-completion", shell])
    assert (done.value.code, 'pip install "hiersum-hf[completion]"' in capsys.readouterr().err) == (2, True)


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit) as done:
        main(["--version"])
    assert (done.value.code, capsys.readouterr().out) == (0, f"hiersum {hiersum_hf.__version__}\n")


def test_a_refusal_says_that_what_follows_is_the_launchers(monkeypatch, capsys):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    assert main(["train", "nosuch"]) == 2
    error, launcher = capsys.readouterr().err.splitlines()
    assert error.startswith("hiersum: error: nosuch")
    assert launcher == "hiersum: the launcher tells below, in its own words, that this process ended"


@pytest.mark.parametrize(("command", "told"), [("merge", ""), ("extract", "; run it again to go on")])
def test_ctrl_c_ends_a_command_with_one_line(monkeypatch, capsys, command, told):
    def interrupt(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"hiersum_hf.cli.{command}.run", interrupt)
    words = {"merge": ["adapter", "merged"], "extract": ["videos", "--output", "features"]}[command]
    assert main([command, *words]) == 130
    assert capsys.readouterr().err == f"hiersum: interrupted{told}\n"


def test_nothing_is_said_where_the_reader_of_the_output_has_ended():
    """As `head` does behind a pipe."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "hiersum_hf", "train", "--list"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")
