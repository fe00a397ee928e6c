"""A folder of videos encoded by the colour encoder."""

from hiersum_hf.features.cache import FrameSettings
from hiersum_hf.inference import extract
from hiersum_hf.inference.extract import find_videos


SETTINGS = FrameSettings("colour", 2.0)


def run(folder, output):
    return extract.extract(find_videos([folder])[0], output, SETTINGS, "cpu")
