"""The house: imports go one way, the travelling files stand alone, the wheel works where the source is not."""

import ast
import inspect
import json
import os
import re
import runpy
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import hiersum_hf
from hiersum_hf.training.recipe_files import find_recipe, recipe_names
from tests.makers.hub_server import HubServer


REPO = Path(__file__).parents[1]
TRAVELLING = {"torch", "numpy", "transformers", "huggingface_hub"}
# A room of the package is a folder or a file of its root. It imports from lower floors only; rooms of one floor do not
# know each other.
FLOORS = [
    {"modeling"},
    {"records", "files"},
    {"timeline", "results", "labels"},
    {"video"},
    {"texts", "features", "scoring"},
    {"summary"},
    {"metrics", "inference"},
    {"evaluate_modules", "synthetic", "app"},
    {"datasets"},
    {"evaluation", "hub"},
    {"training"},
    {"cli"},
]
OUTSIDE = {"__init__", "__main__", "inputs", "prediction"}  # the public names, the command, and names of before


def imports(path: Path) -> set[str]:
    """Modules a file imports anywhere, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names if node.module == "hiersum_hf"}
    return found


def own(modules: set[str]) -> set[str]:
    """The project's modules among them, by their name below hiersum_hf."""
    return {name.split(".")[1] for name in modules if name.startswith("hiersum_hf.")}


def test_imports_go_one_way():
    floor = {name: i for i, names in enumerate(FLOORS) for name in names}
    rooms = {path.stem for path in (REPO / "hiersum_hf").iterdir() if path.suffix == ".py" or path.is_dir()}
    assert rooms - OUTSIDE - {"templates", "__pycache__"} | {"modeling"} == set(floor), "a new room needs its floor"
    climbs = []
    for path in (REPO / "hiersum_hf").rglob("*.py"):
        room = path.relative_to(REPO / "hiersum_hf").parts[0].removesuffix(".py")
        if room not in OUTSIDE:
            wrong = {used for used in own(imports(path)) - {room} if floor.get(used, -1) >= floor[room]}
            climbs += [f"{path.relative_to(REPO)} imports {used}" for used in sorted(wrong)]
    assert not climbs, "\n".join(climbs)


def test_what_travels_imports_only_what_every_user_has():
    """A checkpoint's code is fetched file by file: flat siblings only, nothing of the package, no future import."""
    for path in (REPO / "modeling").glob("*.py"):
        roots = {name.split(".")[0] for name in imports(path)}
        assert roots <= TRAVELLING | set(sys.stdlib_module_names), path
        assert "__future__" not in roots, path
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert node.level == 1, path
                assert (REPO / "modeling" / f"{node.module}.py").exists(), path


def test_what_is_refused_is_refused_with_an_error_of_ours():
    """A caller tells our refusals from other errors; the process that reads HDF5 files stands alone."""
    for path in [*REPO.glob("hiersum_hf/**/*.py"), *REPO.glob("modeling/*.py")]:
        assert path.name == "h5_worker.py" or "raise ValueError" not in path.read_text(), path


def test_nothing_imports_modeling_under_another_name():
    with pytest.raises(ImportError, match=r"Import `hiersum_hf.modeling` instead"):
        runpy.run_path(str(REPO / "modeling" / "__init__.py"), run_name="modeling")
    for path in [*REPO.glob("hiersum_hf/**/*.py"), *REPO.glob("scripts/**/*.py"), *REPO.glob("tests/**/*.py")]:
        assert not any(name.split(".")[0] == "modeling" for name in imports(path)), path


