"""What a command line of `lmeff.run` asks for: a recipe, one of several, or a case of a sweep. Needs no torch.

`python -m lmeff.command_line` is for shell scripts. Slurm templates that were copied from an older version import this, too.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from lmeff.recipe import Resolved
from lmeff.runs.command_line import RunCommand
from lmeff.runs.command_line import read_arguments as _read_arguments
from lmeff.sweeps.cases import Sweep, read_sweep
from lmeff.sweeps.reading import is_sweep


def read_arguments(argv: Sequence[str] | None, description: str | None = None) -> RunCommand:
    """What to run. Raises InputError, and Killed or Interrupted for a case to which the rules of its sweep leave nothing to do
    now."""
    command = read_command(argv, description)
    if command.rungs is not None:
        command.rungs.check()
    else:
        with suppress(OSError):
            command.run.killed_json.unlink()  # of rules that the sweep's file has no more
    return command


def read_command(argv: Sequence[str] | None, description: str | None = None) -> RunCommand:
    """The same, whatever the rules of a sweep say. Raises InputError."""
    sweeps: list[Sweep] = []

    def find_cases(file: str, words: Sequence[str]) -> Sequence[Resolved] | None:
        if not is_sweep(file, words):
            return None
        sweeps.append(read_sweep(file, words))
        return [case.resolved for case in sweeps[0].cases]

    command = _read_arguments(argv, description, find_cases)
    if not sweeps or sweeps[0].ranking.kill is None:
        return command
    from lmeff.sweeps.rungs.at_anchors import CaseRungs
    from lmeff.sweeps.rungs.of_sweep import SweepRungs

    [case] = [case for case in sweeps[0].cases if case.run == command.run]
    return replace(command, rungs=CaseRungs(SweepRungs(sweeps[0]), case, command.pauses_at_rungs))


__all__ = ["RunCommand", "read_arguments", "read_command"]
