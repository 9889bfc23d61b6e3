"""Scores of documents that follow from their text alone: words a sentence, and how rare words are. Kept beside the tokens."""

import io
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from lmeff.files import locked, write_bytes
from lmeff.progress import shown
from lmeff.tokens import Tokens

_FORMAT = 1
"""Raised whenever the same text would have other scores."""
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+|\n+")
_WORD = re.compile(r"\w+(?:['\u2019]\w+)*")
_AT_ONCE = 2000


def sentence_length(text: str) -> float:
    """Words a sentence. A sentence ends with a mark before white space, and with a line; one without a word is none."""
    words = [len(_WORD.findall(sentence)) for sentence in _SENTENCE_END.split(text)]
    sentences = [count for count in words if count]
    return sum(sentences) / len(sentences) if sentences else 0.0


def words_of(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]


def _texts(tokens: Tokens) -> Iterator[str]:
    """Every training document as the tokenizer gives it back."""
    tokenizer = Tokenizer.from_file(str(tokens.tokenizer_folder / "tokenizer.json"))
    lengths = np.asarray(tokens.train_documents[:, 0])
    ends = lengths.cumsum()
    for first in range(0, len(lengths), _AT_ONCE):
        last = min(first + _AT_ONCE, len(lengths))
        begin = int(ends[first] - lengths[first])
        ids = tokens.train.slice(begin, int(ends[last - 1]))
        documents = np.split(ids, ends[first : last - 1] - begin)
        yield from tokenizer.decode_batch([one.tolist() for one in documents], skip_special_tokens=True)


def _sentence_lengths(tokens: Tokens) -> np.ndarray:
    return np.array([sentence_length(text) for text in _texts(tokens)])


def _word_rarities(tokens: Tokens) -> np.ndarray:
    """Mean of -log of the share of the text's words that a word of the document is; 0 without a word."""
    counts: Counter[str] = Counter()
    for text in _texts(tokens):
        counts.update(words_of(text))
    total = counts.total()
    scores = []
    for text in _texts(tokens):
        words = words_of(text)
        nats = [np.log(total / counts[word]) for word in words]
        scores.append(float(np.mean(nats)) if words else 0.0)
    return np.array(scores)


_OF: dict[str, Callable[[Tokens], np.ndarray]] = {"sentence_length": _sentence_lengths, "word_rarity": _word_rarities}


def text_scores(name: str, tokens: Tokens) -> np.ndarray:
    """A score of every training document, (documents,) float64; low is easy. Computed once for a text, under a lock."""
    path = scores_path(tokens, f"{name}.v{_FORMAT}.npy")
    with locked(path.with_name(f".{path.name}.lock")):
        if not path.exists():
            with shown(f"scoring the documents by {name.replace('_', ' ')}"):
                scores = _OF[name](tokens)
            content = io.BytesIO()
            np.save(content, scores, allow_pickle=False)
            write_bytes(path, content.getvalue())
    found: np.ndarray = np.load(path, allow_pickle=False)
    return found


def scores_path(tokens: Tokens, name: str) -> Path:
    """Where scores are kept that all runs on these tokens share."""
    folder = tokens.folder / "scores"
    folder.mkdir(exist_ok=True)
    return folder / name
