"""Where a corpus's files are: on this disk or in a data set of the Hub, one by one, each with a hash of its content."""

import fnmatch
import glob
import hashlib
import json
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import xxhash

from lmeff.corpora.reading import sources
from lmeff.corpora.reading.sources import is_source, plain_name
from lmeff.errors import InputError, RunFailed
from lmeff.files import read_json, sha256_file, write_json
from lmeff.logs import warn
from lmeff.progress import progress, shown
from lmeff.recipe.sections.corpus import TextSource

_LARGE_BYTES = 64 << 20
_PART = re.compile(r"-\d+-of-\d+$")
"""What the name of one part of a data set's split ends with."""


@dataclass(frozen=True)
class SourceFile:
    """A file of text that may not be here yet."""

    domain: str
    size: int
    identity: str
    """Hash of the content: xxh3 of a local file, sha256 or git's hash of one on the Hub."""
    stem: str
    """Stem of its name, by which it is cleaned."""
    kind: str
    """How it is read, by its name: `text`, `jsonl`, `json` or `parquet`."""
    path: Path | None = None
    hub: tuple[str, str, str] | None = None
    """Repository, commit and path of a file on the Hub."""

    def fetch(self) -> Path:
        """The file on this disk, downloaded and compared with its hash if need be.

        Raises RunFailed when it cannot be had; what was prepared so far is kept.
        """
        if self.path is not None:
            return self.path
        return _download(self)

    def __str__(self) -> str:
        return str(self.path) if self.hub is None else "hub://{}@{:.8}/{}".format(*self.hub)


# ---------------------------------------------------------------------- this disk


def _hash_file(path: Path) -> str:
    digest = xxhash.xxh3_128()
    with (
        open(path, "rb") as file,
        progress(f"hash of {path.name}", path.stat().st_size) as bar,
    ):
        while piece := file.read(1 << 22):
            digest.update(piece)
            bar.update(len(piece))
    return digest.hexdigest()


class LocalHashes:
    """Hashes of large files, kept while a file's size, time and inode stay the same."""

    def __init__(self, data: Path) -> None:
        self._path = data / ".hashes.json"
        try:
            self._known = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self._known = {}
        self._changed = False
        self._seen: dict[Path, str] = {}

    def of(self, path: Path) -> str:
        """xxh3 of the content, 128 bits; each file is read once. Raises InputError for a file that cannot be read."""
        if path not in self._seen:
            self._seen[path] = self._of(path)
        return self._seen[path]

    def _of(self, path: Path) -> str:
        try:
            status = path.stat()
            if status.st_size < _LARGE_BYTES:
                return _hash_file(path)
            stamp = [status.st_size, status.st_mtime_ns, status.st_ino]
            known = self._known.get(str(path.resolve()))
            if known is None or known[0] != stamp:
                known = self._known[str(path.resolve())] = [stamp, _hash_file(path)]
                self._changed = True
            return known[1]
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from None

    def save(self) -> None:
        if self._changed:
            write_json(self._path, self._known)


def local_files(
    paths: Sequence[str] | None,
    key: str,
    hashes: LocalHashes,
    name: str,
    domains: list[str] | None,
    with_hidden: bool = False,
) -> list[SourceFile]:
    """The files that `paths` name. A file's domain is `name`, else its stem. Raises InputError naming `key`."""
    chosen = [
        path
        for path in sources.find_files(paths or [], key, with_hidden)
        if domains is None or _is_of(sources.domain(path), domains)
    ]
    found = []
    with progress("hashes of files", len(chosen), unit=" files") as bar:
        for path in chosen:
            stem = sources.domain(path)
            size, identity = path.stat().st_size, hashes.of(path)
            found.append(SourceFile(name or stem, size, identity, stem, sources.kind(path), path))
            bar.update()
    if paths and domains:
        _check_domains(domains, {source.stem for source in found}, ", ".join(paths))
    return found


def _is_of(stem: str, domains: Iterable[str]) -> bool:
    return any(stem == one or fnmatch.fnmatchcase(stem, one) for one in domains)


def _check_domains(domains: Iterable[str], stems: Collection[str], where: str) -> None:
    """Raises InputError for a name that no file has, and where no file is of any domain. A part of a corpus may lack what a
    pattern is for: that is a warning."""
    missing = sorted(one for one in set(domains) if not any(_is_of(stem, [one]) for stem in stems))
    names = [one for one in missing if not glob.has_magic(one)]
    if names or len(missing) == len(set(domains)):
        raise InputError(f"corpus.domains: {(names or missing)[0]!r} is no file of {where}")
    if missing:
        _warn_once(f"corpus.domains: no file of {where} is {', '.join(missing)}; the others are read")


@cache
def _warn_once(text: str) -> None:
    warn(text)


# ---------------------------------------------------------------------- the Hub


def _unreachable(what: str, error: Exception) -> RunFailed:
    from huggingface_hub import get_token

    said = " ".join(str(error).split())
    if token := (get_token() or "").strip():
        said = said.replace(token, "***")
    said = said[:300]
    return RunFailed(
        f"{what}: cannot be had from the Hub ({type(error).__name__}: {said}); give its text as paths instead"
    )


def _kept(data: Path, *names: str | None) -> Path:
    """Where it is kept what the Hub said, so that a corpus stays what it was, and needs no network to be found again."""
    return data / ".hub" / ("@".join(name or "default" for name in names).replace("/", "--") + ".json")


