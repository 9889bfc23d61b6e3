"""How long `lmeff curves` takes, and whether that grows faster than what it reads.

    python tests/benchmarks/curves_time.py

Two cases, each in a fresh process, the median of several: a plain CSV file of 46,000 scores beside one of half as many, and
100 run folders of 9 anchors and 14 paradigms beside 50. The peer is Python with pandas loaded and nothing done.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from analysis import fake_runs

NUM_ROWS = 46_000
NUM_RUNS = 100
NUM_SEEDS = 4
PHENOMENA = ("binding", "island_effects", "irregular_forms")
"""Of 7, 8 and 2 paradigms; of the second five are taken, so that there are 14."""


def write_scores(path: Path, num_rows: int) -> Path:
    """Curves of recipes with three seeds, 13 anchors and 20 tasks."""
    lines = ["corpus,size,batch_tokens,seed,tokens,task,value"]
    for index in range(num_rows):
        rest, task = divmod(index, 20)
        rest, anchor = divmod(rest, 13)
        recipe, seed = divmod(rest, 3)
        value = 0.5 + 0.02 * anchor + 0.0001 * task + 0.003 * seed
        lines.append(f"corpus{recipe % 4},{recipe + 1}m,65536,{seed},{(anchor + 1) * 25}000000,task{task},{value:.5f}")
    path.write_text("\n".join(lines) + "\n")
    return path


def write_runs(outputs: Path, num_runs: int) -> Path:
    """Run folders of 9 anchors with scores of 14 paradigms in three phenomena, four seeds a recipe."""
    names = {name: fake_runs.PHENOMENA[name].split() for name in PHENOMENA}
    names[PHENOMENA[1]] = names[PHENOMENA[1]][:5]
    group = fake_runs.GROUP
    fake_runs.SUBTASKS = {
        group: [f"{group}_{name}" for name in names],
        **{f"{group}_{name}": [f"{group}_{leaf}" for leaf in leaves] for name, leaves in names.items()},
    }
    fake_runs.LEAVES = [leaf for name in fake_runs.SUBTASKS[group] for leaf in fake_runs.SUBTASKS[name]]
    for index in range(num_runs):
        recipe, seed = divmod(index, NUM_SEEDS)
        fake_runs.write_fake_run(outputs, f"recipe_{recipe}", seed, num_pairs=100, learning_rate=f"{recipe + 1}e-4")
    return outputs


def seconds_of(command: list[str], repeats: int) -> float:
    """The median of several runs of a command."""
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        cases = {
            f"{NUM_ROWS:,} scores in a CSV file": [
                write_scores(top / f"{size}.csv", size) for size in (NUM_ROWS // 2, NUM_ROWS)
            ],
            f"{NUM_RUNS} runs": [write_runs(top / f"{size}", size) for size in (NUM_RUNS // 2, NUM_RUNS)],
        }
        peer = seconds_of([sys.executable, "-c", "import pandas"], options.repeats)
        print(f"Python with pandas: {peer:.2f} s")
        for name, paths in cases.items():
            for form in ([], ["--csv"], ["--json"]):
                half, whole = (
                    seconds_of([sys.executable, "-m", "lmeff.cli", "curves", str(path), *form], options.repeats)
                    for path in paths
                )
                print(
                    f"{name} {' '.join(form) or 'as text'}: {whole:.2f} s, {whole / peer:.1f} times the peer;"
                    f" {whole / half:.2f} times half of it"
                )


if __name__ == "__main__":
    main()
