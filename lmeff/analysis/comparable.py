"""Runs that stand together in a table or on an axis although their numbers cannot be compared: who they are, and why.

Losses per token need one tokenizer and one held-out text, bits per byte one held-out text, scores the same examples and
settings.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from lmeff.analysis.groups import Group
from lmeff.analysis.mixed import conditions, setting_words, value_words
from lmeff.analysis.results import TaskResult
from lmeff.analysis.runs import Run
from lmeff.analysis.words import over_examples

Item = TypeVar("Item")


def same_tokenizer(one: Run, other: Run) -> bool:
    """Whether a token is the same for both: by the tokenizer's sha256, or where one does not tell, by the recipes."""
    hashes = [run.provenance.get("tokens", {}).get("tokenizer_sha256") for run in (one, other)]
    if all(hashes):
        return hashes[0] == hashes[1]
    return _sections(one, "corpus", "tokenizer") == _sections(other, "corpus", "tokenizer")


def same_held_out_text(one: Run, other: Run) -> bool:
    """Whether both take their losses over one text: by its sha256, by the corpus's fingerprint, or else by the recipes."""
    for key in ("held_out_sha256", "fingerprint"):
        found = [run.provenance.get("corpus", {}).get(key) for run in (one, other)]
        if all(found):
            return found[0] == found[1]
    return _sections(one, "corpus") == _sections(other, "corpus")


def same_loss(one: Run, other: Run) -> bool:
    """Whether losses per token can be compared."""
    return same_tokenizer(one, other) and same_held_out_text(one, other)


def same_conditions(one: TaskResult, other: TaskResult) -> bool:
    """Whether two results of a task can be compared: as many examples and, where both tell, the same data and settings."""
    if one.num_examples != other.num_examples:
        return False
    return not (one.about and other.about) or conditions(one.about) == conditions(other.about)


def clusters(items: Iterable[Item], alike: Callable[[Item, Item], bool]) -> list[list[Item]]:
    """Items in groups of those that are like the first of the group, in their order."""
    found: list[list[Item]] = []
    for item in items:
        for members in found:
            if alike(members[0], item):
                members.append(item)
                break
        else:
            found.append([item])
    return found


def loss_clusters(groups: Sequence[Group]) -> list[list[Group]]:
    """Groups whose losses per token can be compared; those without a loss are in none."""
    with_loss = [group for group in groups if any(_has_loss(run) for run in group.runs)]
    return clusters(with_loss, lambda one, other: same_loss(one.runs[0], other.runs[0]))


def score_clusters(groups: Sequence[Group], task: str) -> list[list[Run]]:
    """Runs whose last results of a task can be compared; those without one are in none."""
    return clusters(
        [run for group in groups for run in group.runs if _last(run, task)],
        lambda one, other: same_conditions(_last(one, task), _last(other, task)),
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
    if len(texts := clusters(with_loss, same_held_out_text)) > 1:
        notes.append(
            f"{_names(groups, texts)} have other held-out texts: neither their losses nor their bits per byte can be compared"
        )
    if len(tokenizers := clusters(with_loss, same_tokenizer)) > 1:
        named = _names(groups, tokenizers, lambda run: f" ({run.vocab_size:,} entries)" if run.vocab_size else "")
        more = "" if notes else "; bits per byte can"
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

        def say(run: Run) -> str:
            result = _last(run, task)
            count = "an unknown number of" if result.num_examples is None else f"{result.num_examples:,}"
            about = conditions(result.about) if result.about else None
            words = {name: value_words(about, name) for name in sorted(differing)} if about else {}
            over = f" over {count} {over_examples(run, task)}"
            return ", ".join([over, *(f"{name} {value}" for name, value in words.items())])

        named = _names(groups, apart, say, "; ")
        return [f"{task}: {named}: not scored alike, so the scores cannot be compared"]
    per_token = [run for members in apart for run in members if _last(run, task).num_tokens]
    counts = clusters(per_token, lambda one, other: _last(one, task).num_tokens == _last(other, task).num_tokens)
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
    return _sections(run, "model") + str(run.num_parameters)


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


def _last(run: Run, task: str) -> TaskResult | None:
    """The result at the last anchor that has one."""
    found = [anchor.results.tasks[task] for anchor in run.anchors if task in anchor.results.tasks]
    return found[-1] if found else None


def _has_loss(run: Run) -> bool:
    return bool(run.log) or any(anchor.document.dev_loss is not None for anchor in run.anchors)


def _sections(run: Run, *names: str) -> str:
    return json.dumps([run.recipe.get(name) for name in names], sort_keys=True, default=str)
