"""HierSum: video summarization from subtitles and descriptions, as a Transformers model.

Importing the package registers the model with the Auto classes of Transformers and the pipeline with its tasks.
"""

from pathlib import Path
from typing import Any

from hiersum_hf.modeling.configuration_hiersum import HierSumConfig
from hiersum_hf.modeling.feature_extraction_hiersum import HierSumFeatureExtractor
from hiersum_hf.modeling.modeling_hiersum import HierSumModel, HierSumOutput
from hiersum_hf.modeling.pipeline_hiersum import TASK, HierSumPipeline


__version__ = "0.1.0"
__all__ = ["HierSumConfig", "HierSumFeatureExtractor", "HierSumModel", "HierSumOutput", "HierSumPipeline", "pipeline"]


def pipeline(model: str | Path, device: str = "auto", **kwargs: Any) -> HierSumPipeline:
    """The `video-summarization` pipeline of a checkpoint; a LoRA adapter comes merged into its network.

    Unlike `transformers.pipeline` it runs this package's code, never the checkpoint's, and so needs no
    `trust_remote_code`.

    Args:
        model: Folder or Hub id.
        device: "auto" takes a GPU if there is one.
        kwargs: Defaults of every call, such as `budget`, `level` and `batch_size`; see `HierSumPipeline.__call__`.

    Raises:
        ValueError: Not a checkpoint, or no such device.
    """
    from hiersum_hf.prediction import load_checkpoint, torch_device

    extractor: Any  # the pipelines of Transformers name another kind
    network, extractor = load_checkpoint(model, device)
    return HierSumPipeline(network, feature_extractor=extractor, task=TASK, device=torch_device(device), **kwargs)
