"""`curriculum:` what may be said, which stages follow, and what a contradiction is told as."""

from pathlib import Path

import pytest

from lmeff.errors import InputError
from lmeff.recipe import read_recipe
from lmeff.recipe.sections.curriculum import Curriculum

ITERATIVE = "curriculum.protocol=iterative"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text("a")
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "name: a\n"
        f"corpus: {{name: a, paths: ['{tmp_path}/a.txt']}}\n"
        "model: {hidden_size: 8, intermediate_size: 8, num_hidden_layers: 1, num_attention_heads: 1}\n"
        "batch: {tokens: 64, sequence_length: 8}\n"
        "anchors: {tokens: [64k]}\n"
    )
    return path


def test_published_stages() -> None:
    """5% at first and 5% more in each of 19 others."""
    stages = Curriculum(protocol="iterative")
    assert stages.last_stage == 19
    assert [stages.share_of(stage) for stage in (0, 1, 2, 18, 19, 25)] == [0.05, 0.1, 0.15, 0.95, 1.0, 1.0]
    assert Curriculum(protocol="iterative", start=1).last_stage == 0
    odd = Curriculum(protocol="iterative", start=0.3, step=0.4)
    assert [odd.share_of(stage) for stage in range(odd.last_stage + 1)] == [0.3, 0.7, 1.0]


def test_stages_by_share_are_equally_long() -> None:
    stages = Curriculum(protocol="iterative", start=0.2, step=0.2, pacing="share")
    # Four changes in the first half of 80 steps.
    assert [stages.stage_at(step, 80) for step in (0, 9, 10, 19, 20, 39, 40, 80)] == [0, 0, 1, 1, 2, 3, 4, 4]
    later = Curriculum(protocol="iterative", start=0.2, step=0.2, pacing="share", whole_at=1)
    assert [later.stage_at(step, 80) for step in (19, 20, 79, 80)] == [0, 1, 3, 4]
    assert Curriculum(protocol="iterative", start=1, pacing="share").stage_at(0, 80) == 0


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["curriculum.order=random"],
            "curriculum: is not said, and order is; say iterative, full_repeated or full_random",
        ),
        (
            ["curriculum.protocol=full_random", "curriculum.start=0.1"],
            "curriculum.start: 'full_random' reads all documents from the start; it belongs to the protocol 'iterative'",
        ),
        (
            [ITERATIVE, "curriculum.order=reference_loss"],
            "curriculum.reference: 'reference_loss' needs a model; name its folder",
        ),
        (
            [ITERATIVE, "curriculum.order=reference_loss", "curriculum.reference=me/it@main"],
            "curriculum.reference: 'main' may be another model tomorrow; name a commit of 40 digits (0-9, a-f)",
        ),
        (
            ["curriculum.protocol=full_random", "distillation.teachers=[b]", "distillation.cache.kind=top_k"],
            "distillation.cache.kind: curriculum.protocol 'full_random' cuts other sequences later, so nothing can be kept;"
            " drop it",
        ),
        (
            [ITERATIVE, "curriculum.reference=models/a"],
            "curriculum.reference: 'random' asks no other model; use the order 'reference_loss' or leave it out",
        ),
        (
            [ITERATIVE, "curriculum.order=word_rarity", "curriculum.selection=extended"],
            "curriculum.selection: 'word_rarity' never changes, so both are the same; it belongs to 'own_loss'",
        ),
        (
            [ITERATIVE, "curriculum.hardest_first=true"],
            "curriculum.hardest_first: nothing is hard or easy in the order 'random'; leave it out",
        ),
        (
            [ITERATIVE, "curriculum.whole_at=0.3"],
            "curriculum.whole_at: with pacing 'plateau' the held-out loss decides; use pacing 'share' or leave it out",
        ),
        (
            [ITERATIVE, "curriculum.pacing=share", "curriculum.patience=3"],
            "curriculum.patience: with pacing 'share' nobody looks at the held-out loss; use pacing 'plateau' or leave it out",
        ),
        (
            [ITERATIVE, "curriculum.faults=[second_epoch_unshuffled]"],
            "curriculum.faults.0: as the recipe is, there is no 'second_epoch_unshuffled', only best_of_all_stages,"
            " share_of_documents or text_by_rank",
        ),
        (
            ["curriculum.protocol=full_repeated", "curriculum.faults=[text_by_rank]"],
            "curriculum.faults.0: as the recipe is, there is no 'text_by_rank'",
        ),
        (
            [ITERATIVE, "curriculum.faults=[text_by_rank, text_by_rank]"],
            "curriculum.faults: names a fault twice",
        ),
        (
            [ITERATIVE, "curriculum.order=own_loss", "objective.name=masked", "model.family=bert"],
            "curriculum.order: 'own_loss' is of predicting the next token; the objective 'masked' has none such",
        ),
        (
            [ITERATIVE, "anchors.until=converged", "anchors.max_tokens=128k"],
            "anchors.until: where the loss stands still, a stage of curriculum.protocol 'iterative' ends, and so would the run;"
            " drop it",
        ),
        ([ITERATIVE, "curriculum.start=0"], "curriculum.start: must be above 0, not 0"),
    ],
)
def test_a_contradiction_is_one_line(recipe: Path, words: list[str], line: str) -> None:
    with pytest.raises(InputError) as found:
        read_recipe(recipe, words)
    (only,) = found.value.args
    key, _, text = line.partition(": ")
    assert key.removesuffix(".0") in only
    assert only.endswith(f": {text}")


def test_a_recipe_without_a_curriculum_is_written_as_before(recipe: Path) -> None:
    assert "curriculum" not in read_recipe(recipe).to_yaml()
    assert "protocol: full_repeated" in read_recipe(recipe, ["curriculum.protocol=full_repeated"]).to_yaml()


def test_a_recipe_that_was_written_is_read_again(recipe: Path) -> None:
    for words in (["curriculum.protocol=full_random"], [ITERATIVE, "curriculum.order=own_loss"], []):
        resolved = read_recipe(recipe, words)
        recipe.with_name("again.yaml").write_text(resolved.to_yaml())
        assert read_recipe(recipe.with_name("again.yaml")).recipe == resolved.recipe
