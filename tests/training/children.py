"""Runs of `lmeff.run` in processes that are forked from one that has imported everything: a second or two each."""

import multiprocessing
import os
import signal
import sys
from fnmatch import fnmatchcase
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["lmeff.run", "lmeff.training.job", "lmeff.analysis", "lmeff.corpora", "lmeff.evaluation.harness"]
)


def run_in_child(
    *words: str,
    output: Path,
    kill_at_write: int | None = None,
    kill_in: str = "*",
    variables: dict[str, str] | None = None,
) -> tuple[int, str]:
    """Exit code, negative for a signal, and what `lmeff.run WORDS` printed, which is in the file `output` too.

    With `kill_at_write` it kills itself at that write to a run's files, counted from 1, of those whose paths fit `kill_in`.
    """
    process = _CONTEXT.Process(target=_child, args=(words, output, kill_at_write, kill_in, variables or {}))
    process.start()
    process.join(300)
    assert process.exitcode is not None, "it took too long"
    return process.exitcode, output.read_text()


def finish_in_child(*words: str, output: Path, variables: dict[str, str] | None = None) -> str:
    """What a run that must succeed printed."""
    code, said = run_in_child(*words, output=output, variables=variables)
    assert code == 0, said
    return said


def _child(
    words: tuple[str, ...], output: Path, kill_at_write: int | None, kill_in: str, variables: dict[str, str]
) -> None:
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    os.environ.update(variables)
    if kill_at_write is not None:
        _kill_at_write(kill_at_write, kill_in)
    from lmeff.run import main

    code = main(list(words))
    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(code)


def _kill_at_write(count: int, pattern: str) -> None:
    seen = 0

    def watch(event: str, arguments: tuple) -> None:
        nonlocal seen
        if event == "open":
            writes = isinstance(arguments[1], str) and any(letter in arguments[1] for letter in "wax+")
        else:
            writes = event in ("os.rename", "os.remove", "os.rmdir", "shutil.rmtree", "os.mkdir")
        if writes and "/outputs/" in str(arguments[0]) and fnmatchcase(str(arguments[0]), pattern):
            seen += 1
            if seen == count:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
