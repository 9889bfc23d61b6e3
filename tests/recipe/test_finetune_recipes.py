"""The recipes for fine-tuning that we ship, and the page that describes their keys.

`python tests/recipe/test_finetune_recipes.py` writes the table of keys of recipes/finetune/README.md again.
"""

from pathlib import Path

import pytest
from recipe.key_tables import field_tables

from lmeff.errors import InputError
from lmeff.recipe.mistakes import section_fields
from lmeff.recipe.reading import read_section
from lmeff.recipe.sections.finetune import FinetuneRecipe

RECIPES = Path(__file__).parents[2] / "recipes" / "finetune"
README = RECIPES / "README.md"
HEADING = "## Every key\n\n"


def keys() -> str:
    """The tables of sections without the settings that tasks share with the top."""
    known = section_fields(FinetuneRecipe)
    shared = known[""].keys() - {"tasks"}
    tasks = {key: field for key, field in known["tasks.NAME"].items() if key not in shared and key != "files"}
    return field_tables({**known, "tasks.NAME": tasks})


def test_the_quick_recipe_is_the_default():
    assert read_section(FinetuneRecipe, RECIPES / "quick.yaml") == FinetuneRecipe()


def test_the_published_grids():
    leaner = read_section(FinetuneRecipe, RECIPES / "leaner_glue.yaml")
    assert len(leaner.learning_rates) * len(leaner.seeds) == 35
    epochs = {name: leaner.settings(f"leaner_{name}").epochs for name in ("cola", "sst2", "mrpc", "qqp", "stsb", "rte")}
    assert epochs == {"cola": 30, "sst2": 3, "mrpc": 30, "qqp": 3, "stsb": 30, "rte": 50}
    rte = leaner.settings("leaner_rte")
    assert (rte.batch_size, rte.max_length, rte.max_train_examples, rte.warmup) == (256, 256, None, 0)
    babylm = read_section(FinetuneRecipe, RECIPES / "babylm.yaml")
    found = {name: babylm.settings(name) for name in ("boolq", "mrpc", "wsc", "rte")}
    assert {name: (one.batch_size, one.epochs, one.best_by) for name, one in found.items()} == {
        "boolq": (16, 10, "acc"),
        "mrpc": (32, 10, "f1"),
        "wsc": (32, 30, "acc"),
        "rte": (32, 10, "acc"),
    }
    assert found["rte"].learning_rates == [3e-5]


def test_the_readme_describes_every_key_as_the_schema_does():
    assert README.read_text().partition(HEADING)[2] == keys(), "run: python tests/recipe/test_finetune_recipes.py"


def test_mistakes_say_file_line_and_what_was_meant(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("epoch: 3\ntasks:\n  rte: {seeds: [a]}\n  mine: {files: {train: a}, column: [b]}\n")
    with pytest.raises(InputError) as caught:
        read_section(FinetuneRecipe, path, ["learning_rate=3", "schedule=cosin"])
    assert str(caught.value).splitlines() == [
        f"{path}:1: epoch: unknown key; did you mean 'epochs'?",
        f"{path}:3: tasks.rte.seeds.0: must be a number such as 60k, 25M, 1.5B or 3e-4, not 'a'",
        f"{path}:4: tasks.mine.column: unknown key; did you mean 'columns'?",
        f"{path}:4: tasks.mine.files.validation: missing; the section 'tasks.mine.files:' needs it",
        "command line: learning_rate=3: unknown key; did you mean 'learning_rates'?",
        "command line: schedule=cosin: must be 'linear', 'cosine' or 'constant', not 'cosin'; did you mean 'cosine'?",
    ]


if __name__ == "__main__":
    text, heading, _ = README.read_text().partition(HEADING)
    README.write_text(text + heading + keys())
