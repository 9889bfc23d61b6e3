"""What a person is told, word for word."""

from pathlib import Path

import pytest

from lmeff.errors import InputError
from lmeff.recipe import read_recipe

RECIPE = """\
name: tiny
corpus: {name: leaner}
model: {size: 20m}
batch: {tokens: 16384, sequence_length: 256}
anchors: {tokens: [0, 25M, 50M]}
"""


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("r.yaml").write_text(RECIPE)


def mistakes(*overrides: str, text: str | None = None) -> list[str]:
    if text is not None:
        Path("r.yaml").write_text(text)
    with pytest.raises(InputError) as caught:
        read_recipe("r.yaml", overrides)
    return list(caught.value.mistakes)


def test_all_mistakes_at_once_in_the_order_of_the_lines():
    text = """\
name: tiny
corpus: {epochs: 2}
model: {size: 20m, hidden_size: 100, num_attention_heads: 3}
batch: {tokens: 16384, sequence_length: 256}
anchors: {tokens: [0, 25M, 25001k]}
optimizer:
  lr: 3e-4
  weight_decay: much
schedule: {name: cosin}
training:
  seed: 1
  max_grad_norm: big
"""
    assert mistakes("optimiser.learning_rate=1", text=text) == [
        "r.yaml:2: corpus.name: missing; the section 'corpus:' needs it",
        "r.yaml:3: model.hidden_size: 100 is not a multiple of num_attention_heads (3); change one",
        "r.yaml:5: anchors.tokens.2: 25M and 25001k fall on the same step, 1526, with batch.tokens 16384; drop one",
        "r.yaml:7: optimizer.lr: unknown key; did you mean 'optimizer.learning_rate'?",
        "r.yaml:8: optimizer.weight_decay: must be a number such as 60k, 25M, 1.5B or 3e-4, not 'much'",
        "r.yaml:9: schedule.name: must be 'cosine', 'linear', 'constant' or 'wsd', not 'cosin'; did you mean 'cosine'?",
        "r.yaml:11: training.seed: owned by 'seed' at the top of the recipe",
        "r.yaml:12: training.max_grad_norm: must be a number such as 60k, 25M, 1.5B or 3e-4, not 'big'",
        "command line: optimiser.learning_rate=1: optimiser: unknown key; did you mean 'optimizer.learning_rate'?",
    ]


def test_an_empty_recipe_needs_five_things():
    assert mistakes(text="seed: 1\n") == [
        f"r.yaml: {key}: missing; every recipe needs it" for key in ("anchors", "batch", "corpus", "model", "name")
    ]


