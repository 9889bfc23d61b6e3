"""`ranking.*` on the command line, as other keys are given there."""

from pathlib import Path

import pytest
from sweeps.study import SWEEP

from lmeff.command_line import read_command
from lmeff.errors import InputError
from lmeff.sweeps.cases import read_sweep
from lmeff.sweeps.ranking.section import Halving, Margin

WORDS = ["ranking.rungs=prefix", "ranking.kill.margin.by=0.1"]
RATES = SWEEP.partition("axes:")[0] + "axes: {optimizer.learning_rate: [1e-3, 3e-3]}\n"


def test_words_stand_over_the_file_and_are_no_keys_of_the_cases(folder: Path) -> None:
    Path("s.yaml").write_text(RATES + "ranking: {rungs: prefix, kill: {at_tokens: [5k], halving: {keep: 0.3}}}\n")
    sweep = read_sweep("s.yaml", ["ranking.kill.margin.by=0.1", "ranking.kill.halving.keep=0.5", "seed=0"])
    kill = sweep.ranking.kill
    assert kill is not None
    assert (kill.at_tokens, kill.halving, kill.margin) == ([5000], Halving(keep=0.5), Margin(by=0.1))
    assert [str(case) for case in sweep.cases] == ["learning_rate-0.001, seed 0", "learning_rate-0.003, seed 0"]
    assert len(sweep.compared) == 4, "words of the ranking choose no cases"
    assert read_sweep("s.yaml", ["ranking.kill=null"]).ranking.kill is None


def test_rules_of_a_recipe_with_lists(folder: Path) -> None:
    words = ["optimizer.learning_rate=[1e-3,3e-3]", *WORDS]
    ranking = read_sweep("base.yaml", words).ranking
    assert ranking.kill is not None
    assert ranking.kill.margin == Margin(by=0.1)
    assert read_command(["base.yaml", *words, "--index", "1"]).rungs is not None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ranking.metrik=x"], "command line: ranking.metrik=x: unknown key; did you mean 'metric'?"),
        (["ranking=5"], "command line: ranking=5: must be a section with keys under it, not 5"),
        (["ranking.kill.median={}"], "command line: ranking.kill.median={}: ranking.kill: needs ranking.rungs"),
        ([*WORDS, "ranking.kill.at_tokens=[6k]"], "command line: ranking.kill.at_tokens=[6k]: 6k is no anchor above 0"),
    ],
)
@pytest.mark.parametrize("file", ["s.yaml", "base.yaml"])
def test_a_mistake_names_the_word(folder: Path, file: str, words: list[str], said: str) -> None:
    Path("s.yaml").write_text(RATES)
    with pytest.raises(InputError) as error:
        read_sweep(file, ["optimizer.learning_rate=[1e-3,3e-3]", *words])
    assert [line[: len(said)] for line in error.value.mistakes] == [said]
