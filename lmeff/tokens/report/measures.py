"""What tokenizers make of held-out text, side by side: fertility (tokens per word, as in Rust et al. 2021), bytes per token,
words that stay whole, unknown tokens, and texts that decoding does not give back.

Words are what white space divides. Bytes are those of the text before normalization. No special token is added, and the
characters of one are text.
"""

import itertools
import json
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from tokenizers import Encoding, Tokenizer

from lmeff.corpora import TextCorpus, prepare_text
from lmeff.corpora.reading.sources import Document
from lmeff.errors import InputError, RunFailed
from lmeff.files import sha256_file
from lmeff.progress import shown
from lmeff.recipe.schema import Recipe
from lmeff.tokens.report.words import count_whole, word_spans
from lmeff.tokens.tokenizer.bpe import SMALLEST_VOCABULARY, prepare_tokenizer

REPORT_FORMAT = 1
MAX_DOMAIN_BYTES = 20_000_000
"""Held-out text of a domain that is looked at."""
_BATCH_DOCUMENTS = 256
_FILE = "tokenizer.json"


@dataclass
class _Counts:
    def add(self, other: Self) -> None:
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)


@dataclass
class TextCounts(_Counts):
    """How much text was looked at."""

    num_documents: int = 0
    num_words: int = 0
    num_bytes: int = 0
    num_bytes_held_out: int = 0
    """All there is of it; above `num_bytes` when only a part was looked at."""


@dataclass
class TokenCounts(_Counts):
    """What a tokenizer made of it."""

    num_tokens: int = 0
    num_unknown_tokens: int = 0
    num_single_token_words: int = 0
    num_documents_not_given_back: int = 0
    """Documents of which decode(encode(text)) is not the text, or its NFKC form for a tokenizer that normalizes."""

    def figures(self, text: TextCounts) -> dict[str, int | float | None]:
        """The counts and their shares of the text; None for a share of nothing."""
        shares = {
            "fertility": (self.num_tokens, text.num_words),
            "bytes_per_token": (text.num_bytes, self.num_tokens),
            "single_token_words": (self.num_single_token_words, text.num_words),
            "unknown_tokens": (self.num_unknown_tokens, self.num_tokens),
        }
        return asdict(self) | {name: part / whole if whole else None for name, (part, whole) in shares.items()}


@dataclass
class Candidate:
    """A tokenizer to look at."""

    name: str
    path: Path
    """Its `tokenizer.json`."""
    is_own: bool = False
    counts: dict[str, TokenCounts] = field(default_factory=dict)
    """By domain."""

    def __post_init__(self) -> None:
        try:
            self.tokenizer = Tokenizer.from_file(str(self.path))
            model = json.loads(self.path.read_bytes())["model"]
        except Exception as error:  # the library raises nothing narrower
            raise InputError(f"{self.name}: not a readable {_FILE} ({' '.join(str(error).split())})") from None
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.tokenizer.encode_special_tokens = True
        unknown = model.get("unk_token")
        self._unknown_id = self.tokenizer.token_to_id(unknown) if unknown else model.get("unk_id")

    def read(self, documents: Sequence[Document], words: Sequence[np.ndarray]) -> None:
        """Adds what becomes of some documents, whose words lie at `words`. Raises RunFailed when one cannot be encoded."""
        texts = [document.text for document in documents]
        try:
            encodings = self.tokenizer.encode_batch(texts, add_special_tokens=False)
            decoded = self.tokenizer.decode_batch([encoding.ids for encoding in encodings], skip_special_tokens=False)
        except Exception as error:  # such as a character that a vocabulary without an unknown token lacks
            raise RunFailed(f"{self.name}: cannot encode the text ({' '.join(str(error).split())})") from None
        for document, spans, encoding, back in zip(documents, words, encodings, decoded, strict=True):
            counts = self._count(encoding, spans)
            counts.num_documents_not_given_back = int(not self._is_given_back(document.text, back))
            self.counts.setdefault(document.domain, TokenCounts()).add(counts)

    def _count(self, encoding: Encoding, words: np.ndarray) -> TokenCounts:
        ids = np.array(encoding.ids, np.int64)
        offsets = np.array(encoding.offsets, np.int64).reshape(-1, 2)
        is_unknown = np.zeros(len(ids), bool) if self._unknown_id is None else ids == self._unknown_id
        return TokenCounts(len(ids), int(is_unknown.sum()), count_whole(words, offsets, is_unknown))

    def _is_given_back(self, text: str, back: str) -> bool:
        if back == text or self.tokenizer.normalizer is None:
            return back == text
        # NFC and NFD have the same NFKC form as the text; lower case and lost accents do not.
        return unicodedata.normalize("NFKC", back) == unicodedata.normalize("NFKC", text)


