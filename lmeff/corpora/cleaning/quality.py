"""How much of a text is in a language, and whether it repeats itself too much."""

import re
from collections import Counter
from functools import cache
from itertools import accumulate
from typing import Any

from lmeff.corpora.cleaning.words import ngram_hashes, word_hashes
from lmeff.errors import InputError

LEAST_WORDS = 50
"""Shorter texts break no rule of repetition: five turns of a dialogue may well be the same."""
DUPLICATE_LINES = DUPLICATE_PARAGRAPHS = 0.30
DUPLICATE_LINE_CHARACTERS = DUPLICATE_PARAGRAPH_CHARACTERS = 0.20
TOP_NGRAM_CHARACTERS = {2: 0.20, 3: 0.18, 4: 0.16}
DUPLICATE_NGRAM_CHARACTERS = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
_CHUNK_CHARACTERS = 200
_LEAST_CHUNK_CHARACTERS = 100
_SENTENCES = re.compile(r"(?<=[.!?])\s+|(?<=[\u3002\uff01\uff1f])|\n+")
_LONG = re.compile(rf"\S.{{0,{_CHUNK_CHARACTERS - 1}}}(?!\S)|\S{{1,{_CHUNK_CHARACTERS}}}", re.DOTALL)
_PARAGRAPH_ENDS = re.compile(r"\n\s*\n")
_LINE_ENDS = re.compile(r"\n\s*")
_LETTERS = re.compile(r"[^\W\d_]+")


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # late: its model takes half a second

    return LanguageIdentifier.from_model_file(MODEL_FILE)


def check_language(language: str) -> None:
    """Raises InputError for a language that the model does not know."""
    if language not in (known := sorted(_identifier().labels)):
        raise InputError(f"corpus.language: {language!r} is none of the {len(known)} known ones: {', '.join(known)}")


def language_share(text: str, language: str = "en") -> float:
    """Share of a text's words, 0 to 1, in chunks of about 200 characters that are in `language` (ISO 639-1).

    A chunk is of the one language of 139 that py3langid (Lui and Baldwin 2012) gives it. Words are runs of letters;
    a text that has none is in no language, 0.
    """
    num_words = num_wanted = 0
    for chunk in _chunks(text):
        if count := len(_LETTERS.findall(chunk)):
            num_words += count
            num_wanted += count if _identifier().classify(chunk)[0] == language else 0
    return num_wanted / num_words if num_words else 0.0


def _chunks(text: str) -> list[str]:
    """Neighboring sentences and lines, as many as fit; what is too long for itself is cut between words.

    None but an only one is much shorter than the others: the language of 'Yes.' is anybody's guess.
    """
    chunks = [""]
    for sentence in _SENTENCES.split(text):
        for piece in [sentence] if len(sentence) <= _CHUNK_CHARACTERS else _LONG.findall(sentence):
            size = len(chunks[-1])
            if size >= _LEAST_CHUNK_CHARACTERS and size + len(piece) > _CHUNK_CHARACTERS:
                chunks.append(piece)
            else:
                chunks[-1] = f"{chunks[-1]} {piece}"
    if len(chunks) > 1 and len(chunks[-1]) < _LEAST_CHUNK_CHARACTERS:
        chunks[-2:] = [" ".join(chunks[-2:])]
    return chunks


def repetition(text: str) -> str | None:
    """The first of Gopher's rules of repetition that a text breaks (Rae et al. 2021, table A1), None for a good one.

    Counted as FineWeb does, by datatrove's GopherRepetitionFilter, but for words, which are what white space separates.
    Texts of fewer than 50 words are too short to judge: None.
    """
    text = text.strip()
    words = text.split()
    if len(words) < LEAST_WORDS:
        return None
    return _repeated_parts(text) or _repeated_ngrams(words, len(text))


def _repeated_parts(text: str) -> str | None:
    for name, separator, most, most_characters in (
        ("paragraph", _PARAGRAPH_ENDS, DUPLICATE_PARAGRAPHS, DUPLICATE_PARAGRAPH_CHARACTERS),
        ("line", _LINE_ENDS, DUPLICATE_LINES, DUPLICATE_LINE_CHARACTERS),
    ):
        parts = [part.strip() for part in separator.split(text)]
        num_characters = sum(map(len, parts)) - sum(map(len, set(parts)))
        if (len(parts) - len(set(parts))) / len(parts) > most:
            return f"duplicate {name}s"
        if num_characters / len(text) > most_characters:
            return f"characters in duplicate {name}s"
    return None


def _repeated_ngrams(words: list[str], num_characters: int) -> str | None:
    hashes = word_hashes(words)
    starts = list(accumulate(map(len, words), initial=0))
    for size, most in TOP_NGRAM_CHARACTERS.items():
        ngrams = ngram_hashes(hashes, size).tolist()
        top, count = Counter(ngrams).most_common(1)[0]
        if count == 1:
            return None  # nothing occurs twice, so nothing longer does
        place = ngrams.index(top)
        if count * (starts[place + size] - starts[place] + size - 1) / num_characters > most:
            return f"top {size}-gram"
    sizes, shares = DUPLICATE_NGRAM_CHARACTERS.keys(), DUPLICATE_NGRAM_CHARACTERS.values()
    # A longer n-gram that occurred before is covered by such shorter ones: most texts need no further look.
    shortest = ngram_hashes(hashes, min(sizes)).tolist()
    if _covered_characters(shortest, min(sizes), starts) / num_characters <= min(shares):
        return None
    for size, most in DUPLICATE_NGRAM_CHARACTERS.items():
        if _repeated_characters(ngram_hashes(hashes, size).tolist(), size, starts) / num_characters > most:
            return f"duplicate {size}-grams"
    return None


def _repeated_characters(ngrams: list[int], size: int, starts: list[int]) -> int:
    """Characters in n-grams that occurred before; none is in two of them. `starts`: of every word, in characters."""
    seen: set[int] = set()
    num_characters = place = 0
    while place < len(ngrams):
        if ngrams[place] in seen:
            num_characters += starts[place + size] - starts[place]
            place += size
        else:
            seen.add(ngrams[place])
            place += 1
    return num_characters


def _covered_characters(ngrams: list[int], size: int, starts: list[int]) -> int:
    """Characters in any n-gram that occurred before, each once."""
    seen: set[int] = set()
    num_characters = covered = 0
    for place, ngram in enumerate(ngrams):
        if ngram in seen:
            num_characters += starts[place + size] - starts[max(place, covered)]
            covered = place + size
        seen.add(ngram)
    return num_characters
