"""Text becomes token shards: every document is `<s> text </s>`, one after the other."""

import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import xxhash
from tqdm import tqdm

from lmeff.corpora import TextCorpus
from lmeff.corpora.documents import num_bytes
from lmeff.corpora.mixture import Passes
from lmeff.corpora.text_shards import TextShard
from lmeff.corpora.workers import end_with_parent, in_order, num_workers, worker_pool
from lmeff.errors import InputError
from lmeff.files import describe_files, locked, read_json, sha256_file, unfinished_folder, write_json
from lmeff.tokens.encoder import Encoder
from lmeff.tokens.shards import ShardWriter, TokenStream, id_type
from lmeff.tokens.tokenizer import BOS_ID, EOS_ID, tokenizer_sha256

TOKENS_FORMAT = 1
"""Raised whenever the same text and tokenizer would give other tokens."""
_LAYOUT = 2
"""Raised whenever the same tokens stand otherwise in their folder; they are then prepared again."""
_PIECE_BYTES = 4 << 20
_FEW_BYTES = 48 << 20
_CHECKED_OF_FIRST, _CHECKED = 20, 2
"""Documents of a shard's first piece, and of any other, that are encoded twice to see whether gigatoken is exact."""


@dataclass(frozen=True)
class Tokens:
    """Prepared tokens on disk."""

    folder: Path
    tokenizer_folder: Path
    manifest: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """Hash of text, tokenizer, mixture and format (xxh3, 128 bits)."""
        return self.manifest["fingerprint"]

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
        path = self.folder / f"{side}.documents.npy"
        if sha256_file(path) != self.manifest["files"][path.name]["sha256"]:
            raise _damaged(path)
        return np.load(path, mmap_mode="r", allow_pickle=False)

    @cached_property
    def train_documents(self) -> np.ndarray:
        """Documents of the training stream, int64 (documents, 2): tokens with `<s>` and `</s>`, bytes of the text before
        normalisation; on disk. Raises InputError when the table is not what was written."""
        return self._documents("train")

    @cached_property
    def dev_documents(self) -> np.ndarray:
        """Held-out documents, as `train_documents`."""
        return np.array(self._documents("dev"))


# ---------------------------------------------------------------------- beside


_encoders: list[Encoder] = []


def _begin_worker(tokenizer_file: Path, is_fast: bool) -> None:
    end_with_parent()
    _encoders[:] = [Encoder(tokenizer_file, is_fast)]


def _encode(lines: bytes, is_first: bool) -> tuple[np.ndarray, np.ndarray, str]:
    """Lines of a text shard as ids with `<s>` and `</s>`, (tokens,); tokens and bytes of each document, int64 (documents, 2);
    and what encoded them."""
    encoder = _encoders[0]
    texts = [orjson.loads(line)["text"] for line in lines.splitlines()]
    ids, counts = encoder(texts, _CHECKED_OF_FIRST if is_first else _CHECKED)
    table = np.stack([counts + 2, np.fromiter(map(num_bytes, texts), np.int64, len(texts))], 1)
    return _with_ends(ids, counts).astype(id_type(encoder.vocab_size)), table, encoder.backend


