"""The text whose perplexity is taken: a split of a run's own corpus, or files; as token ids, with bytes, words and domains."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import orjson

from lmeff.corpora.documents import num_bytes, num_words
from lmeff.corpora.reading.records import Form, read_batches, texts_of
from lmeff.corpora.reading.sources import domain, find_files, kind
from lmeff.errors import InputError
from lmeff.files import MANIFEST, read_json
from lmeff.formats.provenance import PROVENANCE, read_provenance
from lmeff.formats.run_folder import RECIPE
from lmeff.recipe import read_recipe
from lmeff.tokens import BOS_ID, Tokens, find_tokens
from lmeff.tokens.held_out import Stretches, chosen_first, held_out_sample, is_long, pieces_of, whole_documents
from lmeff.tokens.tokenizer.document_ids import beginning_and_end, encoded

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_BATCH_DOCUMENTS = 256
_CUT_BYTES = 8_000
"""What older versions cut was at least so long."""


@dataclass(frozen=True)
class HeldText:
    """Documents one after the other, each with the BOS token in front and, where there is one, the EOS token behind."""

    ids: np.ndarray
    """(tokens,) int64."""
    lengths: np.ndarray
    """(documents,) int64, in tokens, BOS and EOS included."""
    num_bytes: np.ndarray
    """(documents,) int64: UTF-8 bytes of the text before normalization."""
    num_words: np.ndarray
    """(documents,) int64, parted by white space."""
    domains: tuple[str, ...]
    """(documents,): of a prepared corpus its domains, of files their stems."""
    has_end: bool
    """Whether documents end with EOS."""
    tokenizer_sha256: str | None = None
    """Of a prepared corpus: the tokenizer that made the ids."""
    groups: np.ndarray | None = None
    """(documents,) int64: equal ones are pieces of one document, which was cut for its length. None: all are documents."""
    stretches: Stretches | None = None
    """Of a sample: which begin and end with their documents; None when all do."""
    is_by_older_rule: bool = False
    """Whether an older version prepared it, which cut documents above 16,000 characters and did not say which."""
    text_sha256: str | None = None
    """Of documents and domains, whatever the tokenizer: equal ones mean comparable bits per byte. None for a sample that is
    cut within documents."""

    @property
    def has_own_end(self) -> np.ndarray:
        """(documents,) bool: whether its last token is EOS."""
        ends = np.full(len(self.lengths), self.has_end)
        return ends if self.stretches is None else ends & self.stretches.has_end

    @cached_property
    def sha256(self) -> str:
        """Equal ones mean comparable numbers: the ids, the documents, their bytes and domains."""
        digest = hashlib.sha256("\0".join(self.domains).encode())
        for values in (self.ids, self.lengths, self.num_bytes, self.num_words):
            digest.update(np.ascontiguousarray(values, "<i8").tobytes())
        return digest.hexdigest()


def split_text(model_folder: Path, side: str, limit_tokens: int | None) -> HeldText:
    """`dev` or `train` of the corpus that a revision was trained on, as it was prepared for that.

    It is found by the fingerprint in the revision's `provenance.json`, so that no text is taken for held out that was trained
    on. Of training text that is read several times every document counts once. Raises InputError when it is not there.
    """
    tokens = _prepared(model_folder)
    text_folder = tokens.folder.parent.parent / "text"
    table, stream = (tokens.dev_documents, tokens.dev) if side == "dev" else (tokens.train_documents, tokens.train)
    ends = np.asarray(table[:, 0]).cumsum()
    shards = tokens.manifest["splits"][side]["shards"]
    last = np.searchsorted(ends, np.cumsum([length for _, length in shards]), "right")
    first = np.concatenate([[0], last[:-1]])
    once = {name: index for index, (name, _) in reversed(list(enumerate(shards)))}
    if side == "dev":
        taken = held_out_sample(table, tokens.dev_pieces, limit_tokens)
    else:
        candidates = np.concatenate([np.arange(first[index], last[index]) for index in sorted(once.values())])
        chosen = candidates[chosen_first(np.asarray(table[candidates, 0]), limit_tokens)]
        taken = whole_documents(table, chosen)
    known: dict[int, _Line] = {}
    for index in sorted(once.values()):
        own = np.unique(taken.documents[(taken.documents >= first[index]) & (taken.documents < last[index])])
        path = text_folder / f"{Path(shards[index][0]).stem}.jsonl"
        known |= zip(own.tolist(), _read_lines(path, own - first[index], table[own, 1]), strict=True)
    lines = [known[index] for index in taken.documents.tolist()]
    words = [line.num_words for line in lines] if taken.num_words is None else taken.num_words
    ids = stream.pieces(taken.starts, taken.lengths)
    is_whole = bool((taken.has_begin & taken.has_end).all())
    names: dict[str | int, int] = {}
    groups = [
        names.setdefault(line.document or index, len(names)) for index, line in zip(taken.documents, lines, strict=True)
    ]
    return HeldText(
        *_with_begins(ids, taken),
        taken.num_bytes,
        np.array(words, np.int64),
        tuple(line.domain for line in lines),
        True,
        tokens.manifest["tokenizer_sha256"],
        np.array(groups, np.int64),
        None if is_whole else taken,
        "held_out" not in read_json(text_folder / MANIFEST)["rules"] and bool((table[:, 1] >= _CUT_BYTES).any()),
        _text_sha256([(line.domain, line.sha256) for line in lines]) if is_whole else None,
    )


def _sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _text_sha256(documents: Iterable[tuple[str, bytes]]) -> str:
    """Of each document's domain and the sha256 of its text, in their order."""
    digest = hashlib.sha256()
    for name, text in documents:
        digest.update(_sha256(name) + text)
    return digest.hexdigest()


