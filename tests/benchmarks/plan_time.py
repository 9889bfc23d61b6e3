"""How long `lmeff plan` takes beside importing transformers' TrainingArguments, which a plan with torch would have to do.

    python tests/benchmarks/plan_time.py [repetitions]

Prints the median wall seconds of both, interleaved, and their ratio.
"""

import argparse
import statistics
import subprocess
import sys
import time

PLAN = [sys.executable, "-m", "lmeff.cli", "plan", "recipes/180m_hybrid.yaml", "--json"]
PEER = [sys.executable, "-c", "from transformers import TrainingArguments"]


def seconds(command: list[str]) -> float:
    begun = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repetitions", type=int, nargs="?", default=5)
    repetitions = parser.parse_args().repetitions
    pairs = [(seconds(PLAN), seconds(PEER)) for _ in range(repetitions)]
    plan, peer = (statistics.median(times) for times in zip(*pairs, strict=True))
    print(
        f"lmeff plan {plan:.2f} s, import of TrainingArguments {peer:.2f} s, ratio {plan / peer:.2f} ({repetitions} runs)"
    )


if __name__ == "__main__":
    main()
