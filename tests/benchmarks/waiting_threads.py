"""What threads of a CPU do while they wait for each other: spin, as OpenMP has it, or sleep (`OMP_WAIT_POLICY=PASSIVE`).

    python tests/benchmarks/waiting_threads.py --threads 2 --rounds 5

Trains a tiny model and a 20M one in two processes, interleaved, and prints the median time of a step as a ratio to that
with threads that spin. On a machine that does other work too, spinning threads take the time that the one they wait for needs.
Losses must be equal to the last bit.
"""

import argparse
import os
import statistics
import subprocess
import sys

STEPS = """
import sys, time
import torch
from transformers import LlamaConfig, LlamaForCausalLM

width, layers, vocabulary, rows, length, steps = map(int, sys.argv[1:])
torch.manual_seed(0)
shape = {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": layers, "num_attention_heads": width // 16}
model = LlamaForCausalLM(LlamaConfig(vocab_size=vocabulary, **shape))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
ids = torch.randint(vocabulary, (rows, length))
for _ in sys.stdin:
    start = time.perf_counter()
    for _ in range(steps):
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    print((time.perf_counter() - start) / steps, loss.item().hex(), flush=True)
"""
SIZES = {"tiny": (32, 2, 320, 4, 32, 30), "20M": (384, 6, 8192, 4, 128, 4)}
"""Width, layers, vocabulary, rows, tokens of a row, steps."""
POLICIES = {"spins": {}, "sleeps": {"OMP_WAIT_POLICY": "PASSIVE"}}


def trainer(size: tuple[int, ...], threads: int, policy: dict[str, str]) -> subprocess.Popen[str]:
    """A process that trains a few steps for every line that it reads, and prints seconds of a step and the last loss."""
    variables = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    variables |= {"OMP_NUM_THREADS": str(threads), **policy}
    command = [sys.executable, "-c", STEPS, *map(str, size)]
    return subprocess.Popen(command, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def train(process: subprocess.Popen[str]) -> tuple[float, str]:
    assert process.stdin
    assert process.stdout
    process.stdin.write("go on\n")
    process.stdin.flush()
    seconds, loss = process.stdout.readline().split()
    return float(seconds), loss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    options = parser.parse_args()
    for name in options.sizes:
        processes = {kind: trainer(SIZES[name], options.threads, policy) for kind, policy in POLICIES.items()}
        rounds = [{kind: train(process) for kind, process in processes.items()} for _ in range(options.rounds + 1)][1:]
        for process in processes.values():
            process.communicate()
        seconds = {kind: [one[kind][0] for one in rounds] for kind in POLICIES}
        is_same = all(len({loss for _, loss in one.values()}) == 1 for one in rounds)
        ratios = [sleeps / spins for spins, sleeps in zip(*seconds.values(), strict=True)]
        print(
            f"{name}: {options.threads} threads, a step {statistics.median(seconds['spins']):.4f} s where they spin and"
            f" {statistics.median(seconds['sleeps']):.4f} s where they sleep: {statistics.median(ratios):.2f} times"
            f" ({', '.join(f'{ratio:.2f}' for ratio in ratios)}); {'the same bits' if is_same else 'OTHER BITS'}",
            flush=True,
        )


if __name__ == "__main__":
    main()