def _with_begins(ids: np.ndarray, taken: Stretches, bos: int = BOS_ID) -> tuple[np.ndarray, np.ndarray]:
    """(ids, lengths) with the BOS token in front of stretches from within a document."""
    starts = taken.lengths.cumsum() - taken.lengths
    within = ~taken.has_begin
    return np.insert(ids, starts[within], bos), taken.lengths + within


def _prepared(model_folder: Path) -> Tokens:
    """The tokens that a revision was trained on."""
    if not all((model_folder / name).is_file() for name in (PROVENANCE, RECIPE)):
        raise InputError(f"{model_folder}: says nothing of its corpus; name the text with --text PATH")
    fingerprint = read_provenance(model_folder)["tokens"]["fingerprint"]
    data = read_recipe(model_folder / RECIPE).recipe.paths.data
    if (tokens := find_tokens(data, fingerprint, model_folder)) is not None:
        return tokens
    raise InputError(
        f"{model_folder}: the tokens it was trained on are not under {data} (paths.data); prepare them again with"
        f" `lmeff prepare {model_folder / RECIPE}`, or name other text with --text PATH"
    )


def corpus_fingerprint(model_folder: Path) -> str:
    """Of the corpus that a revision was trained on. Raises InputError when it does not say."""
    return read_provenance(model_folder)["corpus"]["fingerprint"]


@dataclass(frozen=True)
class _Line:
    """What a line of prepared text says beside its text."""

    domain: str
    num_words: int
    document: str | None
    """The document that it is a piece of."""
    sha256: bytes
    """Of its text."""


