"""The differences of held-out losses, as training took them at anchors, and what keeps them from being compared."""

import math

from lmeff.analysis.comparison.conditions import Sides
from lmeff.analysis.comparison.estimates import Row
from lmeff.analysis.comparison.over_seeds import over_seeds
from lmeff.analysis.comparison.sides import Member, held_out_metric
from lmeff.analysis.reading.held_out import (
    LEFT_OUT,
    loss_settings,
    same_held_out_text,
    same_kind,
    same_settings,
    same_source,
    same_tokenizer,
)

HELD_OUT = "held_out"
"""The suite of these losses."""
_BITS = "dev_bits_per_byte"
_OF = {"dev_loss": "the next token", "dev_masked_loss": "masked tokens", "dev_permutation_loss": "permuted tokens"}


def loss_rows(sides: Sides, paired_seeds: bool) -> tuple[list[Row], list[str]]:
    """A row for the loss per token and for bits per byte where they can be compared, and why they are not where they cannot."""
    metrics = {member: held_out_metric(member.anchor) for member in sides.members}
    if not any(metrics.values()):
        return [], []
    refusals = _refusals(sides, metrics)
    rows = [
        _row(sides, metric, paired_seeds)
        for metric, line in refusals.items()
        if line is None and all(getattr(m.anchor.document, metric, None) is not None for m in sides.members)
    ]
    return rows, list(dict.fromkeys(line for line in refusals.values() if line))


def _refusals(sides: Sides, metrics: dict[Member, str | None]) -> dict[str, str | None]:
    """By metric, why it is not compared; None where it can be."""
    if without := [member for member, metric in metrics.items() if metric is None]:
        other = [line for member in without for line in member.run.left_out if line.startswith(LEFT_OUT)]
        return {
            "": f"held-out loss: none of {sides.who(without)}" + "".join(f" ({line})" for line in dict.fromkeys(other))
        }
    known = {member: metric for member, metric in metrics.items() if metric is not None}
    if len(set(known.values())) > 1:
        return {
            "": f"held-out loss: of other kinds ({sides.listed({m: f'of {_OF[one]}' for m, one in known.items()})})"
        }
    metric, (first, *others) = next(iter(known.values())), [member.run for member in known]
    if not all(same_source(first, other) for other in others):
        return {"": "held-out loss: of other held-out texts, or of texts of which nothing says that they are the same"}
    if not all(same_settings(first, other) for other in others):
        values = sides.listed({member: f"({loss_settings(member.run)})" for member in known})
        return {"": f"held-out loss: over other samples or windows: {values}"}
    if not all(same_kind(first, other) for other in others):
        return {"": "held-out loss: other settings of the objective decide what is predicted"}
    is_one_tokenizer = all(same_tokenizer(first, other) for other in others)
    per_token = None if is_one_tokenizer else "held-out loss: other tokenizers: a token is another amount of text"
    if metric != "dev_loss":
        return {metric: per_token}
    if is_one_tokenizer or all(same_held_out_text(first, other) for other in others):
        return {metric: per_token, _BITS: None}
    line = "held-out bits per byte: evaluation.dev_tokens takes another part of the text with each tokenizer"
    return {metric: per_token, _BITS: f"{line}; lmeff perplexity takes all of it"}


def _row(sides: Sides, metric: str, paired_seeds: bool) -> Row:
    a, b = ([float(getattr(m.anchor.document, metric)) for m in side.members] for side in (sides.a, sides.b))
    means = [math.fsum(side) / len(side) for side in (a, b)]
    seeds = over_seeds(a, b, paired_seeds)
    return Row(HELD_OUT, "dev", "loss", metric, means[0], means[1], means[1] - means[0], seeds=seeds)
