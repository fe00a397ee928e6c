"""What the app's tests share: a clip, what is uploaded, and a scorer that reads files but sees the same everywhere."""

import time

import av
import numpy as np
import pytest

from hiersum_hf import HierSumFeatureExtractor
from hiersum_hf.inference.scorer import Scorer
from hiersum_hf.inference.source import Encoded, Source
from hiersum_hf.records import VideoRecord


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """6 s of changing colours."""
    path = tmp_path_factory.mktemp("clip") / "clip.webm"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(60):
            image = np.full((48, 64, 3), 40 * (i // 10), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


class Letters:
    """A text encoder that counts letters."""

    def encode(self, texts):
        counts = [[text.lower().count(letter) for letter in "aeiounrst"] for text in texts]
        return np.array(counts, np.float32).reshape(-1, 9)


@pytest.fixture
def scorer(monkeypatch):
    """Reads files as they are, but sees the same frames in every video; `pace` is how long it looks at each, in s."""

    def encode(source, file, load, batch_size, cache, cut, tell):
        features = np.random.default_rng(0).random((12, 8), np.float32)
        times_s = np.arange(12) / 2
        for at_s in times_s:
            tell(at_s)
            time.sleep(source.scorer.__dict__.get("pace", 0))
        record = VideoRecord(
            source.video_id, features, times_s, source.duration_s, description=source.description,
            sentences=source.sentences, text_features=Letters().encode([one.text for one in source.sentences]),
        )  # fmt: skip
        return Encoded(record, source.notes)

    monkeypatch.setattr(Source, "_encode_file", encode)
    scorer = Scorer(HierSumFeatureExtractor("eyes", "words", 8, 9))
    scorer.__dict__["text_encoder"] = Letters()
    return scorer
