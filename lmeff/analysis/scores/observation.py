"""One score of one run at one anchor, whoever measured it: what curves and predictions of several origins have in common."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lmeff.analysis.reading.comparable import same_for, score_clusters
from lmeff.analysis.reading.groups import Group, group_runs
from lmeff.analysis.reading.held_out import sections
from lmeff.analysis.reading.results import TaskResult
from lmeff.analysis.reading.runs import Run
from lmeff.analysis.reading.tasks import headline_metric
from lmeff.errors import InputError
from lmeff.quantities import format_tokens

_MOST_NAMED = 5
_LESS_IS_BETTER = re.compile(
    r"(?<![a-z])(?:dev|val|valid|test|train|eval)?(?:loss(?:es)?|ppl|perplexit(?:y|ies)|bits|nll|bpb)(?![a-z])"
)


@dataclass(frozen=True)
class Observation:
    cell: str
    """What is trained alike but for the seed."""
    seed: str
    tokens: int | None
    """The anchor; None of a score called `final`."""
    task: str
    metric: str
    value: float
    """A share of 1, or whatever the metric is."""
    corpus: str = "-"
    family: str = "-"
    size: str = "-"
    num_parameters: int | None = None
    num_shape_parameters: int | None = None
    """Parameters of a shape whose size has no name, the same with every vocabulary; None where they are not known."""
    vocab_size: int | None = None
    tokens_per_step: int | None = None
    flops: float | None = None
    """Up to the anchor, with those of teachers and of scoring text."""
    stderr: float | None = None
    n: int | None = None
    """How many examples the value is of."""
    phenomenon: str | None = None
    """The group that the task is in."""
    data: str | None = None
    """Which data the value is of, as whoever measured it names them; values of others cannot be compared."""
    settings: str | None = None
    """As `data`, of how it was measured."""
    suite: str | None = None
    """Of minimal pairs: the suite that the task is a paradigm or a phenomenon of, or that it is."""
    unit: str = "tokens"
    """What `tokens` counts: BabyLM's anchors are numbers of words."""
    final_tokens: int | None = None
    """Of a score called `final` the anchor whose score it is; None where it is at no known number of tokens."""

    @property
    def run(self) -> str:
        """The run as people read it."""
        return f"{self.cell}, seed {self.seed}"


def observations_of(runs: Sequence[Run]) -> tuple[list[Observation], list[str]]:
    """The headline scores of runs at every anchor after the start; of a complete run the last one is `final`, too. And lines
    that say what was left out because it cannot be compared."""
    groups = group_runs(runs)
    left_out, notes = _not_comparable(groups)
    shapes = _parameters_of_shapes(runs)
    every = [(run, one) for group in groups for run in group.runs for one in _of_run(group.label, run, shapes)]
    found = []
    for run, observation in every:
        if (id(run), observation.task) in left_out:
            continue
        if observation.tokens in (others := _scored_otherwise(run, observation.task, observation.metric)):
            named = ", ".join(map(format_tokens, others))
            notes.append(
                f"{observation.task}: left out of {run.name} seed {run.seed}, not scored as its last anchor was: {named}"
            )
            continue
        found.append(observation)
    return found, list(dict.fromkeys(notes))


def _scored_otherwise(run: Run, task: str, metric: str) -> list[int]:
    """The anchors of a run whose results of a task cannot be compared with its last one."""
    results = {anchor.document.nominal_tokens: anchor.results.tasks.get(task) for anchor in run.anchors}
    there = {tokens: result for tokens, result in results.items() if result}
    last = list(there.values())[-1]

    def is_alike(result: TaskResult) -> bool:
        ways = {result.scoring, last.scoring} - {None}
        return len(ways) < 2 and same_for(metric)(result, last)

    return [tokens for tokens, result in there.items() if not is_alike(result)]


def _parameters_of_shapes(runs: Sequence[Run]) -> dict[str, int]:
    """Parameters without embeddings by shape, of runs whose size has no name. Heads of some families have a bias for each entry
    of the vocabulary, so of several vocabularies it is the smallest number."""
    found: dict[str, int] = {}
    for run in runs:
        if run.plan and not run.has_named_size:
            number, shape = run.plan.parameters.non_embedding, sections(run, "model")
            found[shape] = min(number, found.get(shape, number))
    return found


def _of_run(cell: str, run: Run, shapes: Mapping[str, int]) -> Iterable[Observation]:
    is_complete = run.state is not None and run.state.state == "complete"
    for task in run.headline_tasks:
        anchors = [anchor for anchor in run.anchors if task in anchor.results.tasks and anchor.document.nominal_tokens]
        for anchor in anchors:
            result = anchor.results.tasks[task]
            metric = headline_metric(result.metrics)
            if metric is None:
                continue
            anchor_tokens = anchor.document.nominal_tokens
            ends = (None,) if is_complete and anchor is run.anchors[-1] else ()
            for tokens in (anchor_tokens, *ends):
                yield Observation(
                    cell=cell,
                    seed=str(run.seed),
                    tokens=tokens,
                    task=task,
                    metric=metric,
                    value=result.metrics[metric].value,
                    corpus=run.corpus or "-",
                    family=run.family or "-",
                    size=run.size or "-",
                    num_parameters=run.num_parameters,
                    num_shape_parameters=shapes.get(sections(run, "model")),
                    vocab_size=run.vocab_size,
                    tokens_per_step=run.plan.batch_tokens if run.plan else None,
                    flops=anchor.flops,
                    stderr=result.metrics[metric].stderr,
                    n=result.num_examples,
                    unit=run.unit,
                    final_tokens=anchor_tokens if tokens is None else None,
                )


def _not_comparable(groups: Sequence[Group]) -> tuple[set[tuple[int, str]], list[str]]:
    """Runs, by `id`, and tasks that were not scored as most others were."""
    tasks = dict.fromkeys(task for group in groups for run in group.runs for task in run.headline_tasks)
    left_out, notes = set(), []
    for task in tasks:
        apart = sorted(score_clusters(groups, task), key=len, reverse=True)
        others = [run for members in apart[1:] for run in members]
        left_out |= {(id(run), task) for run in others}
        if others:
            names = ", ".join(f"{run.name} seed {run.seed}" for run in others)
            notes.append(f"{task}: left out, not scored as the others were: {names}")
    return left_out, notes


def is_number(seed: str) -> bool:
    """Whether a seed's name is a number."""
    return seed.isascii() and seed.isdigit() and len(seed) < 18


def is_less_better(*names: str) -> bool:
    """Whether a task, metric or column is named as something of which less is better, such as a loss."""
    return any(_LESS_IS_BETTER.search(name.lower()) for name in names)


def check_no_duplicates(observations: Sequence[Observation], *apart: str) -> None:
    """Raises InputError for two scores of one run, anchor, task and metric that differ in none of the fields `apart`; names
    them."""
    counts = Counter(
        (one.run, one.tokens, one.task, one.metric, *(getattr(one, name) for name in apart)) for one in observations
    )
    twice = [key for key, count in counts.items() if count > 1]
    if twice:
        named = "; ".join(
            f"{run}, {'final' if tokens is None else format_tokens(tokens)}, {task}"
            for run, tokens, task, *_ in twice[:_MOST_NAMED]
        )
        more = f"; and {len(twice) - _MOST_NAMED} more" if len(twice) > _MOST_NAMED else ""
        raise InputError(
            f"{len(twice)} scores are there more than once: {named}{more}; runs that differ in another column need it in"
            " --columns, as family=COLUMN, and scores made otherwise data=COLUMN or settings=COLUMN"
        )
