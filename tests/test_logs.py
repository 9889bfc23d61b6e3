"""What is said, on which stream, and how much of it is wanted; nobody but the commands prints."""

import ast
import subprocess
import sys
from collections.abc import Iterator

import pytest
from launching import ROOT, environment, write_recipe

from lmeff import logs
from lmeff.cli import main

SCRIPTS = {
    "command_line/run_folder.py",  # answers the job script of an array's task
    "evaluation/tasks/write.py",  # `python -m lmeff.evaluation.tasks.write`
    "measures/profile/memory.py",  # answers, as JSON, the process that started it
    "publishing/pages.py",  # answers the run that started it
    "logs.py",
}
WRITES = {"print", "tqdm.write", *(f"{name}.{how}" for name in ("stdout", "stderr") for how in ("write", "writelines"))}


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch):
    monkeypatch.delenv("LMEFF_VERBOSITY", raising=False)
    yield
    logs.set_verbosity(0)


def writes(tree: ast.AST) -> Iterator[int]:
    """Lines that write to a stream by themselves."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and ast.unparse(node).removeprefix("sys.") in WRITES:
            yield node.lineno


@pytest.mark.medium
def test_only_commands_print():
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: use lmeff.logs"
        for path in (ROOT / "lmeff").rglob("*.py")
        if path.parent.name != "cli"
        and path.name not in ("__main__.py", "logs.py", "progress.py")
        and "shipped" not in path.parts
        if path.relative_to(ROOT / "lmeff").as_posix() not in SCRIPTS
        for line in writes(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("print(1)", 1),
        ("run(say=print)", 1),
        ("sys.stderr.write(line)", 1),
        ("sys.stdout.writelines(lines)", 1),
        ("tqdm.write(line, file=sys.stderr)", 1),
        ("file.write(line)", 0),
        ("sys.stderr.isatty()", 0),
    ],
)
def test_what_writes_is_recognized(code, found):
    assert len(list(writes(ast.parse(code)))) == found


@pytest.mark.parametrize(("verbosity", "noted"), [(0, "a note\n"), (1, "a note\n"), (-1, "")])
def test_streams_and_verbosity(capsys, verbosity, noted):
    logs.set_verbosity(verbosity)
    logs.say("the output")
    logs.note("a note")
    logs.warn("a warning")
    said = capsys.readouterr()
    assert said.out == "the output\n"
    assert said.err == f"{noted}a warning\n"
    assert logs.is_quiet() == (verbosity < 0)


@pytest.mark.medium
def test_processes_that_are_started_are_as_quiet(monkeypatch):
    logs.set_verbosity(-1)
    code = "from lmeff import logs; logs.set_verbosity(None); print(logs.is_quiet())"
    answer = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert answer.stdout == "True\n"


def test_a_quiet_command_says_its_output_alone(tmp_path, capsys):
    recipe = str(write_recipe(tmp_path))
    assert main(["plan", recipe]) == 0
    expected = capsys.readouterr().out
    assert main(["plan", recipe, "-q"]) == 0
    assert capsys.readouterr() == (expected, "")
    with pytest.raises(SystemExit, match="2"):
        main(["plan", recipe, "-q", "-v"])
    assert "not allowed with" in capsys.readouterr().err


@pytest.mark.medium
def test_nobody_reads_on_when_a_pipe_closes(tmp_path):
    recipe = str(write_recipe(tmp_path))
    command = f"{sys.executable} -m lmeff.cli plan {recipe} | head -n 1"
    answer = subprocess.run(command, shell=True, env=environment(), capture_output=True, text=True, check=True)
    assert answer.stderr == ""
