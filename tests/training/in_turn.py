"""Several runs of `lmeff.run`, one after the other in one process group: `accelerate launch ... in_turn.py LAUNCHES.json`.

The file has a list of command lines. Starting processes takes longer than training a tiny model, so tests that train many of
them start once. A run that fails does not keep the next from being tried; the exit codes are written as a list, by the first
process, to the same file with the ending `.codes`. A line that begins with `stop_at:N` is a run that is sent SIGTERM in step N,
after which it leaves with a checkpoint; its code is 0 when it did.
"""

import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist

from lmeff.environment import is_on
from lmeff.errors import EXIT_INTERRUPTED
from lmeff.library_internals import reset_accelerator_state
from lmeff.publishing import pages
from lmeff.run import main
from lmeff.runs.process import launched_rank, leave
from lmeff.runs.signals import SIGNALS
from lmeff.training.trainer import LmeffTrainer

_STOP = "stop_at:"


def run_in_turn(lines: Sequence[Sequence[str]]) -> list[int]:
    """The exit codes. The process group stays until the last, and no run's page is written: that takes longest of all."""
    with patch.object(dist, "destroy_process_group"), patch.object(pages, "write_pages", lambda folder: folder):
        return [_run(words) for words in lines]


def _run(words: Sequence[str]) -> int:
    if not words[0].startswith(_STOP):
        return main(words)
    with _stopped_at(int(words[0].removeprefix(_STOP))):
        code = main(words[1:])
    if is_on("ACCELERATE_USE_DEEPSPEED"):
        # A process that is stopped ends, and does not leave room for another engine.
        reset_accelerator_state()
    return 0 if code == EXIT_INTERRUPTED else code or 1


@contextmanager
def _stopped_at(step: int) -> Iterator[None]:
    train = LmeffTrainer.training_step

    def training_step(self: LmeffTrainer, *arguments: Any, **options: Any) -> torch.Tensor:
        if self.state.global_step + 1 == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return train(self, *arguments, **options)

    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        with patch.object(LmeffTrainer, "training_step", training_step):
            yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    launches = Path(sys.argv[1])
    codes = run_in_turn(json.loads(launches.read_text()))
    if dist.is_initialized():
        dist.destroy_process_group()
    if launched_rank() == 0:
        launches.with_suffix(".codes").write_text(json.dumps(codes))
    leave(max(codes))
