"""Frames that look the same as others of another shot.

Not given in the paper. Letters: N sampled frames, M sentences, F and O some of the frames.
"""

from __future__ import annotations

import numpy as np


SAME_PICTURE = 0.985  # cosine of features
SAME_WORDS = 0.9
BLOCK = 1024  # frames compared at once, for memory
DIRECTIONS = 128  # random ones, in which features of more numbers are compared


class Looks:
    """Which frames of a video repeat frames of other shots.

    They look the same while the same or nothing is said.

    Args:
        features: (N, D) of the frames.
        shot_of: (N,) number of the shot that each frame belongs to.
        said: (N,) index of the sentence spoken at each frame, -1 for none.
        words: (M, Dt) features of the sentences; (0, 0) where unknown, and no sentence repeats another.
    """

    def __init__(self, features: np.ndarray, shot_of: np.ndarray, said: np.ndarray, words: np.ndarray):
        rows = _unit(features)
        if rows.shape[1] > DIRECTIONS:  # cosines near `SAME_PICTURE` stay within .01, at a tenth of the work
            directions = np.random.default_rng(0).normal(size=(rows.shape[1], DIRECTIONS))
            rows = _unit(rows @ directions.astype(np.float32))
        self.rows = rows
        self.shot_of, self.said = shot_of, said
        words = _unit(words)
        alike = words @ words.T >= SAME_WORDS if len(words) else np.zeros((0, 0), bool)
        np.fill_diagonal(alike, False)  # one sentence over a cut is no repeat
        self.again = [np.flatnonzero(row) for row in alike]  # the sentences that repeat each

    def repeats(self, first: np.ndarray, others: np.ndarray, in_order: bool = False) -> np.ndarray:
        """Tell which of `others` repeat any of `first`, (O,).

        With `in_order` only what comes before counts.
        """
        found = np.zeros(len(others), bool)
        told = self.said[first]
        for sentence in np.unique(told):
            same = [-1] if sentence < 0 else self.again[sentence] if sentence < len(self.again) else []
            candidates = np.flatnonzero(np.isin(self.said[others], same))
            places = np.flatnonzero(told == sentence)
            for part in np.array_split(places, len(places) // BLOCK + 1) if len(candidates) else ():
                alike = self._alike(first[part], others[candidates])
                if in_order:
                    alike &= part[:, None] < candidates
                found[candidates] |= alike.any(axis=0)
        return found

    def _alike(self, first: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Tell which pictures of different shots are near-identical, (F, O)."""
        near: np.ndarray = self.rows[first] @ self.rows[others].T >= SAME_PICTURE  # (F, O) cosines
        near &= self.shot_of[first][:, None] != self.shot_of[others]
        return near


def _unit(rows: np.ndarray) -> np.ndarray:
    """Scale rows to length 1, float32."""
    rows = np.asarray(rows, np.float32)
    unit: np.ndarray = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return unit
