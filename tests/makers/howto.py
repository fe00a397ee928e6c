"""What a downloader writes beside the videos of HowTo articles."""

import json

from tests.makers.own_folder import write_npz


VTT = "WEBVTT\n\n00:01.000 --> 00:02.000\nBreak it.\n"
HEATMAP = [{"start_time": i, "end_time": i + 1, "value": value} for i, value in enumerate((1, 0.1, 0.2, 0.05, 0.1))]
NO_TEXT = {"text_features": None, "description_features": None, "text_encoder": None}
IDS = ["FNku56czK_0", "Bbpgl1YL-Rk", "xYXj9DwKHr4"]


def write_video(folder, name, info=None, subtitles=True, **features):
    """A video of 5 s, one frame a second, with the files that a downloader writes beside it."""
    folder.mkdir(exist_ok=True)
    write_npz(folder / f"{name}.npz", **{"duration_s": 5.0} | NO_TEXT | features)
    if info is not None:
        (folder / f"{name}.info.json").write_text(info if isinstance(info, str) else json.dumps(info))
    if subtitles:
        (folder / f"{name}.en.vtt").write_text(VTT)


INFO = {"id": IDS[0], "title": "EGG!!", "description": "Eggs.\n\nSubscribe", "view_count": 12_000, "heatmap": HEATMAP}
