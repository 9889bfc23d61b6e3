"""How long measuring the weights of a revision takes beside writing it, for the published sizes with random weights.

    python tests/benchmarks/weights_time.py [20m 60m 180m]

Prints seconds of norms and ranks, of one comparison with another revision, and of saving and hashing the file, medians of 3.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

from lmeff.files import sha256_file
from lmeff.measures.weights.statistics import Weights, compare, norms_and_ranks
from lmeff.recipe.sections.model import LlamaSection

SIZES = LlamaSection.sizes
VOCAB_SIZES = {"20m": 8_192, "60m": 16_384, "180m": 50_257}


def seconds(work: Callable[[], object]) -> float:
    times = []
    for _ in range(3):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def measure(size: str, folder: Path) -> None:
    model = LlamaForCausalLM(LlamaConfig(**SIZES[size], vocab_size=VOCAB_SIZES[size], tie_word_embeddings=False))
    path = folder / "model.safetensors"

    def save() -> None:
        save_file(model.state_dict(), path)
        sha256_file(path)

    saving = seconds(save)
    weights = Weights(folder)
    ranks, comparison = seconds(lambda: norms_and_ranks(weights)), seconds(lambda: compare(weights, weights))
    print(
        f"{size}, vocabulary {VOCAB_SIZES[size]:,}, {torch.get_num_threads()} threads: norms and ranks {ranks:.2f} s,"
        f" a comparison {comparison:.2f} s, saving and hashing {saving:.2f} s,"
        f" ratio of all {(ranks + 2 * comparison) / saving:.1f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", metavar="SIZE", default=list(VOCAB_SIZES), help="20m, 60m or 180m")
    options = parser.parse_args()
    if unknown := set(options.sizes) - set(VOCAB_SIZES):
        parser.error(f"no size {', '.join(sorted(unknown))}: one of {', '.join(VOCAB_SIZES)}")
    for name in options.sizes:
        with tempfile.TemporaryDirectory() as place:
            measure(name, Path(place))


if __name__ == "__main__":
    main()
