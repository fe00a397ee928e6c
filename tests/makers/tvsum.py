"""A group of the field's HDF5 files."""

import numpy as np


def write_group(file, name, n_frames=64, shots=((0, 29), (30, 37), (38, 63)), width=8, **changes):
    """One group of an eccv16 file in its documented format, with `changes` (None removes a member)."""
    rng = np.random.default_rng(0)
    picks = np.arange(0, n_frames, 15)
    members = {
        "features": rng.random((len(picks), width), np.float32),
        "gtscore": np.linspace(0.2, 0.7, len(picks), dtype=np.float32),
        "gtsummary": np.zeros(len(picks), np.float32),
        "user_summary": rng.integers(0, 2, (20, n_frames)).astype(np.float32),
        "change_points": np.array(shots),
        "n_frame_per_seg": np.array([end - start + 1 for start, end in shots]),
        "n_frames": np.array(n_frames),
        "picks": picks,
        "n_steps": np.array(len(picks)),
    }
    for key, value in (members | changes).items():
        if value is not None:
            file[f"{name}/{key}"] = value
