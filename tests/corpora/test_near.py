"""Edited copies share a key, other texts do not, and keys are the same everywhere."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lmeff.corpora.cleaning.near_duplicates import BAND_HASHES, NGRAM_WORDS, NUM_BANDS, NearKeys
from lmeff.corpora.cleaning.words import ngram_hashes, ngrams_at, word_hashes, words


def _invented(seed: int, num_words: int) -> list[str]:
    """Words that no two seeds have in common."""
    numbers = random.Random(seed)
    return [f"w{seed}x{numbers.randrange(1_000_000)}" for _ in range(num_words)]


def _is_near(first: np.ndarray, second: np.ndarray) -> bool:
    return bool(set(first.tolist()) & set(second.tolist()))


def test_words() -> None:
    assert words("Don't STOP\u2014\u201cit\u2019s\u201d caf\u00e9, na\u00efve_2!") == [
        "dont", "stop", "its", "caf\u00e9", "na\u00efve_2",
    ]  # fmt: skip
    assert words(" ...\n") == []


def test_ngrams() -> None:
    """Equal for equal words in equal order, wherever they are."""
    hashes = word_hashes(["a", "b", "c", "a", "b", "c", "b", "a"])
    pairs = ngram_hashes(hashes, 2).tolist()
    assert (pairs[0], pairs[1], pairs[5]) == (pairs[3], pairs[4], pairs[5])
    assert len(set(pairs)) == len({"ab", "bc", "ca", "cb", "ba"})
    assert ngrams_at(hashes, np.array([4, 1]), 3).tolist() == [ngram_hashes(hashes, 3)[at] for at in (4, 1)]
    assert len(ngram_hashes(hashes, 9)) == 0


def test_edited_copies_are_near_and_other_texts_are_not() -> None:
    keys = NearKeys()
    copy = _invented(1, 1000)
    text = " ".join(copy)
    copy[400:450] = _invented(2, 50)
    assert _is_near(keys(text), keys(" ".join(copy)))
    assert _is_near(keys(text), keys(text.upper().replace(" ", ",\n")))
    assert keys(text).tolist() == keys(text.upper().replace(" ", ",\n")).tolist()
    assert not _is_near(keys(text), keys(" ".join(_invented(3, 1000))))
    assert not _is_near(keys(text), NearKeys(seed=1)(text)), "another seed, other keys"


def test_short_texts() -> None:
    """What is too short for an n-gram is near only to what has the same words."""
    keys = NearKeys()
    assert keys("").shape == (NUM_BANDS,)
    assert keys("").dtype == np.uint64
    assert _is_near(keys("Go home!"), keys("go home"))
    texts = ["", "...", "!", "go", "go home", "home go", "go home now please", "go home now please sir"]
    every = np.concatenate([keys(text) for text in texts])
    assert len(set(every.tolist())) == NUM_BANDS * len(texts)


def test_long_texts_are_read_in_pieces() -> None:
    """The keys of a book are those of its n-grams in any order."""
    keys, book = NearKeys(), _invented(1, 10_000)
    swapped = [*book[5000:], *book[:5000]]
    assert (keys(" ".join(book)) == keys(" ".join(swapped))).sum() >= NUM_BANDS - 2


@pytest.mark.medium
@pytest.mark.parametrize("jaccard", [0.5, 0.65, 0.75, 0.85])
def test_found_as_often_as_theory_says(jaccard: float) -> None:
    """Of 400 pairs of a known similarity, within four standard deviations."""
    num_pairs, num_ngrams = 400, 300
    keys = NearKeys()
    # Two texts of n 5-grams, of which the first m are the same: m / (2n - m) is their similarity.
    shared = round(2 * jaccard * num_ngrams / (1 + jaccard)) + NGRAM_WORDS - 1
    found = 0
    for seed in range(num_pairs):
        first = _invented(2 * seed, num_ngrams + NGRAM_WORDS - 1)
        second = first[:shared] + _invented(2 * seed + 1, len(first) - shared)
        found += _is_near(keys(" ".join(first)), keys(" ".join(second)))
    chance = 1 - (1 - jaccard**BAND_HASHES) ** NUM_BANDS
    assert found / num_pairs == pytest.approx(chance, abs=4 * (chance * (1 - chance) / num_pairs) ** 0.5)


@pytest.mark.medium
def test_the_same_keys_in_every_process() -> None:
    """And for ever: these went into nobody's file, but a corpus must come out the same tomorrow."""
    text = "The quick brown fox jumps over the lazy dog, and na\u00efve caf\u00e9s open."
    program = (
        "import json, sys; from lmeff.corpora.cleaning.near_duplicates import NearKeys;"
        " print(json.dumps(NearKeys()(sys.argv[1]).tolist()))"
    )
    for seed in ("1", "2"):
        answer = subprocess.run(
            [sys.executable, "-c", program, text],
            env=os.environ | {"PYTHONHASHSEED": seed, "LC_ALL": "C", "PYTHONUTF8": "1"},
            cwd=Path(__file__).resolve().parents[2],
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(answer.stdout) == NearKeys()(text).tolist()
    assert NearKeys()(text)[:2].tolist() == [270753499804601897, 173117847205270091]
