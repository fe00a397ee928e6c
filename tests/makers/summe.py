"""SumMe's annotation files, in the data set's own form."""

import numpy as np
from scipy.io import savemat


def write_mat(path, n_frames=64, users=3, **changes):
    """One video's .mat: user u ranks a stretch of a tenth of the frames, from frame 5 u on; None removes a member."""
    ranks = np.zeros((n_frames, users), np.uint8)
    for u in range(users):
        ranks[5 * u : 5 * u + n_frames // 10, u] = u + 1
    members = {
        "user_score": ranks,
        "gt_score": (ranks > 0).mean(axis=1, keepdims=True),
        "segments": np.array([[np.array([[0.0, 1.0]])] * users], object),
        "FPS": 25,
        "video_duration": n_frames / 25,
        "nFrames": n_frames,
    }
    members |= changes
    savemat(path, {key: value for key, value in members.items() if value is not None}, do_compression=True)
    return path
