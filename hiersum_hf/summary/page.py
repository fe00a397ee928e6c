"""One page to watch a summary: player, curve, segments and what is said in them. It needs no network.

The player shows the segments of the source video and skips the rest, until somebody goes there or asks for the whole
video. Where a browser cannot show the source (moved, or in a format it does not know), it shows summary.mp4 from the
page's own folder, in which only the segments can be found.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from io import BytesIO

import numpy as np

from hiersum_hf.files.templates import render
from hiersum_hf.records import Sentence, Summary, clock


def summary_page(
    summary: Summary, sentences: Sequence[Sentence], source: str, pictures: Mapping[int, np.ndarray], short: bool = True
) -> str:
    """Return the page as one HTML text, with all that comes from a video or a subtitle file escaped.

    Args:
        summary: What was chosen.
        sentences: All sentences of the video; the one that is spoken shows below the player.
        source: URL of the video, relative to the page.
        pictures: Segment number -> uint8 (h, w, 3); a segment may have none.
        short: summary.mp4 lies beside the page.
    """
    begin_s, segments = 0.0, []
    for segment in summary.segments:
        segments.append({"start_s": segment.start_s, "end_s": segment.end_s, "begin_s": begin_s})
        begin_s += segment.end_s - segment.start_s
    spoken = [{"start_s": s.start_s, "end_s": s.end_s, "text": s.text} for s in sentences]
    data = {"source": source, "duration_s": summary.duration_s, "segments": segments, "sentences": spoken}
    shown = {number: _jpeg(picture) for number, picture in pictures.items()}
    return render("summary.html.j2", summary=summary, data=data, pictures=shown, clock=clock, short=short)


def _jpeg(picture: np.ndarray) -> str:
    """Return a picture (h, w, 3) as a JPEG in base64."""
    from PIL import Image

    target = BytesIO()
    Image.fromarray(picture).save(target, "JPEG", quality=80)
    return b64encode(target.getvalue()).decode()
