"""The package in figures: rooms and arrows, language, comments, types; and which functions a commit changed.

    python scripts/quality/house.py measure HEAD~20 HEAD     one row a figure, one column a commit
    python scripts/quality/house.py moved HEAD~1 HEAD        functions whose code is not the same in both
    python scripts/quality/house.py walk HEAD hiersum_hf/cli/main.py summarize talk.mp4 --output summaries

The last one runs a program of that commit and counts how often a reader who follows it changes rooms: the functions of
the package in the order of their first call, one change where the next function is in another room.

A room is a folder or a file of the package's root; an arrow is one room that imports from another, inside functions
too. A line of code holds a token that is neither comment nor docstring. A docstring counts as not imperative by ruff's
rule D401, a type as missing by `mypy --strict`.
"""

import argparse
import ast
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory


REPO = Path(__file__).resolve().parents[2]
PARTS = ("hiersum_hf", "modeling")
QUIET = {tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING, tokenize.ENDMARKER}
WITH_DOCSTRINGS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Module)


def fetch(commit: str, folder: Path, *more: str) -> list[Path]:
    """Write the package of a commit, and more, into a folder as one package, and return its Python files."""
    archive = subprocess.run(
        ["git", "archive", commit, *PARTS, *more], cwd=REPO, check=True, capture_output=True
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data", members=[one for one in tar if not one.issym()])
    (folder / "modeling").rename(folder / "hiersum_hf" / "modeling")
    return sorted((folder / "hiersum_hf").rglob("*.py"))


def room_of(name: str) -> str:
    """Return the room of a dotted module name below the package."""
    return name.removeprefix("hiersum_hf.").split(".")[0]


def arrows(files: list[Path], package: Path) -> tuple[set[str], set[tuple[str, str]]]:
    """Return the rooms, and the pairs of rooms of which the first imports from the second."""
    rooms, found = set(), set()
    for path in files:
        room = path.relative_to(package).parts[0].removesuffix(".py")
        if room.startswith("__"):
            continue
        rooms.add(room)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [f"hiersum_hf.{one.name}" for one in node.names]
                used = names if node.module == "hiersum_hf" else [node.module]
                found |= {(room, room_of(name)) for name in used if name.startswith("hiersum_hf.")}
    return rooms, {(a, b) for a, b in found if a != b}


def code_and_comments(files: list[Path]) -> tuple[int, int]:
    """Return how many lines hold code, and how many hold a comment."""
    code = comments = 0
    for path in files:
        text = path.read_text()
        quoted: set[int] = set()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, WITH_DOCSTRINGS) and ast.get_docstring(node) is not None:
                quoted |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
        lines = {
            line
            for token in tokens
            if token.type not in QUIET | {tokenize.COMMENT}
            for line in range(token.start[0], token.end[0] + 1)
        }
        code += len(lines - quoted)
        comments += len({token.start[0] for token in tokens if token.type == tokenize.COMMENT})
    return code, comments


def output_of(*command: str, cwd: Path) -> str:
    """Return what a tool prints, whatever its exit status says."""
    return subprocess.run([sys.executable, "-m", *command], cwd=cwd, capture_output=True, text=True).stdout


def measure(commit: str) -> dict[str, str]:
    """Return the figures of one commit by name."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        files = fetch(commit, folder)
        rooms, pairs = arrows(files, folder / "hiersum_hf")
        code, comments = code_and_comments(files)
        trees = [ast.parse(path.read_text()) for path in files]
        documented = [
            node
            for tree in trees
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef) and ast.get_docstring(node)
        ]
        ruff = ("ruff", "check", "--isolated", "--output-format", "json", "--exit-zero")
        told = json.loads(output_of(*ruff, "--select", "D401", "hiersum_hf", cwd=folder))
        mypy = ("mypy", "--strict", "--ignore-missing-imports", "--follow-imports", "silent", "--package", "hiersum_hf")
        types = output_of(*mypy, cwd=folder)
        fullest = Counter(path.parent for path in files).most_common(1)[0][1]
        return {
            "rooms": str(len(rooms)),
            "arrows": str(len(pairs)),
            "arrows that have a way back": str(sum((b, a) in pairs for a, b in pairs)),
            "Python files": f"{len(files)}, fullest folder {fullest}",
            "lines of code": str(code),
            "comments": f"{comments / code:.1%}",
            "docstrings not imperative": f"{len(told) / len(documented):.0%} of {len(documented)}",
            "mypy --strict": str(len(re.findall(r": error: ", types))),
        }


def walk(commit: str, program: str, *words: str) -> None:
    """Run a program of a commit, and print its rooms in the order in which their functions are first called."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        fetch(commit, folder, "scripts")
        tracer = Path(__file__).with_name("walk.py")
        subprocess.run([sys.executable, tracer, folder / program, *words], env=os.environ | {"PYTHONPATH": name})


def functions(files: list[Path]) -> Iterator[tuple[str, str]]:
    """Yield the name of every function and its code, without imports and texts that name modules."""
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                yield node.name, ast.dump(_Plain().visit(node))


class _Plain(ast.NodeTransformer):
    """Drops what a move must change: imports, and module names in texts."""

    def visit_Import(self, node: ast.Import) -> None:
        return None

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        return None

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        if not isinstance(node.value, str):
            return node
        return ast.Constant(re.sub(r"(hiersum_hf\b)?[\w./]*(?=[.`/])|templates/", "", node.value))


def moved(old: str, new: str) -> tuple[Counter[str], Counter[str]]:
    """Return the names of functions that only the old, and only the new commit has in this form."""
    found = []
    for commit in (old, new):
        with TemporaryDirectory() as folder:
            found.append(Counter(functions(fetch(commit, Path(folder)))))
    gone, come = found[0] - found[1], found[1] - found[0]
    print(f"{(found[0] & found[1]).total()} functions unchanged, {gone.total()} gone or changed, {come.total()} new")
    return Counter(name for name, _ in gone.elements()), Counter(name for name, _ in come.elements())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", choices=["measure", "moved", "walk"])
    parser.add_argument("commits", nargs=argparse.REMAINDER, help="walk: a commit, a program of it and its words")
    args = parser.parse_args()
    if args.job == "walk":
        walk(*args.commits)
        return
    if args.job == "moved":
        gone, come = moved(*args.commits)
        print("old:", *sorted(gone), "\nnew:", *sorted(come))
        return
    columns = [measure(commit) for commit in args.commits]
    print("|", *(f"| {commit}" for commit in args.commits), "|")
    print("|", "---|" * (len(columns) + 1))
    for name in columns[0]:
        print(f"| {name} |", " | ".join(column[name] for column in columns), "|")


if __name__ == "__main__":
    main()
