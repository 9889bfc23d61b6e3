"""What `lmeff predict` says in a terminal: a few small tables, each with its uncertainty, and what bounds it."""

from collections.abc import Callable, Sequence

from lmeff.quantities import format_tokens
from lmeff.text_tables import table_lines

MOST_CUTOFFS = 7
"""Columns fit a terminal; --json has all."""
_MOST_LISTED = 12

_TITLES = {
    "last_value": "last value",
    "mean_gain": "+ mean gain",
    "same_corpus_gain": "+ gain of its corpus",
    "design_only": "design, no score",
    "pooling": "pooling",
    "pooling_ranks": "size-corrected",
    "shapes": "average of shapes",
    "stack": "stack",
}
_KNOWN = {
    "P1": "all other recipes finished",
    "P2": "other corpora and one recipe of this one finished",
    "P3": "nothing of this corpus finished",
}


def predict_text(document: dict) -> str:
    """The document of `predict` as people read it."""
    parts = [_head(document), document["sentence"], _agreement(document), _errors(document)]
    if document["predictions"]:
        parts += [_predictions(document), _decisions(document)]
    parts.append("\n".join([*map(_line, document["notes"]), *_missing(document)]))
    return "\n\n".join(filter(None, parts)) + "\n"


def _line(note: str) -> str:
    return f"note: {note}"


def _head(document: dict) -> str:
    target = document["target"]
    name = "the score called final" if target["tokens"] is None else f"{target['name']} {target['unit']}"
    corpora = f"{target['num_corpora']} {'corpus' if target['num_corpora'] == 1 else 'corpora'}"
    return (
        f"{document['task']} ({document['metric']}): {target['num_runs']} runs of {target['num_cells']} recipes on {corpora}"
        f" have reached {name}"
    )


def _shown(cutoffs: Sequence[int]) -> list[int]:
    """As many of the cut-offs as fit, first and last among them."""
    if len(cutoffs) <= MOST_CUTOFFS:
        return list(cutoffs)
    places = [round(index * (len(cutoffs) - 1) / (MOST_CUTOFFS - 1)) for index in range(MOST_CUTOFFS)]
    return [cutoffs[place] for place in places]


def _cutoffs(document: dict) -> list[int]:
    return _shown([row["cutoff_tokens"] for row in document["saved"]])


def _find(rows: Sequence[dict], **wanted: object) -> dict | None:
    return next((row for row in rows if all(row[key] == value for key, value in wanted.items())), None)


def _cell(row: dict | None, form: Callable[[float], str]) -> str:
    """`.74 [.41, .85]`; `-` for what is not known."""
    if row is None or row["value"] is None:
        return "-"
    if row["low"] is None:
        return form(row["value"])
    return f"{form(row['value'])} [{form(row['low'])}, {form(row['high'])}]"


def _percent(value: float) -> str:
    return f"{100 * value:.0f}"


def _correlation(value: float) -> str:
    return f"{value:.2f}".replace("0.", ".", 1)


def _agreement(document: dict) -> str:
    header = [
        document["target"]["unit"],
        "saved",
        "rank corr. pooled",
        "within corpora",
        "given corpus, size",
        "pairs by score",
        "size-corrected",
    ]
    rows = [header]
    agreement, pairs = document["agreement"], document["pairs"]
    protocol = "P3" if any(row["protocol"] == "P3" for row in pairs) else "P1"
    for tokens in _cutoffs(document):
        saved = _find(document["saved"], cutoff_tokens=tokens)
        of_cutoff = [row for row in agreement if row["cutoff_tokens"] == tokens]
        corrected = _find(pairs, cutoff_tokens=tokens, protocol=protocol, predictor="pooling_ranks", scope="within")
        rows.append(
            [
                format_tokens(tokens),
                f"{100 * saved['flops_share']:.0f}%" if saved else "-",
                *(_cell(_find(of_cutoff, scope=scope, statistic=statistic), _correlation)
                  for scope, statistic in (("pooled", "spearman"), ("within", "spearman"), ("partial", "partial_r"))),
                _cell(_find(of_cutoff, scope="seed_means", statistic="decision_accuracy"), _percent),
                _cell(corrected, _percent),
            ]
        )  # fmt: skip
    held_out = "learned on other corpora" if protocol == "P3" else "learned on other recipes"
    lines = [
        "How an early score agrees with the end, with 95% intervals over recipes",
        *table_lines(rows, ">"),
        f"pairs: % of the pairs of recipes of one corpus that are ordered as in the end, by means over seeds;"
        f" the size correction is {held_out}",
        _bounds(document),
    ]
    return "\n".join(filter(None, lines))


