"""How early the published curves of BLiMP tell their end: every bar with its value, PASS or below.

    python tests/benchmarks/early_prediction.py [--data DIR] [--only published,synthetic]

`--data` holds learning_curves/blimp_overall.csv (by default LMEFF_TEST_DATA). What of the method
was changed after a look at held-out cells stands in README.md: coverage on this table is no independent check. Takes a minute.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lmeff.analysis.prediction.document import predict
from lmeff.analysis.prediction.protocols import PROTOCOLS, Trial, error_rows, make_splits
from lmeff.analysis.scores.observation import Observation
from lmeff.analysis.scores.paths import read_observations

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from analysis.synthetic_curves import synthetic_table

MILLION = 10**6
CUTOFFS = (100, 250, 500, 750, 1000)
Bar = tuple[str, float, str, float]
"""What is measured, its value, `<=` or `>=`, and the bar."""

P1_FINAL = (0.0110, 0.0105, 0.0102, 0.0085, 0.0078)
P2_FINAL = (0.0130, 0.0130, 0.0125, 0.0100, 0.0085)
P1_LAST = (0.0130, 0.0130, 0.0115, 0.0098, 0.0088)
PUBLISHED = {25: (0.4465, 0.1672), 2000: (0.9658, 0.9554)}
"""Pooled rank correlation and R2 with the final score."""
MEAN_GAIN = {100: 0.0245, 250: 0.0185, 500: 0.0164, 1000: 0.0130}


def find(rows: list[dict], **wanted: object) -> dict:
    """The one row with these values."""
    (row,) = (row for row in rows if all(row[key] == value for key, value in wanted.items()))
    return row


def published_bars(final: dict) -> Iterator[Bar]:
    """What the table says by itself."""
    for millions, values in PUBLISHED.items():
        for statistic, value in zip(("spearman", "r2"), values, strict=True):
            row = find(final["agreement"], cutoff_tokens=millions * MILLION, scope="pooled", statistic=statistic)
            yield (
                f"pooled {statistic} at {millions}M, off the published {value:.4f}",
                abs(row["value"] - value),
                "<=",
                5e-5,
            )
    for millions, value in MEAN_GAIN.items():
        row = find(final["errors"], protocol="P1", cutoff_tokens=millions * MILLION, predictor="mean_gain")
        yield f"mean gain at {millions}M, off {value:.4f}", abs(row["mae"] - value), "<=", 5e-5


def error_bars(document: dict, protocol: str, bars: tuple[float, ...], target: str) -> Iterator[Bar]:
    """Mean absolute errors of the stack."""
    for millions, bar in zip(CUTOFFS, bars, strict=True):
        row = find(document["errors"], protocol=protocol, cutoff_tokens=millions * MILLION, predictor="stack")
        yield f"{protocol} error at {millions}M, target {target}", row["mae"], "<=", bar


def relative_bars(final: dict) -> Iterator[Bar]:
    """Of the stack beside the simple predictors, pooling, and what its intervals cover."""
    for row in final["errors"]:
        millions, protocol = row["cutoff_tokens"] // MILLION, row["protocol"]
        if row["predictor"] != "stack" or millions not in CUTOFFS:
            continue
        pooling = find(final["errors"], protocol=protocol, cutoff_tokens=row["cutoff_tokens"], predictor="pooling")
        if protocol == "P1":
            bar = 0.10 if millions == 1000 else -0.05
            yield f"P1 skill over the best simple one at {millions}M", row["skill"], ">=", bar
        if protocol == "P3":
            gain = find(final["errors"], protocol="P3", cutoff_tokens=row["cutoff_tokens"], predictor="mean_gain")
            yield f"P3 error in mean gain's at {millions}M", row["mae"] / gain["mae"], "<=", 1.05
        else:
            yield f"{protocol} 80% interval covers at {millions}M", row["coverage80"], ">=", 0.72
            yield f"{protocol} 80% interval covers at {millions}M", row["coverage80"], "<=", 0.90
            yield f"{protocol} 95% interval covers at {millions}M", row["coverage95"], ">=", 0.89
        yield f"{protocol} error in pooling's at {millions}M", row["mae"] / pooling["mae"], "<=", 1.0


def pair_bars(final: dict) -> Iterator[Bar]:
    """Pairs within a corpus that was held out, and what was said of them."""
    for millions, bar in ((250, 0.80), (500, 0.85), (750, 0.85), (1000, 0.85)):
        row = find(
            final["pairs"],
            protocol="P3",
            cutoff_tokens=millions * MILLION,
            predictor="pooling_ranks",
            scope="within",
        )
        yield (
            f"pairs of a held-out corpus at {millions}M [{row['low']:.2f}, {row['high']:.2f}]",
            row["value"],
            ">=",
            bar,
        )
        yield (
            f"win probability at {millions}M, said {row['said']:.3f} and right {row['right']:.3f}",
            abs(row["said"] - row["right"]),
            "<=",
            0.07,
        )


def cut_in_turn(observations: list[Observation], cut: int = 500) -> Iterator[Bar]:
    """Every cell's runs stop at a cut-off once, beside all others that are finished."""
    ends = {one.run: one.value for one in observations if one.tokens == 2000 * MILLION}
    inside = {"80": 0, "95": 0}
    told = 0
    for cell in dict.fromkeys(one.cell for one in observations):
        known = [one for one in observations if one.cell != cell or (one.tokens and one.tokens <= cut * MILLION)]
        for row in predict(known)["predictions"]:
            if row["predictor"] == "stack":
                told += 1
                for level in inside:
                    inside[level] += row[f"low{level}"] <= ends[row["run"]] <= row[f"high{level}"]
    yield "runs of cut cells that are told", told, ">=", len(ends)
    yield f"18 cells cut at {cut}M in turn, 80% covers", inside["80"] / told, ">=", 0.72
    yield f"18 cells cut at {cut}M in turn, 80% covers", inside["80"] / told, "<=", 0.90


