"""For Slurm templates of an older version: `python -m lmeff.runs RECIPE...`, without sweeps (see `lmeff/command_line/`)."""

import sys
from collections.abc import Callable, Sequence

from lmeff.errors import EXIT_INPUT, InputError
from lmeff.formats.state import StateDocument
from lmeff.runs.command_line import RunCommand, read_arguments


def print_state(read: Callable[[Sequence[str] | None], RunCommand]) -> int:
    """Prints what the run of this process's command line is doing; returns the exit code."""
    try:
        command = read(None)
        state = StateDocument.read(command.folder)
        is_killed = command.rungs is not None and command.rungs.killed() is not None
    except InputError as error:
        print(error, file=sys.stderr)
        return EXIT_INPUT
    num_results = sum(path.suffix == ".json" for path in command.run.results.rglob("*"))
    word = "killed" if is_killed and state and state.state != "complete" else state and state.state
    print(f"{word} {state.step} {num_results}" if state else "new 0 0")
    return 0


if __name__ == "__main__":
    sys.exit(print_state(read_arguments))
