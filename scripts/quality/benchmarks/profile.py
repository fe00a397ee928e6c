"""Where the time of a training step goes, beside A2Summ's way: the operators' own time on the CPU by kind.

`run` is called by scripts/run_benchmark.py.
"""

from __future__ import annotations

import re
from collections import Counter

import torch

from quality.benchmarks.attention import about, batch, make_model, row, train


KINDS = {
    "attention and its mask": r"flash_attention|bmm|softmax|masked_fill|repeat|index_add|embedding",
    "linear layers": r"addmm|::mm$|linear",
    "dropout": r"dropout|bernoulli",
}  # the first that fits; everything else is a kind of its own
REST = "everything else"


def run(quick: bool) -> list[dict]:
    """Rows in seconds of operators' own time in one training step."""
    rows = []
    for size in ((2, 30, 5),) if quick else ((16, 300, 40), (1, 2000, 190)):
        ours, reference = (spent(side, size) for side in ("ours", "reference"))
        for kind in (*KINDS, REST):
            note = f"{ours[kind] / ours.total():.0%} of ours, {reference[kind] / reference.total():.0%} of A2Summ's way"
            rows.append(row(f"train, {about(size)}: {kind}", ours[kind], reference[kind], "s", note))
    return rows


def spent(side: str, size: tuple[int, int, int]) -> Counter[str]:
    """Seconds by kind, after a warm-up."""
    model, data = make_model(side).train(), batch(*size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    train(model, optimizer, data, side)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as trace:
        train(model, optimizer, data, side)
    seconds: Counter[str] = Counter(dict.fromkeys((*KINDS, REST), 1e-9))
    for event in trace.key_averages():
        kind = next((kind for kind, names in KINDS.items() if re.search(names, event.key)), REST)
        seconds[kind] += event.self_cpu_time_total / 1e6
    return seconds
