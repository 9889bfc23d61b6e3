"""Measuring a revision in a process of its own, which no launcher has told to work together with others.

python -m lmeff.measures.alone RUN REVISION KIND
"""

import subprocess
import sys
from pathlib import Path

from lmeff.errors import InputError, RunFailed
from lmeff.formats.run_folder import RunFolder
from lmeff.logs import say
from lmeff.measures.measure import measured
from lmeff.measures.registry import measure_of_run
from lmeff.measures.selection import select_models
from lmeff.recipe import read_recipe
from lmeff.runs.process import environment_without_launch


def measure_alone(run: RunFolder, revision: str, kind: str) -> None:
    """Measures a revision as the verb would; its lines are printed as they come. Raises RunFailed when it cannot."""
    command = [sys.executable, "-m", "lmeff.measures.alone", str(run), revision, kind]
    done = subprocess.run(command, env=environment_without_launch(), stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise RunFailed(said[-1] if said else f"the process ended with {done.returncode}")


def main(run: RunFolder, revision: str, kind: str) -> None:
    section = read_recipe(run.recipe_yaml).recipe.evaluation
    measure = measure_of_run(kind, section, run, lambda: None)
    for _ in measured(measure, select_models(str(run), [revision]), say):
        pass


if __name__ == "__main__":
    try:
        main(RunFolder(Path(sys.argv[1])), *sys.argv[2:])
    except (InputError, RunFailed) as error:
        sys.exit(str(error))
