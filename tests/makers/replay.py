"""A file of most-replayed curves and its features."""

import h5py


def video(video_id, values, views, bin_s=2.0, **more):
    bins = [{"start_time": bin_s * i, "end_time": bin_s * (i + 1), "value": v} for i, v in enumerate(values)]
    return {"id": video_id, "view_count": views, "heatmap": bins} | more


VIDEOS = [
    video("a", (1, 0.1, 0.2, 0.05), 70_000, title="How to fry"),
    video("b", (0.9, 1, 0.8, 0.7), 900, bin_s=0.7),
    video("c", (0, 1), None),
    {"id": "d", "view_count": 5, "heatmap": None},
]


def write_features(path, nodes, **attributes):
    with h5py.File(path, "w") as file:
        file.attrs.update({"sample_fps": 0.5, "video_encoder": "clip"} | attributes)
        for name, node in nodes.items():
            file[name] = node
    return path
