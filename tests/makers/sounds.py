"""A video whose sound is stored in parts."""

from fractions import Fraction

import av
import numpy as np


RATE, PART_S = 8000, 0.5
CODECS = {"s16": "pcm_s16le", "u8": "pcm_u8", "s32": "pcm_s32le", "flt": "pcm_f32le"}
AS = {
    "s16": lambda samples: samples,
    "u8": lambda samples: (samples // 256 + 128).astype(np.uint8),
    "s32": lambda samples: samples.astype(np.int32) * 65536,
    "flt": lambda samples: (samples / 32768).astype(np.float32),
}


def write_sounds(path, starts_s, begin_s=0.0, layout="mono", form="s16"):
    """Half a second of black from `begin_s` on, and half a second of noise at each start; nothing is stored between."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as target:
        pictures = target.add_stream("mpeg4", rate=10)
        pictures.width, pictures.height, pictures.pix_fmt = 32, 32, "yuv420p"
        audio = target.add_stream(CODECS[form], rate=RATE, layout=layout) if len(starts_s) else None
        for k in range(5):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            frame.pts = round(10 * begin_s) + k
            target.mux(pictures.encode(frame))
        target.mux(pictures.encode(None))
        for start_s in starts_s:
            noise = rng.integers(-9000, 9000, (round(RATE * PART_S), 1), np.int16)
            noise = np.repeat(noise, av.AudioLayout(layout).nb_channels, axis=1).reshape(
                1, -1
            )  # the same in all channels
            sound = av.AudioFrame.from_ndarray(AS[form](noise), format=form, layout=layout)
            sound.sample_rate, sound.pts, sound.time_base = RATE, round(start_s * RATE), Fraction(1, RATE)
            target.mux(audio.encode(sound))
        if audio:
            target.mux(audio.encode(None))
    return path


def loud_s(samples, rate):
    """Where there is noise: (start, end) in seconds, to a tenth."""
    tenth = rate // 10
    padded = np.pad(np.abs(samples), (0, -len(samples) % tenth))
    loud = np.concatenate([[0], padded.reshape(-1, tenth).mean(1) > 0.05, [0]])
    return [(start / 10, end / 10) for start, end in np.flatnonzero(np.diff(loud)).reshape(-1, 2)]