def test_import_is_light():
    """The package must be usable in a minute-old notebook: no decoder, encoder, Trainer or data library comes along."""
    heavy = [
        "av",
        "datasets",
        "evaluate",
        "peft",
        "sentence_transformers",
        "ruptures",
        "pysubs2",
        "matplotlib",
        "transformers.trainer",
    ]
    code = f"import sys, hiersum_hf; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_training_needs_no_data_libraries():
    """GPU machines often have torch and transformers and no pyarrow: the Trainer and plain files must work there."""
    absent = ["datasets", "pyarrow", "evaluate", "av"]
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({absent}))\n"
        "from hiersum_hf.training import folds, from_checkpoint, lora, preflight, trainer\n"
        "from hiersum_hf.evaluation import folds; from hiersum_hf.datasets import parts"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_docstrings_name_every_config_field():
    from hiersum_hf import HierSumConfig

    for name in HierSumConfig.__annotations__:
        assert f"\n    {name} (`" in inspect.getdoc(HierSumConfig), name


def test_bounds_pins_and_docs_name_the_same_versions():
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    listed = map(Requirement, project["dependencies"] + project["optional-dependencies"]["app"])
    allowed = {canonicalize_name(one.name): one.specifier for one in listed}
    pins = dict(line.split("==") for line in (REPO / "constraints.txt").read_text().splitlines())
    pins = {canonicalize_name(name): version for name, version in pins.items()}
    for name, versions in allowed.items():
        assert pins[name] in versions, name
    rows = re.findall(r"^\| (\w+) \| ([\d.]+) \| ([\d.]+) \|$", (REPO / "docs" / "hub.md").read_text(), re.MULTILINE)
    assert "transformers" in [name for name, _, _ in rows]
    for name, oldest, newest in rows:
        bounds = [Version(one.version) for one in allowed[canonicalize_name(name)] if one.operator == ">="]
        assert (bounds, pins[canonicalize_name(name)]) == ([Version(oldest)], newest), name


