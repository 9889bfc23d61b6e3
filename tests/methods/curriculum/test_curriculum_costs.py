"""What a plan says that a curriculum computes beside training, by hand."""

from pathlib import Path

import pytest

from lmeff.errors import InputError
from lmeff.methods import check_methods, method_costs
from lmeff.methods.curriculum.costs import KnownText, curriculum_costs
from lmeff.models.families import family_of
from lmeff.plan.compute import steps_between_looks
from lmeff.recipe import read_recipe
from lmeff.recipe.schema import Recipe

SHARE = ("curriculum.protocol=iterative", "curriculum.pacing=share")
PLATEAU = "curriculum.protocol=iterative"
OWN_LOSS = "curriculum.order=own_loss"
TEXT = KnownText(lambda per_token: 7000 * per_token(50) + 900 * per_token(32), lambda: 350)
"""Of documents in windows of two lengths, and a look in seven windows of 50."""


def recipe_of(folder: Path, *words: str, corpus: str = "{name: synthetic}") -> Recipe:
    path = folder / "recipe.yaml"
    path.write_text(
        "name: a\n"
        f"corpus: {corpus}\n"
        "model: {hidden_size: 16, intermediate_size: 32, num_hidden_layers: 2, num_attention_heads: 2}\n"
        "batch: {tokens: 1000, sequence_length: 50}\n"
        "anchors: {tokens: [100k]}\n"
        "schedule: {warmup: 1 steps}\n"
        "evaluation: {dev_tokens: 300}\n"
    )
    return read_recipe(path, list(words)).recipe


def forward(recipe: Recipe, length: int = 50) -> float:
    return family_of(recipe).flops_per_token(length) / 3


def scoring(recipe: Recipe) -> float:
    """All documents once."""
    return 7000 * forward(recipe) + 900 * forward(recipe, 32)


def test_what_scores_nothing_costs_nothing(tmp_path: Path) -> None:
    for words in ([], ["curriculum.protocol=full_random"], [*SHARE, "curriculum.order=word_rarity"]):
        assert method_costs(recipe_of(tmp_path, *words)).flops_scoring is None


def test_the_own_loss_costs_a_pass_a_stage(tmp_path: Path) -> None:
    words = (*SHARE, OWN_LOSS, "curriculum.start=0.2", "curriculum.step=0.2")
    recipe = recipe_of(tmp_path, *words)
    costs = curriculum_costs(recipe, TEXT)
    assert costs.flops_scoring == pytest.approx(4 * scoring(recipe))
    assert costs.notes == ("documents are scored 4 times, when stages begin",)
    unknown = recipe_of(tmp_path, *words, corpus="{name: mine, paths: [a.txt]}")
    assert "FLOPs for each token of the text, which is not known yet" in curriculum_costs(unknown).notes[1]
    # A budget says how many tokens a text of unknown size will have.
    cut = recipe_of(tmp_path, *words, corpus="{name: mine, paths: [a.txt], budget: 5000 tokens}")
    of_a_token = forward(cut, cut.batch.sequence_length)
    assert curriculum_costs(cut).flops_scoring == pytest.approx(4 * 5000 * of_a_token)
    # Of 100 steps, all of the text from step 99 on; four stages begin at steps 25, 50, 75 and 99.
    late = recipe_of(tmp_path, *words, "curriculum.whole_at=0.99")
    assert curriculum_costs(late, TEXT).flops_scoring == pytest.approx(4 * scoring(recipe))
    # A stage that would begin with the end does not.
    never = recipe_of(tmp_path, *words, "curriculum.whole_at=1")
    assert curriculum_costs(never, TEXT).flops_scoring == pytest.approx(3 * scoring(recipe))


