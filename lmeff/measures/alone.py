"""Measuring a revision in a process of its own, since fine-tuning's Trainer would join those that a launcher started:
`python -m lmeff.measures.alone RUN REVISION KIND`."""

import sys
from pathlib import Path

from lmeff.formats.run_folder import RunFolder
from lmeff.logs import say
from lmeff.measures.measure import measured
from lmeff.measures.registry import measure_of_run
from lmeff.measures.selection import select_models
from lmeff.recipe import read_recipe
from lmeff.runs.apart import answer_apart, run_apart


def measure_alone(run: RunFolder, revision: str, kind: str) -> None:
    """Measures a revision as the verb would; its lines come as they are said. Raises InputError, RunFailed and OSError."""
    run_apart("lmeff.measures.alone", str(run), revision, kind)


def _measure(run: RunFolder, revision: str, kind: str) -> None:
    section = read_recipe(run.recipe_yaml).recipe.evaluation
    measure = measure_of_run(kind, section, run, lambda: None)
    for _ in measured(measure, select_models(str(run), [revision]), say):
        pass


if __name__ == "__main__":
    sys.exit(answer_apart(lambda: _measure(RunFolder(Path(sys.argv[1])), *sys.argv[2:])))