def _listing(repository: str, revision: str, data: Path) -> dict[str, Any]:
    """`{path: [size, hash]}` of a data set, and its commit."""
    kept = _kept(data, repository, revision)
    if kept.exists():
        return read_json(kept)
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError
    from huggingface_hub.hf_api import RepoFile

    try:
        with shown(f"files of {repository} on the Hub"):
            api = HfApi()
            commit = api.dataset_info(repository, revision=revision).sha
            tree = api.list_repo_tree(repository, recursive=True, revision=commit, repo_type="dataset")
            files = {
                entry.path: [entry.size, entry.lfs.sha256 if entry.lfs else entry.blob_id]
                for entry in tree
                if isinstance(entry, RepoFile)
            }
    except (RepositoryNotFoundError, RevisionNotFoundError):
        raise InputError(f"corpus.hub: {repository}@{revision}: no data set that you may read has this name") from None
    except Exception as error:  # the client raises what its HTTP library does, which differs by version
        raise _unreachable(f"{repository}@{revision}", error) from None
    listing = {"commit": commit, "files": dict(sorted(files.items()))}
    write_json(kept, listing)
    return listing


def hub_files(
    source: TextSource, patterns: list[str] | None, name: str, data: Path, with_hidden: bool = False
) -> list[SourceFile]:
    """The files of a data set of the Hub that match `patterns`, sorted by name. Hidden ones are taken only where a pattern
    names them, or `with_hidden`, as older versions did.

    Raises InputError when none does, RunFailed when the Hub cannot be asked.
    """
    where = f"{source.hub}@{source.revision or 'main'}"
    listing = _listing(source.hub, source.revision or "main", data)
    files = listing["files"]
    stems = {
        path: _PART.sub("", plain_name(Path(path)).stem) for path in _matching(files, patterns, with_hidden, where)
    }
    if source.domains:
        _check_domains(source.domains, stems.values(), f"{where} ({', '.join(patterns or ())})")
    return [
        SourceFile(
            name or stem,
            files[path][0],
            files[path][1],
            stem,
            sources.kind(Path(path)),
            hub=(str(source.hub), listing["commit"], path),
        )
        for path, stem in stems.items()
        if source.domains is None or _is_of(stem, source.domains)
    ]


def _matching(files: Iterable[str], patterns: list[str] | None, with_hidden: bool, where: str) -> list[str]:
    """The files of text that match a pattern. Raises InputError when none does, and when one is only a part of its data set."""
    texts = [path for path in files if is_source(Path(path))]
    matching = [path for path in texts if any(_matches(path, pattern, with_hidden) for pattern in patterns or ())]
    if not matching:
        raise InputError(
            f"corpus.files: nothing in {where} matches {patterns}; it has {', '.join(texts[:5]) or 'no file of text'}"
        )
    if partial := [path for path in matching if "/partial-" in path]:
        raise InputError(f"corpus.files: {where}: {partial[0]} is only a part of the data set")
    return matching


def _matches(path: str, pattern: str, with_hidden: bool) -> bool:
    """Whether a pattern means a file. `*` reaches over folders, and a part of a path that begins with a dot is hidden from it,
    as from a shell's."""
    if not fnmatch.fnmatchcase(path, pattern):
        return False
    hidden, named = ([part for part in text.split("/") if part.startswith(".")] for text in (path, pattern))
    return with_hidden or not hidden or all(any(fnmatch.fnmatchcase(part, one) for one in named) for part in hidden)


def training_patterns(source: TextSource, data: Path) -> tuple[list[str], list[str] | None]:
    """Globs of a data set's splits `train` and `validation` (or `dev`), as `datasets` finds them.

    Raises RunFailed when the Hub cannot be asked, InputError when the data set has no such split.
    """
    kept = _kept(data, source.hub, source.revision, source.config, "splits")
    if not kept.exists():
        commit = _listing(str(source.hub), source.revision or "main", data)["commit"]
        write_json(kept, _splits(source, commit))
    found = read_json(kept)
    if "train" not in found:
        raise InputError(f"corpus.hub: {source.hub} has no split 'train' (it has {', '.join(found)}); set corpus.files")
    # A path is not a pattern of itself when it holds brackets.
    found = {split: [glob.escape(path) for path in paths] for split, paths in found.items()}
    held_out = next((found[split] for split in ("validation", "dev") if split in found), None)
    return found["train"], held_out


def _splits(source: TextSource, commit: str) -> dict[str, list[str]]:
    import datasets

    try:
        with shown(f"splits of {source.hub} on the Hub"):
            builder = datasets.load_dataset_builder(source.hub, source.config, revision=commit)
    except ValueError as error:
        raise InputError(f"corpus.hub: {source.hub}: {' '.join(str(error).split())}") from None
    except Exception as error:
        raise _unreachable(str(source.hub), error) from None
    return {
        str(split): [str(url).split("@", 1)[1].split("/", 1)[1] for url in urls]
        for split, urls in (builder.config.data_files or {}).items()
    }


def _git_hash(path: Path) -> str:
    """Git's name for a file's content, by which the Hub knows small files."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    digest.update(path.read_bytes())
    return digest.hexdigest()


def _download(file: SourceFile) -> Path:
    from huggingface_hub import hf_hub_download

    repository, commit, path = file.hub  # type: ignore[misc]
    try:
        local = Path(hf_hub_download(repository, path, repo_type="dataset", revision=commit))
    except Exception as error:
        raise _unreachable(f"{file}", error) from None
    found = sha256_file(local) if len(file.identity) == 64 else _git_hash(local)
    if found != file.identity:
        raise RunFailed(f"{file}: what came is not what the Hub promised ({local}); remove it and prepare again")
    return local
