"""The commands that the documents print, and where tests run them: flows of tests/cli/test_documented_flows.py."""

import re
from pathlib import Path


REPO = Path(__file__).parents[2]
DOCUMENTS = [*REPO.glob("*.md"), *(REPO / "docs").glob("*.md"), REPO / "skills" / "hiersum" / "SKILL.md"]
PAGES = sorted(str(path.relative_to(REPO)) for path in DOCUMENTS)

# What lies around its commands is made by the fixture of a flow's name; its sections are read one after the other
FLOWS = {
    "talk": [
        ("README.md", "# hiersum-hf"),
        ("README.md", "## Summarize"),
        ("docs/summaries.md", "# Summaries: what is chosen, and why"),
        ("docs/summaries.md", "## The command"),
        ("docs/summaries.md", "## For editors and players"),
        ("model_card.md", "## What comes out"),
        ("skills/hiersum/SKILL.md", "# Summarize videos with hiersum"),
    ],
    "tvsum": [
        ("README.md", "## Train"),
        ("docs/training.md", "# Training: from data to a checkpoint"),
        ("docs/evaluation.md", "# Evaluation: one protocol for each data set, the others by name"),
        ("docs/evaluation.md", "## What a selection captures"),
        ("docs/evaluation.md", "## Scorers and baselines"),
        ("docs/summaries.md", "## What each is worth"),
    ],
    "folds": [
        ("docs/training.md", "## Ratings: learn the ranking"),
        ("docs/training.md", "## Folds"),
        ("docs/mechanisms.md", "## What is not known"),
    ],
    "sources": [
        ("docs/data.md", "# Data: every set of the field as one"),
        ("docs/data.md", "## TVSum and SumMe: ratings, titles, captions"),
        ("docs/data.md", "## Scripts: SM-MrHiSum and SM-VideoXum"),
        ("docs/data.md", "## The paper's own training set"),
        ("docs/evaluation.md", "## Protocols"),
    ],
    "recipes": [
        ("docs/training.md", "## Recipes"),
        ("docs/training.md", "## Two stages: replay, then few labels"),
    ],
    "stopped": [("docs/training.md", "## Resuming")],
    "ranks": [
        ("docs/training.md", "## Several GPUs, several machines"),
        ("docs/cluster.md", "## Training on machines that fail"),
        ("docs/cluster.md", "### Several machines"),
        ("docs/reliability.md", "## Several processes"),
    ],
    "on_the_hub": [
        ("docs/hub.md", "## Train and push"),
        ("docs/hub.md", "## A benchmark"),
        ("docs/data.md", "## Sharing it"),
    ],
    "bucket": [("docs/cluster.md", "## Data where it lies")],
    "on_ray": [("docs/cluster.md", "## An archive on Ray"), ("docs/cluster.md", "### Buckets on Ray")],
    "slurm": [("docs/cluster.md", "### A cluster")],
    "clone": [("CONTRIBUTING.md", "# Contributing"), ("docs/reliability.md", "## Fuzzing")],
}
ELSEWHERE = {("docs/service.md", "# The app as a service"): "tests/app/test_service.py"}
NOT_RUN = {  # lines that begin so, and why
    "pip install ": "fetches from a registry",
    "make ": "runs these tests, or what tests/test_demo.py runs",
    "bash .ci/run": "runs these tests",
    "hf auth login": "asks for a token",
    "docker compose up ": "needs Docker's daemon; tests/test_container.py runs what the image is made by",
    "hiersum summarize https://example.org/": "of no network; tests/inference/test_fetch.py has servers",
    "ray start ": "of several machines; the job for SLURM starts the same",
    "ray stop": "ends every Ray of the machine",
    "accelerate launch --multi_gpu --num_machines 1 --num_processes 4 ": "needs four GPUs",
    "accelerate launch --multi_gpu --num_machines 2 ": "needs two machines",
    "torchrun --nnodes 1:2 ": "needs two machines",
    "until accelerate launch ": "has dots for what the reader fills in",
    "python scripts/run_benchmark.py": "hours; tests/scripts/test_run_benchmark.py runs the parts in small",
    "OMP_NUM_THREADS=1 python scripts/run_benchmark.py": "the same",
    "python scripts/run_ablation.py schedules": "hours; tests/scripts/test_ablation.py runs arms, a flow runs ratings",
    "python scripts/run_ablation.py transfer": "the same",
    "python scripts/run_ablation.py encoders": "the same",
    "python scripts/quality/kill_trials.py": "hours; tests/scripts/test_kill_trials.py runs a trial of each job",
    "python scripts/quality/soak.py": "an hour; tests/scripts/test_soak.py runs a small one",
    "python scripts/quality/mutate.py": "hours",
}


def blocks(page: str) -> dict[str, list[str]]:
    """The blocks of shell commands below each heading of a page."""
    found: dict[str, list[str]] = {}
    heading, language = "", None
    for line in (REPO / page).read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            language = line[3:] if language is None else None
            if language == "bash":
                found.setdefault(heading, []).append("")
        elif language == "bash":
            found[heading][-1] += f"{line}\n"
        elif language is None and line.startswith("#"):
            heading = line
    return found


def commands(block: str) -> list[str]:
    """The commands of a block, without its names and comments; one that computes names is one command."""
    if "$(" in block:
        return [block]
    block = block.replace("\\\n", " ")
    names = dict(re.findall(r"^(\w+)=(\S+)$", block, re.MULTILINE))
    lines = [re.sub(r"\$(\w+)", lambda name: names.get(name[1], name[0]), line) for line in block.splitlines()]
    return [line for line in lines if line and not re.match(r"#|\w+=\S+$", line)]


def printed(page: str, heading: str) -> list[str]:
    """The commands of a section; in the card of a checkpoint it is the one in demo/run."""
    lines = [command for block in blocks(page)[heading] for command in commands(block)]
    return [line.replace("{{ repo_id }}", "demo/run") for line in lines]
