"""`make demo` as a newcomer runs it, and the promises that need a trained checkpoint."""

import json
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from hiersum_hf.evaluation.evaluate import evaluate_scores
from hiersum_hf.evaluation.statistics import mean_interval
from hiersum_hf.modeling.modeling_hiersum import HierSumModel
from hiersum_hf.results import Results
from hiersum_hf.scoring.checkpoint import load_checkpoint
from hiersum_hf.scoring.network import predict_scores
from hiersum_hf.scoring.training_free import score_frames
from hiersum_hf.synthetic.demo import DEMO_VIDEOS, demo_parts
from hiersum_hf.video.reader import probe


REPO = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


def run(*command, cwd):
    done = subprocess.run([sys.executable, *map(str, command)], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The folder after the training of `make demo`."""
    folder = tmp_path_factory.mktemp("demo")
    table = run("-m", "accelerate.commands.launch", REPO / "scripts" / "run_train.py", cwd=folder)
    (folder / "table.txt").write_text(table)
    return folder


@pytest.fixture(scope="module")
def test_part():
    return demo_parts({"skip": DEMO_VIDEOS["train"] + DEMO_VIDEOS["validation"], "test": DEMO_VIDEOS["test"]})["test"]


def test_trained_checkpoint_is_above_every_scorer_without_training(demo, test_part):
    """On every figure the 95 % interval of the difference to theirs, video by video, lies above 0."""
    results = Results.read(demo / "demo" / "run" / "results.json")
    assert results.level == "both", "each level alone knows half"
    for scorer in ("training-free", "uniform", "random"):
        scores = {record.video_id: score_frames(record, scorer) for record in test_part}
        about = {"scorer": scorer, "dataset": "demo", "part": "test", "baselines": results.baselines}
        other = evaluate_scores(test_part, scores, **about)
        for figure in ("captured", "f1", "kendall_tau", "spearman_rho"):
            gains = [ours[figure] - other.per_video[name][figure] for name, ours in results.per_video.items()]
            assert mean_interval(np.array(gains), 0)[0] > 0, (scorer, figure)
    assert set(results.per_video) == {record.video_id for record in test_part}


def test_card_and_table_say_what_results_say(demo):
    results = json.loads((demo / "demo" / "run" / "results.json").read_text())
    card = (demo / "demo" / "run" / "README.md").read_text()
    table = (demo / "table.txt").read_text()
    for figure in ("f1", "kendall_tau", "spearman_rho"):
        assert f"{results['metrics'][figure]:.4f}" in card
        assert f"{results['metrics'][figure]:.4f}" in table
        assert f"{results['baselines']['random'][figure]:.4f}" in card
    assert "made-up" in card
    assert "efficientnet-lite0" in card


@pytest.mark.parametrize("attn", ["eager", "sdpa"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("level", ["child", "parent"])
def test_no_score_depends_on_batch_mates(demo, test_part, attn, dtype, tolerance, level):
    _, extractor = load_checkpoint(demo / "demo" / "run")
    model = HierSumModel.from_pretrained(demo / "demo" / "run", attn_implementation=attn, dtype=dtype).eval()
    videos = sorted(test_part, key=lambda r: len(r.video_features))[:: len(test_part) // 6]
    together = predict_scores(model, extractor, videos, level, batch_size=len(videos))
    alone = predict_scores(model, extractor, videos, level, batch_size=1)
    for video in together:
        np.testing.assert_allclose(together[video]["scores"], alone[video]["scores"], atol=tolerance, rtol=0)


def frames_of(path, times_s):
    """The frames of the best video stream shown at these times."""
    found = {}
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        origin = float((stream.start_time or 0) * stream.time_base)
        for frame in container.decode(stream):
            at = float(frame.pts * stream.time_base) - origin
            for time_s in times_s:
                if at <= time_s + 1e-3:
                    found[time_s] = frame.to_ndarray(format="rgb24").astype(float)
    return [found[time_s] for time_s in times_s]


def psnr(one, two):
    return 10 * np.log10(255**2 / max(np.mean((one - two) ** 2), 1e-9))


@pytest.mark.parametrize("name", ["nasa_13013", "sintel_trailer"])
def test_real_videos_through_the_demo_checkpoint(demo, test_data, name):
    """Within the budget; each segment's first and last frame is the source's; sound and picture last the same."""
    source, about = test_data / "video" / f"{name}.mp4", demo / "about.txt"
    about.write_text("A telescope.\nA girl looks for someone.\n")
    run("-m", "hiersum_hf", "summarize", source, "--subtitles", source.with_suffix(".srt"), "--description", about,
        "--model", demo / "demo" / "run", "--output", demo / "out", "--budget", "0.4", cwd=demo)  # fmt: skip
    folder = demo / "out" / name
    summary = json.loads((folder / "summary.json").read_text())
    spans = [(segment["start_s"], segment["end_s"]) for segment in summary["segments"]]
    total_s = sum(end - start for start, end in spans)
    assert summary["level"] == "both"
    assert total_s <= 0.4 * summary["duration_s"] + 1e-6
    with av.open(str(folder / "summary.mp4")) as container:
        for stream in (container.streams.video[0], container.streams.audio[0]):
            assert float(stream.duration * stream.time_base) == pytest.approx(total_s, abs=0.05)
    period, begin = 1 / probe(source).fps, 0.0
    for start, end in spans:
        last = end - start - period
        wanted = frames_of(source, [start, end - period])
        written = frames_of(folder / "summary.mp4", [begin, begin + last])
        for ours, theirs in zip(written, wanted, strict=True):
            assert psnr(ours[: theirs.shape[0]], theirs[: ours.shape[0], : ours.shape[1]]) > 30
        begin += end - start
