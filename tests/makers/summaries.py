"""A summary without its video."""

import numpy as np

from hiersum_hf.records import Budget, Segment, Sentence, Summary


SENTENCES = (Sentence("Red <b> & *bold*.", 0.5, 1.5), Sentence("Green.", 2.2, 3.8), Sentence("Blue.", 4.5, 5.5))


def make_summary(video="talk.mp4", segments=((2.0, 4.0, 0.9), (5.0, 6.0, 0.5)), sentences=SENTENCES[1:], chapters=()):
    """Of a video of 6 s in which each second pair has a colour of its own."""
    times_s = np.arange(12) / 2
    return Summary(
        video=str(video),
        duration_s=6.0,
        budget=Budget("seconds", 3.0, 3.0),
        level=None,
        scorer="training-free",
        fallback=False,
        segments=tuple(Segment(*segment) for segment in segments),
        key_sentences=tuple({"start_s": s.start_s, "end_s": s.end_s, "text": s.text, "score": 0.5} for s in sentences),
        shots=({"start_s": 0.0, "end_s": 6.0, "score": 0.5, "selected": False},),
        scores={"times_s": times_s.tolist(), "values": (times_s / 6).tolist()},
        checkpoint=None,
        encoders={"video": None, "text": None},
        warnings=("No checkpoint given.",),
        chapters=chapters,
    )
