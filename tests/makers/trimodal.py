"""The three files of a trimodal release."""

import numpy as np


METADATA = """video_id,youtube_id,duration,views,labels,cluster_id
aaa,yt-a,5,70000,[1],0
bbb,yt-b,4,90000,"[1, 2]",3
ccc,yt-b,4,90000,[1],3
ddd,yt-d,4,50000,[1],9
"""


def rows(seed: int, seconds: int, width: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((seconds, width)).astype(np.float32)


def annotation(**changes) -> dict:
    group = {
        "gt_score": np.array([0.2, 0.1, 0.9, 0.15, 0], np.float32),
        "gt_summary": np.array([0, 0, 1, 0, 0]),
        "change_points": np.array([[0, 2], [2, 3], [3, 5]]),
    }
    return {key: value for key, value in (group | changes).items() if value is not None}


VIDEO = {"aaa": rows(0, 5, 8), "bbb": rows(1, 4, 8), "ccc": rows(2, 5, 8)}  # ddd has none
TEXT = {"aaa": rows(3, 5, 6), "bbb": rows(4, 3, 6)}
