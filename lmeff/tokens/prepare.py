"""Text becomes token shards: every document is `<s> text </s>`, one after the other."""

import json
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from lmeff.corpora import TextCorpus
from lmeff.corpora.mixture import Passes
from lmeff.corpora.text_shards import TextShard
from lmeff.files import MANIFEST, describe_files, locked, read_json, sha256_file, unfinished_folder, write_json
from lmeff.progress import shown
from lmeff.tokens.held_out import PIECES, write_pieces
from lmeff.tokens.shard_encoding import ShardJob, damaged, encode_shards
from lmeff.tokens.shards import TokenStream
from lmeff.tokens.tokenizer.bpe import tokenizer_sha256

TOKENS_FORMAT = 1
"""Raised whenever the same text and tokenizer would give other tokens."""
_LAYOUT = 2
"""Raised whenever the same tokens stand otherwise in their folder; they are then prepared again."""


@dataclass(frozen=True)
class Tokens:
    """Prepared tokens on disk."""

    folder: Path
    tokenizer_folder: Path
    manifest: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """Hash of text, tokenizer, mixture and format (xxh3, 128 bits)."""
        fingerprint: str = self.manifest["fingerprint"]
        return fingerprint

    def _stream(self, side: str) -> TokenStream:
        shards = self.manifest["splits"][side]["shards"]
        return TokenStream([self.folder / name for name, _ in shards], [length for _, length in shards])

    @cached_property
    def train(self) -> TokenStream:
        return self._stream("train")

    @cached_property
    def dev(self) -> TokenStream:
        return self._stream("dev")

    def _documents(self, side: str) -> np.ndarray:
        return self._table(f"{side}.documents.npy")

    def _table(self, name: str) -> np.ndarray:
        path = self.folder / name
        if sha256_file(path) != self.manifest["files"][path.name]["sha256"]:
            raise damaged(path)
        table: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        return table

    @cached_property
    def train_documents(self) -> np.ndarray:
        """Documents of the training stream, int64 (documents, 2): tokens with `<s>` and `</s>`, bytes of the text before
        normalization; on disk. Raises InputError when the table is not what was written."""
        return self._documents("train")

    @cached_property
    def first_readings(self) -> np.ndarray:
        """(documents of the training stream,) int64: the place of each, or where it stood first of one that is read again."""
        places, begun = np.arange(len(self.train_documents)), dict[str, int]()
        for name, first, last in self.train_readings:
            places[first:last] -= first - begun.setdefault(name, first)
        return places

    @cached_property
    def train_readings(self) -> list[tuple[str, int, int]]:
        """The files of the training stream in the order in which they are read, some of them in several passes: name, the place
        of the first document, and that behind the last."""
        shards = self.manifest["splits"]["train"]["shards"]
        ends = np.asarray(self.train_documents[:, 0]).cumsum()
        behind = np.searchsorted(ends, np.cumsum([num_tokens for _, num_tokens in shards]), "right").tolist()
        return [(name, *places) for (name, _), places in zip(shards, pairwise([0, *behind]), strict=True)]

    @cached_property
    def dev_documents(self) -> np.ndarray:
        """Held-out documents, as `train_documents`."""
        return np.array(self._documents("dev"))

    @cached_property
    def dev_pieces(self) -> np.ndarray | None:
        """Pieces of held-out documents, for samples of them; None when none is long, and in tokens of an older version."""
        return np.array(self._table(PIECES)) if PIECES in self.manifest["files"] else None


def _passes(corpus: TextCorpus, folder: Path) -> dict[str, Passes]:
    """How often each source's documents are read."""
    shards = corpus.shards("train")
    if corpus.mixture.is_plain:
        return {shard.source: Passes(1) for shard in shards}
    in_tokens = corpus.mixture.unit == "tokens"
    sizes: dict[str, list[np.ndarray]] = {}
    for shard in shards:
        size = np.load(_table(folder, shard))[:, 0] if in_tokens else corpus.words(shard)
        sizes.setdefault(shard.source, []).append(size)
    held_out: dict[str, int] = {}
    for shard in corpus.shards("dev"):
        held_out[shard.source] = held_out.get(shard.source, 0) + shard.num_words
    whole = {source: np.concatenate(parts).astype(np.int64) for source, parts in sizes.items()}
    passes: dict[str, Passes] = corpus.mixture.passes(whole, held_out, corpus.manifest["short"])
    return passes


def _table(folder: Path, shard: TextShard) -> Path:
    return folder / f"{Path(shard.name).stem}.documents.npy"


def _in_order(corpus: TextCorpus, passes: dict[str, Passes]) -> list[tuple[TextShard, int]]:
    """(shard, documents of it) as training reads them: source by source, pass by pass."""
    by_source: dict[str, list[TextShard]] = {}
    for shard in corpus.shards("train"):
        by_source.setdefault(shard.source, []).append(shard)
    order = []
    for source, shards in by_source.items():
        left = passes[source].num_documents
        order += [(shard, shard.num_documents) for shard in shards] * passes[source].num_whole
        for shard in shards:
            if taken := min(left, shard.num_documents):
                order.append((shard, taken))
            left -= taken
    return order