def synthetic_bars(num_tables: int = 4) -> Iterator[Bar]:
    """Coverage over all cells of several tables, each left out once."""
    covered: dict[tuple[str, str], list[float]] = {}
    cells = 0
    for seed in range(num_tables):
        table = synthetic_table(seed)
        cells += table.num_cells
        for column in table.cutoffs:
            for row in error_rows(Trial(table, column, make_splits(table, protocols=("P1",)))):
                if row["predictor"] in ("stack", "pooling"):
                    for level in ("80", "95"):
                        covered.setdefault((row["predictor"], level), []).append(row[f"coverage{level}"])
    for (predictor, level), shares in covered.items():
        off = abs(float(np.mean(shares)) - int(level) / 100)
        yield (
            f"{level}% interval of {predictor} over {cells} synthetic cells, {np.mean(shares):.3f}: off",
            off,
            "<=",
            0.03,
        )


def tell(bars: Iterator[Bar]) -> int:
    """Prints every bar, and returns how many are not reached."""
    below = 0
    for name, value, sign, bar in bars:
        reached = value <= bar + 1e-9 if sign == "<=" else value >= bar - 1e-9
        below += not reached
        print(f"{'PASS ' if reached else 'below'}  {name:<75} {value:8.4f} {sign} {bar:.4f}")
    return below


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("LMEFF_TEST_DATA"))
    parser.add_argument("--only", default="published,synthetic")
    options = parser.parse_args()
    below = 0
    if "published" in options.only and options.data is None:
        parser.error("--data or LMEFF_TEST_DATA: where is learning_curves/blimp_overall.csv?")
    if "published" in options.only:
        observations, _ = read_observations([options.data / "learning_curves" / "blimp_overall.csv"])
        began = time.process_time()
        final = predict(observations, "final")
        seconds = time.process_time() - began
        last = predict(observations)
        below += tell(published_bars(final))
        below += tell(error_bars(final, "P1", P1_FINAL, "final"))
        below += tell(error_bars(final, "P2", P2_FINAL, "final"))
        below += tell(error_bars(last, "P1", P1_LAST, "2000M"))
        below += tell(relative_bars(final))
        below += tell(pair_bars(final))
        below += tell(cut_in_turn([one for one in observations if one.tokens]))
        below += tell(
            iter([(f"CPU seconds, {len(observations)} rows, {len(PROTOCOLS)} protocols", seconds, "<=", 10.0)])
        )
    if "synthetic" in options.only:
        below += tell(synthetic_bars())
    print(f"{below} bars are not reached" if below else "every bar is reached")


if __name__ == "__main__":
    main()
