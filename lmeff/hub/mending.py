"""Corrects revisions written by older versions of lmeff, whose files mean something else to some versions of transformers than
to us. Weights are not touched.

A corrected folder has a new manifest, so that it can be verified like any other, and `mended.json`, which names the manifest
and the files as they were before, so that a branch with the revision as it was is recognized.
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
    """Git's hash of its content, which is what the Hub's API gives for a small file."""


class MendedDocument(StrictModel):
    """`mended.json` of a corrected revision, oldest correction first. It holds no time and no version of lmeff, so that two
    copies of a revision become the same files, bit for bit."""

    format: Literal[1] = FORMAT
    corrections: list[Correction]


def faults(folder: Path) -> dict[str, str]:
    """What some version of transformers would read differently than we do, in words, by file of the revision."""
    if not all((folder / name).is_file() for name in (_CONFIG, _TOKENIZER_CONFIG, "tokenizer.json")):
        return {}
    found = {
        _TOKENIZER_CONFIG: tokenizer_fault(read_json(folder / _TOKENIZER_CONFIG), read_json(folder / "tokenizer.json")),
        _CONFIG: config_fault(read_json(folder / _CONFIG)),
    }
    return {name: fault for name, fault in found.items() if fault}


def mend(folder: Path) -> list[str]:
    """Corrects a revision's files, all or none, and returns their names; an empty list where nothing is wrong. Raises
    InputError for a folder that differs from its manifest."""
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
        # Written aside and renamed: a file that another revision shares through a hard link must not change.
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
    """Whether this folder is what another copy of the revision was before it was corrected; `mended` is that copy's
    `mended.json`."""
    own = sha256_file(folder / MANIFEST)
    try:
        known = MendedDocument.model_validate_json(mended).corrections
    except ValueError:
        return False
    return any(one.manifest_sha256 == own for one in known)


def corrected_names(folder: Path) -> list[str]:
    """The files of a revision that were ever corrected."""
    return sorted({name for one in corrections(folder) for name in one.files})