TOP = (
    "name, seed, deterministic, paths, corpus, tokenizer, model, objective, batch, anchors, optimizer, schedule, training, "
    "checkpoints, evaluation, distillation, curriculum, publish"
)
ONE = {  # override: the line it gets after `command line: OVERRIDE: `
    "seed=x": "must be a number such as 60k, 25M, 1.5B or 3e-4, not 'x'",
    "seed=true": "must be a number, not true",
    "seed=null": "must be a number, not null",
    "seed=1.5": "must be a whole number, not 1.5",
    "seed=-1": "must be at least 0, not -1",
    "seed=3B": "must be below 2147483648, not '3B'",
    "optimizer.learning_rate=0": "must be above 0, not 0",
    "optimizer.learning_rate=.inf": "must be a finite number, not inf",
    "optimizer.learning_rate=1e999": "must be a finite number, not '1e999'",
    "optimizer.betas=[0.9]": "needs at least 2 items, not 1",
    "name=on": 'must be text, not true; write "on" with the quotes',
    "name=12": 'must be text, not 12; write "12" with the quotes',
    "name=../x": "must be letters, digits, '.', '_' or '-', starting with a letter or digit, 96 at most",
    "evaluation.measures=[weigths]": "evaluation.measures.0: must be 'perplexity', 'generation', 'weights', 'profile' or "
    "'finetuning', not 'weigths'; did you mean 'weights'?",
    "evaluation.measures=[weights, weights]": "holds a measure twice",
    "evaluation={weights: false, measures: [weights]}": "evaluation.measures: names 'weights', which 'weights: false' turns "
    "off; drop one of them",
    "evaluation.tasks=lmeff_blimp": "must be a list such as [a, b], not 'lmeff_blimp'; write [lmeff_blimp]",
    "anchors.tokens=2B": "must be a list such as [a, b], not '2B'; write [2B]",
    "anchors.tokens=[0]": "needs an anchor above 0, at which training ends",
    "anchors.tokens=[0, 50M, 25M]": "must rise: 25M follows 50M",
    "batch.tokens=10000": "10000 is not a multiple of sequence_length (256); nearest: 9984",
    "batch.micro=big": "must be 'auto' or a number such as 60k, 25M, 1.5B or 3e-4, not 'big'",
    "batch.micro=0": "must be 'auto' or above 0, not 0",
    "checkpoints=": "must be a section with keys under it, not null: put keys under it, or remove it",
    "checkpoints=500": "must be a section with keys under it, not 500",
    "evaluation.at_anchors=maybe": "must be true or false, not 'maybe'",
    "schedule.warmup=300": "300 has no unit: write '300 steps', '300 tokens' or a share below 1",
    "schedule.warmup=-5 steps": "'-5 steps' is below 0",
    "schedule.warmup=[1]": "must be a number, not a list",
    "schedule.warmup=true": "must be a number, not true",
    "schedule.warmup=1M steps": "'1M steps' (1000000 steps) must end before the run does: the last anchor is step 3052",
    "schedule.warmup=50M tokens": "'50M tokens' (3052 steps) must end before the run does: the last anchor "
    "is step 3052",
    "model.max_position_embeddings=128": "128 is less than batch.sequence_length (256)",
    "corpus.synthetic.seed=4": "corpus.synthetic: is for 'name: synthetic' only, not for 'leaner'",
    "optimizer.max_grad_norm=1": "unknown key; belongs under 'training:'",
    "optimizer.warmup=1": "unknown key; belongs under 'schedule:'",
    "learning_rate=1": "unknown key; belongs under 'optimizer:'",
    "num_train_epochs=1": "unknown key; owned by 'anchors.tokens', the last of which ends training; "
    "'corpus.epochs' limits the passes",
    "batch.size=3": "unknown key; did you mean 'batch.tokens'?",
    "corpus.license=mit": "unknown key; belongs into a description of a corpus, named with corpus.file",
    "checkpoints.every_steps=None": "must be a number such as 60k, 25M, 1.5B or 3e-4, not 'None'; nothing is written null",
    "anchors.tokens='0, 1'": "must be a list such as [a, b], not '0, 1'; write [0, 1]",
    "anchors.tokens=[]": "must not be empty",
    "schedule.warmup=100 epochs": "must be a number of steps ('300 steps') or tokens ('5M tokens'), or a share below 1, not "
    "'100 epochs'",
    "batch.batch_size=4": "unknown key; did you mean 'batch.tokens'?",
    "model.hiden_size=4": "unknown key; did you mean 'model.hidden_size'?",
    "optimizer.epsilom=1": "unknown key; did you mean 'optimizer.epsilon'?",
    "qqqq=1": f"unknown key; known here: {TOP}",
    "publish.learning_rat=1": "unknown key; did you mean 'optimizer.learning_rate'?",
    "foo.bar.baz=1": f"foo: unknown key; known here: {TOP}",
    "a b": "has no '='; write section.key=value, such as optimizer.learning_rate=1e-3",
    "=1": "must name a key, such as optimizer.learning_rate=1e-3",
    "model..size=1": "must name a key, such as optimizer.learning_rate=1e-3",
    "extends=x.yaml": "files are extended in a file, not on the command line",
    "name.x=1": "name: must be text, not a mapping",
    "publish.qqqq=1": "unknown key; known here: to, namespace, private, repository, anchor_branch, final_branch, final_on_main,"
    " require, license, optimizer",
    "training.max_grad_norm=null": "must be a number, not null",
    "training.max_grad_norm=-1": "must be at least 0, not -1",
    "training.max_grad_norm=.nan": "must be a finite number",
    "training.logging_steps=0": "must be above 0, not 0",
    "training.logging_steps=1.5": "must be whole, or a share of the run below 1, not 1.5",
    "training.logging_steps=true": "must be a number, not true",
    "training.torch_empty_cache_steps=2.5": "must be a whole number or null, not 2.5",
    "training.full_determinism=1": "must be true or false, not 1",
    "training.bf16=maybe": "must be 'auto' or true or false, not 'maybe'",
    "training.log_level=warn": "must be 'passive', 'detail', 'debug', 'info', 'warning', 'error' or 'critical', "
    "not 'warn'; did you mean 'warning'?",
    "training.report_to=no": "must be text, a list such as [a, b] or null, not false; "
    "text that YAML takes for something else needs quotes",
    "training.report_to=[1]": "must be a list of text",
    "training.gradient_checkpointing_kwargs=x": "must be a mapping of keys or null, not 'x'",
    "training.loging_steps=1": "transformers.TrainingArguments has no such field; did you mean 'logging_steps'?",
    "training.warmup_ratio=0.1": "transformers has removed it; use 'schedule.warmup' with a share such as 0.02",
    "training={bf16: true, fp16: true}": "training.fp16: cannot be true together with bf16",
    "training=5": "must be a section with keys under it, not 5",
}