def _read_lines(path: Path, wanted: np.ndarray, sizes: np.ndarray) -> list[_Line]:
    """Some documents of a text shard, whose bytes must be `sizes`."""
    read: list[_Line] = []
    lines = dict(zip(wanted.tolist(), sizes.tolist(), strict=True))
    if not lines:
        return read
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file):
                if number in lines:
                    record = orjson.loads(line)
                    if num_bytes(record["text"]) != lines[number]:
                        raise InputError(f"{path}:{number + 1}: is not the text that the tokens were made of")
                    text, document = record["text"], record.get("document")
                    read.append(_Line(record["domain"], num_words(text), document, _sha256(text)))
                    if len(read) == len(lines):
                        return read
    except (OSError, orjson.JSONDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None
    raise InputError(f"{path}: has fewer documents than its tokens")


def check_files(paths: Sequence[str]) -> None:
    """Raises InputError, before any model is loaded, for paths that cannot be read to their end or hold no text."""
    if not sum(map(_num_documents, find_files(paths, "--text"))):
        raise InputError(f"--text: there is no text in {', '.join(paths)}")


def _num_documents(path: Path) -> int:
    return sum(1 for _ in _texts(path))


def _texts(path: Path) -> Iterator[str]:
    return (text for batch in read_batches(path, Form()) for text in texts_of(batch, Form()))


def file_text(paths: Sequence[str], tokenizer: "PreTrainedTokenizerBase", limit_tokens: int | None) -> HeldText:
    """Text of files, folders or globs in a model's tokens: a `.txt` file is a document, of JSON lines and tables every `text`.

    Text that spells a special token is text. A tokenizer without BOS begins a document with its EOS, as lm-eval does. Raises
    InputError for a tokenizer that has neither.
    """
    bos, eos = beginning_and_end(tokenizer)
    ids: list[np.ndarray] = []
    sizes: list[tuple[int, int]] = []
    domains: list[str] = []
    groups: list[tuple[int, int]] = []
    pieces: list[tuple[int, ...]] = []
    hashes: list[bytes] = []
    for number, path in enumerate(find_files(paths, "--text")):
        for group in _grouped(_texts(path)):
            sizes += [(num_bytes(text), num_words(text)) for text in group]
            hashes += map(_sha256, group)
            domains += [domain(path)] * len(group)
            # A file of plain text is one document, also where it is so long that it is read in pieces.
            groups += [(number, len(groups) + place if kind(path) != "text" else 0) for place in range(len(group))]
            for text, own in zip(group, encoded(tokenizer, group), strict=True):
                if limit_tokens is not None:
                    pieces += _pieces(tokenizer, text, len(ids), len(own) + (1 if eos is None else 2))
                ids.append(np.array([bos, *own, *([] if eos is None else [eos])], np.int64))
    table = np.array([(len(own), size) for own, (size, _) in zip(ids, sizes, strict=True)], np.int64)
    taken = held_out_sample(table, np.array(pieces, np.int64) if len(pieces) > len(ids) else None, limit_tokens)
    documents = taken.documents.tolist()
    starts = (taken.starts - (table[:, 0].cumsum() - table[:, 0])[taken.documents]).tolist()
    parts = [
        ids[index][start : start + length]
        for index, start, length in zip(documents, starts, taken.lengths.tolist(), strict=True)
    ]
    is_whole = bool((taken.has_begin & taken.has_end).all())
    words = [sizes[index][1] for index in documents] if taken.num_words is None else taken.num_words
    return HeldText(
        *_with_begins(np.concatenate(parts), taken, bos),
        taken.num_bytes,
        np.array(words, np.int64),
        tuple(domains[index] for index in documents),
        eos is not None,
        groups=np.unique([groups[index] for index in documents], axis=0, return_inverse=True)[1].reshape(-1),
        stretches=None if is_whole else taken,
        text_sha256=_text_sha256((domains[index], hashes[index]) for index in documents) if is_whole else None,
    )


def _pieces(
    tokenizer: "PreTrainedTokenizerBase", text: str, index: int, num_tokens: int
) -> Iterable[tuple[int, int, int, int]]:
    """What a sample may take of a document. It stays whole where the tokenizer does not say which characters a token is."""
    if not (is_long(num_tokens) and getattr(tokenizer, "is_fast", False)):
        return [(index, num_tokens, num_bytes(text), num_words(text))]
    encoding = tokenizer(
        text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True, verbose=False
    )
    return pieces_of(index, text, num_tokens, encoding["offset_mapping"])


def _grouped(texts: Iterable[str]) -> Iterator[list[str]]:
    texts = iter(texts)
    while group := list(islice(texts, _BATCH_DOCUMENTS)):
        yield group
