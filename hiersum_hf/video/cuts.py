"""Times at which the picture of a video changes abruptly, by PySceneDetect (the extra "cuts")."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from av.video.reformatter import VideoReformatter

from hiersum_hf.video.reader import opened, stream_start_s, timed_frames


INSTALL = 'Cut detection needs scenedetect-headless: pip install "hiersum-hf[cuts]"'
SIDE_PX = 256  # larger pictures are thinned to a longer side of 256 to 511, about as the library does
SHORTEST_S = 0.5  # of the stretches between cuts; not given in the paper


def find_cuts(video: str | Path) -> np.ndarray:
    """Decode every frame of a video, in constant memory, and find its hard cuts.

    PySceneDetect's adaptive detector with its own thresholds: the change of colour and brightness from one frame to the
    next, compared with that of the two frames before and after, so that a moving camera is not a cut. Soft transitions
    are mostly missed. It brings opencv-python-headless, about 150 MB. Not in the paper.

    Args:
        video: Any file that FFmpeg reads.

    Returns:
        (C,) ascending seconds: times of the first frames after a cut, at least 0.5 s apart; empty if there is none.

    Raises:
        ImportError: PySceneDetect is not installed.
        FileNotFoundError: There is no such file.
        ValueError: The file is not readable.
    """
    try:
        from scenedetect import AdaptiveDetector, FrameTimecode
    except ImportError as error:
        raise ImportError(INSTALL) from error
    detector, cuts_s = AdaptiveDetector(min_scene_len=SHORTEST_S), []
    for time_s, image in _small_frames(video):
        time = FrameTimecode(time_s, 25.0)  # the rate is for frame numbers, which are not used
        cuts_s += [cut.seconds for cut in detector.process_frame(time, image)]
    return np.array(cuts_s)


def _small_frames(video: str | Path) -> Iterator[tuple[float, np.ndarray]]:
    """(seconds, uint8 BGR image) of every frame from 0 s on, every k-th row and column of it."""
    with opened(video) as (container, stream):
        step = max(1, max(stream.width, stream.height) // SIDE_PX)
        converter = VideoReformatter()
        for time_s, frame in timed_frames(container, stream, stream_start_s(stream)):
            if time_s >= 0:
                # Scaled by FFmpeg as well, dark pictures change their colours and cuts are found where none are.
                image = converter.reformat(frame, stream.width, stream.height, "bgr24").to_ndarray()
                yield time_s, np.ascontiguousarray(image[::step, ::step])
