"""`lmeff.run` with a fault built in: `python faulty.py FAULT ARGUMENTS`, also under `accelerate launch`.

kill_at_write:N    SIGKILL to itself at the Nth time that it opens a file for writing, renames or removes one
nan_at_step:N      the loss of the last process is NaN at step N
"""

import os
import signal
import sys

import torch

from lmeff.run import main
from lmeff.training.process import launched_rank, launched_world_size, leave
from lmeff.training.trainer import LmeffTrainer


def kill_at_write(count: int) -> None:
    """Counts only what happens to files of runs."""
    seen = 0

    def watch(event: str, arguments: tuple) -> None:
        nonlocal seen
        if event == "open":
            writes = isinstance(arguments[1], str) and any(letter in arguments[1] for letter in "wax+")
        else:
            writes = event in ("os.rename", "os.remove", "os.rmdir", "shutil.rmtree", "os.mkdir")
        if writes and "/outputs/" in str(arguments[0]):
            seen += 1
            if seen == count:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def nan_at_step(step: int) -> None:
    compute = LmeffTrainer.compute_loss

    def broken(self: LmeffTrainer, *arguments: object, **options: object) -> torch.Tensor:
        loss = compute(self, *arguments, **options)
        if self.state.global_step + 1 == step and launched_rank() == launched_world_size() - 1:
            return loss * float("nan")
        return loss

    LmeffTrainer.compute_loss = broken


if __name__ == "__main__":
    fault, number = sys.argv[1].split(":")
    {"kill_at_write": kill_at_write, "nan_at_step": nan_at_step}[fault](int(number))
    leave(main(sys.argv[2:]))
