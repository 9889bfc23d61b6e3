"""`lmeff.run` with faults built in: `python faulty.py FAULT ... -- ARGUMENTS`, also under `accelerate launch`.

kill_at_write:N:P  SIGKILL to itself at the Nth time that it opens a file for writing, renames or removes one, of the paths that
                   fit the pattern P; without P of all files of runs
kill_in_weights:N  SIGKILL to itself when half of the Nth safetensors file is written
little_memory:M    the GPU has M MiB
nan_at_step:N      the loss of the last process is NaN at step N
keep_often         what methods compute before a step is kept by small parts, so that a tiny text has several
out_of_memory:N    the device has no room for N sequences at a time, or more
stop_once:FILE     SIGSTOP to itself as soon as FILE is there, at the next thing that it does with any file
stop_in_text:FILE  SIGSTOP to itself as soon as FILE is there, at the next token of a text that it generates
trial_is_wrong:N   N sequences at a time, as if a trial had found that they fit the GPU
without_exchange   the file system cannot exchange two folders: the old one is renamed away, then the new one in
"""

import os
import signal
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import modeling_utils

from lmeff.files import folders
from lmeff.measures.generation import generate
from lmeff.methods.curriculum import scoring
from lmeff.methods.distillation import cache
from lmeff.run import main
from lmeff.runs.process import launched_rank, launched_world_size, leave
from lmeff.training import train
from lmeff.training.engines import full_state
from lmeff.training.trainer import LmeffTrainer


def kill_at_write(count: int, pattern: str = "*/outputs/*") -> None:
    """Counts only what happens to paths that fit."""
    seen = 0

    def watch(event: str, arguments: tuple) -> None:
        nonlocal seen
        if event == "open":
            writes = isinstance(arguments[1], str) and any(letter in arguments[1] for letter in "wax+")
        else:
            writes = event in ("os.rename", "os.remove", "os.rmdir", "shutil.rmtree", "os.mkdir")
            # What was written aside gets its name; other links are copies.
            writes = writes or (event == "os.link" and str(arguments[0]).endswith(".tmp"))
        if writes and fnmatchcase(str(arguments[0]), pattern):
            seen += 1
            if seen == count:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def kill_in_weights(count: int) -> None:
    """safetensors writes outside Python, where no hook sees it."""
    seen = 0

    def half(tensors: dict, path: str | Path, *rest: object, **options: object) -> None:
        nonlocal seen
        seen += 1
        save_file(tensors, path, *rest, **options)
        if seen == count:
            os.truncate(path, Path(path).stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    full_state.save_file = modeling_utils.safe_save_file = half


def nan_at_step(step: int) -> None:
    compute = LmeffTrainer.compute_loss

    def broken(self: LmeffTrainer, *arguments: object, **options: object) -> torch.Tensor:
        loss = compute(self, *arguments, **options)
        if self.state.global_step + 1 == step and launched_rank() == launched_world_size() - 1:
            return loss * float("nan")
        return loss

    LmeffTrainer.compute_loss = broken


def out_of_memory(size: int) -> None:
    compute = LmeffTrainer.compute_loss

    def full(
        self: LmeffTrainer, model: torch.nn.Module, inputs: dict, *rest: object, **options: object
    ) -> torch.Tensor:
        if len(inputs["input_ids"]) >= size:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return compute(self, model, inputs, *rest, **options)

    LmeffTrainer.compute_loss = full


def little_memory(mebibytes: int) -> None:
    whole = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(mebibytes * 2**20 / whole)


def trial_is_wrong(size: int) -> None:
    train.probe_micro_batch = lambda *arguments: size


def stop_once(path: str) -> None:
    """So that a test kills or signals it at this very moment, however busy the machine is."""
    has_stopped = False

    def watch(event: str, arguments: tuple) -> None:
        nonlocal has_stopped
        if not has_stopped and event in ("open", "os.rename", "os.remove", "os.mkdir") and os.path.exists(path):
            has_stopped = True
            os.kill(os.getpid(), signal.SIGSTOP)

    sys.addaudithook(watch)


def stop_in_text(path: str) -> None:
    choose, has_stopped = generate._Chooser.__call__, False

    def stopping(self: generate._Chooser, *arguments: torch.Tensor) -> torch.Tensor:
        nonlocal has_stopped
        if not has_stopped and os.path.exists(path):
            has_stopped = True
            os.kill(os.getpid(), signal.SIGSTOP)
        return choose(self, *arguments)

    generate._Chooser.__call__ = stopping


def keep_often() -> None:
    cache.SHARD_POSITIONS = 32 * 60
    scoring._BATCHES_OF_ROUND = 1


def without_exchange() -> None:
    folders._exchange = lambda one, other: False


FAULTS = {
    fault.__name__: fault
    for fault in (
        *(kill_at_write, kill_in_weights, keep_often, little_memory, nan_at_step, out_of_memory),
        *(stop_once, stop_in_text, trial_is_wrong, without_exchange),
    )
}


if __name__ == "__main__":
    end = sys.argv.index("--")
    for word in sys.argv[1:end]:
        name, *values = word.split(":")
        FAULTS[name](*(int(value) if value.isdigit() else value for value in values))
    leave(main(sys.argv[end + 1 :]))
