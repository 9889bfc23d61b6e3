"""What must hold between the keys and sections of a recipe."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from lmeff.quantities import format_count
from lmeff.recipe.schema import Anchors, Batch, Model, Optimizer, Recipe, Schedule
from lmeff.recipe.sections.corpus import Corpus, Synthetic
from lmeff.recipe.sections.fields import Section
from lmeff.recipe.yaml_lines import Mistake

_SHAPE = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")


def cross_check(values: dict[str, Any]) -> Iterator[Mistake]:
    """What is wrong between keys that are right by themselves; sections with mistakes of their own are left out."""
    sections = _valid_sections(values)
    model, batch, anchors = sections.get("model"), sections.get("batch"), sections.get("anchors")
    if isinstance(model, Model):
        yield from _check_shape(model)
        if isinstance(batch, Batch):
            yield from _check_positions(model, batch)
    if isinstance(batch, Batch) and isinstance(anchors, Anchors):
        yield from _check_anchors(anchors, batch)
        yield from _check_lengths(batch, anchors)
        if isinstance(schedule := sections.get("schedule"), Schedule):
            yield from _check_warmup(schedule, anchors, batch)
    if isinstance(optimizer := sections.get("optimizer"), Optimizer):
        yield from _check_optimizer(optimizer)
    if isinstance(corpus := sections.get("corpus"), Corpus):
        yield from _check_corpus(corpus)


def _valid_sections(values: dict[str, Any]) -> dict[str, Section]:
    sections = {}
    for name, field in Recipe.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            if name not in values and field.is_required():
                continue
            with suppress(ValidationError):
                sections[name] = field.annotation.model_validate(values.get(name, {}))
    return sections


def _check_shape(model: Model) -> Iterator[Mistake]:
    if model.size is None and (missing := [key for key in _SHAPE if getattr(model, key) is None]):
        yield Mistake(("model",), f"give a 'size' (20m, 60m, 180m), or also {', '.join(missing)}")
    width, heads, groups = model.hidden_size, model.num_attention_heads, model.num_key_value_heads
    if width and heads and width % heads and model.head_dim is None:
        text = f"{width} is not a multiple of num_attention_heads ({heads}); change one, or give 'head_dim'"
        yield Mistake(("model", "hidden_size"), text)
    if heads and groups and heads % groups:
        yield Mistake(("model", "num_key_value_heads"), f"{groups} does not divide num_attention_heads ({heads})")


def _check_positions(model: Model, batch: Batch) -> Iterator[Mistake]:
    positions = model.max_position_embeddings
    if positions and positions < batch.sequence_length:
        text = f"{positions} is less than batch.sequence_length ({batch.sequence_length})"
        yield Mistake(("model", "max_position_embeddings"), text)


def _check_anchors(anchors: Anchors, batch: Batch) -> Iterator[Mistake]:
    for index, (before, after) in enumerate(zip(anchors.tokens, anchors.tokens[1:], strict=False), start=1):
        if batch.clock.step_of(before) == batch.clock.step_of(after):
            pair = f"{format_count(before)} and {format_count(after)}"
            text = f"{pair} fall on the same step, {batch.clock.step_of(after)}, with batch.tokens {batch.tokens}; drop one"
            yield Mistake(("anchors", "tokens", str(index)), text)


def _check_lengths(batch: Batch, anchors: Anchors) -> Iterator[Mistake]:
    (first, length), last = batch.length_stages()[-1], batch.clock.step_of(anchors.max_tokens or anchors.tokens[-1])
    if first >= last:
        text = f"a length of {length} begins after step {first}, and the run ends with step {last}; drop it or begin it earlier"
        yield Mistake(("batch", "sequence_lengths"), text)


def _check_warmup(schedule: Schedule, anchors: Anchors, batch: Batch) -> Iterator[Mistake]:
    amount, unit = schedule.warmup_parts()
    last = batch.clock.step_of(anchors.max_tokens or anchors.tokens[-1])
    steps = {"steps": amount, "tokens": batch.clock.step_of(int(amount)), "share": 0}[unit]
    if anchors.mode == "anneal" and schedule.name not in (None, "wsd"):
        text = f"'{schedule.name}' has no place in anchors.mode 'anneal', which decays in branches: use 'wsd'"
        yield Mistake(("schedule", "name"), text)
    if steps >= last:
        text = f"'{schedule.warmup}' ({steps} steps) must end before the run does: the last anchor is step {last}"
        yield Mistake(("schedule", "warmup"), text)


def _check_optimizer(optimizer: Optimizer) -> Iterator[Mistake]:
    if optimizer.nonfinite == "skip" and optimizer.name == "schedule_free_adamw":
        text = "schedule_free_adamw averages over steps and cannot leave one out; use 'stop'"
        yield Mistake(("optimizer", "nonfinite"), text)


def _check_corpus(corpus: Corpus) -> Iterator[Mistake]:
    if corpus.name == "synthetic":
        for key in ("file", "paths", "dev_paths", "text"):
            if getattr(corpus, key):
                text = "has no meaning with 'name: synthetic', which generates its text; give your corpus another name"
                yield Mistake(("corpus", key), text)
    elif corpus.synthetic != Synthetic():
        yield Mistake(("corpus", "synthetic"), f"is for 'name: synthetic' only, not for '{corpus.name}'")
