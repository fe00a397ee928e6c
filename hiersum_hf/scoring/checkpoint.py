"""Loading of checkpoints, adapters among them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from transformers.utils import CONFIG_NAME, FEATURE_EXTRACTOR_NAME, SAFE_WEIGHTS_INDEX_NAME
from transformers.utils.hub import cached_file
from transformers.utils.peft_utils import ADAPTER_CONFIG_NAME, find_adapter_config_file

from hiersum_hf.files.json_file import read_json_object
from hiersum_hf.modeling.errors_hiersum import CheckpointError, InputError, expect_type
from hiersum_hf.modeling.feature_extraction_hiersum import HierSumFeatureExtractor
from hiersum_hf.results import Results


if TYPE_CHECKING:
    import torch

    from hiersum_hf.modeling.configuration_hiersum import HierSumConfig
    from hiersum_hf.modeling.modeling_hiersum import HierSumModel

ADAPTER_WEIGHTS_NAME = "adapter_model.safetensors"
MAX_ADAPTERS = 10  # one trained on the other


def load_checkpoint(checkpoint: str | Path, device: str = "cpu") -> tuple[HierSumModel, HierSumFeatureExtractor]:
    """Load the network and the feature extractor of a checkpoint.

    `checkpoint` is a folder or a Hub id. The network is ready to score. A LoRA adapter comes merged into the network
    that it was trained on, which must be where it was then.

    Raises:
        ValueError: Not a checkpoint, or one of another model.
    """
    extractor = open_checkpoint(checkpoint)
    return load_network(checkpoint, device), extractor


def open_checkpoint(checkpoint: str | Path) -> HierSumFeatureExtractor:
    """Load the feature extractor of a checkpoint, and refuse what is none.

    It needs no PyTorch. Raises what `load_checkpoint` raises.
    """
    expect_type("checkpoint", checkpoint, (str, Path), "a folder or Hub id")
    config = _config(checkpoint)
    for path in (Path(checkpoint, FEATURE_EXTRACTOR_NAME), Path(checkpoint, ADAPTER_CONFIG_NAME)):
        read_object(path if path.is_file() else None)
    if config.get("model_type") != "hiersum":
        raise CheckpointError(
            f"{checkpoint}: expected a checkpoint with model_type 'hiersum', found {config.get('model_type')!r}."
        )
    # "owner/name" would be fetched from the Hub and run
    if any(name.endswith("attn_implementation") and "/" in str(value) for name, value in config.items()):
        raise CheckpointError(f"{checkpoint}: expected attention by Transformers itself, found code from the Hub.")
    with _complete(checkpoint):
        extractor: HierSumFeatureExtractor = HierSumFeatureExtractor.from_pretrained(checkpoint)
    return extractor


def load_network(checkpoint: str | Path, device: str = "cpu") -> HierSumModel:
    """Load the network of a checkpoint that `open_checkpoint` has opened."""
    with _complete(checkpoint):
        adapter = find_adapter_config_file(str(checkpoint))
        model: Any = _load_network(checkpoint) if adapter is None else _load_adapter(checkpoint, adapter)
    model.to(torch_device(device))
    network: HierSumModel = model.eval()
    return network


@contextmanager
def _complete(checkpoint: str | Path) -> Iterator[None]:
    """Name the checkpoint whose files cannot be read."""
    try:
        yield
    except (OSError, SafetensorError, RuntimeError, UnpicklingError) as error:
        raise CheckpointError(f"{checkpoint}: expected a complete HierSum checkpoint: {error}") from None


def _config(checkpoint: str | Path) -> dict[str, Any]:
    """Read a checkpoint's config.json."""
    try:
        found: Any = cached_file(str(checkpoint), CONFIG_NAME)
    except (OSError, ValueError) as error:
        reason = str(error).split("\n")[0].rstrip(".")
        raise CheckpointError(
            f"{checkpoint}: expected the folder or Hub id of a HierSum checkpoint, found neither: {reason}. "
            "`hiersum train` leaves such a folder, `hf download org/name` fetches one from the Hub."
        ) from None
    return read_object(Path(found) if found else None)


def find_file(checkpoint: str | Path, name: str, local_files_only: bool = False) -> Path | None:
    """Find a file of a checkpoint folder or Hub id.

    None where it has none, or the Hub cannot be asked or is not to be (`local_files_only`).
    """
    quiet = {f"_raise_exceptions_for_{what}": False for what in ("missing_entries", "connection_errors", "gated_repo")}
    try:
        found = cached_file(str(checkpoint), name, local_files_only=local_files_only, **quiet)
    except (OSError, ValueError):  # no such folder, or no id
        return None
    return None if found is None else Path(found)


