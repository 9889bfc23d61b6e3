"""What in a table of several origins cannot be compared, or only with care, a line each."""

from collections.abc import Iterator

import pandas as pd

from lmeff.analysis.scores.observation import is_less_better

_MOST_NAMED = 5
_PER_TEXT = ("bits_per_byte", "dev_bits_per_byte", "bpb", "word_perplexity")
"""Of which less is better, and which count no tokens."""


def table_notes(observed: pd.DataFrame) -> list[str]:
    """Of the rows that come from plain files; our own runs say more about themselves (`comparison_notes`)."""
    notes = [note for key, rows in observed.groupby(["task", "metric"], sort=False) for note in _of_metric(key, rows)]
    if observed["nominal_tokens"].isna().any():
        notes.append("final: at no known number of tokens, so that it is no later point of a curve")
    if len(observed) and observed["tokens_per_step"].isna().any():
        notes.append(
            "tokens per step are not known of every run: curves over steps cannot be had (--columns tokens_per_step=COLUMN)"
        )
    return notes


def step_notes(table: pd.DataFrame) -> list[str]:
    """That equal tokens are not equally many steps, where runs differ in that."""
    sizes = sorted(set(table["tokens_per_step"].dropna()))
    if len(sizes) < 2:
        return []
    return [
        f"tokens per step differ ({', '.join(f'{size:,}' for size in sizes)}): at equal tokens runs have taken other numbers of"
        " steps"
    ]


def _of_metric(key: tuple[str, str], rows: pd.DataFrame) -> Iterator[str]:
    task, metric = key
    for name in ("data", "settings"):
        kinds = list(dict.fromkeys(rows[name].dropna()))
        if len(kinds) > 1:
            shown = ", ".join(kinds[:_MOST_NAMED]) + (" and more" if len(kinds) > _MOST_NAMED else "")
            yield f"not comparable: {task} ({metric}): measured with other {name} ({shown}), and kept apart"
    if len(counts := sorted(set(rows["n"].dropna()))) > 1:
        shown = ", ".join(f"{count:,}" for count in counts[:_MOST_NAMED]) + (
            " and more" if len(counts) > _MOST_NAMED else ""
        )
        yield f"not comparable: {task} ({metric}): measured over other numbers of examples ({shown}), and kept apart"
    if is_less_better(task, metric) and not {task, metric} & set(_PER_TEXT):
        vocabularies = sorted(set(rows["vocab_size"].dropna()))
        if len(vocabularies) > 1:
            shown = ", ".join(f"{size:,}" for size in vocabularies)
            yield (
                f"not comparable: {task} ({metric}): vocabularies of {shown} entries: a token is another amount of text, and"
                " losses and perplexities per token cannot be compared; bits per byte can"
            )
