"""The JSON schema of recipes, by a validator that is not ours."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from lmeff.recipe import read_recipe
from lmeff.recipe.json_schema import recipe_json_schema
from lmeff.recipe.schema import Recipe

RECIPES = Path(__file__).parents[2] / "recipes"
FILES = sorted([*RECIPES.glob("*.yaml"), *RECIPES.glob("base/*.yaml")])


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = json.loads(json.dumps(recipe_json_schema()))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def wrong_places(validator: jsonschema.Draft202012Validator, text: str) -> list[str]:
    return sorted({".".join(map(str, error.path)) for error in validator.iter_errors(yaml.safe_load(text))})


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_recipes_that_come_with_lmeff_are_valid(validator, path: Path) -> None:
    assert wrong_places(validator, path.read_text()) == []


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_what_a_run_keeps_is_valid(validator, path: Path) -> None:
    assert wrong_places(validator, read_recipe(path).to_yaml()) == []


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("batch: {tokens: 25M, sequence_length: 0x40}", []),
        ("optimizer: {learning_rate: 3e-4, betas: [0.9, '0.95']}", []),
        ("training: {bf16: auto, report_to: none, logging_steps: 10}", []),
        ("checkpoints: {every_steps: null}\nschedule: {warmup: 5M tokens}", []),
        ("extends: [a.yaml, b.yaml]", []),
        ("batch: {tokens: many}", ["batch.tokens"]),
        ("batch: {tokens: 0}", ["batch.tokens"]),
        ("batch: {sequence_lenght: 64}", ["batch"]),
        ("modle: {size: 20m}", [""]),
        ("anchors: {mode: snapshoot}", ["anchors.mode"]),
        ("training: {learning_rate: 3e-4}", ["training"]),
        ("extends: {}", ["extends"]),
        ("schedule: {warmup: blah}", ["schedule.warmup"]),
        ("schedule: {warmup: 300 stepps}", ["schedule.warmup"]),
        ("schedule: {warmup: 0.02}", []),
        ("schedule: {warmup: 1 step}", []),
        ("training: {bf16: foo}", ["training.bf16"]),
        ("training: {fp16: auto}", ["training.fp16"]),
        ("training: {log_level: laud}", ["training.log_level"]),
        ("training: {logging_steps: many}", ["training.logging_steps"]),
        ("training: {logging_steps: 1k, fp16: true, log_level: info}", []),
    ],
)
def test_what_it_takes_and_what_it_refuses(validator, text: str, wrong: list[str]) -> None:
    assert wrong_places(validator, text) == wrong


def test_every_key_is_explained_as_in_the_documentation() -> None:
    schema = recipe_json_schema()
    assert list(schema["properties"]) == ["extends", *Recipe.model_fields]
    meaning = schema["$defs"]["Batch"]["properties"]["micro"]["description"]
    assert meaning == Recipe.model_fields["batch"].annotation.model_fields["micro"].description