def test_make_check_and_the_hooks_of_pre_commit_run_the_same_commands():
    def commands(*goals: str) -> str:
        words = ["make", "--dry-run", "--no-print-directory", "--old-file", ".venv/.ready", *goals]
        return subprocess.run(words, cwd=REPO, capture_output=True, text=True, check=True).stdout

    (local,) = yaml.safe_load((REPO / ".pre-commit-config.yaml").read_text())["repos"]
    assert (local["repo"], {hook["language"] for hook in local["hooks"]}) == ("local", {"system"}), "no downloads"
    goals = [hook["entry"].removeprefix("make ") for hook in local["hooks"]]
    assert commands(*goals) == commands("check")
    assert all(tool in commands("check") for tool in ("ruff check", "ruff format --check", "mypy"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(REPO)],
        check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def programs(wheel, tmp_path_factory):
    """Where the programs are of an environment with the wheel, which sees the other packages of this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--no-deps", "--quiet"]
    subprocess.run([*pip, str(wheel)], check=True)
    (site,) = (folder / "lib").glob("python*/site-packages")
    others = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (site / "others.pth").write_text("\n".join(others))  # last: pip must not see this project among them
    return folder / "bin"


@pytest.mark.slow
def test_programs_of_users_have_no_type_errors(programs, tmp_path):
    """The code of README and docs, against the installed wheel, as strictly as other libraries' own types allow."""
    for page in (REPO / "README.md", *(REPO / "docs").glob("*.md"), *(REPO / "docs" / "examples").glob("*.py")):
        text = page.read_text(encoding="utf-8")
        blocks = [text] if page.suffix == ".py" else re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        for k, block in enumerate(blocks if page.name != "api.md" else ()):
            if "hiersum_hf" in block:
                (tmp_path / f"{page.stem.lower()}_{k}.py").write_text(block, encoding="utf-8")
    (tmp_path / "mypy.ini").write_text(
        "[mypy]\nstrict = True\nuntyped_calls_exclude = transformers\n"
        "[mypy-datasets.*]\nignore_missing_imports = True\n"
    )
    files = sorted(path.name for path in tmp_path.glob("*.py"))
    assert len(files) >= 9
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--python-executable", str(programs / "python"), *files],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == f"Success: no issues found in {len(files)} source files\n", done.stdout + done.stderr


@pytest.mark.slow
def test_the_wheel_works_elsewhere(wheel, tmp_path):
    """Built, installed into another folder and used from there, without the source."""
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
    sources = {f"hiersum_hf/{p.relative_to(REPO / 'hiersum_hf')}" for p in (REPO / "hiersum_hf").rglob("*.py")}
    sources |= {f"hiersum_hf/training/recipes/{p.name}" for p in (REPO / "hiersum_hf/training/recipes").glob("*.yaml")}
    sources |= {f"hiersum_hf/templates/{p.name}" for p in (REPO / "hiersum_hf/templates").iterdir()}
    sources |= {f"hiersum_hf/modeling/{p.name}" for p in (REPO / "modeling").glob("*.py")}
    assert sources <= names
    assert not any(name.startswith(("modeling/", "tests/", "scripts/")) for name in names)
    site = tmp_path / "installed"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--no-deps", "--quiet", "--target", str(site), str(wheel)], check=True
    )
    assert list(site.glob("hiersum_hf-*.dist-info/entry_points.txt"))
    code = (
        "import os; os.environ |= {'HF_HOME': 'cache', 'HF_HUB_OFFLINE': '1'}\n"
        "import sys; sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in repr(f).lower()]\n"
        f"sys.path.insert(0, {str(site)!r})\n"
        "import hiersum_hf, json, torch; from hiersum_hf import *; from pathlib import Path\n"
        f"assert Path(hiersum_hf.__file__).is_relative_to({str(site)!r}), hiersum_hf.__file__\n"
        "model = HierSumModel(HierSumConfig(video_dim=4, text_dim=4, hidden_size=16, num_layers=1)).eval()\n"
        "model.save_pretrained('saved'); HierSumFeatureExtractor().save_pretrained('saved')\n"
        "from transformers import AutoModel; again = AutoModel.from_pretrained('saved')\n"
        "x = torch.randn(1, 5, 4); torch.testing.assert_close(model(x).frame_logits, again(x).frame_logits)\n"
        "from hiersum_hf.synthetic import features as synthetic\n"
        "from hiersum_hf.hub.card import write_card\n"
        "record = synthetic.to_record(synthetic.make_video(0), *synthetic.random_features())\n"
        "results = evaluate_scores([record], None, scorer='random', dataset='demo', part='test')\n"
        "card = write_card('saved', results, HierSumFeatureExtractor()).read_text()\n"
        "assert f\"{results.metrics['f1']:.4f}\" in card\n"
        "import evaluate; from hiersum_hf import evaluate_modules\n"
        "metric = evaluate.load(evaluate_modules.path('rank_correlation'))\n"
        "found = metric.compute(predictions=[[1, 2, 3]], references=[[1, 2, 3]]); assert found['kendall_tau'] == 1\n"
        "from importlib.util import find_spec; from urllib.request import urlopen\n"
        "from hiersum_hf.app import page as app; from hiersum_hf.inference import summarize\n"
        "if find_spec('gradio'):\n"
        "    with app.launch(summarize.Scorer(HierSumFeatureExtractor()), Path('served').absolute()) as page:\n"
        "        print('app:', urlopen(page.local_url).status)\n    page.close()\n"
        "from hiersum_hf.cli.main import main; main(['--help'])\n"
    )
    # -I: neither the working folder nor the editable install may help
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "summarize" in done.stdout
    assert "app: 200" in done.stdout or not find_spec("gradio")


def test_public_names_are_there_and_say_what_they_are():
    code = (
        "import hiersum_hf; print(all(getattr(hiersum_hf, name).__doc__ for name in hiersum_hf.__all__), "
        "set(hiersum_hf.__all__) <= set(dir(hiersum_hf)), hasattr(hiersum_hf, 'nosuch'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True", "False"]


