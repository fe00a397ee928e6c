"""Features with times to the network's input, and back to scores.

Letters: B videos, N frames, M sentences, K description texts.
"""

# mypy: disable-error-code="no-untyped-call"
# (Transformers leaves its base class unannotated)

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from transformers import BatchFeature, FeatureExtractionMixin

from .errors_hiersum import HierSumError
from .inputs_hiersum import times_to_spans as times_to_spans  # also known under this module's name
from .levels_hiersum import check_level


if TYPE_CHECKING:
    import torch


ROWS_AT_ONCE = 4096  # normalised together, for memory


class HierSumFeatureExtractor(FeatureExtractionMixin):
    """Feature extractor that builds the input of `HierSumModel`.

    It takes features with times, and knows what the features must be made with.

    Args:
        video_encoder (`str`): Model id of the frozen frame encoder.
        text_encoder (`str`): Model id of the frozen sentence encoder.
        video_dim (`int`): Width Dv of the frame features.
        text_dim (`int`): Width Dt of the text features.
        sample_fps (`float`): Frames a second that are encoded.
        normalization (`str`): What was done to the frame features after the encoder, such as a dequantisation.
        normalize_features (`bool`): Scale every feature row to unit length.
    """

    model_input_names = ["video_features", "video_mask", "text_features", "text_mask", "text_spans"]  # noqa: RUF012
    padding_side = "right"
    padding_value = 0.0
    _auto_class = "AutoFeatureExtractor"  # as `register_for_auto_class` sets it, which loads torch

    def __init__(
        self,
        video_encoder: str = "openai/clip-vit-base-patch32",
        text_encoder: str = "sentence-transformers/all-mpnet-base-v2",
        video_dim: int = 512,
        text_dim: int = 768,
        sample_fps: float = 2.0,
        normalize_features: bool = True,
        normalization: str = "none",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.normalization = normalization
        self.video_encoder = video_encoder
        self.text_encoder = text_encoder
        self.video_dim = video_dim
        self.text_dim = text_dim
        self.sample_fps = sample_fps
        self.normalize_features = normalize_features

    def __call__(
        self,
        video_features: Sequence[np.ndarray],
        frame_times_s: Sequence[np.ndarray] | None = None,
        text_features: Sequence[np.ndarray] | None = None,
        text_times_s: Sequence[np.ndarray] | None = None,
        description_features: Sequence[np.ndarray] | None = None,
        level: str = "child",
        video_ids: Sequence[str] | None = None,
        return_tensors: str | None = "pt",
    ) -> BatchFeature:
        """Build a padded batch.

        Every argument is a list with one entry a video. A single video may be given without the list.

        Args:
            video_features: (N, Dv) arrays, one row for each sampled frame.
            frame_times_s: (N,) arrays, ascending: when each frame is shown. Default: row / `sample_fps`.
            text_features: (M, Dt) arrays, one row for each subtitle sentence.
            text_times_s: (M, 2) arrays: [start_s, end_s) of each sentence. Needed with `text_features`.
            description_features: (K, Dt) arrays, one row for each text about the whole video.
            level: "child" takes the sentences, "parent" the description, "joint" both (sentences first).
            video_ids: Names used in error messages. Default: "video 0", ...
            return_tensors: "pt", "np" or None.

        Returns:
            `video_features` (B, N, Dv), `video_mask` (B, N), `text_features` (B, M, Dt), `text_mask` (B, M),
            `text_spans` (B, M, 2) and `level`: what `HierSumModel.forward` takes.

        Raises:
            ValueError: A wrong width or length, NaN or infinite features, times that do not ascend, a sentence outside
                the video. The message names the video.
        """
        check_level(level)
        if getattr(video_features, "ndim", 0) == 2:
            single = (video_features, frame_times_s, text_features, text_times_s, description_features, video_ids)
            one_each: Any = [None if value is None else [value] for value in single]
            video_features, frame_times_s, text_features, text_times_s, description_features, video_ids = one_each
        count = len(video_features)
        names = list(video_ids) if video_ids is not None else [f"video {i}" for i in range(count)]
        columns = {
            "frame_times_s": frame_times_s,
            "text_features": text_features,
            "text_times_s": text_times_s,
            "description_features": description_features,
        }
        for column, values in (columns | {"video_ids": names}).items():
            if values is not None and len(values) != count:
                raise HierSumError(f"{column} must have one entry for each of the {count} videos, got {len(values)}.")
        videos = [
            self._one_video(
                name, level, video_features[i], *(None if values is None else values[i] for values in columns.values())
            )
            for i, name in enumerate(names)
        ]
        own = count == 1 and self.normalize_features  # no copy of a copy: that of ten hours takes 370 MB
        batch = {
            "video_features": videos[0][0][None] if own else pad([video[0] for video in videos]),
            "video_mask": pad([np.ones(len(video[0]), bool) for video in videos]),
            "text_features": pad([video[1] for video in videos]),
            "text_mask": pad([np.ones(len(video[1]), bool) for video in videos]),
            "text_spans": pad([video[2] for video in videos]),
        }
        features = BatchFeature(batch, tensor_type=return_tensors)
        features["level"] = level
        return features

    def _one_video(
        self,
        name: str,
        level: str,
        video: np.ndarray,
        times_s: np.ndarray | None,
        sentences: np.ndarray | None,
        sentence_times_s: np.ndarray | None,
        description: np.ndarray | None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Check one video, and choose the texts of the level.

        Returns:
            Features `(N, Dv)`, text features `(M, Dt)` and spans `(M, 2)`; M counts all texts that are read.
        """
        video = self._rows(name, "video_features", video, self.video_dim)
        num_frames = len(video)
        if num_frames == 0:
            raise HierSumError(f"{name}: video_features must have at least one row, got none.")
        times_s = np.arange(num_frames) / self.sample_fps if times_s is None else np.asarray(times_s, np.float64)
        if times_s.shape != (num_frames,) or not (np.diff(times_s) > 0).all():
            raise HierSumError(
                f"{name}: frame_times_s must be {num_frames} ascending times, one for each row of video_features, "
                f"got shape {times_s.shape}{'' if times_s.shape != (num_frames,) else ' that does not ascend'}."
            )
        texts, spans = np.zeros((0, self.text_dim), np.float32), np.zeros((0, 2), np.int64)
        if level != "parent" and sentences is not None and len(sentences):
            texts = self._rows(name, "text_features", sentences, self.text_dim)
            spans = self._spans(name, times_s, sentence_times_s, len(texts))
        if level != "child" and description is not None and len(description):
            whole = self._rows(name, "description_features", description, self.text_dim)
            texts = np.concatenate([texts, whole])
            spans = np.concatenate([spans, np.tile([0, num_frames], (len(whole), 1))])
        return video, texts, spans

    def _rows(self, name: str, kind: str, features: Any, width: int) -> np.ndarray:
        """Refuse features of another width or with NaN, and scale the others."""
        if hasattr(features, "detach"):
            features = features.detach().float().cpu()
        rows = np.asarray(features, dtype=np.float32)
        if rows.ndim != 2 or rows.shape[1] != width:
            raise HierSumError(
                f"{name}: {kind} must have shape (rows, {width}) as made by "
                f"{self.video_encoder if kind == 'video_features' else self.text_encoder!r}, got {rows.shape}."
            )
        bad = ~np.isfinite(rows).all(axis=1)
        if bad.any():
            raise HierSumError(
                f"{name}: {kind} must be finite, got NaN or infinity in {bad.sum()} rows, first {bad.argmax()}."
            )
        return self.scaled(rows)

    def scaled(self, rows: np.ndarray) -> np.ndarray:
        """Scale features (n, D) to what the network sees.

        Rows of unit length, if `normalize_features`.
        """
        if not self.normalize_features:
            return rows
        unit = np.empty_like(rows)
        for first in range(0, len(rows), ROWS_AT_ONCE):
            part = rows[first : first + ROWS_AT_ONCE]
            norms = np.linalg.norm(part, axis=1, keepdims=True)
            np.divide(part, np.maximum(norms, 1e-12), out=unit[first : first + ROWS_AT_ONCE])
        return unit

    def _spans(self, name: str, times_s: np.ndarray, text_times_s: Any, count: int) -> np.ndarray:
        """Turn times into spans (M, 2), and refuse sentences outside the video."""
        text_times_s = np.asarray([] if text_times_s is None else text_times_s, np.float64)
        if text_times_s.shape != (count, 2):
            raise HierSumError(f"{name}: text_times_s must have shape ({count}, 2), got {text_times_s.shape}.")
        period_s = np.diff(times_s).mean() if len(times_s) > 1 else 1 / self.sample_fps
        last_s = times_s[-1] + period_s  # the last frame stands for one more period
        start_s, end_s = text_times_s.T
        outside = ~((end_s >= start_s) & (end_s >= 0) & (start_s < last_s))
        if outside.any():
            first = int(outside.argmax())
            raise HierSumError(
                f"{name}: sentence {first} must lie within the video (0 to {last_s:.2f} s) and not end before it "
                f"starts, got {start_s[first]:.2f} to {end_s[first]:.2f} s."
            )
        return times_to_spans(times_s, text_times_s)

    def post_process_video_summarization(
        self,
        outputs: Any,
        inputs: BatchFeature,
        frame_times_s: Sequence[np.ndarray] | None = None,
        score_head: str = "importance",
    ) -> list[dict[str, np.ndarray]]:
        """Turn the network's output into scores with times, padding cut off.

        Args:
            outputs (`HierSumOutput` or a list of them): Of one level, or of several levels on the same videos: then the
                result is the sigmoid of the mean of their logits (level "both").
            inputs: The batch that went into the model; with several outputs, that of the first.
            frame_times_s: As given to the call. Default: row / `sample_fps`.
            score_head: "importance" or "replay", normally `config.score_head`.

        Returns:
            One dict a video: `scores` (N,) in [0, 1], `times_s` (N,), `sentence_scores` (M,) (empty if there are none).
        """
        import torch  # seconds, which a video is read in meanwhile

        outputs = list(outputs) if isinstance(outputs, list | tuple) else [outputs]
        # Level "both" is not given in the paper: sigmoid of the mean of the levels' logits
        logits = torch.stack([frame_logits(output, score_head) for output in outputs]).mean(0)  # (B, N)
        scores = torch.sigmoid(logits).cpu().numpy()
        lengths = np.asarray(inputs["video_mask"]).sum(1)
        text_lengths = np.asarray(inputs["text_mask"]).sum(1)
        sentences = outputs[0].sentence_logits
        results = []
        for i, length in enumerate(lengths):
            times_s = np.arange(length) / self.sample_fps if frame_times_s is None else np.asarray(frame_times_s[i])
            spoken = np.zeros(0) if sentences is None else torch.sigmoid(sentences[i].float()).detach().cpu().numpy()
            results.append(
                {"scores": scores[i, :length], "times_s": times_s, "sentence_scores": spoken[: text_lengths[i]]}
            )
        return results


def frame_logits(output: Any, score_head: str) -> "torch.Tensor":
    """Read the logits of the head that scores.

    Args:
        output (`HierSumOutput`): Of one level.
        score_head (`str`): `"importance"`, or `"replay"` for the logits of the regressed replay scores.

    Returns:
        `torch.Tensor` of shape `(B, N)`, float32 or wider.
    """
    import torch

    wide = torch.promote_types(output.frame_logits.dtype, torch.float32)
    if score_head == "importance":
        logits: torch.Tensor = output.frame_logits.detach().to(wide)
        return logits
    return torch.logit(output.replay_scores.detach().to(wide), eps=1e-6)


def pad(arrays: Sequence[np.ndarray], value: float = 0) -> np.ndarray:
    """Stack B arrays, filled up with `value` to one length."""
    length = max(len(array) for array in arrays)
    padded = np.full((len(arrays), length, *arrays[0].shape[1:]), value, dtype=arrays[0].dtype)
    for row, array in zip(padded, arrays, strict=True):
        row[: len(array)] = array
    return padded