def report_tokenizers(
    recipe: Recipe, beside: Sequence[str], vocab_sizes: Sequence[int], fetch: Callable[[str], Path]
) -> dict[str, Any]:
    """The report as one JSON object, on the held-out text of the recipe's corpus; what is missing of it is prepared.

    The recipe's own tokenizer, or instead of it those with `vocab_sizes`, and `beside` them others: folders with a
    tokenizer.json, such files, and names that `fetch` turns into a file. Raises InputError and RunFailed.
    """
    if too_small := [size for size in vocab_sizes if size < SMALLEST_VOCABULARY]:
        least = f"{SMALLEST_VOCABULARY} is the least: 256 bytes and 3 special tokens"
        raise InputError(f"--vocab-sizes: {too_small[0]} is too small; {least}")
    others = [Candidate(what, _find(what, fetch)) for what in dict.fromkeys(beside)]
    corpus = prepare_text(recipe.corpus, recipe.paths.data)
    own = []
    for vocab_size in dict.fromkeys(vocab_sizes or [recipe.tokenizer.vocab_size]):
        folder = prepare_tokenizer(corpus, vocab_size, recipe.tokenizer.sample)
        own.append(Candidate(folder.name.split(".")[0], folder / _FILE, is_own=True))
    candidates = own + others
    texts: dict[str, TextCounts] = {}
    with shown(f"held-out text in {len(candidates)} tokenizers"):
        for batch in _batched(_bounded(corpus.records("dev"), texts)):
            words = [word_spans(document.text) for document in batch]
            for document, spans in zip(batch, words, strict=True):
                texts[document.domain].num_words += len(spans)
            for candidate in candidates:
                candidate.read(batch, words)
    return _document(corpus, texts, candidates)


def _find(what: str, fetch: Callable[[str], Path]) -> Path:
    path = Path(what)
    if path.is_dir() and not (path / _FILE).is_file():
        raise InputError(f"--beside: {what}: the folder has no {_FILE}")
    if path.is_dir():
        return path / _FILE
    return path if path.is_file() else fetch(what)


def _bounded(documents: Iterable[Document], texts: dict[str, TextCounts]) -> Iterator[Document]:
    """Of every domain the documents from the first on, up to MAX_DOMAIN_BYTES; counts documents and bytes into `texts`."""
    for document in documents:
        counts = texts.setdefault(document.domain, TextCounts())
        num_bytes = len(document.text.encode())
        is_whole = counts.num_bytes == counts.num_bytes_held_out
        counts.num_bytes_held_out += num_bytes
        if is_whole and counts.num_bytes + num_bytes <= MAX_DOMAIN_BYTES:
            counts.num_documents += 1
            counts.num_bytes += num_bytes
            yield document


def _batched(documents: Iterator[Document]) -> Iterator[tuple[Document, ...]]:
    while batch := tuple(itertools.islice(documents, _BATCH_DOCUMENTS)):
        yield batch


def _document(corpus: TextCorpus, texts: dict[str, TextCounts], candidates: Sequence[Candidate]) -> dict[str, Any]:
    all_text = TextCounts()
    for counts in texts.values():
        all_text.add(counts)
    document = {"format": REPORT_FORMAT, "corpus": corpus.folder.name, "max_domain_bytes": MAX_DOMAIN_BYTES}
    document["text"] = {"domains": {domain: asdict(texts[domain]) for domain in sorted(texts)}, "all": asdict(all_text)}
    document["tokenizers"] = [_figures(candidate, texts, all_text) for candidate in candidates]
    return document


def _figures(candidate: Candidate, texts: dict[str, TextCounts], all_text: TextCounts) -> dict[str, Any]:
    everything = TokenCounts()
    for counts in candidate.counts.values():
        everything.add(counts)
    domains = {domain: candidate.counts.get(domain, TokenCounts()).figures(texts[domain]) for domain in sorted(texts)}
    return {
        "name": candidate.name,
        "is_own": candidate.is_own,
        "vocab_size": candidate.tokenizer.get_vocab_size(),
        "sha256": sha256_file(candidate.path),
        "domains": domains,
        "all": everything.figures(all_text),
    }
