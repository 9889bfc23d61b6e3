"""All of BLiMP: lmeff beside stock lm-eval (`--model hf`, float32), interleaved in one process, same weights and pairs.

    python tests/benchmarks/blimp_speed.py --data BLIMP_FOLDER --shape 20m --vocab-size 8192
    python tests/benchmarks/blimp_speed.py --data BLIMP_FOLDER --model REVISION_FOLDER --precision float32,adaptive --limit 250
    python tests/benchmarks/blimp_speed.py --data BLIMP_FOLDER --shape 20m --runs 0 --revisions 10

Without --model the weights are random: what a pass costs does not depend on them, how much adaptive precision must score twice
does. Each time is that of a whole evaluation, from loading the model to written results; the first run in adaptive precision
compiles all it needs, later ones find code on disk. Prints medians, ratios, and how many choices are not those of float32.
--revisions scores as many different weights of one tokenizer, each by itself and as one of several in a process, as `lmeff
eval` does with a run.
"""

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import lm_eval
import pyarrow.parquet as pq
import torch
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from lmeff.evaluation.harness import Evaluation
from lmeff.evaluation.scorer import kept
from lmeff.evaluation.scorer.trees import compiled
from lmeff.evaluation.tasks import loaded as loaded_tasks
from lmeff.evaluation.tasks.names import tasks_folder
from lmeff.recipe.sections.model import LlamaSection


def random_model(folder: Path, shape: str, vocab_size: int, data: Path, text: list[Path]) -> None:
    """A Llama of a published shape whose tokenizer was trained on BLiMP and other text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    files = [*sorted(data.glob("*.jsonl")), *text]
    lines = (json.loads(line) for path in files for line in path.read_text(encoding="utf-8").splitlines())
    special = ["<s>", "</s>", "<pad>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator((line.get("sentence_good") or line.get("text") or "" for line in lines), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    torch.manual_seed(0)
    ids = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    sizes = {
        **LlamaSection.sizes[shape],
        "vocab_size": vocab_size,
        "max_position_embeddings": 256,
        "tie_word_embeddings": False,
    }
    LlamaForCausalLM(LlamaConfig(**sizes, **ids)).save_pretrained(folder)


def stock(folder: Path, data: Path, options: argparse.Namespace) -> dict:
    model = HFLM(pretrained=str(folder), dtype="float32", batch_size=options.stock_batch_size, device=options.device)
    metadata = {"data_paths": {"blimp": str(data)}}
    manager = TaskManager(include_path=str(tasks_folder()), include_defaults=False, metadata=metadata)
    return lm_eval.simple_evaluate(
        model=model, tasks=[options.task], task_manager=manager, limit=options.limit, bootstrap_iters=0
    )


def score(folder: Path, output: Path, options: argparse.Namespace, precision: str = "float32") -> dict:
    paths = {"blimp": str(options.data)}
    more = {"precision": precision, "limit": options.limit, "device": options.device}
    return Evaluation(folder, (options.task,), output, paths=paths, **more).run()[options.task]


def time_revisions(folder: Path, scratch: Path, options: argparse.Namespace) -> None:
    """Prints what a revision takes, from loading to written results, with requests made anew and with those of another."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    seconds: dict[str, list[float]] = {"anew": [], "kept": []}
    for index in range(options.revisions):
        target = scratch / f"revision-{index}"
        shutil.copytree(folder, target)
        model.save_pretrained(target)
        for name in ("anew", "kept") if index % 2 == 0 else ("kept", "anew"):
            if name == "anew":
                as_in_a_new_process()
            begin = time.perf_counter()
            score(target, scratch / name / target.name, options)
            seconds[name].append(time.perf_counter() - begin)
        torch.nn.init.normal_(model.get_input_embeddings().weight, std=0.02)
    anew, kept = map(statistics.median, seconds.values())
    ratio = statistics.median(one / other for one, other in zip(seconds["kept"], seconds["anew"], strict=True))
    print(
        f"a revision by itself {anew:.1f} s, after another {kept:.1f} s: ten would take {1 + 9 * ratio:.2f} times one"
    )


def as_in_a_new_process() -> None:
    """No requests kept from another model, and no compiled code but on disk."""
    kept._kept.clear(), loaded_tasks._kept.clear(), compiled._works.clear()
    torch.compiler.reset()


def scores(output: Path):
    (table,) = (output / "pairs").glob("*.parquet")
    return pq.read_table(table)["score"].to_numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the 67 files of BLiMP")
    parser.add_argument("--text", type=Path, nargs="*", default=[], help="JSON lines for a large vocabulary")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--shape", default="20m", choices=LlamaSection.sizes)
    parser.add_argument("--vocab-size", type=int, default=8192)
    parser.add_argument("--precision", default="float32", help="float32, adaptive or both, with a comma")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--task", default="lmeff_blimp", help="or a part of it, such as lmeff_blimp_island_effects")
    parser.add_argument("--limit", type=int, help="pairs of each paradigm (all); fewer share fewer beginnings")
    parser.add_argument("--revisions", type=int, default=0, help="score so many revisions in both ways, too")
    parser.add_argument("--stock-batch-size", type=int, default=64)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = f"{scratch}/code"
        folder = options.model or Path(scratch) / "model"
        if options.model is None:
            random_model(folder, options.shape, options.vocab_size, options.data, options.text)
        seconds: dict[str, list[float]] = {"stock": []} | {name: [] for name in options.precision.split(",")}
        for run in range(options.runs):
            for name in seconds:
                output = Path(scratch) / str(run) / name
                as_in_a_new_process()
                begin = time.perf_counter()
                if name == "stock":
                    found = stock(folder, options.data, options)["results"][options.task]["acc,none"]
                else:
                    result = score(folder, output, options, name)
                    found = result["results"][options.task]["acc,none"]
                seconds[name].append(time.perf_counter() - begin)
                print(f"run {run}  {name:9}  {seconds[name][-1]:8.1f} s  accuracy {found:.5f}", flush=True)
        for name in [name for name in seconds if name != "stock" and options.runs]:
            ratios = [one / other for one, other in zip(seconds["stock"], seconds[name], strict=True)]
            print(
                f"{name}: {statistics.median(ratios):.2f} times stock (runs: {', '.join(f'{one:.2f}' for one in ratios)})"
            )
        if "adaptive" in seconds and options.runs:
            share = result["lmeff"]["share_in_float32"]
            exact = Path(scratch) / str(options.runs - 1) / "float32"
            score(folder, exact, options)  # nothing to do where float32 was timed, too
            different = int((scores(exact) != scores(output)).sum())
            print(f"adaptive: {share:.1%} scored in float32 too; {different} of {len(scores(exact)):,} choices differ")
        if options.revisions:
            time_revisions(folder, Path(scratch), options)


if __name__ == "__main__":
    main()
