"""For shell scripts: `python -m lmeff.runs RECIPE...` prints what a run is doing.

That is `STATE STEP RESULTS`, or `new 0 0` before it has begun. RESULTS is the number of its result files, whole ones and parts.
The arguments are those of `lmeff.run`. Exit code 2 and a line for each mistake when they are wrong.
"""

import sys

from lmeff.errors import EXIT_INPUT, InputError
from lmeff.formats.state import StateDocument
from lmeff.runs.command_line import read_arguments


def main() -> int:
    try:
        command = read_arguments(None)
        state = StateDocument.read(command.folder)
    except InputError as error:
        print(error, file=sys.stderr)
        return EXIT_INPUT
    num_results = sum(path.suffix == ".json" for path in command.run.results.rglob("*"))
    print(f"{state.state} {state.step} {num_results}" if state else "new 0 0")
    return 0


if __name__ == "__main__":
    sys.exit(main())
