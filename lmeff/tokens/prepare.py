"""Text becomes token shards: every document is `<s> text </s>`, one after the other."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from tokenizers import Tokenizer
from tqdm import tqdm

from lmeff.corpora import TextCorpus
from lmeff.files import describe_files, locked, new_folder, read_json, write_json
from lmeff.tokens.shards import ShardWriter, TokenStream
from lmeff.tokens.tokenizer import BOS_ID, EOS_ID, tokenizer_sha256

TOKENS_FORMAT = 1
"""Raised whenever the same text and tokenizer would give other tokens."""
_SHARD_TOKENS = 1 << 28
_BATCH_DOCUMENTS = 256


@dataclass(frozen=True)
class Tokens:
    """Prepared tokens on disk."""

    folder: Path
    tokenizer_folder: Path
    manifest: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """Hash of text, tokenizer and format (xxh3, 128 bits)."""
        return self.manifest["fingerprint"]

    def _stream(self, side: str) -> TokenStream:
        return TokenStream([self.folder / name for name in self.manifest["splits"][side]["shards"]])

    @cached_property
    def train(self) -> TokenStream:
        return self._stream("train")

    @cached_property
    def dev(self) -> TokenStream:
        return self._stream("dev")

    @cached_property
    def dev_documents(self) -> np.ndarray:
        """Held-out documents, int64 (documents, 2): tokens with `<s>` and `</s>`, bytes of the text before normalisation."""
        return np.load(self.folder / "dev.documents.npy", allow_pickle=False)


def _encode(texts: Iterator[str], tokenizer: Tokenizer, bar: tqdm) -> Iterator[tuple[np.ndarray, int]]:
    for batch in _batched(texts):
        for text, encoding in zip(
            batch, tokenizer.encode_batch_fast(list(batch), add_special_tokens=False), strict=True
        ):
            num_bytes = len(text.encode())
            bar.update(num_bytes)
            yield np.array([BOS_ID, *encoding.ids, EOS_ID], np.int64), num_bytes


def _batched(texts: Iterator[str]) -> Iterator[tuple[str, ...]]:
    while batch := tuple(itertools.islice(texts, _BATCH_DOCUMENTS)):
        yield batch


def _write_side(folder: Path, side: str, corpus: TextCorpus, tokenizer: Tokenizer) -> dict[str, Any]:
    documents, shards, writer = [], [], None
    with tqdm(
        desc=f"tokens of {side}", unit="B", unit_scale=True, delay=2, total=corpus.manifest["splits"][side]["num_bytes"]
    ) as bar:
        for ids, num_bytes in _encode(corpus.documents(side), tokenizer, bar):
            if writer is None or writer.num_tokens + len(ids) > _SHARD_TOKENS:
                if writer:
                    writer.close()
                writer = ShardWriter(folder / f"{side}-{len(shards):05d}.bin", tokenizer.get_vocab_size())
                shards.append(writer.path.name)
            writer.append(ids)
            documents.append((len(ids), num_bytes))
    writer.close()
    table = np.array(documents, np.int64)
    np.save(folder / f"{side}.documents.npy", table, allow_pickle=False)
    num_tokens, num_bytes = map(int, table.sum(0))
    return {"num_documents": len(table), "num_tokens": num_tokens, "num_bytes": num_bytes, "shards": shards}


def prepare_tokens(corpus: TextCorpus, tokenizer_folder: Path) -> Tokens:
    """Encodes both splits unless they are there already. The folder's name covers text, tokenizer and format."""
    sha256 = tokenizer_sha256(tokenizer_folder)
    fingerprint = xxhash.xxh3_128_hexdigest(f"{TOKENS_FORMAT} {corpus.fingerprint} {sha256}".encode())
    folder = corpus.folder / "tokens" / f"{tokenizer_folder.name.split('.')[0]}-{fingerprint[:8]}"
    with locked(corpus.folder.parent / ".locks" / f"{corpus.folder.name}.{folder.name}"):
        if not (folder / "manifest.json").exists():
            tokenizer = Tokenizer.from_file(str(tokenizer_folder / "tokenizer.json"))
            # A text that contains the characters `</s>` is text, and must not end the document.
            tokenizer.encode_special_tokens = True
            with new_folder(folder) as aside:
                splits = {side: _write_side(aside, side, corpus, tokenizer) for side in ("train", "dev")}
                manifest = {"format": TOKENS_FORMAT, "fingerprint": fingerprint, "corpus": corpus.fingerprint}
                manifest |= {"tokenizer_sha256": sha256, "vocab_size": tokenizer.get_vocab_size(), "splits": splits}
                write_json(aside / "manifest.json", manifest | {"files": describe_files(aside)})
    return Tokens(folder, tokenizer_folder, read_json(folder / "manifest.json"))
