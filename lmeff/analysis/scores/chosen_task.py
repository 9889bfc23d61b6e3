"""The task that predictions are of."""

from collections import Counter
from collections.abc import Sequence

from lmeff.analysis.reading.tasks import headline_metric
from lmeff.analysis.scores.observation import Observation, is_less_better
from lmeff.analysis.scores.ways import along_one_axis, made_alike
from lmeff.errors import InputError

_MOST_NAMED = 5


def choose_task(observations: Sequence[Observation], wanted: str | None) -> tuple[list[Observation], list[str]]:
    """The observations of one task and metric, made alike: the task that is wanted, else what most scores are of. And lines
    that say so. Raises InputError for a task that is not there, and for one of which less is better."""
    counts = Counter((one.task, one.metric) for one in observations)
    tasks = {task for task, _ in counts}
    if wanted is not None and wanted not in tasks:
        raise InputError(f"--task {wanted}: no scores of it; there are {', '.join(sorted(tasks))}")
    of_task = [key for key in counts if wanted is None or key[0] == wanted]
    usable = [key for key in of_task if not is_less_better(*key)]
    if not usable:
        named = ", ".join(f"{task} ({metric})" for task, metric in of_task)
        raise InputError(f"{named}: less of it is better, as the name says; scores are wanted, of which more is better")
    scored = {key for key in usable if headline_metric([key[1]])} or set(usable)
    # Of a suite that stands beside its parts, the suite: its name is the shortest.
    task, metric = min(scored, key=lambda key: (-counts[key], len(key[0]), key))
    others = sorted({name for name, kind in counts if not is_less_better(name, kind)} - {task})
    notes = (
        [f"task {task}; --task takes another one: {', '.join(others[:_MOST_NAMED])}"] if others and not wanted else []
    )
    chosen, of_units = along_one_axis([one for one in observations if (one.task, one.metric) == (task, metric)])
    chosen, left_out = made_alike(chosen)
    return chosen, [*notes, *of_units, *left_out]
