"""Runs of `lmeff.run` in processes that are forked from one that has imported everything: a second or two each."""

import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["lmeff.run", "lmeff.training.train", "lmeff.analysis", "lmeff.corpora", "lmeff.evaluation.harness"]
)


def run_in_child(
    *words: str,
    output: Path,
    faults: Sequence[Callable[[], None]] = (),
    variables: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    """Exit code, negative for a signal, and what `lmeff.run WORDS` printed, which is in the file `output` too.

    `faults` are called before the run begins: functions of `faulty.py`, with `functools.partial`.
    """
    process = _CONTEXT.Process(target=_child, args=(words, output, tuple(faults), dict(variables or {})))
    process.start()
    process.join(300)
    if process.exitcode is None:
        process.kill()
        raise AssertionError(f"it took too long: {output.read_text()}")
    return process.exitcode, output.read_text()


def finish_in_child(*words: str, output: Path, variables: Mapping[str, str] | None = None) -> str:
    """What a run that must succeed printed."""
    code, said = run_in_child(*words, output=output, variables=variables)
    assert code == 0, said
    return said


def _child(
    words: tuple[str, ...], output: Path, faults: tuple[Callable[[], None], ...], variables: dict[str, str]
) -> None:
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    os.environ.update(variables)
    from lmeff.run import main

    for fault in faults:
        fault()
    code = main(list(words))
    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(code)
