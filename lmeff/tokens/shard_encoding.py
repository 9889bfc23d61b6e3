"""Text shards become token shards, one after the other, by one process or several; the result is the same."""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson

from lmeff.corpora.documents import num_bytes
from lmeff.corpora.workers import end_with_parent, in_order, num_workers, worker_pool
from lmeff.errors import InputError
from lmeff.files import read_json, write_json
from lmeff.progress import progress
from lmeff.quantities import format_short
from lmeff.tokens.shards import ShardWriter, id_type
from lmeff.tokens.tokenizer.bpe import BOS_ID, EOS_ID
from lmeff.tokens.tokenizer.encoder import Encoder

_PIECE_BYTES = 4 << 20
_FEW_BYTES = 48 << 20
_CHECKED_OF_FIRST, _CHECKED = 20, 2
"""Documents of a shard's first piece, and of any other, that are encoded twice to see whether gigatoken is exact."""


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
class ShardJob:
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
        raise damaged(path)


def damaged(path: Path) -> InputError:
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

        numbered, pool = enumerate(pieces), self._pool
        if pool is None:
            return map(here, numbered)

        def beside(item: tuple[int, bytes]) -> Future[tuple[np.ndarray, np.ndarray, str]]:
            return pool.submit(_encode, item[1], item[0] == 0)

        return in_order(numbered, beside, here, self._num_beside)

    def make(self, job: ShardJob, count: Callable[[int, int], None]) -> bool:
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
            raise damaged(job.text) from None
        finally:
            writer.close()
        np.save(job.target.with_suffix(".documents.npy"), np.concatenate(tables), allow_pickle=False)
        write_json(job.note, {"backend": backend})
        return True


def encode_shards(jobs: list[ShardJob], tokenizer_file: Path, num_bytes: int) -> None:
    """Makes every token shard that is not there yet."""
    with progress("tokens", num_bytes) as bar:
        done = 0

        def count(tokens: int, size: int) -> None:
            nonlocal done
            done += tokens
            bar.update(size)
            speed = format_short(done / max(bar.format_dict["elapsed"], 1e-9))
            bar.set_postfix_str(f"{speed} tokens/s", refresh=False)

        for may_be_fast in (not any(job.backend == "tokenizers" for job in jobs), False):
            with _ShardMaker(tokenizer_file, num_bytes, may_be_fast) as maker:
                if all(maker.make(job, count) for job in jobs if job.backend is None):
                    return
            # gigatoken was wrong once; what it encoded before is not trusted either.
            for job in jobs:
                job.note.unlink(missing_ok=True)
