"""A recipe's model, optimizer and text on one device, stepped by hand: what the probes work with."""

import math
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedModel

from lmeff.corpora import prepare_text
from lmeff.models.build import build_model
from lmeff.plan.batch import split_batch
from lmeff.recipe.schema import Recipe
from lmeff.tokens import SampleOrder, Tokens, prepare_tokenizer, prepare_tokens
from lmeff.training.arguments import half_precision
from lmeff.training.data.loader import PackedSequences
from lmeff.training.data.sequences import DocumentSequences, Wanted, length_at, train_sequences
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
    data: PackedSequences | DocumentSequences | None
    """None where whole batches are handed in."""
    device: torch.device

    @classmethod
    def of(cls, recipe: Recipe, tokens: Tokens) -> "Bench":
        """A fresh model, with the recipe's first weights."""
        device = device_of_this_machine()
        model = build_model(recipe).to(device).train()
        names = decayed_names(model)
        optimizer = build_optimizer(recipe.optimizer, model, names, fused=device.type != "cpu", zero=False)
        return cls(recipe, model, optimizer, train_sequences(tokens, recipe.batch), device)

    def batches(self, num_steps: int) -> Iterator[Wanted]:
        """The sequences that a run's first steps read, each with the length that they have in its step."""
        clock = self.recipe.batch.clock
        order = SampleOrder(len(self.data), self.recipe.seed)
        stages = self.recipe.batch.length_stages()
        for step in range(num_steps):
            yield Wanted(
                order.sequence_ids(clock.sequences_at(step), clock.sequences_per_step).tolist(), length_at(step, stages)
            )

    def _read(self, wanted: Wanted) -> dict[str, torch.Tensor]:
        """What the model is given for these sequences."""
        found = self.data.__getitems__(wanted.sequence_ids if self.recipe.batch.is_plain else wanted)
        names = {"input_ids", "labels", "position_ids"} & found.keys()
        return {name: found[name].to(self.device) for name in names}

    def step(self, wanted: Wanted, learning_rate: float) -> tuple[float, float]:
        """One optimizer step, as a run makes it. Returns the loss in nats per token and the gradient's norm before clipping."""
        sequence_ids, length = wanted
        micro_batch = min(split_batch(self.recipe, 1)[0], len(sequence_ids))
        self.optimizer.zero_grad(set_to_none=True)
        starts = range(0, len(sequence_ids), micro_batch)
        batches = [self._read(Wanted(sequence_ids[start : start + micro_batch], length)) for start in starts]
        num_losses = sum(int((batch["labels"] != -100).sum()) for batch in batches)
        total = sum(self.backward(batch, num_losses) for batch in batches)
        return total, self.update(learning_rate)

    def backward(self, batch: dict[str, torch.Tensor], num_losses: int) -> float:
        """Adds a micro-batch's gradients to those there are, and returns its share of a loss over `num_losses` positions."""
        half = half_precision(self.recipe)
        with torch.autocast(self.device.type, dtype=half) if half else nullcontext():
            loss = self.model(**batch, use_cache=False, num_items_in_batch=num_losses).loss
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
