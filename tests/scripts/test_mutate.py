"""scripts/quality/mutate.py must change the code that its tests import, or every change would go unnoticed."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest


REPO = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def mutate():
    return runpy.run_path(str(REPO / "scripts/quality/mutate.py"))


def test_parts_name_files_and_tests_that_there_are(mutate):
    for files, tests, _ in mutate["PARTS"].values():
        for name in [*files, *(f"tests/{name}.py" for name in tests)]:
            assert (REPO / name).is_file(), name


@pytest.mark.slow
def test_the_copy_is_what_python_finds(mutate, tmp_path):
    mutate["copy_sources"](tmp_path)
    mutate["copy_sources"](tmp_path)  # as when it goes on
    code = "from hiersum_hf.modeling import losses_hiersum as m; print(m.__file__)"
    found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert Path(found.stdout.strip()) == tmp_path / "hiersum_hf/modeling/losses_hiersum.py"


@pytest.mark.slow
def test_a_fork_tells_whether_tests_pass(mutate, tmp_path, monkeypatch):
    (tmp_path / "changed.py").write_text("one = 1")
    (tmp_path / "test_it.py").write_text("import changed\n\ndef test_it(): assert changed.one == 1")
    monkeypatch.chdir(tmp_path)
    assert mutate["tests_pass"](["-p", "no:cacheprovider", "test_it.py"])
    (tmp_path / "changed.py").write_text("one = 2")
    assert not mutate["tests_pass"](["-p", "no:cacheprovider", "test_it.py"])
    assert "changed" not in sys.modules


def test_one_change_of_each_kind_is_tried(mutate):
    tried = mutate["TRIED"].fullmatch
    assert tried("core/ReplaceBinaryOperator_Add_Sub")
    assert not tried("core/ReplaceBinaryOperator_Add_Mul")
    assert tried("core/NumberReplacer")
    assert not tried("core/RemoveDecorator")