@pytest.mark.parametrize("override", ONE)
def test_one_mistake_one_line(override):
    assert [line.removeprefix(f"command line: {override}: ") for line in mistakes(override)] == [ONE[override]]


def test_a_model_without_a_size_says_what_it_needs():
    assert mistakes("model.size=null", "model.hidden_size=64") == [
        "r.yaml:3: model: give a 'size' (20m, 60m, 180m, 1m, 10m, 16m, 58m, 95m, 97m, 360m), or also"
        " intermediate_size, num_hidden_layers, num_attention_heads"
    ]
    shape = ["hidden_size=64", "intermediate_size=64", "num_hidden_layers=1", "num_attention_heads=4"]
    words = [f"model.{word}" for word in ["size=null", *shape]]
    assert read_recipe("r.yaml", words).recipe.model.size is None
    assert mistakes(*words, "model.num_key_value_heads=3") == [
        "command line: model.num_key_value_heads=3: 3 does not divide num_attention_heads (4)"
    ]
    for more in ([], ["model.head_dim=16"]):  # which is no way out
        assert mistakes(*words[:-1], "model.num_attention_heads=5", *more) == [
            "command line: model.hidden_size=64: 64 is not a multiple of num_attention_heads (5); change one"
        ]


def test_the_generated_corpus_takes_no_text():
    found = mistakes("corpus.name=synthetic", "corpus.paths=[a.txt]", "corpus.text=['{x}']")
    reason = "has no meaning with 'name: synthetic', which generates its text; give your corpus another name"
    assert found == [f"command line: corpus.{key}: {reason}" for key in ("paths=[a.txt]", "text=['{x}']")]


def test_a_mistake_in_a_base_is_told_where_it_stands():
    Path("base.yaml").write_text(RECIPE + "seed: x\n")
    assert mistakes(text="extends: base.yaml\n\nschedule: {warmup: soon}\n") == [
        "base.yaml:6: seed: must be a number such as 60k, 25M, 1.5B or 3e-4, not 'x'",
        "r.yaml:3: schedule.warmup: must be a number of steps ('300 steps') or tokens ('5M tokens'), or a share below 1,"
        " not 'soon'",
    ]


def test_control_characters_do_not_reach_the_terminal():
    found = mistakes("na\x1b[31mme=1", "seed=\udcff", 'name="a\\nb\\x1b"', text=RECIPE + '"a\\nb\\x1b": 1\n')
    assert len(found) == 4
    assert all(line.isprintable() for line in found)
