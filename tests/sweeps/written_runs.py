"""Runs of a sweep's cases whose files are written by hand, with values that can be compared."""

import math
from typing import Any

from analysis.fake_runs import anchor_document, write_json

from lmeff.revisions.revision import Revision
from lmeff.sweeps.cases import Case


def write_anchor(case: Case, value: float = 0.0, tokens: int = 5000, dev_tokens: int | None = None) -> None:
    """The model at an anchor, with so many bits per byte, over so many tokens where they are said."""
    document = anchor_document(case.seed, 5, 0.0) | {"nominal_tokens": tokens, "dev_bits_per_byte": value}
    document |= {"dev_loss": value, "dev_perplexity": math.exp(value)}
    document |= {"dev_tokens": dev_tokens} if dev_tokens else {}
    write_json(case.run.revision(Revision(case.seed, tokens).name) / "anchor.json", document)


def write_state(case: Case, state: str, step: int = 10) -> None:
    of_state: dict[str, Any] = {"format": 1, "state": state, "step": step, "tokens": 512 * step, "next_anchor": 20_000}
    of_state |= {"pid": 1, "host": "h", "job": None, "error": None, "updated": "2026-11-22T14:40:00+00:00"}
    write_json(case.run.state_json, of_state)


def write_run(case: Case, bits_per_byte: float, state: str = "complete") -> None:
    """A run that came to 20k tokens."""
    write_anchor(case, bits_per_byte, 20_000)
    case.run.recipe_yaml.write_text(case.resolved.to_yaml())
    write_state(case, state, step=40)
