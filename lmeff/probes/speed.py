"""How fast this machine trains a recipe's model, from a few steps on random tokens: what `lmeff plan --measure` shows."""

import statistics
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate.utils import send_to_device

from lmeff.errors import RunFailed
from lmeff.models.build import build_model
from lmeff.models.dropout import use_stateless_dropout
from lmeff.objectives import Pieces, objective_of
from lmeff.objectives.forward import compute_losses_in_forward
from lmeff.plan.batch import split_batch
from lmeff.probes.bench import Bench, device_of_this_machine
from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.training_values import compile_backend
from lmeff.training.arguments import half_precision
from lmeff.training.engines.micro import probe_micro_batch
from lmeff.training.optimizers import build_optimizer, decayed_names

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

    def describe(self) -> str:
        """Where the number comes from."""
        return (
            f"an estimate from {self.num_steps} steps with {self.micro_batch} sequences of random tokens in {self.precision} on"
            f" {self.device}; anchors, evaluation and checkpoints come on top"
        )


def measure_speed(recipe: Recipe, world_size: int = 1, max_seconds: float = MAX_SECONDS) -> Speed:
    """Trains a fresh model for a few steps as a run would: its micro-batch, precision, compilation and optimizer. A step of
    the run takes its micro-batches' time and one step of the optimizer.

    Raises InputError when the batch cannot be divided, and RunFailed when the device's memory is too small.
    """
    device = device_of_this_machine()
    micro_batch, accumulation = split_batch(recipe, world_size, probe_micro_batch(recipe))
    if recipe.training.get("tf32"):
        torch.backends.cuda.matmul.allow_tf32 = True
    recipe = recipe.model_copy(update={"batch": recipe.batch.model_copy(update={"micro": micro_batch})})
    model = build_model(recipe).to(device).train()
    dropout = use_stateless_dropout(model, recipe.seed)
    names = decayed_names(model)
    optimizer = build_optimizer(recipe.optimizer, model, names, fused=device.type != "cpu", zero=False)
    training = recipe.training
    if training.get("activation_checkpointing") or training.get("gradient_checkpointing"):
        options = training.get("activation_checkpointing_kwargs") or training.get("gradient_checkpointing_kwargs") or {}
        of_transformers = {key: options[key] for key in ("every_n_layers", "offload") if key in options}
        of_torch = {key: value for key, value in options.items() if key not in of_transformers}
        model.activation_checkpointing_enable(of_torch or None, **of_transformers)
    compute_losses_in_forward(model, objective_of(recipe))
    if backend := compile_backend(training):
        model = torch.compile(model, backend=backend, mode=training.get("torch_compile_mode"))
    bench = Bench(recipe, model, optimizer, None, device, dropout)
    try:
        batch_seconds, update_seconds, num_steps = _times(
            bench, _random_batch(recipe, micro_batch, device), max_seconds
        )
    except torch.OutOfMemoryError as error:
        shortage = str(error).partition("\n")[0]
        raise RunFailed(f"plan --measure: {shortage}; lower batch.micro, or use a smaller model") from None
    threads = torch.get_num_threads()
    return Speed(
        tokens_per_second=recipe.batch.tokens / (accumulation * batch_seconds + update_seconds),
        device=torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"this CPU with {threads} thread{'s' * (threads > 1)}",
        precision=str(half_precision(recipe) or torch.float32).removeprefix("torch."),
        micro_batch=micro_batch,
        num_steps=num_steps,
    )


def _random_batch(recipe: Recipe, micro_batch: int, device: torch.device) -> dict[str, Any]:
    """A micro-batch of random tokens; its documents, where they matter, have 128."""
    shape = (micro_batch, recipe.batch.sequence_length)
    input_ids = np.random.default_rng(0).integers(recipe.tokenizer.vocab_size, size=shape)
    begins = np.broadcast_to(np.arange(shape[1]) % 128 == 0, shape)
    pieces = Pieces(input_ids, begins, recipe.batch.document_mask, step=0, slots=range(micro_batch))
    return send_to_device(objective_of(recipe).inputs(pieces), device)


def _times(bench: Bench, batch: dict[str, Any], max_seconds: float) -> tuple[float, float, int]:
    """Median seconds of a micro-batch and of the optimizer's step, and how many were timed; one more warms up."""
    passes, updates, begun = [], [], time.monotonic()
    num_labelled = objective_of(bench.recipe).num_labelled(batch["targets"])
    while len(passes) <= _NUM_STEPS and (len(passes) < 2 or time.monotonic() - begun < max_seconds):
        start = _now(bench.device)
        bench.optimizer.zero_grad(set_to_none=True)
        bench.backward(batch, num_labelled)
        middle = _now(bench.device)
        bench.update(bench.recipe.optimizer.learning_rate)
        passes.append(middle - start)
        updates.append(_now(bench.device) - middle)
    return statistics.median(passes[1:]), statistics.median(updates[1:]), len(passes) - 1


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
