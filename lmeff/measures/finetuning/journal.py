"""Finished trials on disk, so that a run that was killed, or one that asks for one more seed, does only what is missing."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lmeff.errors import InputError
from lmeff.files import read_json, write_text
from lmeff.measures.finetuning.trial import Trial


class Journal:
    """The trials of one model and task with the same weights, data and settings but for learning rates and seeds."""

    def __init__(self, output: Path, task: str, decided_by: Mapping[str, Any]) -> None:
        settings = {
            key: value for key, value in decided_by["settings"].items() if key not in ("learning_rates", "seeds")
        }
        key = json.dumps({**decided_by, "settings": settings}, sort_keys=True)
        self._folder = output / ".finetune" / task / hashlib.sha256(key.encode()).hexdigest()[:16]

    def read(self, learning_rate: float, seed: int) -> Trial | None:
        """A finished trial; None when it is missing or damaged."""
        try:
            return Trial(**read_json(self._path(learning_rate, seed)))
        except (InputError, TypeError):
            return None

    def write(self, trial: Trial) -> None:
        write_text(self._path(trial.learning_rate, trial.seed), json.dumps(asdict(trial), allow_nan=False))

    def _path(self, learning_rate: float, seed: int) -> Path:
        return self._folder / f"rate-{learning_rate!r}-seed-{seed}.json"
