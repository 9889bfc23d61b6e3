"""A sweep whose runs are written by hand, with values that can be ranked."""

import math

from analysis.fake_runs import anchor_document, write_json

from lmeff.sweeps.cases import Case

RECIPE = """
name: base
corpus: {name: synthetic}
tokenizer: {vocab_size: 500}
model: {hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2, num_attention_heads: 2}
batch: {tokens: 512, sequence_length: 32}
anchors: {tokens: [0, 20k]}
schedule: {warmup: 5 steps}
"""
SWEEP = """sweep: study
recipe: base.yaml
seeds: [0, 1, 2]
axes:
  model.hidden_size: [32, 64]
  rate:
    slow: {optimizer.learning_rate: 1e-3}
    fast: {optimizer.learning_rate: 3e-3, schedule.name: linear}
"""
VALUES = {  # bits per byte by case, of three seeds
    "hidden_size-32_slow": [2.00, 2.02, 2.01],
    "hidden_size-32_fast": [1.90, 1.92, 1.92],
    "hidden_size-64_slow": [1.80, 1.81, 1.83],
    "hidden_size-64_fast": [1.50, 1.52, 1.51],
}


def write_run(case: Case, bits_per_byte: float, state: str = "complete") -> None:
    run = case.run
    document = anchor_document(case.seed, 20, 0.0) | {"nominal_tokens": 20_000, "dev_bits_per_byte": bits_per_byte}
    document |= {"dev_loss": bits_per_byte, "dev_perplexity": math.exp(bits_per_byte)}
    write_json(run.revision(f"seed-{case.seed}-tokens-20k") / "anchor.json", document)
    run.recipe_yaml.write_text(case.resolved.to_yaml())
    state_document = {"format": 1, "state": state, "step": 40, "tokens": 20_480, "next_anchor": None, "pid": 1}
    write_json(
        run.state_json,
        state_document | {"host": "h", "job": None, "error": None, "updated": "2026-11-22T14:40:00+00:00"},
    )
