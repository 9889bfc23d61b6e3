"""The order of the rooms within analysis, and what reading runs does without."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import lmeff.analysis

ROOMS = ("reading", "scores", "statistics", "comparison", "prediction", "charts", "report")
FOLDER = Path(lmeff.analysis.__file__).parent


def imported_rooms(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return {module.split(".")[2] for module in modules if module.startswith("lmeff.analysis.")}


def test_a_room_imports_only_rooms_to_its_left():
    for level, room in enumerate(ROOMS):
        paths = list((FOLDER / room).rglob("*.py"))
        assert len(paths) >= 3
        for path in paths:
            assert not imported_rooms(path) & set(ROOMS[level + 1 :]), path


@pytest.mark.medium
def test_reading_runs_needs_neither_pandas_nor_what_draws(finished_run):
    """`lmeff status` is asked often, by people and by scripts."""
    code = (
        "import sys\n"
        "for name in ('pandas', 'altair', 'vl_convert', 'scipy', 'torch'): sys.modules[name] = None\n"
        "from lmeff.cli.main import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "status", str(finished_run)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    row = done.stdout.splitlines()[1]
    assert row.split()[:6] == [str(finished_run), "complete,", "no", "report", "100%", "2B"]
