"""`objective:` what may be said for which family, and what it means where nothing is said."""

import math
from collections import defaultdict
from fractions import Fraction
from functools import cache
from pathlib import Path

import pytest
import yaml

from lmeff.errors import InputError
from lmeff.recipe import read_recipe
from lmeff.recipe.changes import changes_since
from lmeff.recipe.sections.model import FAMILIES, LlamaSection
from lmeff.recipe.sections.objective import Objective, share_predicted


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


class Both(LlamaSection):
    """A family that is trained for whatever there is."""

    objectives = ("masked", "permutation", "causal")


def test_a_family_has_an_objective_of_its_own(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read_recipe(recipe).recipe
    assert (settings.objective_name, settings.model_vocab_size) == ("causal", settings.tokenizer.vocab_size)
    hybrid = read_recipe(recipe, ["objective.name=hybrid"]).recipe
    assert (hybrid.objective_name, hybrid.model_vocab_size) == ("hybrid", settings.tokenizer.vocab_size + 1)
    monkeypatch.setitem(FAMILIES, "both", Both)
    masked = read_recipe(recipe, ["model.family=both"]).recipe
    assert (masked.objective_name, masked.model_vocab_size) == ("masked", settings.tokenizer.vocab_size + 1)


def test_defaults_are_those_of_the_papers() -> None:
    rates = {"mask_rate": 0.15, "final_mask_rate": 0.15, "masked_share": 0.8, "random_share": 0.1, "whole_word": False}
    assert Objective().settings("masked") == rates
    assert Objective(mask_rate=0.4).settings("masked") == rates | {"mask_rate": 0.4, "final_mask_rate": 0.4}
    hybrid = Objective(mask_rate=0.4, final_mask_rate=0.2).settings("hybrid")
    assert (hybrid["mask_rate"], hybrid["final_mask_rate"], hybrid["masked_rows"]) == (0.4, 0.2, 15 / 16)
    assert Objective().settings("hybrid")["final_mask_rate"] == 0.15
    assert Objective(max_span=2).settings("permutation") == {"predicted_share": 1 / 6, "max_span": 2}
    assert Objective().settings("causal") == {}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["objective.name=masked"],
            "'llama' cannot be trained with the objective 'masked', only with causal or hybrid",
        ),
        (["objective.mask_rate=0.2"], "the objective 'causal' has no such key; it belongs to"),
        (["objective.name=hybrid", "objective.whole_word=true"], "the objective 'hybrid' has no"),
        (
            ["objective.name=hybrid", "objective.random_share=0.3"],
            "with masked_share it is 1.1",
        ),
        (["objective.name=hybrid", "objective.mask_rate=0"], "must be above 0"),
        (
            ["evaluation.scoring=pseudo_log_likelihood"],
            "'pseudo_log_likelihood' needs a mask token, which the objective 'causal' has none of, only masked or hybrid",
        ),
        (
            ["model.family=both", "evaluation.scoring=causal"],
            "'causal' is for decoders; a model of the objective 'masked'",
        ),
        (
            ["model.family=both", "evaluation.measures=[weights, perplexity]"],
            "'perplexity' is of decoders; a model of the objective 'masked' sees later tokens; drop it",
        ),
        (
            ["model.family=both", "objective.name=permutation", "batch.tokens=63", "batch.sequence_length=9"],
            "9 is odd; 'permutation' takes sequences of even length",
        ),
        (
            [
                "model.family=both",
                "objective.name=permutation",
                "batch={tokens: 64, sequence_length: 8}",
                "objective.max_span=5",
            ],
            "in sequences of 8, spans of 1 to 5 are 20.91% of the tokens, not 16.67%; lower max_span",
        ),
        (
            [
                "model.family=both",
                "objective.name=permutation",
                "batch={tokens: 64, sequence_length: 32}",
                "objective.predicted_share=0.001",
            ],
            "in sequences of 32, each with a token that is predicted and one that is not, it is 3.18%; raise it to 0.0312"
            " with max_span 1, or take longer sequences",
        ),
        (
            [
                "model.family=both",
                "objective.name=permutation",
                "batch={tokens: 64, sequence_length: 8}",
                "objective.predicted_share=0.99",
            ],
            "in sequences of 8, each with a token that is predicted and one that is not, it is 87.48%; lower it, or take longer"
            " sequences",
        ),
    ],
)
def test_a_mistake_is_one_line_at_its_key(
    recipe: Path, words: list[str], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FAMILIES, "both", Both)
    with pytest.raises(InputError) as error:
        read_recipe(recipe, words)
    (told,) = str(error.value).splitlines()
    assert told.startswith(f"command line: {words[-1]}: {line}")


def literal_share(length: int, share: Fraction, max_span: int) -> Fraction:
    """Of tokens that are predicted in a row: all spans, contexts and places, one after the other. At least one is, and at least
    one is not."""

    @cache
    def targets_from(begin: int) -> dict[frozenset[int], Fraction]:
        """How likely each set of targets is."""
        if begin >= length:
            return {frozenset(): Fraction(1)}
        found = defaultdict[frozenset[int], Fraction](Fraction)
        for span in range(1, max_span + 1):
            exact = span / share
            up = exact - math.floor(exact)
            for context, chance in ((math.floor(exact), 1 - up), (math.ceil(exact), up)):
                if not chance:
                    continue
                places = [range(first, first + span) for first in range(begin, begin + context - span + 1)]
                for place in places:
                    inside = {token for token in place if token < length}
                    for rest, likely in targets_from(begin + context).items():
                        found[rest | inside] += chance / max_span / len(places) * likely
        return found

    return sum(min(max(1, len(row)), length - 1) * likely for row, likely in targets_from(0).items()) / length


@pytest.mark.parametrize(
    ("length", "share", "span"),
    [
        (8, "1/6", 5),
        (16, "1/6", 5),
        (12, "3/10", 4),
        (16, "1/20", 10),
        (6, "9/10", 3),
        (10, "1/200", 2),
        (8, "99/100", 5),
    ],
)
def test_what_short_rows_predict_is_known(length: int, share: str, span: int) -> None:
    wanted = literal_share(length, Fraction(share), span)
    assert share_predicted(length, float(Fraction(share)), span) == pytest.approx(float(wanted), rel=1e-9)


def test_naming_the_familys_own_objective_is_no_change_to_a_run(recipe: Path) -> None:
    plain, named = read_recipe(recipe), read_recipe(recipe, ["objective.name=causal"])
    assert changes_since(yaml.safe_load(plain.to_yaml()), named) == []
    assert changes_since(yaml.safe_load(named.to_yaml()), plain) == []
    of_an_older_version = yaml.safe_load(plain.to_yaml())
    del of_an_older_version["objective"]
    assert changes_since(of_an_older_version, plain) == []
    hybrid = read_recipe(recipe, ["objective.name=hybrid"])
    assert [change.key for change in changes_since(yaml.safe_load(plain.to_yaml()), hybrid)] == ["objective.name"]


def test_a_runs_recipe_says_what_its_objective_did(recipe: Path, tmp_path: Path) -> None:
    """Also what no recipe said: defaults may be others in a later version."""
    resolved = read_recipe(recipe, ["objective={name: hybrid, mask_rate: 0.2}"])
    kept = yaml.safe_load(resolved.to_yaml())["objective"]
    assert kept["masked_rows"] == 0.9375
    assert (kept["mask_rate"], kept["final_mask_rate"], kept["max_span"]) == (0.2, 0.2, 3)
    again = tmp_path / "again.yaml"
    again.write_text(resolved.to_yaml())
    assert read_recipe(again).recipe == resolved.recipe