def read_object(path: Path | None) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    It is {} without a file.

    Raises:
        ValueError: It holds something else.
    """
    if path is None:
        return {}
    try:
        return read_json_object(path)
    except InputError as error:
        raise CheckpointError(str(error)) from None


def _load_network(checkpoint: str | Path) -> HierSumModel:
    """Load the network of an ordinary checkpoint."""
    from hiersum_hf.modeling.modeling_hiersum import HierSumModel

    # An index may name any file, pickles and files of other folders too
    shards = read_object(find_file(checkpoint, SAFE_WEIGHTS_INDEX_NAME)).get("weight_map") or {}
    if not isinstance(shards, dict) or not all(re.fullmatch(r"[\w.-]+\.safetensors", str(x)) for x in shards.values()):
        raise CheckpointError(
            f"{checkpoint}: expected .safetensors files beside {SAFE_WEIGHTS_INDEX_NAME}, found others."
        )
    loaded: Any = HierSumModel.from_pretrained(checkpoint, output_loading_info=True, use_safetensors=True)
    model: HierSumModel = loaded[0]
    loading: dict[str, Any] = loaded[1]
    # Transformers only warns of weights that are missing, and leaves them random
    lacking = sorted(loading["missing_keys"])
    if lacking:
        raise CheckpointError(
            f"{checkpoint}: expected a complete HierSum checkpoint, missing {', '.join(lacking[:5])}."
        )
    return model


def _load_adapter(checkpoint: str | Path, adapter: str) -> HierSumModel:
    """Load the base network with the adapter merged in.

    The config.json beside the adapter says what was trained.
    """
    from peft import PeftModel  # it takes seconds to import

    from hiersum_hf.modeling.configuration_hiersum import HierSumConfig

    described = read_object(Path(adapter))
    if described.get("peft_type") != "LORA" or find_file(checkpoint, ADAPTER_WEIGHTS_NAME) is None:
        raise CheckpointError(f"{checkpoint}: expected a LoRA adapter in {ADAPTER_WEIGHTS_NAME}, found none.")
    base = str(described.get("base_model_name_or_path") or "")
    _refuse_circle(checkpoint)
    try:
        network, _ = load_checkpoint(base)
    except ValueError as error:
        raise CheckpointError(
            f"{checkpoint}: expected the checkpoint that this adapter was trained on: {error}"
        ) from None
    model, _ = with_config(network, HierSumConfig.from_pretrained(checkpoint))
    try:
        # W + (alpha / r) B A in place of each adapted W
        merged: HierSumModel = PeftModel.from_pretrained(model, str(checkpoint)).merge_and_unload()
    except (TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{checkpoint}: expected a LoRA adapter of this network: {error!r}") from None
    return merged


def _refuse_circle(checkpoint: str | Path) -> None:
    """Refuse an adapter whose base leads back to itself.

    The base may be an adapter too, and so on.
    """
    passed: list[str] = []
    place = str(checkpoint)
    while place:
        place = str(Path(place).resolve()) if Path(place).exists() else place
        if place in passed or len(passed) == MAX_ADAPTERS:
            raise CheckpointError(
                f"{checkpoint}: expected the checkpoint that this adapter was trained on somewhere else, found its "
                f"base_model_name_or_path {'leads back to itself' if place in passed else 'never ends'}."
            )
        passed.append(place)
        place = str(read_object(find_file(place, ADAPTER_CONFIG_NAME)).get("base_model_name_or_path") or "")


def with_config(
    network: HierSumModel, config: HierSumConfig, renew: Collection[str] = ()
) -> tuple[HierSumModel, list[str]]:
    """Build a network of this config with the weights of another.

    Args:
        network: Of the same shape, but for the feature widths.
        config: Of the new network.
        renew: "video", "text": projections that start anew even where the width is the same.

    Returns:
        The network, and the names of the parameters that started anew: the projections of features of another width.
    """
    from hiersum_hf.modeling.modeling_hiersum import HierSumModel

    sides = ("video", "text")
    anew = [side for side in sides if getattr(config, f"{side}_dim") != getattr(network.config, f"{side}_dim")]
    lost = tuple(f"encoder.embeddings.{side}_projection." for side in {*anew, *renew})
    model = HierSumModel(config)
    weights = {name: value for name, value in network.state_dict().items() if not name.startswith(lost)}
    return model, list(model.load_state_dict(weights, strict=False).missing_keys)


def training_stages(checkpoint: str | Path) -> list[dict[str, str | None]]:
    """Tell what a checkpoint was trained on.

    `dataset` and `split` of its own training and that of the checkpoints it started from, first to last. From its
    config or, where that is of an earlier version, from the results.json beside it; [] where neither says.

    Raises:
        ValueError: Not a checkpoint, or that results.json is not one.
    """
    stages = _config(checkpoint).get("trained_on")
    path = find_file(checkpoint, "results.json") if stages is None else None
    if path is not None:
        results = Results.read(path)
        return [{"dataset": results.dataset, "split": results.split}]
    return stages or []


def torch_device(name: str) -> torch.device:
    """Find the device of this name.

    "auto" is a GPU if there is one.

    Raises:
        ValueError: No such device here.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:  # the only way to know that a device is there and works
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise CheckpointError(f"device: expected one that this PyTorch can use, found {name!r}: {error}") from None
