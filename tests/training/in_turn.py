"""Several runs of `lmeff.run`, one after the other in one process group: `accelerate launch ... in_turn.py LAUNCHES.json`.

The file has a list of command lines. Starting processes takes longer than training a tiny model, so tests that train many of
them start once. A run that fails does not keep the next from being tried; the exit codes are written as a list, by the first
process, to the same file with the ending `.codes`.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import torch.distributed as dist

from lmeff.publishing import pages
from lmeff.run import main
from lmeff.runs.process import launched_rank, leave


def run_in_turn(lines: Sequence[Sequence[str]]) -> list[int]:
    """The exit codes. The process group stays until the last, and no run's page is written: that takes longest of all."""
    with patch.object(dist, "destroy_process_group"), patch.object(pages, "write_pages", lambda folder: folder):
        return [main(words) for words in lines]


if __name__ == "__main__":
    launches = Path(sys.argv[1])
    codes = run_in_turn(json.loads(launches.read_text()))
    if dist.is_initialized():
        dist.destroy_process_group()
    if launched_rank() == 0:
        launches.with_suffix(".codes").write_text(json.dumps(codes))
    leave(max(codes))
