"""How fast text becomes token shards, against other ways to do it.

    python tests/benchmarks/prepare_speed.py [--megabytes 100] [--repeats 3] [--folder DIR]

Real text (Leaner, from the folder that LMEFF_TEST_DATA names), as often as the size asks for, each time with the sentences of
its documents in another order; one tokenizer of 16,000 entries. Every way starts from the same JSON lines on disk, in a process
of its own, the ways interleaved. Printed are tokens/s (median) and ratios. The ways:

- `prepare`: all of `lmeff prepare` after the tokenizer: reading, exact deduplication, split, text shards, token shards, hashes
- `prepare, again from text`: token shards alone, from the text shards
- `datasets.map`: load_dataset, map(batched, num_proc = cores) with the fast tokenizer, save_to_disk
- `1024 characters`: reads of 1,024 characters through a transformers tokenizer into an int32 file
- `raw encoder`: gigatoken on all cores over a list of the texts in memory; nothing is read or written
"""

import argparse
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
VOCAB_SIZE = 16_000


def read_texts(path: Path) -> list[str]:
    records = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [record["text"] for record in records if "text" in record]


def make_text(path: Path, num_bytes: int) -> None:
    files = sorted((Path(os.environ["LMEFF_TEST_DATA"]) / "leaner" / "train").glob("*.jsonl"))
    texts = [text for file in files for text in read_texts(file)]
    order, written = random.Random(0), 0
    with open(path, "w") as file:
        while written < num_bytes:
            for text in texts:
                sentences = re.split(r"(?<=[.!?]) ", text)
                order.shuffle(sentences)
                line = json.dumps({"text": " ".join(sentences)}, ensure_ascii=False) + "\n"
                file.write(line)
                written += len(line.encode())


# ---------------------------------------------------------------------- the ways


def _corpus(text: Path, data: Path):
    from lmeff.corpora import prepare_text
    from lmeff.recipe.sections.corpus import Corpus

    return prepare_text(Corpus(name="mine", paths=[str(text)], deduplicate="exact"), data)


def prepare(text: Path, tokenizer: Path, folder: Path) -> tuple[float, int]:
    from lmeff.tokens import prepare_tokens

    start = time.perf_counter()
    tokens = prepare_tokens(_corpus(text, folder), tokenizer)
    seconds = time.perf_counter() - start
    return seconds, sum(split["num_tokens"] for split in tokens.manifest["splits"].values())


def from_text(text: Path, tokenizer: Path, folder: Path) -> tuple[float, int]:
    from lmeff.tokens import prepare_tokens

    corpus = _corpus(text, folder)
    start = time.perf_counter()
    tokens = prepare_tokens(corpus, tokenizer)
    seconds = time.perf_counter() - start
    return seconds, sum(split["num_tokens"] for split in tokens.manifest["splits"].values())


def datasets_map(text: Path, tokenizer: Path, folder: Path) -> tuple[float, int]:
    import datasets
    from transformers import AutoTokenizer

    datasets.disable_progress_bars()
    encode = AutoTokenizer.from_pretrained(tokenizer)
    start = time.perf_counter()
    table = datasets.load_dataset("json", data_files=str(text), split="train", cache_dir=str(folder / "cache"))
    table = table.map(
        lambda batch: {"input_ids": encode(batch["text"], return_attention_mask=False)["input_ids"]},
        batched=True,
        remove_columns=["text"],
        num_proc=len(os.sched_getaffinity(0)),
    )
    table.save_to_disk(str(folder / "saved"))
    seconds = time.perf_counter() - start
    return seconds, sum(map(len, table["input_ids"]))


def characters(text: Path, tokenizer: Path, folder: Path) -> tuple[float, int]:
    import numpy as np
    from transformers import AutoTokenizer

    encode = AutoTokenizer.from_pretrained(tokenizer)
    plain = folder / "plain.txt"
    plain.write_text("\n".join(read_texts(text)))
    start, num_tokens = time.perf_counter(), 0
    with open(plain) as file, open(folder / "out.bin", "wb") as out:
        while piece := file.read(1024):
            ids = encode(piece)["input_ids"]
            out.write(np.array(ids, np.int32).tobytes())
            num_tokens += len(ids)
    return time.perf_counter() - start, num_tokens


def raw_encoder(text: Path, tokenizer: Path, folder: Path) -> tuple[float, int]:
    import gigatoken

    settings = json.loads((tokenizer / "tokenizer.json").read_text())
    settings |= {"normalizer": None, "added_tokens": [], "post_processor": None}
    encode = gigatoken.Tokenizer.from_json(json.dumps(settings))
    texts = read_texts(text)
    start = time.perf_counter()
    rows = encode.encode_batch(texts)
    seconds = time.perf_counter() - start
    return seconds, len(rows.layout.content.data)


WAYS = {
    "prepare": prepare,
    "prepare, again from text": from_text,
    "datasets.map": datasets_map,
    "1024 characters": characters,
    "raw encoder": raw_encoder,
}


def _measure(way: str, text: Path, tokenizer: Path, base: Path) -> float:
    """Tokens per second of one way in a process of its own."""
    with tempfile.TemporaryDirectory(dir=base) as folder:
        command = [sys.executable, __file__, "--way", way, str(text), str(tokenizer), folder]
        answer = subprocess.run(command, check=True, capture_output=True, text=True)
        return float(answer.stdout.splitlines()[-1])


def main() -> None:
    if "--way" in sys.argv:
        way, text, tokenizer, folder = sys.argv[2:]
        seconds, num_tokens = WAYS[way](Path(text), Path(tokenizer), Path(folder))
        print(num_tokens / seconds)
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--ways", nargs="*", default=list(WAYS))
    options = parser.parse_args()
    sys.path.insert(0, str(PROJECT))
    from lmeff.tokens import prepare_tokenizer

    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        make_text(base / "small.jsonl", 10_000_000)
        make_text(base / "text.jsonl", options.megabytes * 1_000_000)
        tokenizer = prepare_tokenizer(_corpus(base / "small.jsonl", base / "data"), VOCAB_SIZE)
        rates: dict[str, list[float]] = {way: [] for way in options.ways}
        for _ in range(options.repeats):
            for way in options.ways:
                rates[way].append(_measure(way, base / "text.jsonl", tokenizer, base))
                print(f"{way}: {rates[way][-1] / 1e6:.2f}M tokens/s", flush=True)
    medians = {way: statistics.median(values) for way, values in rates.items()}
    for way, rate in medians.items():
        ratio = f"prepare is {medians['prepare'] / rate:.2f} of it" if "prepare" in medians and way != "prepare" else ""
        print(f"{way:26} {rate / 1e6:7.2f}M tokens/s   {ratio}")


if __name__ == "__main__":
    main()
