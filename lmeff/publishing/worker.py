"""The process that delivers: tries some entries of a run's outbox, one after the other.

    python -m lmeff.publishing.worker PARENT SECONDS RUN REVISION ...        records every attempt in the outbox

It dies with the process PARENT, or after SECONDS, and has the lowest priority, so that training is not slowed down. All this is
set before the imports, which take seconds.
"""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from lmeff.runs.process import end_with_parent


def main(argv: Sequence[str]) -> int:
    parent, seconds, run, *revisions = argv
    end_with_parent(int(parent))
    signal.alarm(int(seconds))
    os.nice(19)

    from lmeff.hub.outbox import Outbox
    from lmeff.publishing.attempt import attempt

    for revision in revisions:
        attempt(Path(run), revision)
        entry = Outbox(Path(run)).read(revision)
        if entry is not None and entry.hub_is_down:
            break
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
