"""Sweeps of learning methods say again what recipes say one by one: they must not drift apart."""

from pathlib import Path

import pytest

from lmeff.recipe import read_recipe
from lmeff.sweeps.cases import read_sweep
from lmeff.sweeps.ranking.finalists import write_finalists

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


@pytest.mark.medium
def test_finalists_of_a_shipped_sweep_are_read_in_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sweep = read_sweep("sweeps/allocation_share")
    rows = [{"case": name, "differs": False} for name in ("embedding_share-0.35", "embedding_share-0.25")]
    path = tmp_path / "share.yaml"
    write_finalists(path, sweep, [], {"rows": rows}, top=2)
    assert "recipe: allocation/llama_10m\n" in path.read_text()
    there = read_sweep(str(path)).cases
    assert [(case.name, case.seed) for case in there[:2]] == [(row["case"], 0) for row in rows]
    assert [case.seed for case in there] == [0, 0, 1, 1, 2, 2]
    first = next(case for case in sweep.cases if case.name == rows[0]["case"])
    assert there[0].recipe.model == first.recipe.model
