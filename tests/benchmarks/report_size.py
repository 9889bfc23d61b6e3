"""How long `lmeff report` takes, and how large its page is, for many runs of nine anchors and fourteen paradigms.

    python tests/benchmarks/report_size.py --runs 40 100

Bars for 100 runs: 20 seconds, 3 MB, and no slower than linear.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from analysis import fake_runs

from lmeff.analysis.charts.study import Study
from lmeff.analysis.report.report import write_report
from lmeff.analysis.scores.paths import read_scored

BARS = {"seconds": 20.0, "megabytes": 3.0}
SEEDS = 2


def fourteen_paradigms() -> None:
    """Two for each of seven phenomena, in place of BLiMP's."""
    subtasks = {}
    for phenomenon in list(fake_runs.SUBTASKS[fake_runs.GROUP])[:7]:
        subtasks[phenomenon] = (fake_runs.SUBTASKS[phenomenon] * 2)[:2]
    fake_runs.SUBTASKS = {fake_runs.GROUP: list(subtasks), **subtasks}
    fake_runs.LEAVES = [leaf for below in subtasks.values() for leaf in below]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="+", default=[40, 100])
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--output", type=Path, help="keep the pages here")
    options = parser.parse_args()
    fourteen_paradigms()
    for number in options.runs:
        with tempfile.TemporaryDirectory() as place:
            for index in range(number):
                recipe, seed = divmod(index, SEEDS)
                fake_runs.write_fake_run(
                    Path(place) / "outputs",
                    f"recipe_{recipe}",
                    seed,
                    quality=0.3 * (recipe % 7) / 7,
                    num_pairs=options.pairs,
                    learning_rate=f"{1 + recipe}e-4",
                )
            folder = options.output or Path(place)
            begun = time.perf_counter()
            page = write_report(Study(*read_scored([Path(place) / "outputs"])), folder / f"report_{number}.html")
            seconds, megabytes = time.perf_counter() - begun, page.stat().st_size / 1e6
            print(f"{number} runs: {seconds:.1f} s, {megabytes:.2f} MB (bars for 100: {BARS})")


if __name__ == "__main__":
    main()
