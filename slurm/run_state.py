"""What a run is doing, for train_array.sbatch: prints `STATE STEP`, or `new 0` before it has begun.

The arguments are those of `lmeff.run`. Exit code 2 and a line for each mistake when they are wrong.
"""

import sys

from lmeff.command_line import read_arguments
from lmeff.errors import EXIT_INPUT, InputError
from lmeff.training.state import read_state


def main() -> int:
    try:
        state = read_state(read_arguments(None).folder)
    except InputError as error:
        print(error, file=sys.stderr)
        return EXIT_INPUT
    print(f"{state.state} {state.step}" if state else "new 0")
    return 0


if __name__ == "__main__":
    sys.exit(main())
