"""Revisions of older versions of lmeff whose files some versions of transformers read otherwise than we do: naming the fault,
and correcting it without touching weights.

A corrected folder has a manifest of its own, which covers it whole, and `mended.json`, which names the manifest and the files
that were there before. So it can be verified like any other, and a branch that holds the revision as it was is known for it.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from lmeff.errors import InputError
from lmeff.files import MANIFEST, new_folder, read_json, sha256_file, write_json
from lmeff.formats.base import FORMAT, Sha256, StrictModel
from lmeff.formats.manifest import FileEntry, ManifestDocument
from lmeff.hub.client import RemoteFile, git_blob
from lmeff.models.config_file import complete_config, config_fault
from lmeff.revisions.store import differences
from lmeff.tokens.tokenizer.published import complete_tokenizer_config, tokenizer_fault

MENDED = "mended.json"
_CONFIG, _TOKENIZER_CONFIG = "config.json", "tokenizer_config.json"


class Correction(StrictModel):
    """What one correction replaced."""

    files: dict[str, FileEntry]
    """The replaced files as they were, by name."""
    manifest_sha256: Sha256
    """Of `manifest.json` as it was."""
    manifest_blob: str
    """Git's name for its content, by which the Hub knows it."""


class MendedDocument(StrictModel):
    """`mended.json` of a corrected revision, oldest correction first. Holds no time and no version, so that two copies of a
    revision are corrected to the same files."""

    format: Literal[1] = FORMAT
    corrections: list[Correction]


def faults(folder: Path) -> dict[str, str]:
    """By file of a revision, what versions of transformers would read otherwise than we do, in words."""
    if not all((folder / name).is_file() for name in (_CONFIG, _TOKENIZER_CONFIG, "tokenizer.json")):
        return {}
    found = {
        _TOKENIZER_CONFIG: tokenizer_fault(read_json(folder / _TOKENIZER_CONFIG), read_json(folder / "tokenizer.json")),
        _CONFIG: config_fault(read_json(folder / _CONFIG)),
    }
    return {name: fault for name, fault in found.items() if fault}


def mend(folder: Path) -> list[str]:
    """Corrects a revision's files, whole or not at all, and returns their names; none where nothing is wrong. Raises InputError
    for a folder that is not what its manifest says."""
    if not (names := sorted(faults(folder))):
        return []
    if wrong := differences(folder):
        raise InputError(f"{wrong[0]}; a damaged revision is not mended")
    complete: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
        _CONFIG: complete_config,
        _TOKENIZER_CONFIG: lambda config: complete_tokenizer_config(config, read_json(folder / "tokenizer.json")),
    }
    manifest = ManifestDocument.read(folder)
    correction = Correction(
        files={name: manifest.files[name] for name in names},
        manifest_sha256=sha256_file(folder / MANIFEST),
        manifest_blob=git_blob(folder / MANIFEST),
    )
    document = MendedDocument(corrections=[*corrections(folder), correction])
    with new_folder(folder) as aside:
        for path in sorted(folder.rglob("*")):
            target = aside / path.relative_to(folder)
            if path.is_dir():
                target.mkdir()
            else:
                _link(path, target)
        # Written aside and renamed, so that a file which another revision shares through a link stays as it is.
        for name in names:
            write_json(aside / name, complete[name](read_json(folder / name)))
        document.write_file(aside / MENDED)
        files = {**manifest.files, **{name: FileEntry.of(aside / name) for name in (*names, MENDED)}}
        ManifestDocument(files=dict(sorted(files.items()))).write(aside)
    return names


def _link(path: Path, target: Path) -> None:
    try:
        os.link(path, target)
    except OSError:
        shutil.copyfile(path, target)


def corrections(folder: Path) -> list[Correction]:
    """What was corrected in a revision's folder, oldest first."""
    path = folder / MENDED
    return MendedDocument.read_file(path).corrections if path.is_file() else []


def was_before(folder: Path, manifest: RemoteFile) -> bool:
    """Whether a manifest on the Hub is that of this very revision before a correction."""
    return any(
        manifest.blob == one.manifest_blob or manifest.sha256 == one.manifest_sha256 for one in corrections(folder)
    )


def is_before(folder: Path, mended: bytes) -> bool:
    """Whether this folder is what a corrected revision elsewhere, with the `mended.json` given, was before."""
    own = sha256_file(folder / MANIFEST)
    try:
        known = MendedDocument.model_validate_json(mended).corrections
    except ValueError:
        return False
    return any(one.manifest_sha256 == own for one in known)


def corrected_files(folder: Path) -> list[str]:
    """Every file that differs from the revision as it was first: the corrected ones, what says so, and the manifest."""
    names = {name for one in corrections(folder) for name in one.files}
    return [*sorted(names), MENDED, MANIFEST]
