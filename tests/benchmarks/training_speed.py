"""Tokens a second and MFU of the published Llama sizes on a GPU, beside the stock Trainer and a bare loop, interleaved in one
process.

    python tests/benchmarks/training_speed.py [--sizes 20m,60m,180m] [--ways ours,trainer,loop] [--runs 3] [KEY=VALUE ...]

Ours is `lmeff.run` with recipes/base/llama_SIZE.yaml: its own batch, bfloat16, the micro-batch that fits. The text is made-up
words, as many as a vocabulary of 16,000 (180m: 50,257) takes. The peers train the same model on random ids, with the same
micro-batch and accumulation, bfloat16 autocast and fused AdamW: `trainer` is `transformers.Trainer` with a model that computes
its own loss, `loop` the same model in a loop without anything beside it, as nanoGPT's. `training.torch_compile=true` among the
words compiles all three. Speeds are those of the steps after the first 10, for ours out of run.log.jsonl; MFU is by the plan's
FLOPs a token, whose attention is counted whole, and the data sheet's dense peak of 16 bits.
"""

import argparse
import gc
import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import torch  # noqa: E402
from torch.utils.data import Dataset  # noqa: E402
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments  # noqa: E402

from lmeff import run  # noqa: E402
from lmeff.plan.gpus import GPUS  # noqa: E402

WARM_UP, TIMED = 10, {"20m": 200, "60m": 40, "180m": 10}
"""Steps."""
VOCABULARY = {"20m": 16000, "60m": 16000, "180m": 50257}


def write_text(path: Path, num_words: int = 120_000) -> None:
    """Documents of made-up words, each of them at least once, frequent ones often, as in a language."""
    draw = random.Random(0)
    syllables = [
        one + vowel + end for one in "bcdfghklmnprstvz" for vowel in "aeiou" for end in ("", "n", "r", "s", "l")
    ]
    words = ["".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(num_words)]
    often = draw.choices(words, weights=[1 / (place + 10) for place in range(num_words)], k=4 * num_words)
    everything = [*words, *often]
    draw.shuffle(everything)
    with path.open("w") as file:
        for first in range(0, len(everything), 200):
            file.write(json.dumps({"text": " ".join(everything[first : first + 200])}) + "\n")


def ours(folder: Path, size: str, number: int, words: list[str]) -> tuple[float, dict]:
    """Tokens a second, and the run's plan."""
    recipe, steps = ROOT / "recipes" / "base" / f"llama_{size}.yaml", WARM_UP + TIMED[size]
    batch = {"20m": 16384, "60m": 65536, "180m": 131072}[size]
    code = run.main(
        [
            str(recipe),
            f"name=ours-{size}-{number}",
            "corpus.name=words",
            f"corpus.paths=[{folder}/text.jsonl]",
            "corpus.dev_share=0.01",
            "corpus.epochs=1000",
            f"tokenizer.vocab_size={VOCABULARY[size]}",
            f"anchors.tokens=[{steps * batch}]",
            "schedule.warmup=10 steps",
            "training.logging_steps=5",
            "checkpoints.every_steps=100000",
            "checkpoints.every_minutes=600",
            "evaluation.tasks=[]",
            "evaluation.dev_tokens=1000",
            f"paths.outputs={folder}/outputs",
            f"paths.data={folder}/data",
            *words,
        ]
    )
    assert code == 0
    path = folder / "outputs" / f"ours-{size}-{number}" / "seed-0"
    lines = [json.loads(line) for line in (path / "run.log.jsonl").read_text().splitlines()]
    parts = [line for line in lines if line["step"] > WARM_UP]
    tokens = parts[-1]["tokens"] - WARM_UP * batch
    before = WARM_UP * batch
    seconds = 0.0
    for line in parts:
        seconds += (line["tokens"] - before) / line["tokens_per_second"]
        before = line["tokens"]
    return tokens / seconds, json.loads((path / "plan.json").read_text())


class RandomIds(Dataset):
    def __init__(self, length: int, vocab_size: int) -> None:
        self._ids = torch.randint(0, vocab_size, (4096, length), generator=torch.Generator().manual_seed(0))

    def __len__(self) -> int:
        return 10**7

    def __getitem__(self, place: int) -> dict[str, torch.Tensor]:
        ids = self._ids[place % len(self._ids)]
        return {"input_ids": ids, "labels": ids}