def test_every_part_scores_for_its_own_stages(tmp_path: Path) -> None:
    """Ten stages, at every second of the first 20 of 40 steps."""
    stages = (*SHARE, OWN_LOSS, "curriculum.start=0.1", "curriculum.step=0.09")
    words = (*stages, "anchors.mode=anneal", "schedule.name=wsd")
    # The trunk to step 32 has all ten; the branch from 16 to 20 one more at 18, and none at its end.
    anneal = recipe_of(tmp_path, *words, "anchors.tokens=[20k,40k]")
    assert curriculum_costs(anneal, TEXT).flops_scoring == pytest.approx(11 * scoring(anneal))
    # A branch from the end of the trunk, step 20, goes on with what begins there.
    ending = recipe_of(tmp_path, *words, "curriculum.whole_at=0.8", "anchors.tokens=[25k]")
    assert curriculum_costs(ending, TEXT).flops_scoring == pytest.approx(10 * scoring(ending))
    # Each restart has all of its own, two steps apart and one.
    restart = recipe_of(tmp_path, *stages, "anchors.tokens=[20k,40k]", "anchors.mode=restart")
    assert curriculum_costs(restart, TEXT).flops_scoring == pytest.approx(20 * scoring(restart))


def test_looks_cost_their_held_out_tokens(tmp_path: Path) -> None:
    words = [PLATEAU, "curriculum.order=sentence_length"]
    recipe = recipe_of(tmp_path, *words, "curriculum.look_every=3500")
    assert steps_between_looks(recipe, recipe.curriculum.look_every) == 4
    assert curriculum_costs(recipe).flops_scoring == pytest.approx(25 * 300 * forward(recipe))
    assert curriculum_costs(recipe, TEXT).flops_scoring == pytest.approx(25 * 350 * forward(recipe))
    # By default 300 tokens are read for every 10,000 that are trained on, each of which costs three times as much.
    assert steps_between_looks(recipe_of(tmp_path, *words), None) == 10


@pytest.mark.parametrize(
    ("words", "times"),
    [
        # Ten looks: two for each stage, three with a patience of 2; without a best of its own, one more for the first alone.
        ((), 5),
        (("curriculum.patience=2",), 3),
        (("curriculum.faults=[best_of_all_stages]",), 9),
        (("curriculum.step=0.5",), 2),
    ],
)
def test_no_more_stages_begin_than_looks_can_end(tmp_path: Path, words: tuple[str, ...], times: int) -> None:
    recipe = recipe_of(tmp_path, PLATEAU, OWN_LOSS, "curriculum.look_every=10k", *words)
    costs = curriculum_costs(recipe, TEXT)
    assert costs.flops_scoring == pytest.approx(10 * 350 * forward(recipe) + times * scoring(recipe))
    assert costs.notes[0] == f"documents are scored {times} times at most, when stages begin"


def test_too_few_looks_for_all_stages_are_told(tmp_path: Path) -> None:
    few = recipe_of(tmp_path, PLATEAU, "curriculum.look_every=60k")
    assert method_costs(few).notes[1:] == (
        "1 look at the held-out loss can end at most 0 of 19 stages, so that no more than 5% of the text is read; lower"
        " curriculum.look_every, or raise curriculum.start or curriculum.step",
    )
    # Two looks end a stage, unless the second is at the end.
    words = (PLATEAU, "curriculum.start=0.5", "curriculum.step=0.5")
    assert len(method_costs(recipe_of(tmp_path, *words, "curriculum.look_every=40k")).notes) == 1
    (_, at_end) = method_costs(recipe_of(tmp_path, *words, "curriculum.look_every=50k")).notes
    assert at_end.startswith("1 look at the held-out loss can end at most 0 of 1 stages, so that no more than 50% of")


def test_a_reference_that_is_not_there(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, *SHARE, "curriculum.order=reference_loss", "curriculum.reference=nowhere/deep/none")
    assert method_costs(recipe).notes == ("what the reference computes is not known before nowhere/deep/none is there",)
    with pytest.raises(InputError, match=r"curriculum\.reference: nowhere/deep/none: no such folder"):
        check_methods(recipe)
