"""The three files of Mr.HiSum as they are published."""

import numpy as np


METADATA = """video_id,yt8m_file,random_id,youtube_id,duration,views,labels
video_1,train0026,ORaA,JhdjUam0l6A,8,84554,[8]
video_2,train0026,IwaA,wq7rSbQx2G8,6,170768,"[  11   20
   22]"
video_3,train2649,YGQT,m39ujLkXGyM,5,122203,[ 2 30 55]
video_4,train2649,YGQT,m39ujLkXGyM,5,122203,[ 2 30 55]
video_5,train2649,fRQT,hlhqR0uFmlU,4,54809,[2]
video_6,train2649,fRQT,hlhqR0uFmlU,4,54809,[2]
"""
SPLIT = {
    "train_keys": ["video_4", "video_6", "video_5"],
    "val_keys": ["video_3", "video_2"],
    "test_keys": ["video_1"],
}
SCORES = np.array([0, 0.1, 0.15, 0.2, 1, 0.14, 0.3, 0])


def frame_features(seconds: int, width: int = 1024) -> np.ndarray:
    return np.random.default_rng(seconds).standard_normal((seconds, width)).astype(np.float32)


def members(**changes) -> dict:
    """A group of 8 seconds with closed change points; None removes a member."""
    summary = np.array([0, 0, 0, 0, 1, 0, 0, 0], np.float32)
    points = np.array([[0, 3], [4, 4], [5, 7]])
    group = {"features": frame_features(8), "gtscore": SCORES, "gt_summary": summary, "change_points": points}
    return {key: value for key, value in (group | changes).items() if value is not None}
