"""How fast this machine trains a recipe's model, from a few steps on random tokens: what `lmeff plan --measure` shows."""

import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from lmeff.clock import Clock
from lmeff.errors import RunFailed
from lmeff.methods import tried_methods
from lmeff.methods.distillation.sources import sources_of
from lmeff.models.device import is_out_of_memory
from lmeff.plan.batch import split_batch
from lmeff.probes.probe_run import ProbeTrainer, made_trainer, quiet
from lmeff.recipe.schema import Recipe
from lmeff.tokens import BOS_ID, EOS_ID, DataOrder, PermutationOrder, Tokens
from lmeff.tokens.shards import ShardWriter
from lmeff.training.arguments import half_precision
from lmeff.training.engines.engine import prepare_process
from lmeff.training.engines.micro import probe_micro_batch
from lmeff.training.method import Method

MAX_SECONDS = 30.0
"""No further step begins after so long."""
_NUM_STEPS = 10


@dataclass(frozen=True)
class Speed:
    tokens_per_second: float
    """Of all devices together, were there as many like this one as asked for."""
    device: str
    precision: str
    micro_batch: int
    num_steps: int
    """Micro-batches, each with a step of the optimizer, that were timed, after one that was not."""

    on_top: tuple[str, ...] = ("anchors", "evaluation")
    """What takes time beside the steps that were tried, and checkpoints."""

    def describe(self) -> str:
        """Where the number comes from."""
        return (
            f"an estimate from {self.num_steps} steps with {self.micro_batch} sequences of random tokens in {self.precision} on"
            f" {self.device}; {', '.join(self.on_top)} and checkpoints come on top"
        )


@dataclass
class _RepeatedMicroBatch(Method):
    """Steps of a single micro-batch: what a run's step takes is computed from it."""

    clock: Clock

    def wrap_order(self, inner: DataOrder) -> DataOrder:
        return PermutationOrder(inner.num_sequences, 0, self.clock)


class _TimedTrainer(ProbeTrainer):
    """Notes when every micro-batch began and ended."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.begins: list[float] = []
        self.ends: list[float] = []

    def training_step(self, *args: Any, **options: Any) -> torch.Tensor:
        self.begins.append(_now(self.args.device))
        loss = super().training_step(*args, **options)
        self.ends.append(_now(self.args.device))
        return loss


@dataclass
class _Timer(TrainerCallback):
    """Notes when every step ended, and ends the probe in time."""

    trainer: _TimedTrainer
    max_seconds: float
    ends: list[float] = field(default_factory=list)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.ends.append(_now(args.device))
        if len(self.ends) >= 2 and self.ends[-1] - self.trainer.begins[0] >= self.max_seconds:
            control.should_training_stop = True

    def medians(self) -> tuple[float, float]:
        """Seconds of a micro-batch and of the rest of a step: clipping and the optimizer. The first step warms up."""
        passes = [end - begin for begin, end in zip(self.trainer.begins, self.trainer.ends, strict=True)]
        rests = [end - backward for backward, end in zip(self.trainer.ends, self.ends, strict=True)]
        return statistics.median(passes[1:]), statistics.median(rests[1:])


def measure_speed(recipe: Recipe, world_size: int = 1, max_seconds: float = MAX_SECONDS) -> Speed:
    """Trains a fresh model for a few steps with the trainer of a run: its micro-batch, precision, compilation and optimizer,
    and its teachers, where they are asked in every step and are there. A step of the run takes its micro-batches' time and one
    step of the optimizer.

    Raises InputError when the batch cannot be divided, and RunFailed when the device's memory is too small.
    """
    prepare_process(recipe.is_deterministic)
    length = recipe.batch.sequence_length
    # Random tokens need no packing, and have the full length from the first step on.
    batch = recipe.batch.model_copy(update={"packing": "concatenate", "sequence_lengths": None})
    probed = quiet(recipe).model_copy(update={"batch": batch})
    are_there = not any(source.is_missing for source in sources_of(recipe))
    asked = tried_methods(probed) if are_there else ()
    micro_batch, accumulation = split_batch(recipe, world_size, probe_micro_batch(recipe, asked, world_size))
    methods = [*asked, _RepeatedMicroBatch(Clock(micro_batch * length, length))]
    with TemporaryDirectory(prefix="lmeff-tokens-") as folder:
        tokens = _random_tokens(recipe, micro_batch * length, Path(folder))
        try:
            with made_trainer(_TimedTrainer, probed, tokens, _NUM_STEPS + 1, (micro_batch, 1), methods) as trainer:
                timer = _Timer(trainer, max_seconds)
                trainer.add_callback(timer)
                trainer.train()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            shortage = str(error).partition("\n")[0]
            raise RunFailed(f"plan --measure: {shortage}; lower batch.micro, or use a smaller model") from None
    batch_seconds, rest_seconds = timer.medians()
    device, threads = trainer.args.device, torch.get_num_threads()
    return Speed(
        tokens_per_second=recipe.batch.tokens / (accumulation * batch_seconds + rest_seconds),
        device=torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"this CPU with {threads} thread{'s' * (threads > 1)}",
        precision=str(half_precision(recipe) or torch.float32).removeprefix("torch."),
        micro_batch=micro_batch,
        num_steps=len(timer.ends) - 1,
        on_top=(*(("teachers",) if recipe.distillation.is_used and not asked else ()), "anchors", "evaluation"),
    )


def _random_tokens(recipe: Recipe, num_tokens: int, folder: Path) -> Tokens:
    """As many random tokens, in documents of 128, as prepared tokens."""
    vocab_size = recipe.tokenizer.vocab_size
    ids = np.random.default_rng(0).integers(EOS_ID + 1, vocab_size, size=num_tokens)
    ids[::128] = BOS_ID
    writer = ShardWriter(folder / "train-00000.bin", vocab_size)
    writer.append(ids)
    writer.close()
    shards = [[writer.path.name, num_tokens]]
    return Tokens(folder, folder, {"fingerprint": "random", "splits": {"train": {"shards": shards}}, "files": {}})


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
