"""Curves as arrays from scores as they were read, and what is to be predicted of them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lmeff.analysis.scores.curve_table import DECIMALS, CurveTable, Floats
from lmeff.analysis.scores.observation import Observation, check_no_duplicates, is_number
from lmeff.errors import InputError
from lmeff.quantities import format_tokens, parse_count

SHARE_OF_CELLS = 0.25
"""So many cells must have reached an anchor for it to be the default target."""
FEWEST_FINISHED = 3
"""Cells from which anything can be learned."""
_BATCH_OF_ZERO = 16.0
"""log2 of 65,536 tokens a step."""


class TooFewRuns(InputError):
    """Nothing can be learned from so little."""


def make_curve_table(observations: Sequence[Observation]) -> tuple[CurveTable, list[str]]:
    """The curves of one task, without a target yet, and lines that say what they lack. Raises InputError for duplicates."""
    check_no_duplicates(observations)
    first = {one.run: one for one in reversed(observations)}
    runs = sorted(first.values(), key=lambda one: (one.corpus, one.num_parameters or 0, one.cell, _seed_key(one.seed)))
    cells = list(dict.fromkeys(one.cell for one in runs))
    corpora = sorted({one.corpus for one in runs})
    of_cell = {one.cell: one for one in reversed(runs)}
    anchors = sorted({one.tokens for one in observations if one.tokens})
    run_index = {one.run: index for index, one in enumerate(runs)}
    column = {tokens: index for index, tokens in enumerate(anchors)}
    scores, flops = np.full((len(runs), len(anchors)), np.nan), np.full((len(runs), len(anchors)), np.nan)
    final, final_tokens = np.full(len(runs), np.nan), np.zeros(len(runs), dtype=np.int64)
    for one in observations:
        if one.tokens is None:
            final[run_index[one.run]] = one.value
            final_tokens[run_index[one.run]] = one.final_tokens or 0
        elif one.tokens:
            scores[run_index[one.run], column[one.tokens]] = one.value
            flops[run_index[one.run], column[one.tokens]] = np.nan if one.flops is None else one.flops
    members = [of_cell[cell] for cell in cells]
    batches = [one.tokens_per_step for one in members]
    has_batches = all(batches)
    notes = []
    if not has_batches:
        notes.append(
            "tokens per step are not known of every run: no size correction is learned (--columns tokens_per_step=COLUMN)"
        )
    if not all(one.num_parameters for one in members):
        notes.append(
            "parameters are not known of every run: pairs of sizes and the rule that bigger wins cover the others"
        )
    table = CurveTable(
        run_names=tuple(one.run for one in runs),
        cell_names=tuple(cells),
        corpus_names=tuple(corpora),
        cell=np.array([cells.index(one.cell) for one in runs]),
        corpus_of_cell=np.array([corpora.index(one.corpus) for one in members]),
        size_of_cell=_numbers([_nominal_parameters(one) for one in members]),
        vocabulary_of_cell=_numbers([one.vocab_size for one in members]),
        log_batch_of_cell=np.log2(np.array(batches, float)) - _BATCH_OF_ZERO if has_batches else np.zeros(len(cells)),
        has_batches=has_batches,
        anchors=np.array(anchors, dtype=np.int64),
        scores=scores.round(DECIMALS),
        final=final.round(DECIMALS),
        flops=flops,
        unit=observations[0].unit,
        final_tokens=final_tokens,
    )
    return table, notes


def _seed_key(seed: str) -> tuple[int, str]:
    return (int(seed), "") if is_number(seed) else (0, seed)


def _nominal_parameters(one: Observation) -> int | None:
    """Parameters so that another vocabulary is no other size: those of its shape, or as the size says them; else as counted."""
    if one.num_shape_parameters is not None:
        return one.num_shape_parameters
    try:
        return parse_count(one.size)
    except ValueError:
        return one.num_parameters


def _numbers(values: Sequence[int | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values], float)


def with_chosen_target(table: CurveTable, target: str) -> CurveTable:
    """The curves with what is to be predicted: `last` (the last anchor that enough cells have reached), `final`, or a
    number of tokens. Raises InputError for a target that is not there, or that too few runs have reached."""
    if target == "final":
        if np.isnan(table.final).all():
            raise InputError("--target final: no run has a score called final; 'last' is an anchor")
        reached = (~np.isnan(table.scores) & ~np.isnan(table.final)[:, None]).T @ table.members > 0
        common = np.flatnonzero(reached.sum(1) >= SHARE_OF_CELLS * table.num_cells)
        tokens = int(table.anchors[common[-1]]) if len(common) else int(table.anchors[-1]) if len(table.anchors) else 1
        # A score that is itself the end of its run is no early score.
        early = np.where(table.anchors == table.final_tokens[:, None], np.nan, table.scores)
        return _checked(replace(table.with_target("final", table.final, tokens), scores=early))
    if not len(table.anchors):
        raise TooFewRuns("no score is at a number of tokens")
    if target == "last":
        cells = ((~np.isnan(table.scores)).T @ table.members > 0).sum(1)
        enough = np.flatnonzero(cells >= max(SHARE_OF_CELLS * table.num_cells, FEWEST_FINISHED))
        if not len(enough):
            raise _too_few(int(cells.max()), "the same anchor")
        column = int(enough[-1])
    else:
        column = _column_of(table, target)
    tokens = int(table.anchors[column])
    return _checked(table.with_target(format_tokens(tokens), table.scores[:, column], tokens))


def _column_of(table: CurveTable, target: str) -> int:
    try:
        tokens = parse_count(target)
    except ValueError:
        raise InputError(f"--target {target}: a number of tokens such as 2000M, 'last' or 'final' is wanted") from None
    found = np.flatnonzero(table.anchors == tokens)
    if not len(found):
        raise InputError(
            f"--target {target}: no run has this anchor; there are {', '.join(map(format_tokens, table.anchors))}"
        )
    return int(found[0])


def _checked(table: CurveTable) -> CurveTable:
    finished = int((table.is_finished @ table.members > 0).sum())
    if finished < FEWEST_FINISHED:
        raise _too_few(finished, f"the target {table.target_label}")
    if not table.cutoffs:
        raise TooFewRuns(
            f"no anchor before the target {table.target_label} is shared by {FEWEST_FINISHED} finished recipes"
        )
    return table


def _too_few(number: int, what: str) -> TooFewRuns:
    return TooFewRuns(
        f"too few runs: {number} {'recipe has' if number == 1 else 'recipes have'} reached {what}, and at least"
        f" {FEWEST_FINISHED} are needed"
    )


def missing_scores(table: CurveTable) -> list[dict]:
    """`missing`: anchors before the last one of a run which others have and it has not, the target among them."""
    known = ~np.isnan(table.scores)
    asked = set(table.cutoffs)
    if table.target_label != "final":
        asked |= set(np.flatnonzero(table.anchors == table.target_tokens).tolist())
    rows = []
    for run, name in enumerate(table.run_names):
        have = np.flatnonzero(known[run])
        before = range(int(have[-1]) if len(have) else 0)
        lacking = [column for column in before if not known[run, column] and column in asked]
        rows += [{"run": name, "tokens": int(table.anchors[column])} for column in lacking]
    return rows
