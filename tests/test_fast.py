"""`launchers/test.sh --fast`: what it leaves out by marks, and that something of every room is left."""

import ast
import subprocess
import sys
from pathlib import Path

import prepared
import pytest

TESTS = Path(__file__).parent
SHIMS = {"command_line"}  # a name that older Slurm templates import
ROOMS = sorted(
    path.name for path in (TESTS.parent / "lmeff").iterdir() if any(path.glob("*.py")) and path.name not in SHIMS
)


def marks(node: ast.Module | ast.FunctionDef) -> str:
    """What marks a function, or all of a module, as written."""
    if isinstance(node, ast.FunctionDef):
        return " ".join(map(ast.unparse, node.decorator_list))
    return " ".join(ast.unparse(one) for one in node.body if ast.unparse(one).startswith("pytestmark"))


def is_left_out(node: ast.Module | ast.FunctionDef) -> bool:
    return any(f"pytest.mark.{name}" in marks(node) for name in ("slow", "medium"))


def rooms_of(tree: ast.Module) -> set[str]:
    """The rooms from which a module of tests imports something."""
    modules = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            modules += [f"{node.module}.{one.name}" for one in node.names]
        elif isinstance(node, ast.Import):
            modules += [one.name for one in node.names]
    return {module.split(".")[1] for module in modules if module.startswith("lmeff.")}


@pytest.fixture(scope="module")
def num_fast() -> dict[str, int]:
    """Fast tests by room."""
    found = dict.fromkeys(ROOMS, 0)
    for path in TESTS.rglob("test_*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
        fast = 0 if is_left_out(tree) else sum(not is_left_out(function) for function in functions)
        for room in rooms_of(tree) & found.keys():
            found[room] += fast
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_has_fast_tests(num_fast: dict[str, int], room: str) -> None:
    assert num_fast[room] >= 3


def test_marks_are_seen() -> None:
    functions = "@pytest.mark.medium\ndef test_a(): ...\ndef test_b(): ...\n"
    tree = ast.parse(f"{functions}from lmeff import plan\nimport lmeff.runs.state\nfrom lmeff.cli import main")
    assert [is_left_out(node) for node in tree.body[:2]] == [True, False]
    assert not is_left_out(tree)
    assert is_left_out(ast.parse("pytestmark = pytest.mark.slow"))
    assert rooms_of(tree) == {"plan", "runs", "cli"}


@pytest.mark.parametrize("popen", [subprocess.Popen, prepared.Popen])
def test_a_fast_test_starts_no_python(popen: type[subprocess.Popen]) -> None:
    with pytest.raises(RuntimeError, match="mark it `medium` or `slow`"):
        popen([sys.executable, "-c", ""])
