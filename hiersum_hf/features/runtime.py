"""Run frozen encoders on the fastest runtime for a CPU.

A network is exported once and kept beside what the Hub's library keeps:

    HF_ASSETS_CACHE/hiersum_hf/exports/default/<key>.onnx    read by ONNX Runtime and OpenVINO alike

<key> is a hash of the network's weights and of the versions that an export depends on, so each version makes its own.
PyTorch loads the model too, each time, and computes three pictures: a runtime is used only where it gives the same.
"""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hiersum_hf.files.atomic import aside
from hiersum_hf.modeling.errors_hiersum import HierSumError


if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

RUNTIMES = ("torch", "onnx", "openvino")
PACKAGES = {"torch": ["torch"], "onnx": ["onnxruntime", "onnx"], "openvino": ["openvino", "onnx"]}
EXPORT_VERSION = 1  # of what is exported here; a new one makes all exports anew
TOLERANCE = 1e-4  # of the largest number of the features; float32 on any runtime stays below 1e-5
OPSET = 18  # of ONNX operators; all runtimes here read it
Forward = Callable[..., "torch.Tensor"]


def choose_runtime(asked: str | None, device: str, dtype: str = "float32") -> str:
    """Choose the runtime of encoders, before any is loaded.

    Args:
        asked: One of `RUNTIMES`; None: the fastest that is installed. That is PyTorch on all devices but the CPU, and
            in half precision.
        device: Torch device.
        dtype: Precision of the encoder.

    Raises:
        ImportError: Packages of the runtime that is asked for are missing.
        HierSumError: No such runtime, or it does not run on the device or in the precision.
    """
    if asked not in (None, *RUNTIMES):
        raise HierSumError(f"runtime: expected one of {', '.join(RUNTIMES)}, found {asked!r}")
    fits = device.split(":")[0] == "cpu" and dtype == "float32"
    if asked is None:
        installed = [name for name in ("onnx", "openvino") if all(map(find_spec, PACKAGES[name]))]
        return installed[0] if installed and fits else "torch"
    if missing := [name for name in PACKAGES[asked] if not find_spec(name)]:
        raise ImportError(
            f"runtime: {asked!r} needs the package{'s' * (len(missing) > 1)} {' and '.join(missing)}: "
            f'pip install "hiersum-hf[{asked}]"'
        )
    if asked != "torch" and not fits:
        raise HierSumError(
            f"runtime: expected 'torch' on device {device!r} with dtype {dtype!r}, found {asked!r}, which computes in "
            "float32 on the CPU. Leave one of them out."
        )
    return asked


def forward_on(
    runtime: str | None,
    compute: Forward,
    model: torch.nn.Module,
    inputs: Sequence[torch.Tensor],
    traced: Sequence[torch.Tensor],
    encoder_id: str,
) -> Forward:
    """Give the forward pass of a frozen model on a runtime.

    Args:
        runtime: What was asked for, as `choose_runtime` takes it; None: the fastest that is installed, with PyTorch in
            its place, and a note, where it fails here.
        compute: The forward pass in PyTorch: tensors whose first dimension is free -> one such tensor.
        model: Holds the weights of `compute`, on the CPU unless `runtime` is "torch".
        inputs: What the runtime is checked on.
        traced: What the export follows; other sizes than `inputs` in each dimension that is free.
        encoder_id: Names the encoder in messages.

    Raises:
        HierSumError: The runtime that was asked for fails here, or gives other features than PyTorch to 1e-4.
    """
    import torch

    in_torch: Forward = torch.inference_mode()(compute)
    chosen = choose_runtime(runtime, "cpu")
    if chosen == "torch":
        return in_torch
    try:
        return _checked(chosen, _network(compute, model), tuple(inputs), tuple(traced), in_torch(*inputs))
    except Exception as error:  # exporters and runtimes raise of every kind
        reason = " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
    told = f"{encoder_id}: expected the features of PyTorch by the runtime {chosen!r}, found: {reason}"
    if runtime is not None:
        raise HierSumError(f"{told}. Take the runtime 'torch'.")
    logger.warning("%s. PyTorch computes them, more slowly.", told)
    return in_torch


