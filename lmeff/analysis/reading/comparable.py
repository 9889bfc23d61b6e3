"""Runs that stand together in a table or on an axis although their numbers cannot be compared: who they are, and why.

Losses per token need one tokenizer, one held-out text and the same windows, bits per byte one text and the same windows, scores
the same examples and settings.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from lmeff.analysis.reading.groups import Group
from lmeff.analysis.reading.held_out import (
    loss_settings,
    predicted,
    same_held_out_text,
    same_kind,
    same_loss,
    same_settings,
    same_source,
    same_tokenizer,
    sections,
)
from lmeff.analysis.reading.mixed_settings import conditions, setting_words, value_words
from lmeff.analysis.reading.results import TaskResult
from lmeff.analysis.reading.runs import Run
from lmeff.analysis.reading.tasks import examples_of

Item = TypeVar("Item")


def same_conditions(one: TaskResult, other: TaskResult) -> bool:
    """Whether two results of a task can be compared: as many examples and, where both tell, the same data and settings."""
    if one.num_examples != other.num_examples or not same_scoring(one, other):
        return False
    return (
        not (one.about and other.about) or one.about == other.about or conditions(one.about) == conditions(other.about)
    )


def same_scoring(one: TaskResult, other: TaskResult) -> bool:
    """Whether two results were scored in one way, as far as they tell."""
    return not (one.scoring and other.scoring) or one.scoring == other.scoring


def same_text(one: TaskResult, other: TaskResult) -> bool:
    """Whether two results over a text can be compared as far as they do not count tokens: the text may be in other tokens."""
    hashes = [result.about.get("text_sha256") for result in (one, other)]
    if not all(hashes):
        return same_conditions(one, other)
    return hashes[0] == hashes[1] and conditions(one.about)["settings"] == conditions(other.about)["settings"]


PER_TEXT = ("bits_per_byte", "word_perplexity")
"""Metrics that count no tokens."""


def same_for(metric: str) -> Callable[[TaskResult, TaskResult], bool]:
    """What tells whether values of a metric can be compared."""
    return same_text if metric in PER_TEXT else same_conditions


def clusters(items: Iterable[Item], alike: Callable[[Item, Item], bool]) -> list[list[Item]]:
    """Items in groups of those that are like the first of the group, in their order."""
    apart: list[list[Item]] = []
    for item in items:
        for members in apart:
            if alike(members[0], item):
                members.append(item)
                break
        else:
            apart.append([item])
    return apart


def loss_clusters(groups: Sequence[Group]) -> list[list[Group]]:
    """Groups whose losses per token can be compared; those without a loss are in none."""
    with_loss = [group for group in groups if any(_has_loss(run) for run in group.runs)]
    return clusters(with_loss, lambda one, other: same_loss(one.runs[0], other.runs[0]))


def score_clusters(groups: Sequence[Group], task: str) -> list[list[Run]]:
    """Runs whose last results of a task can be compared, of text by bits per byte at least; those without one are in none."""
    return clusters(
        [run for group in groups for run in group.runs if run.results_of(task)],
        lambda one, other: same_text(_last(one, task), _last(other, task)),
    )


def comparison_notes(groups: Sequence[Group]) -> list[str]:
    """A line for everything that some of these have in common by name only."""
    runs = [run for group in groups for run in group.runs]
    tasks = dict.fromkeys(task for run in runs for task in run.headline_tasks)
    notes = [*_loss_notes(groups), *(note for task in tasks for note in _score_notes(groups, task))]
    return [*notes, *_weights_notes(groups)]


def _loss_notes(groups: Sequence[Group]) -> list[str]:
    with_loss = [run for group in groups for run in group.runs if _has_loss(run)]
    notes = []
    if len(kinds := clusters(with_loss, same_kind)) > 1:
        named = _names(groups, kinds, lambda run: f" ({predicted(run)})")
        notes.append(f"{named} are trained to predict other things: their losses cannot be compared")
    neither = "neither their losses nor their bits per byte can be compared"
    if len(texts := clusters(with_loss, same_source)) > 1:
        notes.append(f"{_names(groups, texts)} have other held-out texts: {neither}")
    if len(ways := clusters(with_loss, same_settings)) > 1:
        named = _names(groups, ways, lambda run: f" ({loss_settings(run)})")
        notes.append(f"{named} took their held-out losses over other samples or windows: {neither}")
    if len(tokenizers := clusters(with_loss, same_tokenizer)) > 1:
        named = _names(groups, tokenizers, lambda run: f" ({run.vocab_size:,} entries)" if run.vocab_size else "")
        more = "; bits per byte can"
        if len(texts) > 1 or len(ways) > 1:
            more = ""
        elif len(clusters(with_loss, same_held_out_text)) > 1:
            more = (
                "; nor, as far as is known, can bits per byte: evaluation.dev_tokens takes another part of the text with each"
                " tokenizer (lmeff perplexity takes all of it)"
            )
        notes.append(
            f"{named} have other tokenizers: a token is another amount of text, and losses and perplexities per token cannot"
            f" be compared{more}"
        )
    return notes


def _score_notes(groups: Sequence[Group], task: str) -> list[str]:
    apart = score_clusters(groups, task)
    if len(apart) > 1:
        abouts = [conditions(result.about) for members in apart if (result := _last(members[0], task)).about]
        differing = {name for one in abouts for other in abouts for name in setting_words(one, other)}
        scorings = {result.scoring for members in apart if (result := _last(members[0], task)).scoring}

        def say(run: Run) -> str:
            result = _last(run, task)
            count = "an unknown number of" if result.num_examples is None else f"{result.num_examples:,}"
            about = conditions(result.about) if result.about else None
            words = {name: value_words(about, name) for name in sorted(differing)} if about else {}
            if result.scoring and len(scorings) > 1 and not words.keys() & {"scoring", "scoring_variant"}:
                words["scoring"] = result.scoring
            over = f" over {count} {examples_of(run, task)}"
            return ", ".join([over, *(f"{name} {value}" for name, value in words.items())])

        named = _names(groups, apart, say, "; ")
        return [f"{task}: {named}: not scored alike, so the scores cannot be compared"]
    per_token = [run for members in apart for run in members if _last(run, task).num_tokens]
    counts = clusters(
        per_token,
        lambda one, other: (
            same_conditions(_last(one, task), _last(other, task))
            and _last(one, task).num_tokens == _last(other, task).num_tokens
        ),
    )
    if len(counts) > 1:
        named = _names(groups, counts, lambda run: f" ({_last(run, task).num_tokens:,} tokens)")
        return [
            f"{task}: {named} cut the text into other tokens: losses and perplexities per token cannot be compared; "
            "bits per byte can"
        ]
    return []


def _weights_notes(groups: Sequence[Group]) -> list[str]:
    weighed = [run for group in groups for run in group.runs if any(anchor.results.weights for anchor in run.anchors)]
    shapes = clusters(weighed, lambda one, other: _shape(one) == _shape(other))
    if len(shapes) < 2:
        return []
    return [f"weights: {_names(groups, shapes)} are models of other shapes: norms and ranks differ by that alone"]


def _shape(run: Run) -> str:
    return sections(run, "model") + str(run.num_parameters)


def _names(
    groups: Sequence[Group],
    apart: Sequence[Sequence[Run]],
    more: Callable[[Run], str] = lambda run: "",
    mark: str = " and ",
) -> str:
    """The runs of every cluster by the label of their group, and by their seed too where a group is in several clusters."""
    split = {group.label for group in groups if sum(_is_among(group, members) for members in apart) > 1}
    named = []
    for members in apart:
        ours = {id(run) for run in members}
        labels = [
            f"{group.runs[0].name}, seed {run.seed}" if group.label in split else group.label
            for group in groups
            for run in group.runs
            if id(run) in ours
        ]
        named.append(", ".join(dict.fromkeys(labels)) + more(members[0]))
    return mark.join(named)


def _is_among(group: Group, members: Sequence[Run]) -> bool:
    return bool({id(run) for run in group.runs} & {id(run) for run in members})


def _last(run: Run, task: str) -> TaskResult:
    """The result at the last anchor that has one; one does."""
    return run.results_of(task)[-1]


def _has_loss(run: Run) -> bool:
    return any(anchor.document.held_out is not None for anchor in run.anchors) or bool(run.log)
