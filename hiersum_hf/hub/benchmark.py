"""Make a prepared folder a benchmark of the Hub, and enter the results of a checkpoint in one.

The Hub's documents call the formats work in progress: https://huggingface.co/docs/hub/eval-results.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResultEntry, HfApi, eval_result_entries_to_yaml, hf_hub_download, hf_hub_url
from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError

from hiersum_hf.files.atomic import write_text
from hiersum_hf.files.escape import in_card
from hiersum_hf.files.safe_yaml import load_yaml
from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.results import METRICS, SAME, Results


TASKS, BASELINES = "eval.yaml", "baselines.json"  # what makes a data set a benchmark
ENTRIES = ".eval_results/hiersum.yaml"  # of a checkpoint
FRAMEWORK = "hiersum-hf"  # the Hub knows no such name before it is asked to
BEGIN, END = "<!-- benchmark -->", "<!-- end of benchmark -->"  # around what a card is given
ABOUT = """{begin}

## Benchmark

Part {part} of {dataset}{split}, {videos} videos, protocol `{protocol}` of hiersum-hf {version}; more is better.
`{baselines}` holds all figures. A checkpoint that was measured on the same videos enters with
`hiersum push RUN org/name --benchmark` and the name of this data set.

| |{heads}
|---|{rules}
{rows}

{end}
"""


def write_benchmark(folder: str | Path, results: Results) -> list[Path]:
    """Make a prepared folder a benchmark, ready to be pushed.

    Its card gets a table of the baselines, which stand beside any scorer. What an earlier call wrote is replaced.

    Args:
        folder: Made by `hiersum prepare`.
        results: Of any scorer on it.

    Returns:
        What was written: eval.yaml, baselines.json and README.md.
    """
    folder = Path(folder)
    shown = [name for name in METRICS if name in results.ci95]
    split = f", split {results.split}" if results.split else ""
    tasks = {
        "name": f"{results.dataset} by {results.protocol}",
        "description": f"How well the importance of video frames is told: {results.dataset}, part {results.part}{split}"
        f", {len(results.per_video)} videos, protocol {results.protocol}.",
        "evaluation_framework": FRAMEWORK,
        "tasks": [{"id": name, "config": "default", "split": "videos"} for name in shown],
    }
    card = folder / "README.md"
    before, _, rest = card.read_text(encoding="utf-8").partition(BEGIN)
    about = ABOUT.format(
        begin=BEGIN, end=END, baselines=BASELINES, version=version("hiersum-hf"), videos=len(results.per_video),
        part=in_card(results.part), dataset=in_card(results.dataset), split=in_card(split), protocol=results.protocol,
        heads=_row([METRICS[name] for name in shown]), rules="---|" * len(shown), rows=_rows(results, shown),
    )  # fmt: skip
    write_text(card, f"{before.rstrip()}\n\n{about}{rest.partition(END)[2].lstrip()}")
    replace(results, command=None, checkpoint=None).write(folder / BASELINES)  # they name paths of this machine
    write_text(folder / TASKS, yaml.safe_dump(tasks, sort_keys=False, allow_unicode=True, width=120))
    return [folder / TASKS, folder / BASELINES, card]


def entries(results: Results, benchmark: str, repo_id: str, token: str | None = None) -> str:
    """Write the results of a checkpoint as entries in a benchmark on the Hub.

    Args:
        results: Of the checkpoint.
        benchmark: "org/name" of the data set.
        repo_id: Where the checkpoint and its results.json go.
        token: Of the Hub.

    Returns:
        The content of ENTRIES, one entry for each task that the results have a figure of.

    Raises:
        HierSumError: There is no such benchmark, or the results are of other videos or of another protocol.
    """
    try:
        sha = HfApi(token=token).dataset_info(benchmark).sha
        where: dict[str, Any] = {"repo_type": "dataset", "revision": sha, "token": token}
        tasks = load_yaml(Path(hf_hub_download(benchmark, TASKS, **where)).read_text(encoding="utf-8"))
        theirs = Results.read(hf_hub_download(benchmark, BASELINES, **where))
        known = {task["id"] for task in tasks["tasks"]}
    except (RepositoryNotFoundError, EntryNotFoundError, TypeError, KeyError, ValueError) as error:
        raise HierSumError(
            f"{benchmark}: expected a benchmark, a data set on the Hub with {TASKS} and {BASELINES}, found none. Make "
            f"one: `hiersum evaluate ... --benchmark`, then push its data. ({' '.join(str(error).split())})"
        ) from error
    if other := [name for name in SAME if getattr(results, name) != getattr(theirs, name)]:
        wanted, found = (", ".join(f"{name} {getattr(one, name)}" for name in other) for one in (theirs, results))
        raise HierSumError(
            f"{benchmark}: expected results.json of its own videos and protocol, {wanted}, found {found}. Evaluate the "
            "checkpoint as the benchmark's card says, and put that results.json into its folder."
        )
    about = [results.level and f"level {results.level}", results.encoder_mismatch, f"hiersum-hf {version(FRAMEWORK)}"]
    return str(
        yaml.safe_dump(
            eval_result_entries_to_yaml(
                [
                    EvalResultEntry(
                        dataset_id=benchmark,
                        task_id=name,
                        value=results.metrics[name],
                        dataset_revision=sha,
                        source_url=hf_hub_url(repo_id, "results.json").replace("/resolve/", "/blob/"),
                        source_name="results.json",
                        notes="; ".join(filter(None, about)),
                    )
                    for name in METRICS
                    if name in known and results.metrics.get(name) is not None
                ]
            ),
            sort_keys=False,
            allow_unicode=True,
        )
    )


def _rows(results: Results, shown: list[str]) -> str:
    """Write a row of a table for each baseline that is known."""
    known = {name: one.metrics for name, one in results.baselines.items() if one is not None}
    cells = {
        name: ["-" if (value := metrics.get(m)) is None else f"{value:.4f}" for m in shown]
        for name, metrics in known.items()
    }
    return "\n".join(f"| {name} |{_row(row)}" for name, row in cells.items())


def _row(cells: list[str]) -> str:
    return "".join(f" {cell} |" for cell in cells)
