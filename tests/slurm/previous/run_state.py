"""What a run is doing, for train_array.sbatch: prints `STATE STEP RESULTS`, or `new 0 0` before it has begun. RESULTS is the
number of its result files, whole ones and parts.

The arguments are those of `lmeff.run`. Exit code 2 and a line for each mistake when they are wrong.
"""

import sys

from lmeff.command_line import read_arguments
from lmeff.errors import EXIT_INPUT, InputError
from lmeff.training.folder import run_folder
from lmeff.training.state import read_state


def main() -> int:
    try:
        asked = read_arguments(None)
        state = read_state(asked.folder)
    except InputError as error:
        print(error, file=sys.stderr)
        return EXIT_INPUT
    num_results = sum(path.suffix == ".json" for path in (run_folder(asked.resolved) / "results").rglob("*"))
    print(f"{state.state} {state.step} {num_results}" if state else "new 0 0")
    return 0


if __name__ == "__main__":
    sys.exit(main())
