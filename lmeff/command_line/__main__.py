"""For shell scripts: `python -m lmeff.command_line WORDS` prints what a run is doing; WORDS are those of `lmeff.run`.

That is `STATE STEP RESULTS`, or `new 0 0` before it has begun. STATE is `killed` for a case that the rules of its sweep ended.
RESULTS is the number of its result files, whole ones and parts.
Exit code 2 and a line for each mistake when they are wrong.
"""

import sys

from lmeff.command_line import read_command
from lmeff.runs.__main__ import print_state

if __name__ == "__main__":
    sys.exit(print_state(read_command))