class Watch(TrainerCallback):
    """Times the steps after the warm-up."""

    def __init__(self) -> None:
        self.begun = 0.0

    def on_step_end(self, args, state, control, **_) -> None:
        if state.global_step == WARM_UP:
            torch.cuda.synchronize()
            self.begun = time.perf_counter()


def model_of(plan_path: Path) -> LlamaForCausalLM:
    config = LlamaConfig.from_pretrained(plan_path)
    config.use_cache = False
    return LlamaForCausalLM(config).cuda()


def stock(folder: Path, config: Path, plan: dict, size: str, compiles: bool) -> float:
    length, rows = plan["sequence_length"], plan["batch_tokens"] // plan["sequence_length"]
    model, watch, steps = model_of(config), Watch(), WARM_UP + TIMED[size]
    arguments = TrainingArguments(
        output_dir=str(folder / "stock"),
        max_steps=steps,
        per_device_train_batch_size=plan["micro_batch"],
        gradient_accumulation_steps=rows // plan["micro_batch"],
        bf16=True,
        torch_compile=compiles,
        logging_steps=10,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    Trainer(model, arguments, train_dataset=RandomIds(length, model.config.vocab_size), callbacks=[watch]).train()
    torch.cuda.synchronize()
    return TIMED[size] * plan["batch_tokens"] / (time.perf_counter() - watch.begun)


def loop(folder: Path, config: Path, plan: dict, size: str, compiles: bool) -> float:
    length, micro = plan["sequence_length"], plan["micro_batch"]
    turns = plan["batch_tokens"] // length // micro
    model = model_of(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    computed = torch.compile(model) if compiles else model
    ids = torch.randint(0, model.config.vocab_size, (64, micro, length)).pin_memory()
    for step in range(WARM_UP + TIMED[size]):
        if step == WARM_UP:
            torch.cuda.synchronize()
            begun = time.perf_counter()
        for turn in range(turns):
            batch = ids[(step * turns + turn) % len(ids)].cuda(non_blocking=True)
            with torch.autocast("cuda", dtype=torch.bfloat16):
                loss = computed(input_ids=batch, labels=batch).loss / turns
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    torch.cuda.synchronize()
    return TIMED[size] * plan["batch_tokens"] / (time.perf_counter() - begun)


def free() -> None:
    gc.collect()
    torch.cuda.empty_cache()
    torch.compiler.reset()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="20m,60m,180m")
    parser.add_argument("--ways", default="ours,trainer,loop", help="ours, or with one or both of the others")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("words", nargs="*", help="of a recipe, such as training.torch_compile=true")
    options = parser.parse_args()
    name = torch.cuda.get_device_name()
    peak = next((gpu.peak_tflops for key, gpu in GPUS.items() if key in name.lower()), None)
    compiles = "training.torch_compile=true" in options.words
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_text(folder / "text.jsonl")
        for size in options.sizes.split(","):
            speeds: dict[str, list[float]] = {way: [] for way in options.ways.split(",")}
            for number in range(options.runs):
                speed, plan = ours(folder, size, number, options.words)
                config = next((folder / "outputs" / f"ours-{size}-{number}").glob("seed-0/revisions/*/config.json"))
                free()
                speeds["ours"].append(speed)
                for way, peer in (("trainer", stock), ("loop", loop)):
                    if way in speeds:
                        speeds[way].append(peer(folder, config, plan, size, compiles))
                        free()
            flops = plan["flops_per_token"]
            print(
                f"{size} on {name}, micro-batch {plan['micro_batch']} of {plan['sequence_length']} tokens", flush=True
            )
            for way, values in speeds.items():
                speed = statistics.median(values)
                ratio = statistics.median(a / b for a, b in zip(values, speeds["ours"], strict=True))
                mfu = f", MFU {speed * flops / peak / 1e12:.1%}" if peak else ""
                runs = ", ".join(f"{value / 1e3:.0f}k" for value in values)
                print(
                    f"  {way:<8} {speed / 1e3:8.1f}k tokens/s{mfu}; {ratio:.2f} times ours (runs: {runs})", flush=True
                )


if __name__ == "__main__":
    main()
