"""The `video-summarization` pipeline, from a video to its summary.

Where the package is missing it goes from features to scores.
"""

# mypy: disable-error-code="override, assignment, no-untyped-call"
# (the annotations of the base class are narrower than what its documentation asks for, or missing)

import importlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import numpy as np
from transformers import AutoModel
from transformers.pipelines import PIPELINE_REGISTRY
from transformers.pipelines.base import ChunkPipeline

from .errors_hiersum import HierSumError
from .inputs_hiersum import CHOICE, check_given, known_features
from .levels_hiersum import levels_to_read
from .levels_hiersum import usable_level as usable_level  # also known under this module's name


TASK = "video-summarization"
PACKAGE = "hiersum_hf"
ERRORS = (ValueError, OSError)  # of one video


class HierSumPipeline(ChunkPipeline):
    """Pipeline that summarizes videos with a HierSum checkpoint.

    Each level that is read is one chunk.

    ```
    summary = pipe("talk.mp4", subtitles="talk.srt", description=["Cook a leek", "Cut it."], budget="60s")
    scores = pipe({"video_features": frames, "text_features": sentences, "text_times_s": times_s})
    ```
    """

    feature_extractor: Any
    _load_feature_extractor = True
    _load_tokenizer = False
    _load_processor = False
    _load_image_processor = False
    _load_video_processor = False

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Summarize one video or a list of videos.

        Args:
            inputs: One video or a list of videos, each one of these:

                - a path, or an open binary file (copied to a temporary one);
                - decoded frames, `(times_s, frames)` or, with `fps`, `frames`: uint8 RGB of shape `(N, H, W, 3)`,
                  thinned out to the checkpoint's sample rate;
                - a dict with `video` (any of the above) or `video_features` `(N, Dv)`, and any of `subtitles`,
                  `description`, `fps`, `frame_times_s` `(N,)`, `text_features` `(M, Dt)` with `text_times_s` `(M, 2)`
                  or the `subtitles` they were made from, `description_features` `(K, Dt)`, `duration_s`, `video_id`,
                  and what made the features: `video_encoder`, `text_encoder`, `normalization`, `sample_fps`.

                Times are in seconds from the start of the video. None stands for a key that is not given.
            subtitles: Of the one video: a path, the text of a subtitle file, or sentences (start_s, end_s, text).
                Default: a file beside the video under its name, else the text track in it.
            description: Of the one video: a path, a text, a list of steps, or a dict with title, description and steps.
                Default: a file beside the video under its name.
            fps (`float`): Frames a second of decoded frames that come without times.
            budget (`str` or `float`, defaults to 0.15): 0.15 or "15%" of the video; "60s", "1:30", "10min".
            query (`str` or list): What the summary shall be about, one text or several.
            keep, skip: Stretches that must, or must not, be in it, whatever the scores: "1:20-1:40", (80, 100), or a
                list of these.
            selection (`str`, defaults to "importance"): How it is chosen; "keyshot" is the field's rule.
            min_segment (`float`, defaults to 3): Least length of a segment in seconds.
            level (`str`): "child", "parent", "both" or "joint"; default `config.default_level`.
            batch_size (`int`): How many forwards run together; no score depends on it.
            return_exceptions (`bool`, defaults to False): Give the error of a video that cannot be summarized in its
                place, and do the others. By default the first one ends the call.
            *args: As `Pipeline` takes them.
            **kwargs: The arguments above by name.

        Returns:
            For each video a `hiersum_hf.records.Summary`. Where the package cannot be imported: a dict with `times_s`
            `(N,)`, `scores` `(N,)` in [0, 1], `sentence_scores` `(M,)`, `level` and `warnings`.

        Raises:
            ImportError: Anything but features, where the package cannot be imported.
            FileNotFoundError: A file is missing.
            ValueError: Features of another encoder, rate or shape, unreadable files, subtitles of another video, a
                level that cannot be read. The message names the video.
        """
        if isinstance(inputs, list) and {"subtitles", "description"} & kwargs.keys():
            raise HierSumError(
                f"subtitles, description: expected one video, found a list of {len(inputs)}. Give each video its own: "
                '{"video": ..., "subtitles": ..., "description": ...}.'
            )
        return super().__call__(inputs, *args, **kwargs)

    def _sanitize_parameters(
        self,
        subtitles: Any = None,
        description: Any = None,
        fps: float | None = None,
        budget: str | float | None = None,
        level: str | None = None,
        return_exceptions: bool | None = None,
        **choice: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Hand all arguments of a call on to `preprocess`."""
        given = {"subtitles": subtitles, "description": description, "fps": fps, "budget": budget, "level": level}
        unknown = sorted(choice.keys() - set(CHOICE))
        if unknown:
            raise TypeError(f"unexpected {', '.join(unknown)}; expected {', '.join((*given, *CHOICE))}")
        both = {} if return_exceptions is None else {"return_exceptions": return_exceptions}
        return {key: value for key, value in (given | choice).items() if value is not None} | both, {}, both

    def preprocess(self, inputs: Any, return_exceptions: bool = False, **given: Any) -> Iterator[dict[str, Any]]:
        """Yield one chunk for each level to read.

        It holds the network's input, and what `postprocess` needs. The chunk of a video that failed has its error, and
        a blank frame for the network.
        """
        try:
            chunks = list(self._chunks(inputs, **given))
        except ERRORS as error:
            if not return_exceptions:
                raise
            blank = np.zeros((1, self.model.config.video_dim), np.float32)
            batch = self.feature_extractor(video_features=[blank], frame_times_s=[np.zeros(1)], level="child")
            tensors = {key: batch[key] for key in self.feature_extractor.model_input_names}
            chunks = [tensors | {"about": {"error": error}, "is_last": True}]
        yield from chunks

    def _chunks(
        self, inputs: Any, level: str | None = None, budget: str | float = "0.15", **more: Any
    ) -> Iterator[dict[str, Any]]:
        given = more | (dict(inputs) if isinstance(inputs, Mapping) else {"video": inputs})
        given = {key: value for key, value in given.items() if value is not None}
        check_given(self.feature_extractor, given, self._reader is not None)
        video = self._reader.open(given, budget) if self._reader else None
        described = video.has_description if video else len(given.get("description_features", ())) > 0
        config: Any = self.model.config  # a HierSumConfig, perhaps of the checkpoint's own code
        level, warnings = usable_level(config, level, described)
        features = video.encode() if video else known_features(self.feature_extractor, given)
        columns = {key: [value] for key, value in features.items()}
        names = [video.video_id if video else given.get("video_id", "video")]
        about = {"video": video, "features": features, "level": level, "warnings": warnings}
        levels = levels_to_read(level, config.trained_levels, described)
        for name in levels:
            batch = self.feature_extractor(**columns, level=name, video_ids=names)
            tensors = {key: batch[key] for key in self.feature_extractor.model_input_names}
            yield tensors | {"about": about, "is_last": name == levels[-1]}

    def _forward(self, inputs: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Score one batch of chunks."""
        # Chunks of several levels may share a batch: without labels a level is in the texts and their spans
        tensors = {name: inputs[name] for name in self.feature_extractor.model_input_names}
        output = self.model(**tensors, level="joint")
        scores = {name: output[name] for name in ("frame_logits", "replay_scores", "sentence_logits")}
        return scores | {name: inputs[name] for name in ("video_mask", "text_mask", "about", "is_last")}

    def postprocess(self, chunks: Any, return_exceptions: bool = False) -> Any:
        """Turn a video's chunks into its `Summary`.

        Without the package, into a dict; where the video failed, into the error.
        """
        about = chunks[0]["about"]
        if "error" in about:
            return about["error"]
        try:
            return self._result(chunks, about)
        except ERRORS as error:
            if not return_exceptions:
                raise
            return error

    def _result(self, chunks: Any, about: dict[str, Any]) -> Any:
        features, level, warnings = about["features"], about["level"], about["warnings"]
        outputs = [unpadded(chunk, len(features["frame_times_s"])) for chunk in chunks]
        (result,) = self.feature_extractor.post_process_video_summarization(
            outputs, chunks[0], [features["frame_times_s"]], self.model.config.score_head
        )
        sentences = 0 if level == "parent" else len(features.get("text_features", ()))
        result["sentence_scores"] = result["sentence_scores"][:sentences]  # joint: then come those of the description
        if about["video"] is None:
            return result | {"level": level, "warnings": warnings}
        return about["video"].summarize(features, result, level, warnings)

    @cached_property
    def _reader(self) -> Any:
        """What the package opens videos with, None where it cannot be imported."""
        if find_spec(PACKAGE) is None:
            return None
        inputs = importlib.import_module(f"{PACKAGE}.inputs")
        return inputs.InputReader(self.model, self.feature_extractor, str(self.device))


def unpadded(chunk: dict[str, Any], num_frames: int) -> SimpleNamespace:
    """Cut a video's output to its own length.

    Its chunks may come from batches of different lengths.
    """
    return SimpleNamespace(
        frame_logits=chunk["frame_logits"][:, :num_frames],
        replay_scores=chunk["replay_scores"][:, :num_frames],
        sentence_logits=chunk["sentence_logits"],
    )


if TASK not in PIPELINE_REGISTRY.get_supported_tasks():  # a checkpoint's own copy leaves the package's in place
    PIPELINE_REGISTRY.register_pipeline(TASK, pipeline_class=HierSumPipeline, pt_model=AutoModel, type="multimodal")
