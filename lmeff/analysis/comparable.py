"""Runs that stand together in a table or on an axis although their numbers cannot be compared: who they are, and why.

Losses per token need one tokenizer and one held-out text, bits per byte one held-out text, scores the same examples and
settings.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from lmeff.analysis.groups import Group
from lmeff.analysis.mixed import conditions, setting_words
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


def score_clusters(groups: Sequence[Group], task: str) -> list[list[Group]]:
    """Groups whose last results of a task can be compared; those without one are in none."""
    return clusters(
        [group for group in groups if _last(group, task)],
        lambda one, other: same_conditions(_last(one, task), _last(other, task)),
    )


def comparison_notes(groups: Sequence[Group]) -> list[str]:
    """A line for everything that some of these have in common by name only."""
    tasks = dict.fromkeys(task for group in groups for run in group.runs for task in run.headline_tasks)
    notes = [*_loss_notes(groups), *(note for task in tasks for note in _score_notes(groups, task))]
    return [*notes, *_weights_notes(groups)]


def _loss_notes(groups: Sequence[Group]) -> list[str]:
    apart = loss_clusters(groups)
    firsts = [members[0].runs[0] for members in apart]
    notes = []
    if len(clusters(firsts, same_held_out_text)) > 1:
        notes.append(
            f"{_names(apart)} have other held-out texts: neither their losses nor their bits per byte can be compared"
        )
    if len(clusters(firsts, same_tokenizer)) > 1:
        named = _names(apart, lambda group: f" ({size:,} entries)" if (size := group.runs[0].vocab_size) else "")
        more = "" if notes else "; bits per byte can"
        notes.append(
            f"{named} have other tokenizers: a token is another amount of text, and losses and perplexities per token cannot"
            f" be compared{more}"
        )
    return notes


def _score_notes(groups: Sequence[Group], task: str) -> list[str]:
    apart = score_clusters(groups, task)
    if len(apart) > 1:
        results = [_last(members[0], task) for members in apart]
        found = [conditions(result.about) if result.about else None for result in results]
        differing = {
            name
            for about in filter(None, found)
            for other in filter(None, found)
            for name in setting_words(about, other)
        }

        def say(group: Group) -> str:
            result = _last(group, task)
            count = "an unknown number of" if result.num_examples is None else f"{result.num_examples:,}"
            over = f"over {count} {over_examples(group.runs[0], task)}"
            about = setting_words(conditions(result.about), {}) if result.about else {}
            return " " + ", ".join([over, *(f"{name} {about[name]}" for name in sorted(differing & set(about)))])

        return [f"{task}: {_names(apart, say, '; ')}: not scored alike, so the scores cannot be compared"]
    per_token = [group for group in groups if (result := _last(group, task)) and result.num_tokens]
    counts = clusters(per_token, lambda one, other: _last(one, task).num_tokens == _last(other, task).num_tokens)
    if len(counts) > 1:
        named = _names(counts, lambda group: f" ({_last(group, task).num_tokens:,} tokens)")
        return [
            f"{task}: {named} cut the text into other tokens: losses and perplexities per token cannot be compared; "
            "bits per byte can"
        ]
    return []


def _weights_notes(groups: Sequence[Group]) -> list[str]:
    weighed = [group for group in groups if any(anchor.results.weights for run in group.runs for anchor in run.anchors)]
    shapes = clusters(weighed, lambda one, other: _shape(one.runs[0]) == _shape(other.runs[0]))
    if len(shapes) < 2:
        return []
    return [f"weights: {_names(shapes)} are models of other shapes: norms and ranks differ by that alone"]


def _shape(run: Run) -> str:
    return _sections(run, "model") + str(run.num_parameters)


def _names(
    apart: Sequence[Sequence[Group]], more: Callable[[Group], str] = lambda group: "", mark: str = " and "
) -> str:
    return mark.join(", ".join(group.label for group in members) + more(members[0]) for members in apart)


def _last(group: Group, task: str) -> TaskResult | None:
    """The result at the last anchor that has one."""
    found = [anchor.results.tasks[task] for run in group.runs for anchor in run.anchors if task in anchor.results.tasks]
    return found[-1] if found else None


def _has_loss(run: Run) -> bool:
    return bool(run.log) or any(anchor.document.dev_loss is not None for anchor in run.anchors)


def _sections(run: Run, *names: str) -> str:
    return json.dumps([run.recipe.get(name) for name in names], sort_keys=True, default=str)
