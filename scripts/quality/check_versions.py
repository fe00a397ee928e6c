"""Save, load, pipeline, adapter and push tests with the oldest and the newest supported versions.

    python scripts/quality/check_versions.py           # both, each in an environment of its own
    python scripts/quality/check_versions.py oldest

Oldest: the lower bounds in pyproject.toml; newest: constraints.txt, which `make test` uses as well. PyTorch is that of
this Python in both, linked instead of fetched again.
"""

import argparse
import os
import re
import subprocess
import sys
import tomllib
import venv
from importlib.metadata import distribution
from pathlib import Path
from tempfile import TemporaryDirectory


REPO = Path(__file__).resolve().parents[2]
FOR_TESTS = ("pytest", "hypothesis")
TESTS = (
    *("modeling/test_auto_classes", "modeling/test_pipeline", "training/test_lora"),
    *("hub/test_model_card", "hub/test_hub", "scripts/test_convert_a2summ"),
)
PRINT_VERSIONS = """
import sys, tomllib
from importlib.metadata import version
words = [f"{name} {version(name)}" for name in sys.argv[1:]]
print(f"Python {sys.version.split()[0]}, {', '.join(words)}", flush=True)
"""


def lower_bounds() -> dict[str, str]:
    """Package: oldest version, of the dependencies in pyproject.toml; without torch."""
    listed = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    bounds = dict(re.match(r"([\w.-]+)>=([\d.]+)", requirement).groups() for requirement in listed)
    del bounds["torch"]
    return bounds


def link_torch(site: Path) -> None:
    """Makes this Python's PyTorch importable from another environment, also for pip."""
    torch = distribution("torch")
    for name in {file.parts[0] for file in torch.files or ()} - {".."}:
        (site / name).symlink_to(torch.locate_file(name))


def check(which: str, folder: Path) -> bool:
    """Installs the versions in a new environment below `folder` and runs the tests there; whether all passed."""
    venv.create(folder / which, with_pip=True)
    python = folder / which / "bin" / "python"
    (site,) = (folder / which / "lib").glob("python*/site-packages")
    link_torch(site)
    pins = folder / f"{which}.txt"
    bounds = lower_bounds()
    pins.write_text("".join(f"{name}=={version}\n" for name, version in bounds.items()))
    used = REPO / "constraints.txt" if which == "newest" else pins
    install = [python, "-m", "pip", "install", "--quiet", "--constraint", used, "--editable", REPO, *FOR_TESTS]
    if subprocess.run(install).returncode:
        return False
    print(f"\n{which}: ", end="", flush=True)
    subprocess.run([python, "-c", PRINT_VERSIONS, "torch", *bounds], check=True)
    files = [f"tests/{name}.py" for name in TESTS]
    tests = [python, "-m", "pytest", "-m", "slow or not slow", "-p", "no:cacheprovider", *files]
    return subprocess.run(tests, cwd=REPO, env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}).returncode == 0


def main() -> int:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("which", nargs="?", choices=("oldest", "newest"), help="default: both")
    args = flags.parse_args()
    with TemporaryDirectory(prefix="hiersum-versions-") as folder:
        passed = {which: check(which, Path(folder)) for which in ([args.which] if args.which else ["oldest", "newest"])}
    print("\n".join(f"{which}: {'passed' if ok else 'FAILED'}" for which, ok in passed.items()))
    return 0 if all(passed.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
