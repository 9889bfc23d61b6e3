"""A ranking as text."""

from typing import Any

from lmeff.quantities import format_tokens
from lmeff.text_tables import table_lines


def format_ranking(ranking: dict[str, Any], top: int | None = None) -> str:
    """What `lmeff sweep rank` prints; `top` rows of each table."""
    metric, rows = ranking["metric"], ranking["rows"]
    at = f" at {format_tokens(ranking['tokens'])} tokens" if ranking["tokens"] is not None else ""
    better = "lower" if ranking["lower_is_better"] else "higher"
    has_latency = any(row["latency_ms"] is not None for row in rows)
    table = [["", "case", "seeds", "mean", "behind the best", "95% interval", *(["ms"] if has_latency else [])]]
    for place, row in enumerate(rows[:top], start=1):
        latency = ["" if row["latency_ms"] is None else f"{row['latency_ms']:.3g}"] if has_latency else []
        table.append([str(place), row["case"], str(row["num_seeds"]), *_cells(row), *latency])
    lines = [f"{ranking['sweep']}: {metric}{at}, {better} is better", "", *table_lines(table, "><>", "  "), ""]
    for key, of_axis in ranking["axes"].items():
        lines += [f"{key}, over all other values:"]
        lines += [
            *table_lines([[one["value"], str(one["num_seeds"]), *_cells(one)] for one in of_axis[:top]], "<>", "  "),
            "",
        ]
    lines += [_verdict(ranking), *(_promoted(ranking["promotion"]) if ranking["promotion"] else [])]
    lines += [f"missing: {one}" for one in ranking["missing"]] + ranking["notes"]
    return "\n".join(lines)


def _cells(row: dict[str, Any]) -> list[str]:
    interval = "" if row["low"] is None else f"{row['low']:.4g} to {row['high']:.4g}"
    return [f"{row['mean']:.4f}", f"{row['behind']:.4g}" if row["behind"] else "", interval]


def _promoted(promotion: dict[str, Any]) -> list[str]:
    """Who takes the place of the baseline, or why nobody does."""
    of = f"{100 * promotion['gain']:g}% better than {promotion['baseline']}, at no more latency and memory"
    lines = [
        f"promoted ({of}): {', '.join(promotion['promoted'])}" if promotion["promoted"] else f"promoted: none ({of}):"
    ]
    lines[0] += f" {promotion['why_none']}" if promotion["why_none"] else ""
    return lines + [f"  {row['case']}: {'; '.join(row['reasons'])}" for row in promotion["rows"] if row["reasons"]]


def _verdict(ranking: dict[str, Any]) -> str:
    test = f"{ranking['test']}, 5% over all pairs together, {ranking['degrees_of_freedom']} degrees of freedom"
    if ranking["winner"]:
        others = "every other case with a result" if ranking["missing"] else "every other case"
        return f"winner: {ranking['winner']}, which differs from {others} ({test})"
    if len(ranking["rows"]) == 1:
        return f"no winner: {ranking['rows'][0]['case']} is the only case with a result, so there is none to compare it with"
    if not ranking["seed_sd"]:
        return "no winner: without several seeds that differ, nothing says how far others would lie off"
    tied = [row["case"] for row in ranking["rows"] if not row["differs"]]
    if len(tied) > 1:
        return f"no winner: {', '.join(tied)} do not differ for certain ({test})"
    return f"no winner: {tied[0]} differs from all others here, but has one seed, or others are missing ({test})"
