"""What training on a CPU gains where freed memory is kept for the next tensor, as lmeff has it, and not given back.

    python tests/benchmarks/freed_memory.py --rounds 5

Trains models of 1M and of 20M parameters in two processes with one thread each, interleaved, and prints the median time of a
step as a ratio to that with glibc's own settings, and the highest memory of both. Losses must be equal to the last bit.
"""

import argparse
import os
import statistics
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent)]

from waiting_threads import train, trainer  # noqa: E402

SIZES = {"1M": (128, 4, 4096, 32, 128, 2), "20M": (384, 6, 8192, 8, 256, 1)}
"""Width, layers, vocabulary, rows, tokens of a row, steps."""
SETTINGS = {"kept": {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}, "given back": {}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    options = parser.parse_args()
    for name in options.sizes:
        processes = {kind: trainer(SIZES[name], 1, variables) for kind, variables in SETTINGS.items()}
        rounds = [{kind: train(process) for kind, process in processes.items()} for _ in range(options.rounds + 1)][1:]
        peaks = {}
        for kind, process in processes.items():
            process.stdin.close()
            peaks[kind] = os.wait4(process.pid, 0)[2].ru_maxrss / 2**10
        seconds = {kind: [one[kind][0] for one in rounds] for kind in SETTINGS}
        is_same = all(len({loss for _, loss in one.values()}) == 1 for one in rounds)
        ratios = [kept / back for kept, back in zip(*seconds.values(), strict=True)]
        print(
            f"{name}: a step {statistics.median(seconds['kept']):.3f} s where freed memory is kept and"
            f" {statistics.median(seconds['given back']):.3f} s where not: {statistics.median(ratios):.2f} times"
            f" ({', '.join(f'{ratio:.2f}' for ratio in ratios)}); peaks {peaks['kept']:.0f} and {peaks['given back']:.0f} MiB;"
            f" {'the same bits' if is_same else 'OTHER BITS'}",
            flush=True,
        )


if __name__ == "__main__":
    main()
