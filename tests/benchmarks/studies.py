"""What the studies of this folder share: their options, their text, what is done already, and a mean with its interval."""

import argparse
import math
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from study_differences import NOT_SCORED

from lmeff.formats.run_folder import RunFolder
from lmeff.formats.state import StateDocument
from lmeff.intervals import mean_interval
from lmeff.quantities import parse_count

ROOT = Path(__file__).resolve().parents[2]
INTERVALS = (
    "Brackets are 95% intervals over seeds; those of differences, taken seed by seed, hold for all arms of a column at once "
    "(Tukey). One that holds 0 says that no difference was seen; a single seed has none and says nothing of others."
)


def study_options(description: str | None, output: str, tokens: str) -> argparse.ArgumentParser:
    """The options of every study. `output` and `tokens` are the defaults."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    folder = os.environ.get("LMEFF_TEST_DATA")
    parser.add_argument("--data", type=Path, default=folder, required=not folder, help="by default LMEFF_TEST_DATA")
    parser.add_argument("--output", type=Path, default=Path(output))
    parser.add_argument("--tokens", type=parse_count, default=parse_count(tokens))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--limit", type=int, default=100, help="pairs of each of BLiMP's paradigms")
    parser.add_argument("--only-summary", action="store_true", help="of what is done; trains and scores nothing")
    return parser


def words_of_study(name: str, seed: int, data: Path, output: Path, limit: int) -> list[str]:
    """What a study changes in any recipe: its text is Leaner and its task BLiMP, from the folder of test data."""
    return [
        f"name={name}",
        f"seed={seed}",
        f"corpus.paths=[{data}/leaner/train]",
        f"corpus.dev_paths=[{data}/leaner/validation]",
        f"evaluation.paths.blimp={data}/blimp",
        f"evaluation.limit={limit}",
        "evaluation.weights=false",
        f"paths.outputs={output}",
        f"paths.data={output / 'data'}",
    ]


def study_environment() -> dict[str, str]:
    """Of the programs that a study starts: one thread unless it is said otherwise, and no network."""
    return {"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}


def run_all(commands: Iterable[Sequence[str]]) -> int:
    """Runs modules with their words, one after the other and without a network, until one fails; its exit code, or 0."""
    for words in commands:
        print(f"== {' '.join(words)}", flush=True)
        if code := subprocess.run([sys.executable, "-m", *words], env=study_environment(), check=False).returncode:
            return code
    return 0


def is_complete(run: RunFolder) -> bool:
    state = StateDocument.read(run)
    return state is not None and state.state == "complete"


def mean_text(values: Sequence[float], digits: int) -> str:
    """Mean and 95% interval over seeds; of one seed its value."""
    if not all(map(math.isfinite, values)):
        return NOT_SCORED
    if len(values) < 2:
        return f"{values[0]:.{digits}f}"
    mean, low, high = mean_interval(values)
    return f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
