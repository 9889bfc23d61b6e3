"""The JSON schema of recipe files (draft 2020-12), for editors: keys are completed, explained and checked while one types."""

from typing import Any

from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.fields import NUMBER_TEXT
from lmeff.recipe.sections.training import CHOICES, installed_fields, refusal

_LIMITS = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
}
"""How pydantic names a limit of a number that it reads from text, and how JSON schema does."""
_JSON_TYPES = {
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "str": "string",
    "list": "array",
    "dict": "object",
}


def recipe_json_schema() -> dict[str, Any]:
    """The schema of one file. No key is required: what a file lacks may come from those it extends or the command line."""
    schema = _for_files(Recipe.model_json_schema())
    properties = schema["properties"]
    properties["training"] |= {"properties": _training(), "additionalProperties": False}
    del properties["training"]["default"]
    text = "Files that are read first, relative to this one; what stands here wins. Recipes that come with lmeff are found too."
    one = {"type": "string", "minLength": 1}
    extends = {"description": text, "anyOf": [one, {"type": "array", "items": one}]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "Recipe of lmeff",
        "properties": {"extends": extends, **properties},
    }


def _for_files(node: Any) -> Any:
    """As YAML files write it: a number may be text such as 25M, and a section may lack keys."""
    if isinstance(node, list):
        return [_for_files(one) for one in node]
    if not isinstance(node, dict):
        return node
    node = {_LIMITS.get(key, key): _for_files(value) for key, value in node.items() if not _is_noise(key, value)}
    if node.get("type") not in ("integer", "number"):
        return node
    number = {key: node.pop(key) for key in ("type", *_LIMITS.values()) if key in node}
    return {**node, "anyOf": [number, {"type": "string", "pattern": NUMBER_TEXT}]}


def _is_noise(key: str, value: Any) -> bool:
    """What pydantic says of a section and does not hold for a file. A key of a recipe has a mapping as its value."""
    return (key == "required" and isinstance(value, list)) or (key == "title" and isinstance(value, str))


def _training() -> dict[str, Any]:
    """The fields of transformers.TrainingArguments that a recipe may set."""
    return {
        name: _one_of_training(kinds, CHOICES.get(name, ()))
        for name, kinds in installed_fields().items()
        if refusal(name) is None
    }


def _one_of_training(kinds: frozenset[str], choices: tuple[str, ...]) -> dict[str, Any]:
    """Text stands for numbers, as everywhere, and where there are choices for these alone."""
    types = sorted(_JSON_TYPES.get(kind, "null") for kind in kinds if not (choices and kind == "str"))
    found: list[dict[str, Any]] = [{"type": types}] if types else []
    found += [{"enum": list(choices)}] if choices else []
    found += [{"type": "string", "pattern": NUMBER_TEXT}] if kinds & {"int", "float"} else []
    return {"anyOf": found} if len(found) > 1 else found[0] if found else {}