def _write_side(folder: Path, side: str, order: list[tuple[TextShard, int]]) -> dict[str, Any]:
    """The table of a side's documents in order, and what the manifest says of it."""
    num_documents = sum(taken for _, taken in order)
    table = np.lib.format.open_memmap(folder / f"{side}.documents.npy", "w+", dtype=np.int64, shape=(num_documents, 2))
    place = num_tokens = num_bytes = 0
    shards = []
    for shard, taken in order:
        part = np.load(_table(folder, shard))[:taken]
        table[place : place + taken] = part
        tokens, size = (int(total) for total in part.sum(0))
        place, num_tokens, num_bytes = place + taken, num_tokens + tokens, num_bytes + size
        shards.append([f"{Path(shard.name).stem}.bin", tokens])
    table.flush()
    return {"num_documents": num_documents, "num_tokens": num_tokens, "num_bytes": num_bytes, "shards": shards}


def _write_whole(aside: Path, corpus: TextCorpus, tokenizer_file: Path) -> dict[str, Any]:
    all_shards = [shard for side in ("train", "dev") for shard in corpus.shards(side)]
    hashes = {name: file["sha256"] for name, file in corpus.manifest["files"].items()}
    jobs = [
        ShardJob(corpus.path(shard), hashes[shard.name], aside / f"{Path(shard.name).stem}.bin") for shard in all_shards
    ]
    encode_shards(jobs, tokenizer_file, sum(shard.num_bytes for shard in all_shards))
    passes = _passes(corpus, aside)
    orders = {
        "train": _in_order(corpus, passes),
        "dev": [(shard, shard.num_documents) for shard in corpus.shards("dev")],
    }
    splits = {side: _write_side(aside, side, order) for side, order in orders.items()}
    if "held_out" in corpus.manifest["rules"]:  # by the rule of older versions no document is long
        with shown("places at which long held-out documents may be cut"):
            write_pieces(aside, corpus, tokenizer_file, np.load(aside / "dev.documents.npy"))
    used = {shard.name for order in orders.values() for shard, _ in order}
    backends = sorted({str(job.backend) for job in jobs})
    for shard, job in zip(all_shards, jobs, strict=True):
        job.note.unlink()
        job.target.with_suffix(".documents.npy").unlink()
        if shard.name not in used:
            job.target.unlink()
    found: dict[str, Any] = {"splits": splits, "encoded_by": backends}
    if not corpus.mixture.is_plain:
        found["mixture"] = corpus.mixture.describe()
        found["passes"] = {source: [one.num_whole, one.num_documents] for source, one in passes.items()}
    return found


def prepare_tokens(corpus: TextCorpus, tokenizer_folder: Path) -> Tokens:
    """Encodes both splits unless they are there already. The folder's name covers text, tokenizer, mixture and format.

    What a killed process had done is gone on with. Raises InputError for a source with too little text for its weight.
    """
    sha256 = tokenizer_sha256(tokenizer_folder)
    parts = [str(TOKENS_FORMAT), corpus.fingerprint, sha256]
    if not corpus.mixture.is_plain:
        parts.append(json.dumps(corpus.mixture.describe(), sort_keys=True))
    fingerprint = xxhash.xxh3_128_hexdigest(" ".join(parts).encode())
    folder = corpus.folder / "tokens" / f"{tokenizer_folder.name.split('.')[0]}-{fingerprint[:8]}"
    manifest_path = folder / MANIFEST
    with locked(corpus.folder.parent / ".locks" / f"{corpus.folder.name}.{folder.name}"):
        if not (manifest_path.exists() and read_json(manifest_path).get("layout") == _LAYOUT):
            tokenizer_file = tokenizer_folder / "tokenizer.json"
            with unfinished_folder(folder) as aside:
                manifest = {"format": TOKENS_FORMAT, "layout": _LAYOUT, "fingerprint": fingerprint}
                manifest |= _write_whole(aside, corpus, tokenizer_file) | {"corpus": corpus.fingerprint}
                manifest |= {"tokenizer_sha256": sha256, "vocab_size": _vocab_size(tokenizer_file)}
                with suppress(FileNotFoundError):
                    manifest_path.unlink()
                with shown("sha256 of the tokens"):
                    manifest |= {"files": describe_files(aside)}
                write_json(aside / MANIFEST, manifest)
    return Tokens(folder, tokenizer_folder, read_json(manifest_path))


def find_tokens(data: str | Path, fingerprint: str, tokenizer_folder: Path) -> Tokens | None:
    """The tokens of that fingerprint among those prepared under `data`, None when they are not there."""
    for path in sorted(Path(data).glob(f"[!.]*/tokens/[!.]*/{MANIFEST}")):
        manifest = read_json(path)
        if manifest.get("fingerprint") == fingerprint and manifest.get("layout") == _LAYOUT:
            return Tokens(path.parent, tokenizer_folder, manifest)
    return None


def _vocab_size(tokenizer_file: Path) -> int:
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(tokenizer_file)).get_vocab_size()
