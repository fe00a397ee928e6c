"""Sources joined, read, cut, and what is told of them."""

from itertools import pairwise

from hiersum_hf.records import Segment
from hiersum_hf.video.faults import Reading
from hiersum_hf.video.reader import iter_frames
from hiersum_hf.video.writer import write_segments
from tests.makers.ruler import number_in
from tests.makers.videos import EVERY


def joined(folder, *films):
    """Files one after the other in one, as `cat` and recorders make it."""
    path = folder / f"joined{films[0].name[4:]}"
    path.write_bytes(b"".join(film.write(folder).read_bytes() for film in films))
    return path


def numbers(path, reading=None):
    """(second, number) of all pictures as the package reads them."""
    frames = [(time_s, number_in(image)) for time_s, image in iter_frames(path, EVERY, reading)]
    assert all(a < b for (a, _), (b, _) in pairwise(frames))
    return frames


def cut(path, *spans_s):
    """Some seconds of a source."""
    output = path.with_name("out.mp4")
    write_segments(path, [Segment(*span, 1.0) for span in spans_s], output)
    return output


def told(path):
    """What a user is told of a file, without its name."""
    reading = Reading()
    list(iter_frames(path, 2, reading))
    return [warning.removeprefix(f"{path}: ") for warning in reading.warnings]
