"""Whatever is in the file and on the command line, there is a recipe or there are clear lines."""

import copy
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lmeff.errors import InputError
from lmeff.recipe import read_recipe
from lmeff.recipe.mistakes import dotted_names

quickly = settings(max_examples=80)

VALID = {
    "name": "tiny",
    "seed": 3,
    "paths": {"outputs": "o"},
    "corpus": {"name": "synthetic", "epochs": "1e1", "synthetic": {"seed": 1}},
    "tokenizer": {"vocab_size": "1k"},
    "model": {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2},
    "batch": {"tokens": 1024, "sequence_length": 32, "micro": 4},
    "anchors": {"tokens": [0, "10k", "1M"]},
    "optimizer": {"learning_rate": "3e-4", "betas": [0.9, 0.95]},
    "schedule": {"name": "linear", "warmup": "10 steps"},
    "training": {"max_grad_norm": 1.0, "logging_steps": "1e1", "report_to": ["none"], "bf16": "auto"},
    "checkpoints": {"every_steps": None, "every_minutes": 0.5},
    "evaluation": {"tasks": ["a"], "paths": {"blimp": "d"}, "at_anchors": True},
    "publish": {"to": "local"},
}

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(10**17, 10**30),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        ["on", "off", "null", "~", "1:30", "0x1F", "010", ".nan", "25M", "-5k", "1e999", "1e99999", "1e-4"]
    ),
    st.sampled_from(["<<", "=", "!x", "*a", "&a", "{}", "[]", "%", "300 steps", "5M tokens", "auto", "20m", "\ud800"]),
)
junk = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8) | st.integers() | st.none(), inner, max_size=3)
    ),
    max_leaves=6,
)
keys = st.sampled_from(dotted_names())
words = st.one_of(
    st.builds("{}={}".format, keys, scalars),
    st.builds("{}={}".format, keys, junk),
    st.builds("{}{}={}".format, keys, st.sampled_from(["", "x", ".x", ".", " ", ".0"]), scalars),
    st.text(max_size=30),
)


@st.composite
def mutated(draw: st.DrawFn) -> dict:
    """A valid recipe with a few keys dropped, renamed, moved or given another value."""
    recipe = copy.deepcopy(VALID)
    for _ in range(draw(st.integers(1, 5))):
        section = draw(st.sampled_from([recipe, *(value for value in recipe.values() if isinstance(value, dict))]))
        if not section:
            continue
        key = draw(st.sampled_from(list(section)))
        match draw(st.sampled_from(["drop", "rename", "replace", "move"])):
            case "drop":
                del section[key]
            case "rename":
                section[draw(st.text(max_size=12) | keys.map(lambda name: name.rpartition(".")[2]))] = section.pop(key)
            case "replace":
                section[key] = draw(junk)
            case "move":
                recipe[key] = section.pop(key)
    return recipe


def read(content: bytes, overrides: Sequence[str] = ()) -> None:
    """Reads it, and holds the outcome to the contract."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "r.yaml")
        path.write_bytes(content)
        lines, resolved = (), None
        try:
            resolved = read_recipe(path, overrides)
        except InputError as error:
            lines = error.mistakes
        assert bool(lines) != bool(resolved)
        for line in lines:
            assert line.isprintable(), line
            assert line.startswith((f"{path}:", "command line: ")), line
        if resolved:
            again = Path(folder, "again.yaml")
            again.write_text(resolved.to_yaml(), encoding="utf-8")
            reread = read_recipe(again)
            assert reread.recipe == resolved.recipe
            assert reread.values == resolved.values
            assert all(isinstance(origin, str) for origin in resolved.provenance.values())


@pytest.mark.parametrize("flow", [False, True])
def test_the_recipe_that_is_mutated_is_valid(flow, tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump(VALID, default_flow_style=flow))
    assert read_recipe(path).recipe.optimizer.learning_rate == 3e-4


@pytest.mark.medium
@quickly
@given(mutated())
def test_mutated_recipes(recipe):
    read(yaml.safe_dump(recipe, allow_unicode=True).encode())


@pytest.mark.medium
@quickly
@given(st.lists(words, max_size=4))
def test_random_overrides(overrides):
    read(yaml.safe_dump(VALID).encode(), overrides)


@pytest.mark.medium
@quickly
@given(mutated(), st.lists(words, min_size=1, max_size=2))
def test_mutated_recipes_with_overrides(recipe, overrides):
    read(yaml.safe_dump(recipe).encode(), overrides)


@quickly
@given(st.binary(max_size=200))
def test_random_bytes(content):
    read(content)


@pytest.mark.medium
@quickly
@given(st.text(alphabet=" \n\t:-[]{}&*!|>'\"%@`#,?<=abcx01.~_", max_size=120))
def test_random_yaml(text):
    read(text.encode())


@pytest.mark.medium
@quickly
@given(st.data())
def test_valid_recipes_with_bytes_changed(data):
    content = bytearray(yaml.safe_dump(VALID).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(content) - 1))
        content[position : position + data.draw(st.integers(0, 6))] = data.draw(st.binary(max_size=6))
    read(bytes(content))
