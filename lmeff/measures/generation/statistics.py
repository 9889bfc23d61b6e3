"""How diverse, repetitive, right and consistent texts are. Words and punctuation marks count, in lower case.

None stands for what cannot be said of these texts, such as the share of repeated 4-grams in texts of three words.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import mean

from sacrebleu.metrics import BLEU

_WORD = re.compile(r"\w+|[^\w\s]")
_MOST_FOR_SELF_BLEU = 200
"""Texts; the work grows with the square of their number. More are thinned evenly."""


def words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _ngrams(text: str, n: int) -> Counter[tuple[str, ...]]:
    tokens = words(text)
    return Counter(zip(*(tokens[start:] for start in range(n)), strict=False))


def distinct(texts: Sequence[str], n: int) -> float | None:
    """Distinct n-grams over all n-grams of all texts together (Li et al. 2016). It falls with the amount of text, so compare it
    for equally many texts of like length."""
    together = sum((_ngrams(text, n) for text in texts), Counter())
    return len(together) / together.total() if together else None


def repetition(texts: Sequence[str], n: int) -> float | None:
    """Mean over texts of the share of n-grams that occurred before in the same text (rep-n; Welleck et al. 2020)."""
    shares = [1 - len(ngrams) / ngrams.total() for text in texts if (ngrams := _ngrams(text, n))]
    return mean(shares) if shares else None


def self_bleu(texts: Sequence[str]) -> float | None:
    """Mean BLEU-4 of each text against all others (Zhu et al. 2018), 0 to 1: high when all say the same. sacrebleu's, with its
    exponential smoothing. Empty texts are left out, and orders that a short text has no n-gram of."""
    texts = [" ".join(own_words) for text in texts if (own_words := words(text))]
    if len(texts) > _MOST_FOR_SELF_BLEU:
        texts = [texts[index * len(texts) // _MOST_FOR_SELF_BLEU] for index in range(_MOST_FOR_SELF_BLEU)]
    if len(texts) < 2:
        return None
    bleu = BLEU(tokenize="none", effective_order=True)
    scores = (
        bleu.sentence_score(text, [other for place, other in enumerate(texts) if place != index]).score
        for index, text in enumerate(texts)
    )
    return mean(scores) / 100


def is_expected(prompt: str, text: str, expected: Sequence[str]) -> bool:
    """Whether a completion begins with one of the expected ones: whole words, whatever the case and the white space.

    Opening quotation marks are passed over. A completion that only goes on in the prompt's last word does not count.
    """
    if prompt[-1:].isalnum() and text[:1].isalnum():
        return False
    given = " ".join(text.casefold().split()).lstrip("\"'\u201c\u2018(")
    wanted = (" ".join(answer.casefold().split()) for answer in expected)
    return any(re.match(rf"{re.escape(answer)}(?!\w)", given) for answer in wanted)


def accuracy(right: Sequence[bool]) -> tuple[float, float | None]:
    """Share of right ones and its standard error."""
    share = mean(map(float, right))
    return share, math.sqrt(share * (1 - share) / (len(right) - 1)) if len(right) > 1 else None


def overlap(first: str, second: str) -> float:
    """Words in both over words in either (Jaccard). Of two texts without a word 0: silence is no agreement."""
    one, other = ({word for word in words(text) if word[0].isalnum()} for text in (first, second))
    return len(one & other) / len(one | other) if one | other else 0.0


def consistency(groups: Mapping[str, Sequence[str]]) -> tuple[float, float | None]:
    """(mean over groups of the mean overlap of two of its texts, the same of two texts of different groups).

    The second is what a model gets that answers everything alike; only the distance above it means agreement.
    """
    within = mean(mean(overlap(*pair) for pair in combinations(texts, 2)) for texts in groups.values())
    across = [
        overlap(one, other) for first, second in combinations(groups.values(), 2) for one in first for other in second
    ]
    return within, mean(across) if across else None
