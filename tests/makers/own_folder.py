"""The feature files of one's own videos."""

import numpy as np


def write_npz(path, **changes):
    """Features of a video of 5 s at one frame a second, two sentences, one description text; None removes a member."""
    rng = np.random.default_rng(0)
    members = {
        "video_features": rng.random((5, 4), np.float32),
        "frame_times_s": np.arange(5.0),
        "sample_fps": 1.0,
        "video_encoder": "some/clip",
        "text_encoder": "some/sbert",
        "text_features": rng.random((2, 3), np.float32),
        "description_features": rng.random((1, 3), np.float32),
        "normalization": "l2",
        "duration_s": 5.5,
    }
    np.savez(path, **{key: value for key, value in (members | changes).items() if value is not None})
