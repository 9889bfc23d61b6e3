"""`lmeff.json` of a checkpoint: what lmeff knows of the run at its step, beside what transformers saves."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lmeff.files import read_json, write_json

OWN_STATE = "lmeff.json"


def read_own_state(checkpoint: Path) -> dict[str, Any]:
    """Raises InputError when it is missing or damaged."""
    content: dict[str, Any] = read_json(checkpoint / OWN_STATE)
    return content


def write_own_state(checkpoint: Path, content: Mapping[str, Any]) -> None:
    write_json(checkpoint / OWN_STATE, dict(content))