def _with_ends(ids: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Every document's ids between `<s>` and `</s>`: (tokens + 2 x documents,)."""
    ends = np.cumsum(counts + 2)
    starts = ends - counts - 2
    is_text = np.ones(len(ids) + 2 * len(counts), bool)
    is_text[starts] = is_text[ends - 1] = False
    out = np.empty(len(is_text), ids.dtype)
    out[is_text] = ids
    out[starts], out[ends - 1] = BOS_ID, EOS_ID
    return out


# ---------------------------------------------------------------------- in order


@dataclass(frozen=True)
class _Job:
    """One text shard and the token shard that it becomes."""

    text: Path
    sha256: str
    """Of the text."""
    target: Path

    @property
    def note(self) -> Path:
        """What says that the token shard is whole."""
        return self.target.with_suffix(".json")

    @property
    def backend(self) -> str | None:
        """What encoded it; None as long as it is not whole."""
        return read_json(self.note)["backend"] if self.note.exists() else None


def _pieces(path: Path, sha256: str) -> Iterator[bytes]:
    """Some megabytes of whole lines at a time. Raises InputError when the file is not what was written."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(_PIECE_BYTES):
            piece += file.readline()
            digest.update(piece)
            yield piece
    if digest.hexdigest() != sha256:
        raise _damaged(path)


def _damaged(path: Path) -> InputError:
    return InputError(f"{path}: holds other bytes than were written; remove its folder and prepare again")


class _ShardMaker:
    """Encodes text shards one after the other, in this process or in several."""

    def __init__(self, tokenizer_file: Path, num_bytes: int, may_be_fast: bool) -> None:
        num_beside = num_workers(num_bytes, _FEW_BYTES) - 1
        self._num_beside = num_beside
        self._encoder = Encoder(tokenizer_file, may_be_fast, uses_all_cores=not num_beside)
        self._pool = worker_pool(num_beside, _begin_worker, (tokenizer_file, may_be_fast)) if num_beside else None

    def __enter__(self) -> "_ShardMaker":
        _encoders[:] = [self._encoder]
        return self

    def __exit__(self, *_: object) -> None:
        _encoders.clear()
        if self._pool:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _encoded(self, pieces: Iterator[bytes]) -> Iterator[tuple[np.ndarray, np.ndarray, str]]:
        def here(item: tuple[int, bytes]) -> tuple[np.ndarray, np.ndarray, str]:
            return _encode(item[1], item[0] == 0)

        def beside(item: tuple[int, bytes]) -> Future[tuple[np.ndarray, np.ndarray, str]]:
            return self._pool.submit(_encode, item[1], item[0] == 0)

        numbered = enumerate(pieces)
        return map(here, numbered) if self._pool is None else in_order(numbered, beside, here, self._num_beside)

    def make(self, job: _Job, count: Callable[[int, int], None]) -> bool:
        """Writes `job.target`, a table of its documents beside it, and last of all a note that it is whole.

        False, and no note, when gigatoken was found to differ. Raises InputError for text that is not what was written.
        """
        backend, tables = self._encoder.backend, []
        writer = ShardWriter(job.target, self._encoder.vocab_size)
        try:
            for ids, table, used in self._encoded(_pieces(job.text, job.sha256)):
                if used != backend:
                    return False
                writer.append(ids)
                tables.append(table)
                count(len(ids), int(table[:, 1].sum()))
        except orjson.JSONDecodeError:
            raise _damaged(job.text) from None
        finally:
            writer.close()
        np.save(job.target.with_suffix(".documents.npy"), np.concatenate(tables), allow_pickle=False)
        write_json(job.note, {"backend": backend})
        return True


def _encode_all(jobs: list[_Job], tokenizer_file: Path, num_bytes: int) -> None:
    """Makes every token shard that is not there yet."""
    with tqdm(desc="tokens", unit="B", unit_scale=True, delay=2, total=num_bytes) as bar:
        done = 0

        def count(tokens: int, size: int) -> None:
            nonlocal done
            done += tokens
            bar.update(size)
            bar.set_postfix_str(f"{done / max(bar.format_dict['elapsed'], 1e-9) / 1e6:.1f}M tokens/s", refresh=False)

        for may_be_fast in (not any(job.backend == "tokenizers" for job in jobs), False):
            with _ShardMaker(tokenizer_file, num_bytes, may_be_fast) as maker:
                if all(maker.make(job, count) for job in jobs if job.backend is None):
                    return
            # gigatoken was wrong once; what it encoded before is not trusted either.
            for job in jobs:
                job.note.unlink(missing_ok=True)


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
    return corpus.mixture.passes(whole, held_out, corpus.manifest["short"])


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
        _Job(corpus.path(shard), hashes[shard.name], aside / f"{Path(shard.name).stem}.bin") for shard in all_shards
    ]
    _encode_all(jobs, tokenizer_file, sum(shard.num_bytes for shard in all_shards))
    passes = _passes(corpus, aside)
    orders = {
        "train": _in_order(corpus, passes),
        "dev": [(shard, shard.num_documents) for shard in corpus.shards("dev")],
    }
    splits = {side: _write_side(aside, side, order) for side, order in orders.items()}
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
    manifest_path = folder / "manifest.json"
    with locked(corpus.folder.parent / ".locks" / f"{corpus.folder.name}.{folder.name}"):
        if not (manifest_path.exists() and read_json(manifest_path).get("layout") == _LAYOUT):
            tokenizer_file = tokenizer_folder / "tokenizer.json"
            with unfinished_folder(folder) as aside:
                manifest = {"format": TOKENS_FORMAT, "layout": _LAYOUT, "fingerprint": fingerprint}
                manifest |= _write_whole(aside, corpus, tokenizer_file) | {"corpus": corpus.fingerprint}
                manifest |= {"tokenizer_sha256": sha256, "vocab_size": _vocab_size(tokenizer_file)}
                with suppress(FileNotFoundError):
                    manifest_path.unlink()
                write_json(aside / "manifest.json", manifest | {"files": describe_files(aside)})
    return Tokens(folder, tokenizer_folder, read_json(manifest_path))


def _vocab_size(tokenizer_file: Path) -> int:
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(tokenizer_file)).get_vocab_size()
