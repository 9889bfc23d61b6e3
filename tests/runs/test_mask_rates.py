"""A complete run that is given a new last anchor, whose mask rates or stages would have been others with it."""

from pathlib import Path

import pytest

from lmeff.errors import InputError
from lmeff.formats.run_folder import RunFolder
from lmeff.formats.state import StateDocument
from lmeff.recipe import read_recipe
from lmeff.runs.extension import check_extension

RECIPE = """
name: rates
corpus: {name: synthetic}
tokenizer: {vocab_size: 301}
model: {family: llama, hidden_size: 16, intermediate_size: 32, num_hidden_layers: 1, num_attention_heads: 2}
objective: {name: hybrid}
batch: {tokens: 512, sequence_length: 32}
schedule: {name: constant, warmup: 1 steps}
"""
SHORT, LONG = "anchors.tokens=[20480]", "anchors.tokens=[20480,30720]"


def refusal(folder: Path, mode: str, short: str, long: str, *words: str) -> str:
    """Of a run that has trained 40 steps, whose checkpoints are gone: what comes first; empty where it may go on."""
    path = folder / "recipe.yaml"
    path.write_text(RECIPE)
    schedule = ["schedule.name=wsd"] if mode == "anneal" else []
    before, after = (read_recipe(path, [f"anchors.mode={mode}", *schedule, one, *words]) for one in (short, long))
    run = RunFolder(folder / "run")
    facts = {"state": "complete", "step": 40, "tokens": 20_480, "next_anchor": None, "pid": 1, "host": "here"}
    document = StateDocument(**facts, job=None, error=None, updated="now")
    for part in (run, run.part("trunk")):
        part.path.mkdir(parents=True, exist_ok=True)
        document.write(part)
    run.recipe_yaml.write_text(before.to_yaml())
    try:
        check_extension(run, after.recipe, ["anchors.tokens was, is now"])
    except InputError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("mode", ["snapshot", "anneal"])
def test_rates_that_end_with_the_run_are_no_rates_of_a_longer_one(tmp_path: Path, mode: str) -> None:
    said = "objective.final_mask_rate: the mask rate goes from 0.3 to 0.15 over the run, to step 40, so in a longer one"
    assert said in refusal(tmp_path, mode, SHORT, LONG)
    assert "is not there" in refusal(tmp_path, mode, SHORT, LONG, "objective.mask_rate=0.15")
    assert "is not there" in refusal(tmp_path, mode, SHORT, LONG, "objective.name=causal")


def test_an_anchor_in_between_moves_no_rate(tmp_path: Path) -> None:
    assert "is not there" in refusal(tmp_path, "anneal", SHORT, "anchors.tokens=[10240,20480]")


@pytest.mark.parametrize("mode", ["snapshot", "anneal"])
def test_stages_at_shares_of_the_run_are_no_stages_of_a_longer_one(tmp_path: Path, mode: str) -> None:
    words = ["objective.name=causal", "curriculum.protocol=iterative"]
    said = "curriculum.pacing: its stages began at shares of the run to step 40, so in a longer one each begins later"
    assert said in refusal(tmp_path, mode, SHORT, LONG, *words, "curriculum.pacing=share")
    assert "is not there" in refusal(tmp_path, mode, SHORT, LONG, *words, "curriculum.pacing=plateau")


def test_restarts_have_rates_of_their_own(tmp_path: Path) -> None:
    assert not refusal(tmp_path, "restart", SHORT, LONG)
