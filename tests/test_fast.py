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


def rooms_by_name(tree: ast.AST) -> dict[str, str]:
    """The names that are imported from rooms, each with its room."""
    rooms = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            pairs = [(one.asname or one.name, f"{node.module}.{one.name}") for one in node.names]
        elif isinstance(node, ast.Import):
            pairs = [(one.asname or one.name.partition(".")[0], one.name) for one in node.names]
        else:
            continue
        rooms |= {name: module.split(".")[1] for name, module in pairs if module.startswith("lmeff.")}
        rooms |= {name: "interface" for name, module in pairs if module == "lmeff"}
    return rooms


def rooms_of(function: ast.FunctionDef, tree: ast.Module) -> set[str]:
    """The rooms of which a test uses something by itself, or through functions and fixtures of its module."""
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    waiting, seen, rooms = [function], {function.name}, set()
    while waiting:
        node = waiting.pop()
        used = {one.id for one in ast.walk(node) if isinstance(one, ast.Name)} | {one.arg for one in node.args.args}
        known = rooms_by_name(tree)
        rooms |= {known[name] for name in used & known.keys()} | set(rooms_by_name(node).values())
        waiting += [functions[name] for name in used & functions.keys() - seen]
        seen |= used
    return rooms


@pytest.fixture(scope="module")
def num_fast() -> dict[str, int]:
    """Fast tests by room."""
    found = dict.fromkeys(ROOMS, 0)
    for path in TESTS.rglob("test_*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
        for function in functions if not is_left_out(tree) else ():
            for room in rooms_of(function, tree) & found.keys() if not is_left_out(function) else ():
                found[room] += 1
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_has_fast_tests(num_fast: dict[str, int], room: str) -> None:
    assert num_fast[room] >= 3


def test_marks_are_seen() -> None:
    functions = "@pytest.mark.medium\ndef test_a(): main()\ndef test_b(found): other()\ndef found(): plan.x()\n"
    tree = ast.parse(
        f"{functions}from lmeff import plan\nfrom lmeff.runs.state import State\nfrom lmeff.cli import main"
    )
    assert [is_left_out(node) for node in tree.body[:2]] == [True, False]
    assert not is_left_out(tree)
    assert is_left_out(ast.parse("pytestmark = pytest.mark.slow"))
    assert set(rooms_by_name(tree).values()) == {"plan", "runs", "cli"}
    assert [rooms_of(node, tree) for node in tree.body[:2]] == [{"cli"}, {"plan"}]


@pytest.mark.parametrize("popen", [subprocess.Popen, prepared.Popen])
def test_a_fast_test_starts_no_python(popen: type[subprocess.Popen]) -> None:
    with pytest.raises(RuntimeError, match="mark it `medium` or `slow`"):
        popen([sys.executable, "-c", ""])
