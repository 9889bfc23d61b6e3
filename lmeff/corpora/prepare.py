"""A corpus section becomes two text files, train and dev, in a folder named after everything that decides their content."""

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash
from tqdm import tqdm

from lmeff.corpora import sources, split, synthetic
from lmeff.corpora.catalogue import complete
from lmeff.corpora.sources import Document
from lmeff.errors import InputError
from lmeff.files import describe_files, locked, new_folder, read_json, write_json
from lmeff.recipe.schema import Corpus

TEXT_FORMAT = 1
"""Raised whenever the same sources would give other text."""
_SYNTHETIC_DEV_DOCUMENTS = 500


@dataclass(frozen=True)
class TextCorpus:
    """Prepared text on disk: `folder/text/train.jsonl` and `dev.jsonl`, one document a line."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """Hash of everything the text depends on (xxh3, 128 bits)."""
        return self.manifest["fingerprint"]

    def documents(self, side: str) -> Iterator[str]:
        """The texts of `train` or `dev`, in order."""
        with open(self.folder / "text" / f"{side}.jsonl", encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)["text"]


def _hash_file(path: Path) -> str:
    digest = xxhash.xxh3_128()
    with open(path, "rb") as file:
        while piece := file.read(1 << 22):
            digest.update(piece)
    return digest.hexdigest()


def _describe(corpus: Corpus, train_files: list[Path], dev_files: list[Path]) -> dict[str, Any]:
    """What the text depends on. File names count only by their stems, which name the domains."""
    if not corpus.paths:
        return {"synthetic": corpus.synthetic.model_dump(), "generator": synthetic.GENERATOR_VERSION}
    hashes = {
        side: [[path.name, _hash_file(path)] for path in paths]
        for side, paths in (("train", train_files), ("dev", dev_files))
    }
    rules: dict[str, Any] = {"text": corpus.text, "separator": corpus.separator}
    return hashes | rules | ({} if dev_files else {"dev_share": corpus.dev_share})


def _sides(corpus: Corpus, train_files: list[Path], dev_files: list[Path]) -> Iterator[tuple[str, Document]]:
    if not corpus.paths:
        seed, num_documents = corpus.synthetic.seed, corpus.synthetic.num_documents
        yield from (("train", Document(text, "stories")) for text in synthetic.generate_documents(num_documents, seed))
        yield from (
            ("dev", Document(text, "stories"))
            for text in synthetic.generate_dev_documents(_SYNTHETIC_DEV_DOCUMENTS, seed)
        )
        return
    templates = corpus.text or ["{text}"]
    train = sources.read_documents(train_files, templates, corpus.separator)
    if dev_files:
        yield from (("train", document) for document in train)
        yield from (("dev", document) for document in sources.read_documents(dev_files, templates, corpus.separator))
        return
    # Text so short that nothing falls into the share still needs something held out: its smallest segment.
    smallest, num_segments = split.smallest_position(sources.read_documents(train_files, templates, corpus.separator))
    if num_segments < 2:
        raise InputError(
            "corpus.dev_paths: the text is one short piece, too little to hold any out; give corpus.dev_paths"
        )
    yield from split.split(train, max(corpus.dev_share, smallest * (1 + 1e-12)))


def _write(folder: Path, sides: Iterator[tuple[str, Document]]) -> dict[str, Any]:
    counts = {
        side: {"num_documents": 0, "num_bytes": 0, "num_words": 0, "domains": Counter()} for side in ("train", "dev")
    }
    with ExitStack() as stack:
        outputs = {side: stack.enter_context(open(folder / f"{side}.jsonl", "w", encoding="utf-8")) for side in counts}
        bar = stack.enter_context(tqdm(desc="text", unit="B", unit_scale=True, delay=2))
        for side, document in sides:
            outputs[side].write(
                json.dumps({"text": document.text, "domain": document.domain}, ensure_ascii=False) + "\n"
            )
            num_bytes = len(document.text.encode())
            count = counts[side]
            count["num_documents"] += 1
            count["num_bytes"] += num_bytes
            count["num_words"] += len(document.text.split())
            count["domains"][document.domain] += num_bytes
            bar.update(num_bytes)
    return counts


def prepare_text(corpus: Corpus, data: str | Path) -> TextCorpus:
    """Writes the corpus under `data/NAME-HASH8/text` unless it is there already, and returns it.

    Any number of processes may call this at once; one does the work and the others wait for it. Raises InputError for
    text that is missing, unreadable or empty.
    """
    corpus = complete(corpus)
    sources.check_templates(corpus.text or [])
    train_files = sources.find_files(corpus.paths or [], "corpus.paths")
    dev_files = sources.find_files(corpus.dev_paths or [], "corpus.dev_paths")
    both = sorted(set(train_files) & set(dev_files))
    if both:
        raise InputError(f"corpus.dev_paths: {both[0]} is in corpus.paths too; held-out text must not be trained on")
    description = {"format": TEXT_FORMAT, "corpus": corpus.name} | _describe(corpus, train_files, dev_files)
    fingerprint = xxhash.xxh3_128_hexdigest(json.dumps(description, sort_keys=True).encode())
    folder = Path(data) / f"{corpus.name}-{fingerprint[:8]}"
    manifest_path = folder / "text" / "manifest.json"
    with locked(Path(data) / ".locks" / f"{folder.name}.text"):
        if not manifest_path.exists():
            with new_folder(folder / "text") as aside:
                counts = _write(aside, _sides(corpus, train_files, dev_files))
                for side, key in (("train", "corpus.paths"), ("dev", "corpus.dev_paths")):
                    if not counts[side]["num_documents"]:
                        raise InputError(
                            f"{key}: there is no text in {', '.join(getattr(corpus, key.split('.')[1]) or ['the corpus'])}"
                        )
                manifest = {"format": TEXT_FORMAT, "name": corpus.name, "fingerprint": fingerprint, "splits": counts}
                manifest["sources"] = [path.as_posix() for path in itertools.chain(train_files, dev_files)]
                write_json(aside / "manifest.json", manifest | {"files": describe_files(aside)})
    return TextCorpus(folder, read_json(manifest_path))