def _network(compute: Forward, model: torch.nn.Module) -> torch.nn.Module:
    """Make `compute` the forward pass of a module around the model.

    Its class, which Python frees late, does not hold the model.
    """
    from torch import nn

    class Network(nn.Module):
        pass

    network = Network()
    network.model, network.forward = model, compute
    return network.eval()


def _checked(
    runtime: str,
    network: torch.nn.Module,
    inputs: tuple[torch.Tensor, ...],
    traced: tuple[torch.Tensor, ...],
    expected: torch.Tensor,
) -> Forward:
    """Open the export, made where there is none, and compare its features.

    A damaged export is made anew, once.
    """
    from huggingface_hub import cached_assets_path

    file = cached_assets_path("hiersum_hf", "exports") / f"{_key(network, traced)}.onnx"
    was_there = file.is_file()
    if not was_there:
        _export(network, traced, file)
    try:
        forward = {"onnx": _onnxruntime, "openvino": _openvino}[runtime](file)
        found = forward(*inputs)
        if found.shape != expected.shape:
            raise HierSumError(f"shape {tuple(found.shape)} instead of {tuple(expected.shape)}")
        difference = float((found - expected).abs().max() / expected.abs().max())
        if not difference <= TOLERANCE:
            raise HierSumError(f"other numbers, by {difference:.1e} of the largest")
    except Exception:
        if not was_there:
            raise
        file.unlink(missing_ok=True)
        return _checked(runtime, network, inputs, traced, expected)
    return forward


def _key(network: torch.nn.Module, traced: Sequence[torch.Tensor]) -> str:
    """Hash what an export depends on: weights, structure and versions."""
    versions = [EXPORT_VERSION, *map(version, ("torch", "transformers", "onnx"))]
    digest = hashlib.sha256(f"{versions} {network} {[(one.dtype, one.shape) for one in traced]}".encode())
    for name, weights in network.state_dict().items():
        digest.update(f"{name} {weights.dtype} {tuple(weights.shape)}".encode())
        digest.update(weights.detach().contiguous().numpy())
    return digest.hexdigest()[:32]


def _export(network: torch.nn.Module, traced: tuple[torch.Tensor, ...], file: Path) -> None:
    """Write a network as ONNX, whole or not at all.

    The exporter that traces takes .1 to 3 s; the one on `torch.export` gives the same features, takes 2 to 9 s of
    processor time and needs onnxscript (PyTorch 2.13).
    """
    import torch

    names = [f"input_{k}" for k in range(len(traced))]
    free = {name: {0: "rows"} for name in (*names, "features")}
    with aside(file) as partial, torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer, about what the check looks at
        torch.onnx.export(
            network, traced, partial, input_names=names, output_names=["features"], dynamic_axes=free,
            opset_version=OPSET, dynamo=False,
        )  # fmt: skip


def _onnxruntime(file: Path) -> Forward:
    """Open an export in ONNX Runtime, on as many threads as PyTorch has."""
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    # Threads that wait leave the cores to the decoder
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]

    def forward(*inputs: torch.Tensor) -> torch.Tensor:
        given = {name: one.numpy() for name, one in zip(names, inputs, strict=True)}
        return torch.from_numpy(session.run(None, given)[0])

    return forward


def _openvino(file: Path) -> Forward:
    """Open an export in OpenVINO, on as many threads as PyTorch has."""
    import openvino
    import torch

    # Left alone it computes in bfloat16 on processors that have it
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    model = openvino.Core().compile_model(str(file), "CPU", settings)

    def forward(*inputs: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(model([one.numpy() for one in inputs])[0].copy())

    return forward
