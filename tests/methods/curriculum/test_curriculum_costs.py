"""What a plan says that a curriculum computes beside training, by hand."""

from pathlib import Path

import pytest

from lmeff.errors import InputError
from lmeff.methods import check_methods, method_costs
from lmeff.methods.curriculum.costs import curriculum_costs, steps_between_looks
from lmeff.models.families import family_of
from lmeff.recipe import read_recipe
from lmeff.recipe.schema import Recipe

SHARE = ("curriculum.protocol=iterative", "curriculum.pacing=share")


def recipe_of(folder: Path, *words: str) -> Recipe:
    path = folder / "recipe.yaml"
    path.write_text(
        "name: a\n"
        "corpus: {name: synthetic}\n"
        "model: {hidden_size: 16, intermediate_size: 32, num_hidden_layers: 2, num_attention_heads: 2}\n"
        "batch: {tokens: 1000, sequence_length: 50}\n"
        "anchors: {tokens: [100k]}\n"
        "schedule: {warmup: 1 steps}\n"
        "evaluation: {dev_tokens: 300}\n"
    )
    return read_recipe(path, list(words)).recipe


def forward(recipe: Recipe) -> float:
    return family_of(recipe).flops_per_token(50) / 3


def test_what_scores_nothing_costs_nothing(tmp_path: Path) -> None:
    for words in ([], ["curriculum.protocol=full_random"], [*SHARE, "curriculum.order=word_rarity"]):
        assert method_costs(recipe_of(tmp_path, *words)).flops_scoring is None


def test_the_own_loss_costs_a_pass_a_stage(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, *SHARE, "curriculum.order=own_loss", "curriculum.start=0.2", "curriculum.step=0.2")
    costs = curriculum_costs(recipe, 7000)
    assert costs.flops_scoring == pytest.approx(4 * 7000 * forward(recipe))
    assert costs.notes == ("documents are scored 4 times at most, when stages begin",)


def test_looks_cost_their_held_out_tokens(tmp_path: Path) -> None:
    words = ["curriculum.protocol=iterative", "curriculum.order=sentence_length"]
    recipe = recipe_of(tmp_path, *words, "curriculum.look_every=3500")
    assert steps_between_looks(recipe) == 4
    assert curriculum_costs(recipe, 7000).flops_scoring == pytest.approx(25 * 300 * forward(recipe))
    # By default 300 tokens are read for every 10,000 that are trained on, each of which costs three times as much.
    assert steps_between_looks(recipe_of(tmp_path, *words)) == 10
    few = recipe_of(tmp_path, words[0], "curriculum.order=own_loss", "curriculum.look_every=30k")
    # There are no more stages than looks.
    assert curriculum_costs(few, 7000).flops_scoring == pytest.approx((3 * 300 + 3 * 7000) * forward(few))


def test_a_reference_that_is_not_there(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, *SHARE, "curriculum.order=reference_loss", "curriculum.reference=nowhere/deep/none")
    assert method_costs(recipe).notes == ("what the reference computes is not known before nowhere/deep/none is there",)
    with pytest.raises(InputError, match=r"curriculum\.reference: nowhere/deep/none: no such folder"):
        check_methods(recipe)
