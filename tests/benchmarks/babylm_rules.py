"""How far our rules of scoring are from those of BabyLM's pipeline, on the same weights and BLiMP's pairs.

    python tests/benchmarks/babylm_rules.py --data BLIMP_FOLDER --model MODEL_FOLDER --limit 50

Prints the accuracy over paradigms, how many choices are others and which paradigms move most, in points, for the first token
of a sentence (the pipeline does not score it), for `<s>` before a context (the ends of the sentences after the words that both
have in common) and for ties; and the largest difference between two forms of a verb, of which float32's softmax takes 17 nats.
"""

import argparse
import json
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import numpy as np
from lm_eval.api.instance import Instance

from lmeff.evaluation.scorer.load import load_model
from lmeff.evaluation.tasks.blimp import PARADIGMS

Pair = tuple[str, str, str, str]
"""Paradigm, context, the right answer and the wrong one."""


def read_pairs(data: Path, limit: int) -> Iterator[Pair]:
    for uid in PARADIGMS:
        for line in (data / f"{uid}.jsonl").read_text(encoding="utf-8").splitlines()[:limit]:
            pair = json.loads(line)
            yield uid, "", pair["sentence_good"], pair["sentence_bad"]


def ends_after_a_context(pairs: list[Pair], limit: int) -> list[Pair]:
    """Of paradigms whose sentences begin alike in at least half of the pairs."""
    found = []
    for uid, _, good, bad in pairs:
        words = good.split(" "), bad.split(" ")
        shared = sum(1 for _ in takewhile(lambda both: both[0] == both[1], zip(*words, strict=False)))
        if 2 <= shared < min(map(len, words)):
            context, *ends = (" ".join(part) for part in (words[0][:shared], *(each[shared:] for each in words)))
            found.append((uid, context, f" {ends[0]}", f" {ends[1]}"))
    counts = {uid: sum(pair[0] == uid for pair in found) for uid in PARADIGMS}
    return [pair for pair in found if counts[pair[0]] >= limit / 2]


def requests(pairs: list[Pair]) -> list[Instance]:
    texts = [(context, answer) for _, context, *answers in pairs for answer in answers]
    return [
        Instance("loglikelihood", {}, each, number % 2, metadata=("pairs", number // 2, 1))
        for number, each in enumerate(texts)
    ]


def margins(answers: list[tuple[float, bool]]) -> np.ndarray:
    values = np.array([value for value, _ in answers])
    return values[::2] - values[1::2]


def compare(name: str, pairs: list[Pair], ours: np.ndarray, theirs: np.ndarray) -> None:
    uids = np.array([pair[0] for pair in pairs])
    right, other = (np.where(each == 0, 0.5, each > 0) for each in (ours, theirs))
    points = {uid: 100 * (other[uids == uid].mean() - right[uids == uid].mean()) for uid in dict.fromkeys(uids)}
    means = [100 * np.mean([each[uids == uid].mean() for uid in points]) for each in (right, other)]
    farthest = sorted(points, key=lambda uid: -abs(points[uid]))[:3]
    print(f"{name}: {len(pairs):,} pairs of {len(points)} paradigms, {means[0]:.2f}% here, {means[1]:.2f}% there")
    print(f"  other choices {100 * (right != other).mean():.1f}%, mean {np.abs([*points.values()]).mean():.1f} points")
    print("  " + ", ".join(f"{uid} {points[uid]:+.1f}" for uid in farthest))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=50)
    options = parser.parse_args()
    with_bos, without = (
        load_model(options.model, None, progress=False, context_start=start) for start in ("bos", "tokenizer")
    )
    pairs = list(read_pairs(options.data, options.limit))
    tokens = with_bos.token_requests(requests(pairs))
    ours = margins(with_bos.answer_tokens(tokens))
    theirs = margins(with_bos.answer_tokens([(texts, rest[:1], rest[1:]) for texts, _, rest in tokens]))
    compare("first token", pairs, ours, theirs)
    print(f"ties: {(ours == 0).sum()} here, {(theirs == 0).sum()} there; there all are right")
    parts = ends_after_a_context(pairs, options.limit)
    asked = requests(parts)
    compare("context", parts, margins(with_bos.loglikelihood(asked)), margins(without.loglikelihood(asked)))
    forms = np.array([pair[0].startswith("irregular_past") for pair in pairs])
    largest = max(np.abs(each[forms]).max() for each in (ours, theirs))
    print(f"forms: {forms.sum()} pairs, the largest difference {largest:.1f} nats")


if __name__ == "__main__":
    main()
