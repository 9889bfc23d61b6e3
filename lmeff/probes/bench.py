"""A recipe's model, optimizer and text on one device, stepped by hand: what the probes work with."""

import math
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import send_to_device
from transformers import PreTrainedModel

from lmeff.corpora import prepare_text
from lmeff.models.build import build_model
from lmeff.models.dropout import DropoutPlace, use_stateless_dropout
from lmeff.objectives import objective_of
from lmeff.objectives.forward import compute_losses_in_forward
from lmeff.plan.batch import split_batch
from lmeff.recipe.schema import Recipe
from lmeff.tokens import PermutationOrder, Tokens, prepare_tokenizer, prepare_tokens
from lmeff.training.arguments import half_precision
from lmeff.training.data.loader import StepBatches
from lmeff.training.data.sequences import MicroBatch, TrainSequences
from lmeff.training.optimizers import build_optimizer, decayed_names


def prepared_tokens(recipe: Recipe) -> Tokens:
    """The recipe's tokens, prepared if they are not yet."""
    corpus = prepare_text(recipe.corpus, recipe.paths.data)
    return prepare_tokens(corpus, prepare_tokenizer(corpus, recipe.tokenizer.vocab_size, recipe.tokenizer.sample))


def device_of_this_machine() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass
class Bench:
    recipe: Recipe
    model: PreTrainedModel
    optimizer: torch.optim.Optimizer
    data: TrainSequences | None
    """None where whole batches are handed in."""
    device: torch.device
    dropout: DropoutPlace

    @classmethod
    def of(cls, recipe: Recipe, tokens: Tokens) -> "Bench":
        """A fresh model, with the recipe's first weights."""
        device = device_of_this_machine()
        model = build_model(recipe).to(device).train()
        names = decayed_names(model)
        optimizer = build_optimizer(recipe.optimizer, model, names, fused=device.type != "cpu", zero=False)
        objective = objective_of(recipe)
        compute_losses_in_forward(model, objective)
        dropout = use_stateless_dropout(model, recipe.seed)
        return cls(recipe, model, optimizer, TrainSequences(tokens, recipe.batch, objective), device, dropout)

    def batches(self, num_steps: int, num_sequences: int | None = None) -> Iterator[list[MicroBatch]]:
        """What a run's first steps read, or the first `num_sequences` of every step."""
        batch = self.recipe.batch
        per_step = batch.clock.sequences_per_step
        wanted = min(num_sequences or per_step, per_step)
        micro_batch = math.gcd(wanted, split_batch(self.recipe, 1)[0])
        order = PermutationOrder(len(self.data), self.recipe.seed, batch.clock)
        reader = StepBatches(order, batch.length_stages(), micro_batch, 0, 1, num_steps, lambda: 0)
        for step in range(num_steps):
            yield [one for one in reader.of_step(step) if one.first_slot < wanted]

    def step(self, micro_batches: list[MicroBatch], learning_rate: float) -> tuple[float, float]:
        """One optimizer step, as a run makes it. Returns the loss in nats per token and the gradient's norm before clipping."""
        self.optimizer.zero_grad(set_to_none=True)
        batches = [self.data.__getitems__(one) for one in micro_batches]
        num_labelled = sum(objective_of(self.recipe).num_labelled(batch["targets"]) for batch in batches)
        total = sum(self.backward(batch, num_labelled) for batch in batches)
        return total, self.update(learning_rate)

    def backward(self, batch: dict[str, Any], num_labelled: torch.Tensor) -> float:
        """Adds a micro-batch's gradients to those there are, and returns its share of a loss over `num_labelled` positions."""
        half = half_precision(self.recipe)
        self.dropout.slots = range(len(batch["input_ids"]))
        given = {"use_cache": False} | {name: value for name, value in batch.items() if name != "micro_batch"}
        given = send_to_device(given, self.device)
        with torch.autocast(self.device.type, dtype=half) if half else nullcontext():
            loss = self.model(**given, num_labelled=num_labelled.to(self.device))["loss"]
        loss.backward()
        return loss.item()

    def update(self, learning_rate: float) -> float:
        """Clips the gradients and lets the optimizer make its step; returns their norm before that."""
        limit = self.recipe.training.get("max_grad_norm", 1.0) or math.inf
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), limit).item()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        return norm


def probe_folder(recipe: Recipe) -> Path:
    """`OUTPUTS/NAME/probes`."""
    return Path(recipe.paths.outputs) / recipe.name / "probes"
