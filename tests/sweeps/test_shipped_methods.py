"""Sweeps of learning methods say again what recipes say one by one: they must not drift apart."""

from pathlib import Path

import pytest

from lmeff.recipe import read_recipe
from lmeff.sweeps.cases import read_sweep

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.mark.medium
@pytest.mark.parametrize(
    ("sweep", "recipes"),
    [
        (
            "tinyhelen_curriculum",
            {path.stem: path for path in (RECIPES / "tinyhelen/curriculum").glob("*.yaml")},
        ),
        (
            "babyllama_students",
            {
                "half": RECIPES / "babyllama/llama_58m_distilled_half.yaml",
                "distilled": RECIPES / "babyllama/llama_58m_distilled.yaml",
                "published": RECIPES / "babyllama/published/llama_58m_distilled.yaml",
                "alone": RECIPES / "babyllama/published/llama_58m.yaml",
            },
        ),
    ],
)
def test_strategies_and_students_are_those_of_the_recipes(sweep: str, recipes: dict[str, Path]) -> None:
    cases = {case.name: case for case in read_sweep(str(RECIPES / f"sweeps/{sweep}.yaml")).cases}
    assert set(cases) == set(recipes)
    for name, path in recipes.items():
        ours, theirs = cases[name].resolved.values, read_recipe(path).values
        if name == "alone":  # with teachers who are not asked
            assert not cases[name].recipe.distillation.is_used
            del ours["distillation"]
        for values in (ours, theirs):
            for other in ("name", "seed", "paths", "publish"):
                del values[other]
        assert ours == theirs
