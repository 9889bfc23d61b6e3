"""`manifest.json`: every file of a folder that may never change."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, Self

from lmeff.errors import InputError
from lmeff.files import MANIFEST, describe_files, sha256_file
from lmeff.formats.base import FORMAT, NonNegative, Sha256, StrictModel


class FileEntry(StrictModel):
    sha256: Sha256
    bytes: NonNegative

    @classmethod
    def of(cls, path: Path) -> Self:
        return cls(sha256=sha256_file(path), bytes=path.stat().st_size)


class ManifestDocument(StrictModel):
    """`manifest.json`: every file of a folder that may never change."""

    format: Literal[1] = FORMAT
    files: dict[str, FileEntry]

    @classmethod
    def of(cls, folder: Path, exclude: Iterable[str] = ()) -> Self:
        """Of the files that are there now, but for the manifest and top-level names in `exclude`."""
        return cls.model_validate({"files": describe_files(folder, exclude=(MANIFEST, *exclude))})

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Raises InputError when there is none, or it is damaged."""
        return cls.read_file(folder / MANIFEST)

    def write(self, folder: Path) -> None:
        """Makes the folder whole, so it comes last."""
        self.write_file(folder / MANIFEST)


def manifest_differences(folder: Path, exclude: Iterable[str] = ()) -> list[str]:
    """What is on disk otherwise than the manifest says, one line each; empty when all is well. Top-level names in `exclude` may
    be there or not."""
    try:
        wanted = ManifestDocument.read(folder).files
    except InputError as error:
        return [str(error)]
    found = ManifestDocument.of(folder, exclude).files
    lines = [f"{folder / name}: missing" for name in sorted(set(wanted) - set(found))]
    lines += [f"{folder / name}: not in the manifest" for name in sorted(set(found) - set(wanted))]
    return lines + [
        f"{folder / name}: changed" for name in sorted(set(found) & set(wanted)) if found[name] != wanted[name]
    ]
