"""HierSum: video summarization from subtitles and descriptions, as a Transformers model.

Importing the package registers the model with the Auto classes of Transformers and the pipeline with its tasks, but for
the `hiersum` command, which loads PyTorch only where it computes. The names of `__all__` are promised; those that need
a decoder, an encoder or the Trainer are loaded when first used.
"""

from __future__ import annotations

import sys
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hiersum_hf.modeling.errors_hiersum import CheckpointError, HierSumError, InputError


if TYPE_CHECKING:
    from hiersum_hf.datasets.prepared import load_prepared, stream_prepared
    from hiersum_hf.datasets.readers.open import prepare
    from hiersum_hf.datasets.schema import RecordDataset
    from hiersum_hf.evaluation.evaluate import compute_metrics, evaluate_scores
    from hiersum_hf.hub.push import push
    from hiersum_hf.inference.scorer import load_scorer
    from hiersum_hf.inference.summarize import score_video
    from hiersum_hf.modeling.configuration_hiersum import HierSumConfig
    from hiersum_hf.modeling.feature_extraction_hiersum import HierSumFeatureExtractor
    from hiersum_hf.modeling.modeling_hiersum import HierSumModel, HierSumOutput
    from hiersum_hf.modeling.pipeline_hiersum import HierSumPipeline
    from hiersum_hf.records import Segment, Sentence, Summary, VideoRecord
    from hiersum_hf.results import Results
    from hiersum_hf.scoring.checkpoint import load_checkpoint
    from hiersum_hf.summary.files import write_summary
    from hiersum_hf.summary.selection import Selection
    from hiersum_hf.texts.subtitles import read_subtitles
    from hiersum_hf.training.arguments import HierSumTrainingArguments
    from hiersum_hf.training.trainer import HierSumTrainer

__version__ = "0.1.0"
__all__ = [
    "CheckpointError", "HierSumConfig", "HierSumError", "HierSumFeatureExtractor", "HierSumModel", "HierSumOutput",
    "HierSumPipeline", "HierSumTrainer", "HierSumTrainingArguments", "InputError", "RecordDataset", "Results",
    "Segment", "Selection", "Sentence", "Summary", "VideoRecord", "compute_metrics", "evaluate_scores",
    "load_checkpoint", "load_prepared", "load_scorer", "pipeline", "prepare", "push", "read_subtitles", "score_video",
    "stream_prepared", "write_summary",
]  # fmt: skip
_LOADED_ON_USE = {
    "HierSumConfig": "modeling.configuration_hiersum",
    "HierSumFeatureExtractor": "modeling.feature_extraction_hiersum",
    **dict.fromkeys(("HierSumModel", "HierSumOutput"), "modeling.modeling_hiersum"),
    "HierSumPipeline": "modeling.pipeline_hiersum",
    "HierSumTrainer": "training.trainer",
    "HierSumTrainingArguments": "training.arguments",
    **dict.fromkeys(("Segment", "Sentence", "Summary", "VideoRecord"), "records"),
    "Results": "results",
    "Selection": "summary.selection",
    **dict.fromkeys(("compute_metrics", "evaluate_scores"), "evaluation.evaluate"),
    "load_checkpoint": "scoring.checkpoint",
    "RecordDataset": "datasets.schema",
    **dict.fromkeys(("load_prepared", "stream_prepared"), "datasets.prepared"),
    "load_scorer": "inference.scorer",
    "score_video": "inference.summarize",
    "prepare": "datasets.readers.open",
    "push": "hub.push",
    "read_subtitles": "texts.subtitles",
    "write_summary": "summary.files",
}


def __getattr__(name: str) -> Any:
    """Load a public name on its first use (PEP 562)."""
    if name not in _LOADED_ON_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LOADED_ON_USE[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def pipeline(model: str | Path, device: str = "auto", **kwargs: Any) -> HierSumPipeline:
    """Load the `video-summarization` pipeline of a checkpoint.

    A LoRA adapter comes merged into its network.

    Unlike `transformers.pipeline` it runs this package's code, never the checkpoint's, and so needs no
    `trust_remote_code`.

    Args:
        model: Folder or Hub id.
        device: "auto" takes a GPU if there is one.
        kwargs: Defaults of every call, such as `budget`, `level` and `batch_size`; see `HierSumPipeline.__call__`.

    Raises:
        ValueError: Not a checkpoint, or no such device.
    """
    from hiersum_hf.modeling.pipeline_hiersum import TASK, HierSumPipeline
    from hiersum_hf.scoring.checkpoint import load_checkpoint, torch_device

    extractor: Any  # the pipelines of Transformers name another kind
    network, extractor = load_checkpoint(model, device)
    return HierSumPipeline(network, feature_extractor=extractor, task=TASK, device=torch_device(device), **kwargs)


def _is_command() -> bool:
    """Tell whether this process is the `hiersum` command, or `python -m hiersum_hf`."""
    program = [*getattr(sys, "argv", ()), ""][0]
    return Path(program).name in ("hiersum", "hiersum.exe") or (
        program == "-m" and ("-m", __name__) in pairwise(sys.orig_argv)
    )


if not _is_command():
    for _name in ("modeling_hiersum", "pipeline_hiersum"):  # each registers what it holds
        import_module(f"{__name__}.modeling.{_name}")
