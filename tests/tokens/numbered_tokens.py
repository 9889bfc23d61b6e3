"""Prepared tokens of which each says where it stands."""

from pathlib import Path

import numpy as np

from lmeff.files import describe_files, read_json, write_json
from lmeff.tokens import BOS_ID, EOS_ID, Tokens
from lmeff.tokens.shards import ShardWriter


def write_tokens(folder: Path, lengths: list[int], num_shards: int = 3) -> Tokens:
    """Documents `<s> ... </s>` with every token between them a number of its own, as prepared tokens."""
    folder = folder / "corpus-00000000" / "tokens" / "bpe-60000"
    folder.mkdir(parents=True)
    ids, names = iter(range(3, 60_000)), []
    documents = [np.array([BOS_ID, *(next(ids) for _ in range(length - 2)), EOS_ID]) for length in lengths]
    for index, part in enumerate(np.array_split(np.arange(len(documents)), num_shards)):
        writer = ShardWriter(folder / f"train-{index:05d}.bin", 60_000)
        for document in part:
            writer.append(documents[document])
        writer.close()
        names.append([writer.path.name, writer.num_tokens])
    np.save(folder / "train.documents.npy", np.array([[length, length] for length in lengths], np.int64))
    return described(folder, names)


def described(folder: Path, shards: list | None = None) -> Tokens:
    """Tokens whose manifest fits what is in their folder."""
    splits = {"train": {"shards": shards or read_json(folder / "manifest.json")["splits"]["train"]["shards"]}}
    files = {"train.documents.npy": describe_files(folder)["train.documents.npy"]}
    manifest = {"fingerprint": "0", "splits": splits, "files": files}
    write_json(folder / "manifest.json", manifest)
    return Tokens(folder, folder, manifest)
