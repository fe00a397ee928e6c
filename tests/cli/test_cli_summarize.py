"""`hiersum summarize` before it works: what a dry run says, and what is refused."""

import os
import subprocess
import sys

import pytest

from hiersum_hf.cli import summarize as cli_summarize
from hiersum_hf.cli.main import main
from hiersum_hf.records import Sentence
from hiersum_hf.texts.subtitles import write_srt
from tests.makers.videos import write_video


@pytest.fixture
def command(tmp_path, monkeypatch):
    """A dry run for a video of 3 s; no encoder may be loaded for it."""
    monkeypatch.setattr("hiersum_hf.inference.scorer.load_video_encoder", None)
    write_video(tmp_path / "talk.mp4")
    return ["summarize", str(tmp_path / "talk.mp4"), "--output", str(tmp_path / "out"), "--dry-run"]


def test_a_dry_run_says_that_speech_will_be_recognised(command, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cli_summarize, "find_spec", lambda name: name)
    monkeypatch.setattr("hiersum_hf.texts.speech.transcribe", None)
    assert main([*command, "--transcribe", "tiny"]) == 0
    out = capsys.readouterr().out
    assert "0 sentences, 0 texts of description" in out
    assert "No subtitles and no description: speech will be recognised by Whisper (tiny)." in out
    write_srt([Sentence("Hello.", 0.0, 1.0)], tmp_path / "talk.srt")
    (tmp_path / "talk.txt").write_text("A talk")
    assert main([*command, "--transcribe", "tiny"]) == 0
    out = capsys.readouterr().out
    assert "1 sentence, 1 text of description" in out
    assert "Whisper" not in out


def test_texts_that_are_missing_are_noted_with_how_to_give_them(command, tmp_path, capsys):
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "judged without what is said. NAME.srt and NAME.txt beside the video, or --subtitles and" in out
    write_srt([Sentence("Hello.", 0.0, 1.0)], tmp_path / "talk.srt")
    assert main(command) == 0
    assert "NAME.srt" not in capsys.readouterr().out


def test_the_encoding_of_subtitles_is_said_where_it_is_guessed_and_read_as_told(command, tmp_path, capsys):
    write_srt([Sentence("Yarın denize gideceğiz, değil mi?", 0.0, 2.0)], path := tmp_path / "talk.srt")
    path.write_bytes(path.read_text(encoding="utf-8").encode("cp1254"))
    for subtitles in ([], ["--subtitles", str(path)]):
        assert main([*command, *subtitles]) == 0
        note = "talk.srt: read as windows-1254 (guessed). --subtitle-encoding NAME reads it otherwise."
        assert note in capsys.readouterr().out
        assert main([*command, *subtitles, "--subtitle-encoding", "windows-1254"]) == 0
        assert "guessed" not in capsys.readouterr().out


@pytest.mark.parametrize(("words", "extra"), [(["--transcribe", "tiny"], "asr"), (["--shots", "cuts"], "cuts")])
def test_what_is_not_installed_is_said_before_any_work(command, monkeypatch, capsys, words, extra):
    monkeypatch.setattr(cli_summarize, "find_spec", lambda name: None)
    assert main([*command, *words]) == 2
    assert f'pip install "hiersum-hf[{extra}]"' in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_a_line_break_in_a_name_is_refused_before_any_work(command, tmp_path, capsys):
    (tmp_path / "talk.mp4").rename(tmp_path / "ta\nlk.mp4")
    assert main(["summarize", str(tmp_path), *command[2:]]) == 2
    assert "ta\\nlk.mp4: expected a name without line breaks" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--export", "edl,aaf"], "--export: expected some of otio, edl, fcpxml, fcp7xml, m3u, ffmpeg; found 'aaf'"),
        (["--batch-size", "0"], "--batch-size: expected at least 1, found 0"),
        (
            ["--subtitle-encoding", "cp1245"],
            "--subtitle-encoding: expected an encoding that Python knows, found 'cp1245'",
        ),
        (["--cache", __file__], "expected a folder for features, found a file"),
        (["--cache", f"{__file__}/cache"], "expected a folder for features, found a file"),
    ],
)
def test_wrong_flags_are_refused_before_any_work(command, capsys, words, message):
    assert main([*command, *words]) == 2
    assert message in capsys.readouterr().err


def test_an_output_that_cannot_be_written_to_is_refused_before_any_work(command, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("hiersum_hf.summary.files.os.access", lambda path, mode: path != tmp_path)
    assert main(command) == 2
    assert (
        f"out/talk: expected a folder that can be written to, found that {tmp_path} cannot" in capsys.readouterr().err
    )


def test_a_dry_run_names_the_exports_and_the_copy(command, capsys):
    assert main([*command, "--files", "summary.srt", "--export", "edl, m3u", "--embed-chapters"]) == 0
    assert "out/talk: summary.srt, summary.edl, summary.m3u, talk.chapters.mp4" in capsys.readouterr().out


def test_help_and_the_first_frame_wait_for_nothing_heavy(tmp_path):
    """Importing PyTorch and Transformers takes four seconds of a processor; frames are decoded meanwhile."""
    heavy = ["torch", "scipy", "sklearn", "matplotlib", "datasets", "sentence_transformers", "transformers.pipelines"]
    code = (
        "import sys; sys.argv = ['hiersum']; from hiersum_hf.cli.main import main\n"
        "for words in (['--help'], ['summarize', '--help'], ['nonsense']):\n"
        "    try: main(words)\n"
        "    except SystemExit: pass\n"
        f"print('after help:', [name for name in {[*heavy, 'av', 'transformers']} if name in sys.modules])\n"
        "from hiersum_hf.video.picture import Images; image = Images.image\n"
        "def told(*args):\n"
        f"    print('first frame:', [name for name in {heavy[1:]} if name in sys.modules]); return image(*args)\n"
        "Images.image = told; sys.modules['torch'] = None  # whose import fails\n"
        f"print('code:', main(['summarize', {str(write_video(tmp_path / 'talk.mp4'))!r}, '--output', 'out']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    told = done.stdout.splitlines()
    assert "after help: []" in told, done.stderr
    assert "first frame: []" in told, done.stderr
    assert told[-1] == "code: 2"
