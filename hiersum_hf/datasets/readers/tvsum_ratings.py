"""Read TVSum's raw ratings.

They are of 50 videos, each rated 1 to 5 by 20 annotators, frame by frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from hiersum_hf.files.changed import changed_ns
from hiersum_hf.files.h5_file import Member, member_names, read_cells, read_member
from hiersum_hf.modeling.errors_hiersum import InputError
from hiersum_hf.records import VideoRecord


RATING_STEP = 15  # the field reads the ratings at every 15th frame
RANK_STEP = 5  # and SumMe's ranks at every 5th
RATING_FPS = 30.0  # where the file does not tell a video's length; TVSum's own are 24 to 30
RATINGS = (".mat", ".tsv")  # how the files' names end
MAT_TABLE, MAT_FIELDS = "tvsum50", {"video", "title", "category", "user_anno", "length"}
MAX_LETTERS = 10_000  # of a title


@dataclass(frozen=True, eq=False)
class RatedVideo:
    """Hold the raw ratings of one video of TVSum or SumMe.

    Args:
        video_id: YouTube id; of SumMe the video's name.
        title: Title, "" where the file has none (the tsv, SumMe).
        category: Two letters such as "VT", "" of SumMe.
        user_scores: (U, n_frames) float64, TVSum: 1 to 5, U is 20; SumMe: ranks from 0, U is 15 to 18.
        n_frames: Number of frames.
        duration_s: Length of the video, None where the file does not tell (the tsv).
        user_summaries: (U, n_frames) bool, None of TVSum, whose annotators chose no summaries.
        source: The file.
    """

    video_id: str
    title: str
    category: str
    user_scores: np.ndarray
    n_frames: int
    duration_s: float | None = None
    user_summaries: np.ndarray | None = None
    source: str = ""


def read_ratings(path: str | Path) -> list[RatedVideo]:
    """Read TVSum's ratings, in file order.

    They are in `ydata-tvsum50.mat` or `ydata-tvsum50-anno.tsv`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is neither a MATLAB 7.3 (HDF5) file nor a table of id, category and ratings, or is damaged, or
            ratings are missing or no finite numbers; names the file and, where it is one video's, the entry.
    """
    path = Path(path)
    if path.suffix == ".tsv":
        return _read_tsv(path)
    table = read_member(path, MAT_TABLE, f", {MAT_TABLE}")
    if not set(table.names) >= MAT_FIELDS:
        found = sorted(table.names or member_names(path))
        raise InputError(f"{path}: expected {MAT_TABLE} with {sorted(MAT_FIELDS)}, found {found}. Fetch it again.")
    columns = read_cells(path, MAT_TABLE, sorted(MAT_FIELDS))
    return [_mat_video(columns, row, f"{path}, entry {row + 1}") for row in range(len(columns["video"]))]


def cached_ratings(path: Path) -> list[RatedVideo]:
    """Read the ratings once as long as the file stays the same."""
    return _cached_ratings(path, changed_ns(path))


@lru_cache(maxsize=4)
def _cached_ratings(path: Path, changed_ns: int) -> list[RatedVideo]:
    return read_ratings(path)


def rated_record(video: RatedVideo) -> VideoRecord:
    """Make a record of the ratings at every 15th frame, of SumMe's ranks at every 5th.

    The field measures them there. The record has no features and no shots. Where annotators chose summaries, its frame
    scores are the share of them that has a frame, min-max scaled.
    """
    summaries = video.user_summaries
    step = RATING_STEP if summaries is None else RANK_STEP
    # (U, N), N = ceil(n_frames / step): the picks 0, step, 2 step, ...
    users = video.user_scores[:, ::step]
    picks = np.arange(users.shape[1]) * step
    gtscore = None if summaries is None else summaries[:, picks].mean(axis=0)
    duration_s = video.duration_s or video.n_frames / RATING_FPS
    return VideoRecord(
        video_id=video.video_id,
        video_features=np.zeros((len(picks), 0), np.float32),
        frame_times_s=picks * duration_s / video.n_frames,
        duration_s=duration_s,
        description=(video.title,) if video.title else (),
        frame_scores=None if gtscore is None else min_max(gtscore),
        user_scores=users,
        user_summaries=summaries,
        picks=picks,
        n_frames=video.n_frames,
        source=video.source or None,
    )


def min_max(gtscore: np.ndarray) -> np.ndarray:
    """Scale scores to [0, 1]; where all are equal they are 0."""
    scaled: np.ndarray = ((gtscore - gtscore.min()) / (np.ptp(gtscore) or 1.0)).astype(np.float32)
    return scaled


def _mat_video(columns: Mapping[str, Sequence[Member]], row: int, where: str) -> RatedVideo:
    try:
        cells = {key: column[row].array() for key, column in columns.items()}
        if max(cells[key].size for key in ("video", "title", "category")) > MAX_LETTERS:
            raise InputError(f"a text of more than {MAX_LETTERS} letters")
        video, title, category = (
            # MATLAB stores texts as (letters, 1) numbers of characters.
            _repair("".join(map(chr, cells[key].ravel())))
            for key in ("video", "title", "category")
        )
        ratings, duration_s = cells["user_anno"].astype(np.float64), float(cells["length"][0, 0])
    except (IndexError, TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"{where}: expected {sorted(MAT_FIELDS)}, found a damaged entry ({error}). Fetch it again."
        ) from None
    if not 0 < duration_s < np.inf:
        raise InputError(f"{where}, video {video}: expected a length in seconds, found {duration_s}. Fetch it again.")
    _check(ratings, f"{where}, video {video}")
    return RatedVideo(
        video, title, category, ratings, ratings.shape[1], duration_s, source=where.rpartition(", entry")[0]
    )


def _check(ratings: np.ndarray, where: str) -> None:
    if ratings.ndim != 2 or ratings.size == 0:
        found = f"shape {ratings.shape}. Fetch it again"
        raise InputError(f"{where}: expected a row of ratings for each annotator, found {found}.")
    if not np.isfinite(ratings).all():
        raise InputError(f"{where}: expected finite ratings, found NaN or infinity. Fetch it again.")


def _repair(text: str) -> str:
    """Undo what TVSum's export did to titles.

    UTF-8 bytes were stored as latin-1, and those with commas put in quotes.
    """
    with suppress(UnicodeError):  # it was not mangled
        text = text.encode("latin-1").decode("utf-8")
    quoted = len(text) > 1 and text[0] == text[-1] == '"'
    return text[1:-1].replace('""', '"') if quoted else text


def _read_tsv(path: Path) -> list[RatedVideo]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected TVSum's ratings, found no such file. Fetch them.")
    ratings: dict[tuple[str, str], list[np.ndarray]] = {}
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                # 20 rows a video, one an annotator: id, category, and a rating for each frame with commas between.
                video_id, category, scores = line.decode().rstrip("\r\n").split("\t")
                ratings.setdefault((video_id, category), []).append(np.array(scores.split(","), np.float64))
            except ValueError:
                expected = "expected id, category, comma-separated ratings, found another line"
                raise InputError(f"{path}, line {number}: {expected}. Fetch it again.") from None
    videos = []
    for (video_id, category), rows in ratings.items():
        if len({len(row) for row in rows}) > 1:
            found = f"found {sorted(map(len, rows))}. Fetch it again"
            raise InputError(f"{path}, video {video_id}: expected rows of one length, {found}.")
        _check(np.stack(rows), f"{path}, video {video_id}")
        videos.append(RatedVideo(video_id, "", category, np.stack(rows), len(rows[0]), source=str(path)))
    if not videos:
        raise InputError(f"{path}: expected rows of id, category and ratings, found an empty table. Fetch it again.")
    return videos
