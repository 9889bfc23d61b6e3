"""Which choices bfloat16 may decide: those whose margin is larger than its error can be."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from lm_eval.api.instance import Instance

from lmeff.evaluation.tree_scorer import Answer

SAFETY = 2.0
"""The error bound is so many times the largest error seen."""
SAMPLE = 32
"""Choices of each task that are always scored both ways."""


@dataclass(frozen=True)
class Adapted:
    answers: list[Answer]
    exact: np.ndarray
    """(requests,) bool: which answers are float32's."""
    bound: float
    """What the error of a margin was taken to be at most, in nats."""


@dataclass(frozen=True)
class _Choice:
    members: list[int]
    """Numbers of its requests."""
    margin: float
    """Nats by which the best log-probability leads."""
    normed_margin: float
    """Nats by which each of two log-probabilities must be off before their order by character, byte or token changes."""


def adapt(
    instances: Sequence[Instance],
    num_tokens: np.ndarray,
    rough: Sequence[Answer],
    exactly: Callable[[list[int]], list[Answer]],
) -> Adapted:
    """Scores again, exactly, every request whose choice bfloat16 might have got wrong.

    Requests of one document are a choice. A sample of choices is scored both ways; `SAFETY` times the largest error seen is
    the bound; choices with a smaller margin are scored exactly, and may show larger errors, until none is left inside.
    Margins count for every way in which lm-eval's tasks rank: by log-probability, and by that divided by the characters, bytes
    or tokens of the continuation. Minimal pairs (documents with `sentence_good`) are ranked by log-probability alone.
    A document with one request is scored exactly.

    Args:
        instances: requests of one task.
        num_tokens: (requests,) the tokens of each continuation.
        rough: bfloat16's answers to them.
        exactly: gives float32's answers to the requests with these numbers.
    """
    by_document = defaultdict(list)
    for number, instance in enumerate(instances):
        by_document[instance.doc_id].append(number)
    values = np.array([value for value, _ in rough])
    choices = [_choice(members, instances, num_tokens, values) for members in by_document.values()]
    answers, exact = list(rough), np.zeros(len(instances), bool)
    margins = np.array([choice.margin for choice in choices])
    normed_margins = np.array([choice.normed_margin for choice in choices])
    wanted = np.zeros(len(choices), bool)
    wanted[np.random.default_rng(0).permutation(len(choices))[:SAMPLE]] = True
    done, relative_error, error = np.zeros(len(choices), bool), 0.0, 0.0
    while True:
        wanted |= (margins <= SAFETY * relative_error) | (normed_margins <= SAFETY * error)
        new = np.flatnonzero(wanted & ~done)
        if not len(new):
            return Adapted(answers, exact, SAFETY * relative_error)
        numbers = [number for index in new for number in choices[index].members]
        for number, answer in zip(numbers, exactly(numbers), strict=True):
            answers[number], exact[number] = answer, True
        for index in new:
            members = choices[index].members
            differences = np.array([answers[number][0] for number in members]) - values[members]
            if np.isfinite(differences).all():
                relative_error = max(relative_error, float(np.ptp(differences)))
                error = max(error, float(np.abs(differences).max()))
        done |= wanted


def _choice(members: list[int], instances: Sequence[Instance], num_tokens: np.ndarray, values: np.ndarray) -> _Choice:
    own = values[members]
    if len(members) < 2 or not np.isfinite(own).all():
        return _Choice(members, 0.0, 0.0)
    highest = np.sort(own)
    margin = float(highest[-1] - highest[-2])
    if "sentence_good" in (instances[members[0]].doc or {}):
        return _Choice(members, margin, np.inf)
    texts = [instances[number].args[1] for number in members]
    scales = [[len(text) for text in texts], [len(text.encode()) for text in texts], num_tokens[members]]
    return _Choice(members, margin, min(_normed_margin(own, np.array(scale, float)) for scale in scales))


def _normed_margin(values: np.ndarray, scale: np.ndarray) -> float:
    ranked = values / scale
    best = int(ranked.argmax())
    others = np.arange(len(values)) != best
    return float(((ranked[best] - ranked[others]) / (1 / scale[best] + 1 / scale[others])).min())
