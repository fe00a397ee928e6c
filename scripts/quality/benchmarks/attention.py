"""The network's speed and memory against length, beside A2Summ's way, a dense mask and unmasked fused attention.

`run` is called by scripts/run_benchmark.py. Sides take turns after a warm-up, median of 5; memory is the growth of the
peak in a process of its own (on CUDA: of the allocator's peak). Both sides have the same weights and, with dropout
off, the same loss and gradients.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

from hiersum_hf import HierSumConfig, HierSumModel
from hiersum_hf.modeling import modeling_hiersum
from hiersum_hf.modeling.attention_hiersum import align, attend
from hiersum_hf.training.sampler import AlternatingBatchSampler
from quality.benchmarks.reference_model import ReferenceAttention, ReferenceModel


DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
STATUS = Path("/proc/self/status")
HEADS, WIDTH = 8, 16


def run(quick: bool) -> list[dict]:
    """Rows in s and MB (`ratio`: how many times as fast or small the package is) and an exponent beside 1.1."""
    few, long, day = ((2, 30, 5), (1, 60, 8), (1, 90, 12)) if quick else ((16, 300, 40), (1, 2000, 190), (1, 4000, 500))
    largest, hours = ((1, 120, 16), (1, 200, 30)) if quick else ((1, 6000, 800), (1, 36000, 6000))
    rounds = 1 if quick else 5
    same_results(few if quick else (2, 300, 40))
    rows = []
    for task, size in (("train", few), ("train", long), ("infer", day)):
        rows += compare(f"{task}, {about(size)}", task, "ours", "reference", size, rounds, "reference: A2Summ's way")
    rows += compare(f"train, {about(largest)}", "train", "ours", "mask", largest, rounds, "reference: a dense mask")
    rows += compare(f"attention alone, {about(hours)}", "attention", "ours", "unmasked", hours, min(rounds, 3),
                    "reference: unmasked fused attention over all tokens")  # fmt: skip
    for task, size, limit in (("train", day, 1000), ("checkpointed", day, 400), ("infer", hours, 1000)):
        rows.append(row(f"{task}, {about(size)}", extra_mb(task, "ours", size), limit, "MB", "reference: the limit"))
    rows += [*half_precision(day, rounds), by_length(few[0], rounds)]
    lengths = (50, 100, 200) if quick else (250, 500, 1000, 2000, 4000, 8000, 16000)
    rows += growth("ours", lengths, 1.1)
    return rows + growth("reference", lengths[: -1 if quick else -2], 2.0)


def about(size: tuple[int, int, int]) -> str:
    return "B {}, N {:,}, M {:,}".format(*size)


def compare(what: str, task: str, ours: str, other: str, size: tuple, rounds: int, note: str) -> list[dict]:
    """Time and memory of both sides."""
    jobs = [job(task, side, size) for side in (ours, other)]
    times = np.array([[seconds(one) for one in jobs] for _ in range(rounds + 1)])
    fast, slow = np.median(times[1:], axis=0)
    small, large = (extra_mb(task, side, size) for side in (ours, other))
    return [row(what, fast, slow, "s", note), row(what, small, large, "MB", f"{note}; extra memory")]


def row(what: str, ours: float, reference: float, unit: str, note: str) -> dict:
    figures = {"ours": float(ours), "reference": float(reference), "unit": unit, "ratio": float(reference / ours)}
    return {"what": what} | figures | {"note": note}


def half_precision(size: tuple[int, int, int], rounds: int) -> list[dict]:
    """Inference in bfloat16 beside float32, and how far the logits move (their largest is the reference)."""
    models, data = [make_model("ours").eval(), make_model("ours").bfloat16().eval()], batch(*size)
    halves = {name: x.bfloat16() if "features" in name else x for name, x in data.items()}
    jobs = [partial(infer, *pair, "ours") for pair in zip(models, (data, halves), strict=True)]
    times = np.array([[seconds(one) for one in jobs] for _ in range(rounds + 1)])
    full, half = np.median(times[1:], axis=0)
    logits = [one().float() for one in jobs]
    moved, largest = (logits[1] - logits[0]).abs().max(), logits[0].abs().max()
    what = f"infer in bfloat16, {about(size)}"
    return [
        row(what, half, full, "s", "reference: float32"),
        row(what, moved, largest, "logit", "largest change; reference: largest logit"),
    ]


def by_length(videos: int, rounds: int) -> dict:
    """A pass over videos of many lengths, those of like length together, beside batches of any."""
    lengths = np.random.default_rng(0).lognormal(5.2, 0.6, 8 * videos).astype(int)  # median 180 s
    model = make_model("ours").train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    passes = []
    for known in (lengths, None):
        drawn = list(AlternatingBatchSampler(range(len(lengths)), [], videos, "child", lengths=known))
        longest = [int(lengths[[video for _, video in one]].max()) for one in drawn]
        passes.append([partial(train, model, optimizer, batch(videos, n, n // 8), "ours") for n in longest])
    times = np.array([[sum(map(seconds, one)) for one in passes] for _ in range(min(rounds, 3) + 1)])
    what = (
        f"train once on {len(lengths)} videos of {lengths.min()} to {lengths.max()} frames, B {videos}, group_by_length"
    )
    return row(what, *np.median(times[1:], axis=0), "s", "reference: batches of any lengths")


def growth(side: str, lengths: tuple[int, ...], limit: float) -> list[dict]:
    """Exponents of time and memory of a training step over its length, a text for every 8 frames."""
    points = np.array([measured("train", side, (1, n, n // 8)) for n in lengths]).T
    rows = []
    for name, unit, values, most in (("time", "s", points[1], 2.0), ("memory", "MB", points[0], limit)):
        tail, whole = (np.polyfit(np.log(lengths[k:]), np.log(values[k:]), 1)[0] for k in (-4, 0))
        note = ", ".join(f"{n:,}: {v:.3g} {unit}" for n, v in zip(lengths, values, strict=True))
        what = f"{name} of a training step over its length" + ("" if side == "ours" else ", A2Summ's way")
        rows.append(row(what, whole, most, "exponent", f"{note}; the longest four alone: {tail:.2f}") | {
            "curve": {"unit": unit, "lengths": list(lengths), "values": values.tolist()}
        })  # fmt: skip
    return rows


def job(task: str, side: str, size: tuple[int, int, int]) -> Callable[[], None]:
    """What is measured: `task` train, checkpointed, infer or attention, `side` ours, reference, mask or unmasked."""
    if task == "attention":
        return partial(attention_alone, side, size)
    model = make_model(side)
    if task == "checkpointed":
        model.gradient_checkpointing_enable()
    data = batch(*size)
    if task == "infer":
        return partial(infer, model.eval(), data, side)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    return partial(train, model.train(), optimizer, data, side)


def make_model(side: str) -> HierSumModel:
    torch.manual_seed(0)
    model = HierSumModel(HierSumConfig(share_layers=True))
    if side == "reference":
        weights = model.state_dict()
        model = ReferenceModel(model.config)
        model.load_state_dict(weights)
    return model.to(DEVICE)


def batch(videos: int, frames: int, texts: int) -> dict[str, Tensor | int]:
    """Random features; the sentences share out the frames."""
    generator = torch.Generator().manual_seed(0)
    cuts = torch.linspace(0, frames, texts + 1).long()
    tensors = {
        "video_features": torch.randn(videos, frames, 512, generator=generator),
        "text_features": torch.randn(videos, texts, 768, generator=generator),
        "text_spans": torch.stack([cuts[:-1], cuts[1:]], dim=1).expand(videos, -1, -1).contiguous(),
        "frame_labels": (torch.rand(videos, frames, generator=generator) < 0.15).long(),
        "sentence_labels": (torch.rand(videos, texts, generator=generator) < 0.3).long(),
    }
    return {name: x.to(DEVICE) for name, x in tensors.items()} | {"num_pairs": videos * frames}


def masked(side: str):
    """On the side `mask` the package takes its plain path at every length."""
    return patch.object(
        modeling_hiersum, "UNMASKED_FROM", sys.maxsize if side == "mask" else modeling_hiersum.UNMASKED_FROM
    )


def train(model: HierSumModel, optimizer: torch.optim.Optimizer, data: dict, side: str) -> None:
    with masked(side):
        model(**data).loss.backward()
    optimizer.step()
    optimizer.zero_grad()


@torch.no_grad()
def infer(model: HierSumModel, data: dict, side: str) -> Tensor:
    with masked(side):
        return model(**{name: x for name, x in data.items() if "labels" not in name}).frame_logits


@torch.no_grad()
def attention_alone(side: str, size: tuple[int, int, int]) -> None:
    """Once over (B, L, H, W), the pairs' list included."""
    data = batch(*size)
    videos, frames, texts = size
    query = torch.randn(videos, 2 + frames + texts, HEADS, WIDTH, device=DEVICE)
    if side == "unmasked":
        query = query.transpose(1, 2)
        nn.functional.scaled_dot_product_attention(query, query, query)
        return
    video_mask, text_mask = (torch.ones(videos, n, dtype=torch.bool, device=DEVICE) for n in (frames, texts))
    attend(
        query, query, query, WIDTH**-0.5, align(video_mask, text_mask, data["text_spans"], "child", data["num_pairs"])
    )


def seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def extra_mb(task: str, side: str, size: tuple[int, int, int]) -> float:
    return measured(task, side, size)[0]


def measured(task: str, side: str, size: tuple[int, int, int]) -> tuple[float, float]:
    """`peak_growth_mb` in a process of its own, and the seconds of that round."""
    code = "import sys, json; sys.path.insert(0, sys.argv[1]); from quality.benchmarks.attention import *"
    code += "; print(*peak_growth_mb(*json.loads(sys.argv[2])))"
    command = [sys.executable, "-c", code, str(Path(__file__).parents[2]), json.dumps([task, side, size])]
    peak, spent = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(peak), float(spent)


def peak_growth_mb(task: str, side: str, size: tuple[int, int, int]) -> tuple[float, float]:
    """How far the peak rises over what is held, after a small round that loads the libraries, and the seconds."""
    job(task, side, (1, 8, 2))()
    work = job(task, side, size)
    if DEVICE == "cuda":
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        spent = seconds(work)
        return (torch.cuda.max_memory_allocated() - held) / 2**20, spent
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    held = resident_mb("VmRSS")
    spent = seconds(work)
    return max(resident_mb("VmHWM") - held, 0.1), spent


def resident_mb(field: str) -> float:
    return next(float(line.split()[1]) / 1024 for line in STATUS.read_text().splitlines() if line.startswith(field))


def same_results(size: tuple[int, int, int]) -> None:
    """With dropout off both sides must have the same loss and gradients."""
    data, found = batch(*size), []
    with patch.object(ReferenceAttention, "weight_dropout", 0.0):
        for side in ("ours", "reference"):
            model = make_model(side).train()
            for module in model.modules():
                if isinstance(module, nn.Dropout):
                    module.p = 0.0
            loss = model(**data).loss
            loss.backward()
            found.append([loss.detach(), *(p.grad for p in model.parameters() if p.grad is not None)])
    for ours, theirs in zip(*found, strict=True):
        if not torch.allclose(ours, theirs, atol=1e-4, rtol=1e-4):
            raise RuntimeError("expected the same loss and gradients from both sides, found a difference")
