"""What the cases of a sweep are doing, as their folders say."""

from typing import Any

from lmeff.errors import InputError
from lmeff.formats.state import StateDocument
from lmeff.runs.changes import recipe_changes
from lmeff.runs.command_line import with_solved_budget
from lmeff.sweeps.cases import Case, Sweep

NEW = "new"
"""Of a case that has not begun."""


def state_of(case: Case) -> str:
    """The word of the run's `state.json`, or `new`."""
    document = StateDocument.read(case.run)
    return document.state if document else NEW


def other_recipe(case: Case, reads_text: bool = False) -> str | None:
    """How the run in the case's folder was told to train otherwise, such as `batch.tokens was 512, is now 1024`; None for the
    case itself, and for a folder that holds nothing yet. With `reads_text`, text in another place than then is compared, which
    raises InputError where it is not there."""
    return "; ".join(map(str, recipe_changes(case.run, with_solved_budget(case.resolved), reads_text))) or None


def other_recipes(sweep: Sweep, words: str) -> list[str]:
    """A mistake for every case whose folder holds a run of another recipe; `words` are those of the command line, which would
    train it."""
    return [
        f"{case.run}: {changes}; give the sweep another name, or go on with lmeff train {words} --index {case.index}"
        " --accept-changes"
        for case in sweep.cases
        if (changes := other_recipe(case, reads_text=True))
    ]


def reasons_of_kills(sweep: Sweep) -> tuple[dict[str, str], list[str]]:
    """By case, why the rules of the sweep ended it; and a line where they end none, since they cannot compare the values."""
    if sweep.ranking.kill is None:
        return {}, []
    from lmeff.sweeps.rungs.of_sweep import SweepRungs

    try:
        return {name: str(killed) for name, killed in SweepRungs(sweep).decide().killed.items()}, []
    except InputError as error:
        return {}, [f"no case is killed: {mistake}" for mistake in error.mistakes]


def listing(sweep: Sweep) -> dict[str, Any]:
    """What `lmeff sweep list --json` prints."""
    killed, notes = reasons_of_kills(sweep)
    states = {case.index: state_of(case) for case in sweep.cases}
    ended = {case.index for case in sweep.cases if case.name in killed and states[case.index] != "complete"}
    return {
        "format": 1,
        "sweep": sweep.name,
        "cases": [
            {
                "index": case.index,
                "name": case.name,
                "folder": str(case.run),
                "seed": case.seed,
                "state": "killed" if case.index in ended else states[case.index],
                "values": dict(case.values),
                **({"reason": killed[case.name]} if case.index in ended else {}),
            }
            for case in sweep.cases
        ],
        **({"notes": notes} if notes else {}),
    }
