"""The numbers on the page of families are those of the tables beside the study, computed again with loops of their own."""

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "lmeff" / "models" / "README.md").read_text()
SAID = " ".join(PAGE.split())
HELD_OUT = {"dev_loss": "next token", "dev_masked_loss": "masked", "dev_permutation_loss": "permutation"}
CAUSAL = ("llama", "hybrid", "hybrid_half", "gpt2", "gptj", "mamba2", "hybrid_zero")
END, EQUAL_FLOPS, EARLY = 2_002_944, 1_298_432, 503_808


def values(metric: str, tokens: int, run: str, file: str = "families_study.csv") -> np.ndarray:
    """One a seed."""
    table = pd.read_csv(ROOT / "tests" / "benchmarks" / file)
    rows = table[(table["run"] == run) & (table["metric"] == metric) & (table["exact_tokens"] == tokens)]
    return rows.sort_values("seed")["value"].to_numpy()


def mean_interval(numbers: np.ndarray, digits: int) -> str:
    """Student's t over seeds."""
    half = stats.t.ppf(0.975, len(numbers) - 1) * numbers.std(ddof=1) / len(numbers) ** 0.5
    mean = numbers.mean()
    return f"{mean:.{digits}f} [{mean - half:.{digits}f}, {mean + half:.{digits}f}]"


def tukey_half(arms: dict[str, np.ndarray]) -> float:
    """Half the width of the intervals of all differences at once: a layout of arms by seeds, without interaction."""
    names, seeds = list(arms), range(3)
    everything = np.mean([arms[name][seed] for name, seed in product(names, seeds)])
    squares = 0.0
    for name, seed in product(names, seeds):
        of_seed = np.mean([arms[other][seed] for other in names])
        squares += (arms[name][seed] - arms[name].mean() - of_seed + everything) ** 2
    freedom = (len(names) - 1) * (len(seeds) - 1)
    return stats.studentized_range.ppf(0.95, len(names), freedom) * (squares / freedom / len(seeds)) ** 0.5


def between(arm: str, twin: str, metric: str, digits: int, scale: float, tokens: dict[str, int]) -> str:
    arms = {name: scale * values(metric, tokens.get(name, END), name) for name in CAUSAL}
    half, mean = tukey_half(arms), arms[arm].mean() - arms[twin].mean()
    return f"{mean:.{digits}f} [{mean - half:.{digits}f}, {mean + half:.{digits}f}]"


def rows_under(header: str) -> list[list[str]]:
    lines = PAGE[PAGE.index(header) :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def test_the_row_of_every_arm() -> None:
    rows = rows_under("| arm | seeds |")
    assert len(rows) == 10
    for arm, _, _, _, loss, bits, score in rows:
        (metric,) = (name for name in HELD_OUT if len(values(name, END, arm)))
        assert loss == f"{HELD_OUT[metric]} {mean_interval(values(metric, END, arm), 3)}"
        assert bits == (mean_interval(values("dev_bits_per_byte", END, arm), 3) if metric == "dev_loss" else "")
        assert score == mean_interval(100 * values("acc", END, arm), 1)


@pytest.mark.parametrize(
    ("column", "metric", "digits", "scale"), [(2, "dev_bits_per_byte", 3, 1), (4, "acc", 1, 100)], ids=["bits", "BLiMP"]
)
def test_what_arms_differ_by(column: int, metric: str, digits: int, scale: float) -> None:
    rows = [row for row in rows_under("| arm | minus |")[:-1] if row[column] != "scored otherwise"]
    assert len(rows) == 8
    for row in rows:
        assert row[column] == between(row[0], row[1], metric, digits, scale, {}).replace("-0.0 [", "0.0 [")
        at_equal_flops = between(row[0], row[1], metric, digits, scale, {"mamba2": EQUAL_FLOPS})
        assert row[column + 1] == (at_equal_flops if row[0] == "mamba2" else "the same anchors")


def test_the_numbers_in_sentences() -> None:
    bits = {"metric": "dev_bits_per_byte", "digits": 3, "scale": 1, "tokens": {}}
    behind = between("gptj", "mamba2", **bits).replace(" [", " bits per byte behind [")
    assert f"the next is GPT-J, {behind}" in SAID
    early = between("llama", "gptj", "dev_loss", 2, 1, dict.fromkeys(CAUSAL, EARLY))
    assert f"After 500k tokens it is ahead, by {early.replace(' [', ' nats [')}" in SAID
    above = between("gptj", "hybrid", "acc", 1, 100, {})
    assert f"GPT-J ends {above.replace(' [', ' points above the hybrid [')}" in SAID
    alone = 100 * (values("acc", END, "gptj") - values("acc", END, "hybrid"))
    assert "({:.1f}, {:.1f} and {:.1f})".format(*alone) in SAID
    assert mean_interval(alone, 1).split(" ", 1)[1] in SAID
    masked = {tokens: values("dev_masked_loss", tokens, "bert").mean() for tokens in (EARLY, END)}
    assert f"its masked loss is {masked[EARLY]:.2f} after 500k tokens and {masked[END]:.2f} at the end" in SAID


def test_the_look_at_bert() -> None:
    slow, file = "bert_1e-3", "families_study_bert.csv"
    losses = {tokens: values("dev_masked_loss", tokens, slow, file) for tokens in (0, EARLY, 1_003_520, END)}
    assert np.array_equal(losses[0], values("dev_masked_loss", 0, "bert")), "the same first models"
    below = mean_interval(values("dev_masked_loss", END, "bert") - losses[END], 3)
    assert f"{mean_interval(losses[END], 3)}, {below.replace(' [', ' below what 3e-3 gives [')}" in SAID
    assert f"({losses[EARLY].mean():.3f} after 500k tokens, {losses[1_003_520].mean():.3f} after 1M)" in SAID
    accuracies = 100 * values("acc", END, slow, file)
    more = mean_interval(accuracies - 100 * values("acc", END, "bert"), 1).replace(" [", " points [")
    assert f"On BLiMP, {mean_interval(accuracies, 1).replace(' [', '% [')}, no" in SAID
    assert f"is seen, {more}" in SAID
