"""Times at which the picture of a video changes abruptly.

PySceneDetect finds them (the extra "cuts").
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from av.video.reformatter import VideoReformatter

from hiersum_hf.video.faults import stream_start_s
from hiersum_hf.video.picture import progressive
from hiersum_hf.video.reader import VideoFile, clock_of_pass, timed_frames


INSTALL = 'Cut detection needs scenedetect-headless: pip install "hiersum-hf[cuts]"'
SIDE_PX = 256  # larger pictures are thinned to a longer side of 256 to 511, about as the library does
SHORTEST_S = 0.5  # of the stretches between cuts; not given in the paper


class CutFinder:
    """Finder of hard cuts that is shown every frame of a video.

    It is PySceneDetect's adaptive detector with its own thresholds: the change of colour and brightness from one frame
    to the next, compared with that of the two frames before and after, so that a moving camera is not a cut. Soft
    transitions are mostly missed. It brings opencv-python-headless, about 150 MB. Not in the paper.

    Raises:
        ImportError: PySceneDetect is not installed.
    """

    def __init__(self) -> None:
        try:
            from scenedetect import AdaptiveDetector, FrameTimecode
        except ImportError as error:
            raise ImportError(INSTALL) from error
        self._detector, self._time = AdaptiveDetector(min_scene_len=SHORTEST_S), FrameTimecode
        self._converter, self._found_s = VideoReformatter(), list[float]()
        self._size = (0, 0)  # of the first picture, for all: the size may change on the way

    def watch(self, time_s: float, frame: Any) -> None:
        """Look at a PyAV frame.

        It looks at every k-th row and column; frames before 0 s are passed over.
        """
        if time_s < 0:
            return
        # Scaled by FFmpeg as well, dark pictures change their colours and cuts are found where none are.
        self._size = self._size if any(self._size) else (frame.width, frame.height)
        image = self._converter.reformat(frame, *self._size, "bgr24").to_ndarray()
        step = max(1, max(self._size) // SIDE_PX)
        time = self._time(time_s, 25.0)  # the rate is for frame numbers, which are not used
        small = np.ascontiguousarray(image[::step, ::step])
        self._found_s += [cut.seconds for cut in self._detector.process_frame(time, small)]

    @property
    def cuts_s(self) -> np.ndarray:
        """Times of the first frames after a cut.

        They are (C,) ascending seconds, at least 0.5 s apart; empty without one.
        """
        return np.array(self._found_s)


def find_cuts(video: str | Path | VideoFile) -> np.ndarray:
    """Find the hard cuts of a video.

    It decodes every frame, in constant memory.

    Args:
        video: Any file that FFmpeg reads.

    Returns:
        As `CutFinder.cuts_s`.

    Raises:
        ImportError: PySceneDetect is not installed.
        FileNotFoundError: There is no such file.
        ValueError: The file is not readable.
    """
    finder, file = CutFinder(), video if isinstance(video, VideoFile) else VideoFile(video)
    with file.packets() as (container, stream):
        clock = clock_of_pass(container, stream)
        frames = timed_frames(container, stream, stream_start_s(stream), clock=clock)
        for time_s, frame in progressive(frames):
            finder.watch(time_s, frame)
    return finder.cuts_s