def _bounds(document: dict) -> str:
    ceilings = {row["scope"]: row["value"] for row in document["ceilings"]}
    said = []
    if ceilings.get("seed_means") is not None:
        said.append(
            f"ceiling: {_percent(ceilings['seed_means'])}% by means over seeds, {_percent(ceilings['within'])}% by single runs"
        )
    words = {
        "bigger_wins": ("sizes", "bigger wins"),
        "larger_vocabulary_wins": ("vocabularies", "larger vocabulary wins"),
    }
    for rule, (scope, title) in words.items():
        row = _find(document["rules"], rule=rule, scope=scope)
        if row and row["value"] is not None:
            said.append(
                f"with no checkpoint, '{title}' orders {_percent(row['value'])}% of the {row['n']} pairs of {scope}"
            )
    return "; ".join(said)


def _errors(document: dict) -> str:
    """Tables of errors, one for each protocol."""
    parts = [_error_table(document, protocol) for protocol in _KNOWN]
    floor = _find(document["ceilings"], scope="error_floor")
    title = "Mean absolute error of what is predicted, in points (hundredths)"
    if floor and floor["value"] is not None:
        title += f"; seeds alone leave {100 * floor['value']:.2f} to whoever knows a recipe but not the run"
    return "\n\n".join([title, *filter(None, parts)])


def _error_table(document: dict, protocol: str) -> str:
    of_protocol = [row for row in document["errors"] if row["protocol"] == protocol]
    cutoffs = [tokens for tokens in _cutoffs(document) if any(row["cutoff_tokens"] == tokens for row in of_protocol)]
    if not cutoffs:
        return ""

    def line(title: str, predictor: str, form: Callable[[dict], str]) -> list[str]:
        found = [_find(of_protocol, cutoff_tokens=tokens, predictor=predictor) for tokens in cutoffs]
        return [title, *(form(row) if row else "-" for row in found)]

    shown = ("design_only", "last_value", "mean_gain", "same_corpus_gain", "pooling", "shapes", "stack")
    rows = [["score at", *map(format_tokens, cutoffs)]]
    rows += [line(_TITLES[name], name, lambda row: f"{100 * row['mae']:.2f}") for name in shown]
    rows.append(line("  its 95% interval", "stack", _interval))
    rows.append(line("  skill over the best rule", "stack", _skill))
    rows.append(line("  its 80% intervals cover", "stack", lambda row: f"{_percent(row['coverage80'])}%"))
    rows.append(line("  its 95% intervals cover", "stack", lambda row: f"{_percent(row['coverage95'])}%"))
    said = [row for row in rows if set(row[1:]) != {"-"}]
    return "\n".join([f"{protocol}: {_KNOWN[protocol]}", *table_lines(said, "<>")])


def _skill(row: dict) -> str:
    return "-" if row["skill"] is None else f"{row['skill']:+.2f}"


def _interval(row: dict) -> str:
    if row["low"] is None:
        return "-"
    return f"{100 * row['low']:.2f}-{100 * row['high']:.2f}"


def _predictions(document: dict) -> str:
    rows = [["run", "predicted from", "will end at", "80% interval", "95% interval"]]
    for row in document["predictions"]:
        if row["predictor"] != "stack":
            continue
        intervals = [f"[{100 * row[f'low{level}']:.1f}, {100 * row[f'high{level}']:.1f}]" for level in (80, 95)]
        if not row["calibrated"]:
            intervals = ["no calibrated interval", ""]
        rows.append([row["run"], format_tokens(row["cutoff_tokens"]), f"{100 * row['value']:.1f}", *intervals])
    return "\n".join([f"Runs that have not reached {document['target']['name']}, in %", *table_lines(rows, "<>")])


def _decisions(document: dict) -> str:
    decisions = document["decisions"]
    if not decisions:
        return ""
    decided = [row for row in decisions if row["decided"]]
    sure = "" if all(row["probability"] is None for row in decisions) else " (95% sure)"
    lines = [f"{len(decided)} of {len(decisions)} comparisons with them, within their corpora, are decided{sure}"]
    for row in decided[:_MOST_LISTED]:
        first, second = (row["a"], row["b"]) if row["probability"] > 0.5 else (row["b"], row["a"])
        share = max(row["probability"], 1 - row["probability"])
        lines.append(f"  {first} will end above {second} ({min(share, 0.999):.1%})")
    if len(decided) > _MOST_LISTED:
        lines.append(f"  and {len(decided) - _MOST_LISTED} more (--json)")
    return "\n".join(lines)


def _missing(document: dict) -> list[str]:
    missing = document["missing"]
    if not missing:
        return []
    named = "; ".join(f"{row['run']}: {format_tokens(row['tokens'])}" for row in missing[:_MOST_LISTED])
    more = f"; and {len(missing) - _MOST_LISTED} more (--json)" if len(missing) > _MOST_LISTED else ""
    return [f"missing: {named}{more}"]
