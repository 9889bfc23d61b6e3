"""A small recipe and a sweep of it."""

RECIPE = """
name: base
corpus: {name: synthetic}
tokenizer: {vocab_size: 500}
model: {hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2, num_attention_heads: 2}
batch: {tokens: 512, sequence_length: 32}
anchors: {tokens: [0, 5k, 20k]}
schedule: {warmup: 5 steps}
"""
SWEEP = """sweep: study
recipe: base.yaml
seeds: [0, 1]
axes:
  model.hidden_size: [32, 64]
  text:
    few: {corpus.synthetic.num_documents: 100}
    many: {corpus.synthetic.num_documents: 200, corpus.epochs: 2}
"""
