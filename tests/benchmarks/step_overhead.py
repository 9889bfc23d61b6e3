"""What a step costs beside the model: a Llama of one tiny layer, with the stock Trainer, interleaved in one process.

    python tests/benchmarks/step_overhead.py [--steps 1000] [--rounds 5]

Both take a batch of two rows of 16 tokens a step, on the device that there is; logs every 10 steps, no checkpoints and no
scores in between. Prints milliseconds of a step, on a CPU of processor time, medians over rounds, and the median ratio.
"""

import argparse
import contextlib
import io
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "benchmarks")]

import torch  # noqa: E402
from training_speed import RandomIds  # noqa: E402
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments  # noqa: E402

from lmeff import run  # noqa: E402

SHAPE = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
RECIPE = """
name: NAME
corpus: {name: synthetic, epochs: 100}
tokenizer: {vocab_size: 1000}
model: {family: llama, hidden_size: 8, intermediate_size: 16, num_hidden_layers: 1, num_attention_heads: 1}
batch: {tokens: 32, sequence_length: 16, micro: 2}
anchors: {tokens: [TOKENS]}
schedule: {warmup: 5 steps}
training: {logging_steps: 10, bf16: false}
checkpoints: {every_steps: 1000000, every_minutes: 600}
evaluation: {tasks: [], dev_tokens: 100}
paths: {outputs: FOLDER/outputs, data: FOLDER/data}
"""
clock = time.perf_counter if torch.cuda.is_available() else time.process_time


@contextlib.contextmanager
def steps_timed(times: list[float]) -> Iterator[None]:
    """Inside, `times` gets the moment at which each step of a Trainer begins, ours too."""
    training_step = Trainer.training_step

    def timed(trainer: Trainer, *arguments: Any, **options: Any) -> torch.Tensor:
        times.append(clock())
        return training_step(trainer, *arguments, **options)

    with patch.object(Trainer, "training_step", timed), contextlib.redirect_stdout(io.StringIO()):
        yield


def milliseconds(times: list[float]) -> float:
    """Of a step, the first ten left out."""
    return 1e3 * (times[-1] - times[10]) / (len(times) - 11)


def ours(folder: Path, name: str, steps: int) -> float:
    path, times = folder / f"{name}.yaml", list[float]()
    path.write_text(RECIPE.replace("NAME", name).replace("TOKENS", str(32 * steps)).replace("FOLDER", str(folder)))
    with steps_timed(times):
        assert run.main(["-q", str(path)]) == 0
    return milliseconds(times)


def stock(folder: Path, steps: int) -> float:
    model = LlamaForCausalLM(LlamaConfig(vocab_size=1000, max_position_embeddings=16, **SHAPE))
    arguments = TrainingArguments(
        output_dir=str(folder / "stock"),
        max_steps=steps,
        per_device_train_batch_size=2,
        logging_steps=10,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    times: list[float] = []
    with steps_timed(times):
        Trainer(model, arguments, train_dataset=RandomIds(16, 1000)).train()
    return milliseconds(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    of_ours, of_stock = [], []
    with tempfile.TemporaryDirectory() as scratch:
        ours(Path(scratch), "warm-up", 20)
        for number in range(options.rounds):
            of_ours.append(ours(Path(scratch), f"round-{number}", options.steps))
            of_stock.append(stock(Path(scratch), options.steps))
    ratios = [one / other for one, other in zip(of_ours, of_stock, strict=True)]
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    print(
        f"a step takes {statistics.median(of_ours):.2f} ms, with the stock Trainer {statistics.median(of_stock):.2f} ms:"
        f" {statistics.median(ratios):.2f} times as long ({min(ratios):.2f} to {max(ratios):.2f}; {device})"
    )


if __name__ == "__main__":
    main()
