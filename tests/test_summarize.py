"""A video to its summary with a checkpoint that cannot read everything."""

import numpy as np
import pytest
import torch

from hiersum_hf import HierSumConfig, HierSumFeatureExtractor, HierSumModel
from hiersum_hf.records import Sentence, VideoRecord
from hiersum_hf.subtitles import write_srt
from hiersum_hf.summarize import summarize_video
from hiersum_hf.video import VideoInfo


@pytest.fixture
def mute(tmp_path):
    """A checkpoint of a training without text."""
    torch.manual_seed(0)
    sizes = {"video_dim": 8, "hidden_size": 16, "num_layers": 1, "num_attention_heads": 2}
    HierSumModel(HierSumConfig(**sizes, trained_levels=["child"])).save_pretrained(tmp_path / "mute")
    HierSumFeatureExtractor("eyes", "", 8).save_pretrained(tmp_path / "mute")
    return tmp_path / "mute"


def test_a_checkpoint_trained_without_text_leaves_texts_aside(mute, tmp_path, monkeypatch):
    """Read through a projection that was never trained they would be noise, and an encoder named "" does not load."""
    sentences = [Sentence("Cut the leek.", 1.0, 4.0), Sentence("Serve.", 10.0, 12.0)]
    write_srt(sentences, tmp_path / "talk.srt")
    (tmp_path / "talk.txt").write_text("How to cook a leek")
    seen = []

    def encode(video, extractor, sentences, description, duration_s, device):
        seen.extend([*sentences, *description])
        features = np.random.default_rng(0).random((40, 8), np.float32)
        return VideoRecord(str(video), features, np.arange(40) / 2, duration_s)

    monkeypatch.setattr("hiersum_hf.summarize.encode_video", encode)
    monkeypatch.setattr("hiersum_hf.summarize.probe", lambda video: VideoInfo(video, 20.0, 25.0, 64, 48, False))
    texts = {"subtitles": tmp_path / "talk.srt", "description": tmp_path / "talk.txt"}
    summary, kept = summarize_video("talk.mp4", **texts, model=mute, budget="8s", device="cpu")
    assert seen == []
    assert "The checkpoint was trained without text: subtitles and description are not read." in summary.warnings
    assert [sentence.text for sentence in kept] == ["Cut the leek.", "Serve."], "summary.srt still has them"
    monkeypatch.setattr("hiersum_hf.summarize.embedded_subtitles", lambda video: ())
    assert summarize_video("talk.mp4", model=mute, budget="8s", device="cpu")[0].scores == summary.scores
