"""Peak memory of `lmeff prepare` for a small and a large corpus: it should not grow with the text.

    python tests/benchmarks/prepare_memory.py [--megabytes 100 2000] [--deduplicate exact]

The text is generated: words drawn from a list of 20,000, in documents of about two kilobytes. Sampled twenty times a second
over the process and all that it starts: proportional set size (what is shared is counted once). The tokenizer is one for both,
trained on a tenth of the small text. Printed are the peaks and their ratio, and tokens/s of each.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

PROJECT = Path(__file__).resolve().parents[2]
_CODE = """
import json, sys, time
from pathlib import Path
from lmeff.corpora import prepare_text
from lmeff.recipe.sections.corpus import Corpus
from lmeff.tokens import prepare_tokens

if __name__ == "__main__":
    start = time.perf_counter()
    corpus = prepare_text(Corpus.model_validate_json(sys.argv[1]), sys.argv[2])
    tokens = prepare_tokens(corpus, Path(sys.argv[3]))
    print(tokens.manifest["splits"]["train"]["num_tokens"] / (time.perf_counter() - start))
"""


def make_text(path: Path, num_bytes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    letters = list("etaoinshrdlucmfwypvbgk")
    words = np.array(["".join(rng.choice(letters, rng.integers(2, 10))) for _ in range(20_000)])
    written = 0
    with open(path, "w", encoding="utf-8") as file:
        while written < num_bytes:
            # Frequent words are more frequent, as in language.
            drawn = words[(20_000 * rng.random((200, 300)) ** 3).astype(int)]
            lines = "".join(json.dumps({"text": " ".join(row)}) + "\n" for row in drawn.tolist())
            file.write(lines)
            written += len(lines)


def peak_bytes(command: list[str]) -> tuple[int, float]:
    """(peak of the proportional set sizes of a command and its children, tokens per second that it prints)."""
    with tempfile.TemporaryFile("w+") as out:
        process = psutil.Popen(command, stdout=out, cwd=PROJECT)
        peak = 0
        while process.poll() is None:
            total = 0
            for one in [process, *process.children(recursive=True)]:
                try:
                    total += one.memory_full_info().pss
                except psutil.Error:
                    continue
            peak = max(peak, total)
            time.sleep(0.05)
        out.seek(0)
        if process.returncode:
            sys.exit(f"the command failed with {process.returncode}")
        return peak, float(out.read().split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, nargs=2, default=[100, 2000])
    parser.add_argument("--deduplicate", default="exact")
    options = parser.parse_args()
    sys.path.insert(0, str(PROJECT))
    from lmeff.corpora import prepare_text
    from lmeff.recipe.sections.corpus import Corpus
    from lmeff.tokens import prepare_tokenizer

    peaks = []
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        (base / "code.py").write_text(_CODE)
        make_text(base / "sample.jsonl", options.megabytes[0] * 100_000, seed=0)
        corpus = prepare_text(Corpus(name="sample", paths=[str(base / "sample.jsonl")]), base / "data")
        tokenizer = prepare_tokenizer(corpus, 8_000)
        for megabytes in options.megabytes:
            path = base / f"{megabytes}.jsonl"
            make_text(path, megabytes * 1_000_000, seed=0)
            settings = json.dumps({"name": "text", "paths": [str(path)], "deduplicate": options.deduplicate})
            command = [sys.executable, str(base / "code.py"), settings, str(base / "data"), str(tokenizer)]
            peak, rate = peak_bytes(command)
            peaks.append(peak)
            print(f"{megabytes:,} MB: peak {peak / 2**20:,.0f} MiB, {rate / 1e6:.2f}M tokens/s", flush=True)
    print(f"ratio of the peaks {peaks[1] / peaks[0]:.2f}")


if __name__ == "__main__":
    main()
