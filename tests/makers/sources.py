"""Sources joined, read, cut, and what is told of them."""

from dataclasses import replace
from itertools import pairwise

import av

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


def stored(folder, name, *films):
    """The packets of films at their own times in one file, as a recorder that was off for a while writes it."""
    suffix = ".mp4" if films[0].codec == "libx264" else name[name.index(".") :]  # tells when to decode
    parts = [replace(film, name=f"part{k}{suffix}") for k, film in enumerate(films)]
    with av.open(str(folder / name), "w") as target:
        streams = []
        for part in parts:
            with av.open(str(part.write(folder))) as source:
                streams = streams or [target.add_stream_from_template(one, opaque=True) for one in source.streams]
                for packet in source.demux():
                    if packet.size:
                        packet.stream = streams[packet.stream_index]
                        target.mux(packet)
    return folder / name


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
