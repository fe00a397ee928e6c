"""Write docs/api.md, the public names of the package with their signatures and docstrings.

    python scripts/quality/api_page.py

A name is public if it is in `hiersum_hf.__all__`, and so are the methods of its class that have a docstring of their
own. Names that are public and not documented end the run.
"""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import hiersum_hf


PAGE = Path(__file__).resolve().parents[2] / "docs" / "api.md"
HEAD = """# Public names

What `from hiersum_hf import NAME` gives is promised; other modules may change. Written by
`python scripts/quality/api_page.py` from the docstrings. Sources of formulas and defaults are in them: a section of the
paper, or "not given in the paper".
"""
KINDS = (
    ("Network", ("HierSumConfig", "HierSumModel", "HierSumOutput", "HierSumFeatureExtractor", "load_checkpoint")),
    ("Summaries", ("load_scorer", "score_video", "write_summary", "Summary", "Segment", "Selection")),
    ("Pipeline", ("pipeline", "HierSumPipeline")),
    ("Data", ("VideoRecord", "Sentence", "read_subtitles", "prepare")),
    ("Prepared sets", ("load_prepared", "stream_prepared", "RecordDataset")),
    (
        "Training and evaluation",
        ("HierSumTrainer", "HierSumTrainingArguments", "evaluate_scores", "compute_metrics", "Results"),
    ),
    ("Hub", ("push",)),
    ("Errors", ("HierSumError", "InputError", "CheckpointError")),
)
SECTION = re.compile(r"^(Args|Returns|Raises|Yields|Attributes):\s*$", re.MULTILINE)


def page() -> str:
    """Return the page.

    Raises:
        ValueError: A public name has no place in `KINDS`, or one in it is not public.
    """
    listed, public = {name for _, names in KINDS for name in names}, set(hiersum_hf.__all__)
    if listed != public:
        raise ValueError(f"KINDS: expected the public names, found a difference in {sorted(listed ^ public)}")
    parts = [HEAD]
    for kind, names in KINDS:
        parts.append(f"## {kind}\n")
        for name in names:
            parts += described(name, getattr(hiersum_hf, name))
    return "\n".join(parts)


def described(name: str, found: object) -> Iterator[str]:
    """Yield the Markdown of a function or class, and of the class's own documented methods."""
    yield f"### {name}\n\n{signature(name, found)}{markdown(inspect.getdoc(found) or '')}\n"
    if inspect.isclass(found) and not issubclass(found, Exception):
        for method, content in vars(found).items():
            function = inspect.unwrap(content.__func__ if isinstance(content, staticmethod | classmethod) else content)
            if method == "__call__" or not method.startswith("_"):
                doc = inspect.getdoc(function) if inspect.isfunction(function) else None
                if doc and function.__module__.startswith("hiersum_hf"):
                    yield f"#### {name}.{method}\n\n{signature(method, function)}{markdown(doc)}\n"


def signature(name: str, found: object) -> str:
    """Return the call as a code block; nothing where there is none worth reading."""
    if inspect.isclass(found) and (issubclass(found, Exception) or len(inspect.signature(found).parameters) > 20):
        return ""  # settings: the docstring lists them
    parameters = [
        one.replace(annotation=inspect.Parameter.empty)
        for one in inspect.signature(found).parameters.values()  # type: ignore[arg-type]
        if one.name != "self"
    ]
    return f"```python\n{name}{inspect.Signature(parameters)}\n```\n\n"


def markdown(doc: str) -> str:
    """Return a docstring as Markdown: its sections bold, their entries a list."""
    text, *sections = SECTION.split(doc)
    lines = [text.strip()]
    for heading, content in zip(sections[::2], sections[1::2], strict=True):
        entries = re.sub(r"\n {2,}", " ", inspect.cleandoc(content))
        named = [re.sub(r"^([^:`(]+?)( \(.*?\))?: ", r"`\1`\2: ", line.strip()) for line in entries.splitlines()]
        lines.append(f"**{heading}**\n\n" + "\n".join(f"- {line}" for line in named if line))
    return "\n\n".join(lines) + "\n"


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")
    print(f"Written: {PAGE.name}")


if __name__ == "__main__":
    main()
