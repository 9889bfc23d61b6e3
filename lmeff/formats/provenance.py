"""`provenance.json` of a revision: what it was made with, and by its fingerprints of which text and tokens."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lmeff.errors import InputError
from lmeff.files import read_json, write_json

PROVENANCE = "provenance.json"


def read_provenance(revision: Path) -> dict[str, Any]:
    """Raises InputError when the revision has none, or a damaged one."""
    path = revision / PROVENANCE
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: not the provenance of a revision")
    return content


def write_provenance(revision: Path, content: Mapping[str, Any]) -> None:
    write_json(revision / PROVENANCE, dict(content))
