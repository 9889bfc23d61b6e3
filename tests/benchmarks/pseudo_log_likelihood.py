"""Scoring BLiMP by pseudo-log-likelihood beside scoring it causally, with models of like width, interleaved in one process.

    python tests/benchmarks/pseudo_log_likelihood.py --data BLIMP_FOLDER --limit 20 --runs 3

The weights are random: what a pass costs does not depend on them. Prints the median seconds of each way, its ratio to causal
scoring, and how many rows a masked model reads with and without the copies that are equal.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch
from lm_eval.api.instance import Instance
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer, BertConfig, LlamaConfig, XLNetConfig

from lmeff.evaluation.scorer.language_model import LmeffLM
from lmeff.evaluation.scorer.masked.masked_rows import mask_tokens
from lmeff.tokens.tokenizer.bpe import save_tokenizer, train_tokenizer


def read_sentences(data: Path) -> list[list[str]]:
    """By paradigm, both sentences of each pair."""
    paradigms = []
    for path in sorted(data.glob("*.jsonl")):
        pairs = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        paradigms.append([pair[key] for pair in pairs for key in ("sentence_good", "sentence_bad")])
    return paradigms


def build_models(width: int, layers: int, vocab_size: int) -> dict[str, torch.nn.Module]:
    heads, inner = width // 32, 4 * width
    ids = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    shape = {"vocab_size": vocab_size, "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads}
    shape |= {"intermediate_size": inner, "max_position_embeddings": 256, **ids}
    xlnet = XLNetConfig(vocab_size=vocab_size, d_model=width, n_layer=layers, n_head=heads, d_inner=inner, **ids)
    torch.manual_seed(0)
    return {
        # Its feed-forward network has three matrices, BERT's has two.
        "llama": AutoModelForCausalLM.from_config(LlamaConfig(**shape | {"intermediate_size": 2 * inner // 3})).eval(),
        "bert": AutoModelForMaskedLM.from_config(BertConfig(**shape)).eval(),
        "xlnet": AutoModelForCausalLM.from_config(xlnet).eval(),
    }


WAYS = {
    "llama, causal": ("llama", "auto"),
    "bert, within-word left to right": ("bert", "pseudo_log_likelihood"),
    "bert, original": ("bert", "pseudo_log_likelihood_original"),
    "llama as a hybrid, within-word left to right": ("llama", "pseudo_log_likelihood"),
    "xlnet through its masks": ("xlnet", "auto"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with BLiMP's 67 files")
    parser.add_argument("--limit", type=int, default=20, help="pairs of each paradigm")
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--vocab-size", type=int, default=4096)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    every = read_sentences(options.data)
    paradigms = [each[: 2 * options.limit] for each in every]
    with tempfile.TemporaryDirectory() as folder:
        save_tokenizer(train_tokenizer([one for each in every for one in each], options.vocab_size), Path(folder))
        tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"mask_token": "<mask>"})
    models = build_models(options.width, options.layers, len(tokenizer))
    asked = [
        [
            Instance("loglikelihood", {}, ("", text), number, metadata=(str(task), number, 1))
            for number, text in enumerate(each)
        ]
        for task, each in enumerate(paradigms)
    ]
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(options.runs):
        for name, (kind, scoring) in WAYS.items():
            model = LmeffLM(models[kind], tokenizer=tokenizer, scoring=scoring)
            model.progress = False
            start = time.perf_counter()
            for _ in model.answers_by_task(one for each in asked for one in each):  # as `lmeff eval` asks
                pass
            seconds[name].append(time.perf_counter() - start)
    encoded = [LmeffLM(models["bert"], tokenizer=tokenizer).token_requests(each) for each in asked]
    masked = [mask_tokens(each, None, tokenizer.mask_token_id, 1, 256) for each in encoded]
    num_rows, num_tokens = sum(len(one.rows) for one in masked), sum(len(one.edge_rows) for one in masked)
    print(f"{sum(map(len, asked)):,} sentences, {num_tokens:,} scored tokens, {num_rows:,} different rows (original)")
    causal = statistics.median(seconds["llama, causal"])
    for name, times in seconds.items():
        median = statistics.median(times)
        print(
            f"{name:<46} {median:8.2f} s  {median / causal:6.2f} times causal  ({', '.join(f'{t:.2f}' for t in times)})"
        )


if __name__ == "__main__":
    main()
