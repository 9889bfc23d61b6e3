"""How a minimal pair is scored. One definition, for stock lm-eval and for this package.

A sentence is scored as the start of a document: the tokenizer's `bos` token, then the sentence, with nothing between
them (`target_delimiter: ""`). GPT-2 style tokenizers write the first word of a document without a space before it, so
this is what such a model was trained on. Tokenizers made here put a space before the first word themselves
(`add_prefix_space`), so they give the same ids with lm-eval's default delimiter `" "`.
"""

import math
from collections.abc import Sequence


def pair_score(good: float, bad: float) -> float:
    """1 if the acceptable sentence is strictly more probable, a half for a tie, else 0.

    Args:
        good, bad: log-probabilities of the two sentences, in nats.

    Raises ValueError when one of them is not finite: a model that computes NaN has not been right half of the time.
    """
    if not (math.isfinite(good) and math.isfinite(bad)):
        raise ValueError(f"log-probabilities {good} (acceptable) and {bad} (unacceptable) are not finite")
    if good == bad:
        return 0.5
    return 1.0 if good > bad else 0.0


def process_results(doc: dict, results: Sequence[tuple[float, bool]]) -> dict[str, float]:
    """lm-eval's `process_results`: `acc` with ties as a half, and `ties`, 1 for a tie."""
    (good, _), (bad, _) = results
    try:
        return {"acc": pair_score(good, bad), "ties": float(good == bad)}
    except ValueError as error:
        where = f"{doc['task']}, pair {doc['pair']}" if "task" in doc else f"the pair {choices(doc)}"
        raise ValueError(f"{where}: {error}") from None


def context(doc: dict) -> str:
    """lm-eval's `doc_to_text`: nothing comes before the sentence, so lm-eval puts the `bos` token there."""
    return ""


def choices(doc: dict) -> list[str]:
    """lm-eval's `doc_to_choice`, the acceptable sentence first. A function: a template is compiled for every pair."""
    return [doc["sentence_good"], doc["sentence_bad"]]