def test_no_public_name_is_a_modules():
    """A function named like a module of the package would hide it, or be hidden by it."""
    import hiersum_hf

    modules = {path.stem for path in (REPO / "hiersum_hf").iterdir()} | {"modeling"}
    assert not modules & set(hiersum_hf.__all__)


TINY = "--train_videos 8 --max_steps 2 --hidden_size 16 --num_layers 1 --per_device_train_batch_size 2 --use_cpu True"
RANKS = "--multi_gpu --num_machines 1 --num_processes 2 --mixed_precision no --dynamo_backend no"


@pytest.mark.slow
def test_what_is_installed_trains_and_pushes(programs, tmp_path):
    """From `pip install` to a checkpoint on the Hub, in one process and in two, and no clone anywhere."""

    def run(*words, code=0):
        done = subprocess.run([programs / words[0], *words[1:]], cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        return done

    def results(folder):
        return json.loads((tmp_path / folder / "results.json").read_text())

    with HubServer() as server:
        env = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", **server.environment(tmp_path / "home")}
        where = run("python", "-c", "import hiersum_hf; print(hiersum_hf.__file__)").stdout
        assert Path(where).is_relative_to(programs.parent)
        assert len(run("hiersum", "train", "--list").stdout.splitlines()) == len(recipe_names())
        assert run("hiersum", "train", "tvsum", "--show").stdout == find_recipe("tvsum").read_text()
        assert "Did you mean tvsum?" in run("hiersum", "train", "scripts/recipes/tvsum.yaml", code=2).stderr
        trained = run("hiersum", "train", "demo", *TINY.split(), "--output_dir", "run")
        assert f"{results('run')['metrics']['f1']:.4f}" in trained.stdout
        assert results("run")["command"].startswith("hiersum train demo --train_videos 8 ")
        assert "`hiersum train recipe.yaml` trains again" in (tmp_path / "run" / "README.md").read_text()
        assert run("hiersum", "push", "run", "org/hiersum").stdout == f"Pushed: {server.url}/org/hiersum\n"
        assert "model.safetensors" in server.repos["model", "org/hiersum"].files
    launch = ["-m", "accelerate.commands.launch", *RANKS.split(), "-m", "hiersum_hf", "train"]
    run("python", *launch, "run/recipe.yaml", "--output_dir", "ranks", "--ranks", "2")
    assert results("ranks")["command"].startswith("accelerate launch -m hiersum_hf train run/recipe.yaml ")
    assert results("ranks")["metrics"].keys() == results("run")["metrics"].keys()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hiersum_hf.load_checkpoint(None), "checkpoint: expected a folder or Hub id, found NoneType None."),
        (lambda: hiersum_hf.load_scorer(5), "checkpoint: expected a folder or Hub id, found int 5."),
        (lambda: hiersum_hf.pipeline(b"run"), "checkpoint: expected a folder or Hub id, found bytes b'run'."),
        (
            lambda: hiersum_hf.score_video("talk.mp4", "org/x"),
            "scorer: expected what load_scorer returns, found str 'org/x'.",
        ),
        (lambda: hiersum_hf.write_summary({}, "talk.mp4", "out"), "summary: expected a Summary, found dict {}."),
        (
            lambda: hiersum_hf.evaluate_scores(["v"], {}, scorer="mine", dataset="tvsum", part="test"),
            "records: expected VideoRecords, found str 'v'.",
        ),
        (lambda: hiersum_hf.compute_metrics(3), "prediction: expected an EvalPrediction, found int."),
        (
            lambda: hiersum_hf.Selection(min_segment_s="3"),
            "min_segment_s: expected seconds as a number, found str '3'.",
        ),
        (
            lambda: hiersum_hf.HierSumTrainer(None, {"seed": 3}, [], None),
            "args: expected HierSumTrainingArguments, found dict {'seed': 3}.",
        ),
    ],
)
def test_a_wrong_type_is_refused_in_one_line(call, message):
    with pytest.raises(hiersum_hf.HierSumError) as caught:
        call()
    assert str(caught.value) == message
