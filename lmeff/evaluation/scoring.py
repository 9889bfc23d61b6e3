"""How answers are scored. One definition, for stock lm-eval and for this package.

A sentence is scored as the start of a document: the tokenizer's `bos` token, then the sentence, with nothing between
them (`target_delimiter: ""`). GPT-2 style tokenizers write the first word of a document without a space before it, so
this is what such a model was trained on. Tokenizers made here put a space before the first word themselves
(`add_prefix_space`), so they give the same ids with lm-eval's default delimiter `" "`.

A continuation is scored after its context, from the first token that reaches into it, as the BabyLM pipeline does. The context
is the start of a document, too: `bos`, unless `context_start` says that the tokenizer decides.
"""

import math
from collections import Counter
from collections.abc import Sequence

Answers = Sequence[tuple[float, bool]]
"""What lm-eval's models answer: a log-probability in nats, and whether the text was the most probable one."""


def choice_score(log_probabilities: Sequence[float], right: int = 0) -> float:
    """1 if the right choice is strictly the most probable, its share of a tie (1/2, 1/3, ...) if it is among several, else 0.

    Args:
        log_probabilities: one a choice, in nats.
        right: index of the right choice.

    Raises ValueError when one of them is not finite: a model that computes NaN has not been right half of the time.
    """
    if not all(map(math.isfinite, log_probabilities)):
        raise ValueError(f"log-probabilities {', '.join(map(str, log_probabilities))} are not finite")
    best = max(log_probabilities)
    return 1 / list(log_probabilities).count(best) if log_probabilities[right] == best else 0.0


def pair_score(good: float, bad: float) -> float:
    """1 if the acceptable sentence is strictly more probable, a half for a tie, else 0. Raises ValueError as `choice_score`."""
    return choice_score((good, bad))


def process_results(doc: dict, results: Answers) -> dict[str, float]:
    """lm-eval's `process_results` for two or more choices, the first one right: `acc` with ties shared, and `ties`, 1 for a tie
    at the top."""
    values = [value for value, _ in results]
    return {"acc": _scored(doc, values), "ties": _tie(values)}


def process_answers(doc: dict, results: Answers) -> dict[str, float]:
    """SmallBench's `process_results`: `acc` compares the mean log-probability of the answers' tokens, as published;
    `acc_sum` the log-probability of the whole answers, which does not favor the answer of more tokens. `majority` is the
    label, of which `majority` makes what giving the most frequent one every time would score."""
    sums = [value for value, _ in results]
    means = [value / num for value, num in zip(sums, doc["num_tokens"], strict=True)]
    right = doc["gold"]
    scores = {"acc": _scored(doc, means, right), "acc_sum": _scored(doc, sums, right), "ties": _tie(means)}
    return {**scores, "majority": right}


def majority(labels: Sequence[int]) -> float:
    """lm-eval's `aggregation` for SmallBench's baseline: the share of the most frequent label among the examples scored."""
    return max(Counter(labels).values()) / len(labels)


def process_forms(doc: dict, results: Answers) -> dict[str, tuple[float, float]]:
    """WUG's `process_results`: by how many nats the model prefers the first form, and the share of people who do.

    The pipeline correlates the softmax over the two log-probabilities. Its order is that of their difference, which does not
    run into 1 where a model is sure.
    """
    (first, _), (second, _) = results
    _scored(doc, (first, second))
    return {"spearman": (first - second, doc["human_share"])}


def spearman(preferences: Sequence[tuple[float, float]]) -> float:
    """lm-eval's `aggregation` for WUG: the rank correlation of model and people over all examples, from -1 to 1.

    0 where it is undefined, since one side prefers all first forms equally: knowing one then tells nothing about the other.
    """
    from scipy.stats import spearmanr

    model, people = zip(*preferences, strict=True)
    if len(set(model)) == 1 or len(set(people)) == 1:
        return 0.0
    return float(spearmanr(model, people).statistic)


def _scored(doc: dict, values: Sequence[float], right: int = 0) -> float:
    try:
        return choice_score(values, right)
    except ValueError as error:
        where = f"{doc['task']}, pair {doc['pair']}" if "task" in doc else f"the pair {choices(doc)}"
        raise ValueError(f"{where}: {error}") from None


def _tie(values: Sequence[float]) -> float:
    return float(list(values).count(max(values)) > 1)


def context(doc: dict) -> str:
    """lm-eval's `doc_to_text` for whole sentences: nothing comes before them, so lm-eval puts the `bos` token there."""
    return ""


def choices(doc: dict) -> list[str]:
    """lm-eval's `doc_to_choice`, the acceptable sentence first. A function: a template is compiled for every pair."""
    return [doc["sentence_good"], doc["sentence_bad"]]


def prompt(doc: dict) -> str:
    """lm-eval's `doc_to_text` for several continuations of one context."""
    return doc["context"]


def continuations(doc: dict) -> list[str]:
    """lm-eval's `doc_to_choice` for several continuations of one context."""
    return doc["choices"]


def contexts(doc: dict) -> list[str]:
    """lm-eval's `doc_to_choice` for one continuation after several contexts; `doc_to_text` is then an index into them."""
    return doc["contexts"]


def continuation(doc: dict) -> str:
    """lm-eval's `doc_to_target` for one continuation after several contexts."""
    return doc["continuation"]
