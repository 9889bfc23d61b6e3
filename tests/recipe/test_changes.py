"""Which changes of a recipe a run must know of, and which it goes on with."""

import pytest
import yaml

from lmeff.recipe import read_recipe
from lmeff.recipe.changes import changes_since, on_resume_of
from lmeff.recipe.sections.fields import OnResume

FREE, ACCEPTED, FIXED = OnResume.FREE, OnResume.ACCEPTED, OnResume.FIXED
KEYS = {
    "name": ACCEPTED,
    "seed": FIXED,
    "deterministic": ACCEPTED,
    "paths.data": FREE,
    "corpus.name": ACCEPTED,
    "corpus.synthetic.seed": ACCEPTED,
    "corpus.sources.a.paths": ACCEPTED,
    "tokenizer.vocab_size": FIXED,
    "tokenizer.add_bos": FIXED,
    "model.family": FIXED,
    "model.hidden_size": FIXED,
    "model.attention_dropout": ACCEPTED,
    "model.budget.parameters": FREE,
    "model.not_known_any_more": FIXED,
    "batch.tokens": FIXED,
    "batch.sequence_length": FIXED,
    "batch.sequence_lengths.5k": FIXED,
    "batch.packing": FIXED,
    "batch.document_mask": ACCEPTED,
    "batch.micro": FREE,
    "batch.log_samples": FREE,
    "batch.not_known_any_more": ACCEPTED,
    "anchors.tokens": ACCEPTED,
    "anchors.mode": FIXED,
    "optimizer.name": FIXED,
    "optimizer.learning_rate": ACCEPTED,
    "schedule.warmup": ACCEPTED,
    "training.max_grad_norm": ACCEPTED,
    "training.report_to": FREE,
    "checkpoints.keep": FREE,
    "evaluation.tasks": FREE,
    "evaluation.paths.blimp": FREE,
    "evaluation.dev_tokens": ACCEPTED,
    "publish.to": FREE,
    "not_known_any_more": ACCEPTED,
}


@pytest.mark.parametrize(("key", "on_resume"), KEYS.items())
def test_what_another_value_means_to_a_run(key, on_resume):
    assert on_resume_of(read_recipe("quickstart").recipe, tuple(key.split("."))) is on_resume


@pytest.mark.parametrize(
    ("words", "on_resume"),
    [
        (("curriculum.protocol=iterative",), FIXED),
        (("curriculum.protocol=iterative", "curriculum.pacing=share"), ACCEPTED),
        (("anchors.until=converged", "anchors.max_tokens=100M"), FIXED),
    ],
)
def test_losses_that_decide_how_training_goes_on_are_over_one_text(words, on_resume):
    recipe = read_recipe("quickstart", words).recipe
    assert on_resume_of(recipe, ("evaluation", "dev_tokens")) is on_resume
    assert on_resume_of(recipe, ("evaluation", "limit")) is FREE


def changes(*words: str, kept: dict | None = None) -> list[str]:
    resolved = read_recipe("quickstart", words)
    return [
        str(change) for change in changes_since(kept or yaml.safe_load(read_recipe("quickstart").to_yaml()), resolved)
    ]


def test_the_same_recipe_has_no_changes():
    assert changes() == []
    assert changes("evaluation.limit=3", "batch.micro=2", "training.logging_steps=7") == []


def test_changes_are_said_by_key():
    assert changes("seed=3", "optimizer.weight_decay=0.5", "batch.sequence_lengths={0: 32, 4k: 64}") == [
        "batch.sequence_lengths.0 was None, is now 32",
        "batch.sequence_lengths.4k was None, is now 64",
        "optimizer.weight_decay was 0.01, is now 0.5",
        "seed was 0, is now 3",
    ]


def test_a_setting_that_was_not_there_yet_had_its_default():
    kept = yaml.safe_load(read_recipe("quickstart").to_yaml())
    del kept["batch"]["document_mask"], kept["optimizer"]["nonfinite"]
    assert changes(kept=kept) == []
    assert changes("batch.document_mask=true", kept=kept) == ["batch.document_mask was False, is now True"]


def test_text_that_may_have_been_moved():
    text = "corpus={name: mine, sources: {a.b: {paths: [old/a.txt]}, c: {paths: [old/c.txt]}}}"
    kept = yaml.safe_load(read_recipe("quickstart", [text]).to_yaml())
    moved = text.replace("old/a.txt", "new/a.txt").replace("old/c.txt", "new/d.txt")
    found = changes_since(kept, read_recipe("quickstart", [moved]))
    assert {change.key: change.is_moved_text for change in found} == {
        "corpus.sources.a.b.paths": True,
        "corpus.sources.c.paths": False,
    }
