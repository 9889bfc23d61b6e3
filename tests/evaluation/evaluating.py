"""Evaluations in one process."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lmeff.evaluation.harness import Evaluation


def evaluate_model(model_folder: Path, tasks: Sequence[str], output: Path, **options: Any) -> dict[str, dict]:
    """Scores a model and returns `{task: result}`. `Evaluation` explains the options."""
    return Evaluation(model_folder, tuple(tasks), output, **options).run()
