"""Results that cannot be compared: of one task at several anchors with different data or settings, and of one anchor with
different weights."""

import json
from collections import Counter
from collections.abc import Iterable

from lmeff.analysis.reading.runs import Anchor, Run
from lmeff.quantities import format_tokens

_NOT_COMPARED = ("model_files_sha256", "config_sha256", "batch_size", "pooling", "segments", "micro_batch_size")
"""Settings that tell models apart, as the last three do of families that are fine-tuned, or decide how fast scores are made and
not what they are."""
_NAMES = {"task_files_sha256": "task files"}
"""Settings by a name that people read."""
_UNSAID = {"limit": "none", "scoring": "causal"}
"""What a setting is where a result has none."""


def mixed_notes(run: Run) -> list[str]:
    """A line for each task whose results at some anchors were made with other data or settings than those at most of them, and
    for each anchor whose tasks were not all scored with the same weights."""
    notes = [*run.left_out, *(note for anchor in run.anchors if (note := _mixed_weights(run, anchor)))]
    for task in run.headline_tasks:
        results = {anchor.document.nominal_tokens: anchor.results.tasks.get(task) for anchor in run.anchors}
        abouts = {tokens: conditions(one.about) for tokens, one in results.items() if one and one.about}
        keys = {tokens: json.dumps(about, sort_keys=True) for tokens, about in abouts.items()}
        if len(set(keys.values())) < 2:
            notes += _other_scorings(
                task, {tokens: one.scoring for tokens, one in results.items() if one and one.scoring}
            )
            notes += _other_counts(task, {tokens: one.num_examples for tokens, one in results.items() if one})
            continue
        usual_key = Counter(reversed(keys.values())).most_common(1)[0][0]  # of equally many, what the last ones have
        usual = json.loads(usual_key)
        others = {tokens: abouts[tokens] for tokens, key in keys.items() if key != usual_key}
        differing = {name for about in others.values() for name in _differences(about, usual)}
        notes.append(f"{task}: {_listed(others)} scored with other {_kinds(differing)} than the others")
    return notes


def _other_scorings(task: str, scorings: dict[int, str]) -> list[str]:
    """Files of lm-eval's own command line say how they were scored, and no more."""
    usual = Counter(reversed(scorings.values())).most_common(1)[0][0] if scorings else None
    others = [tokens for tokens, scoring in scorings.items() if scoring != usual]
    return [f"{task}: {_listed(others)} scored with other settings (scoring) than the others"] if others else []


def _other_counts(task: str, counts: dict[int, int | None]) -> list[str]:
    """Where results do not say what they were made with, the number of examples still tells."""
    usual = Counter(reversed(counts.values())).most_common(1)[0][0] if counts else None
    others = {tokens: count for tokens, count in counts.items() if count != usual and count is not None}
    if not others or usual is None:
        return []
    numbers = ", ".join(f"{count:,}" for count in dict.fromkeys(others.values()))
    return [f"{task}: {_listed(others)} scored over {numbers} examples, the others over {usual:,}"]


def _mixed_weights(run: Run, anchor: Anchor) -> str | None:
    abouts = {task: result.about for task, result in anchor.results.tasks.items() if task in run.headline_tasks}
    tasks: dict[str, list[str]] = {}
    for task, about in abouts.items():
        if about.get("weights_sha256"):
            tasks.setdefault(about["weights_sha256"], []).append(task)
    if len(tasks) < 2:
        return None
    return (
        f"anchor {anchor.tokens_name}: {'; '.join(map(', '.join, tasks.values()))} were scored with different weights"
    )


def conditions(about: dict) -> dict:
    """What has to be the same for two results to be comparable, by name. Choices are the same in precision `adaptive` as in
    `float32`, and with `exact` as without."""
    settings: dict[str, object] = {}
    for name, value in (about.get("settings") or {}).items():
        # Of a group of fine-tuned tasks a setting is the settings of one of them.
        inner = {f"{name}.{key}": value[key] for key in value} if isinstance(value, dict) else {name: value}
        settings |= {key: one for key, one in inner.items() if key.rpartition(".")[2] not in _NOT_COMPARED}
    settings.pop("exact", None)
    if settings.get("precision") == "adaptive":
        settings["precision"] = "float32"
    return {"data": about.get("data_sha256"), "settings": settings}


def _differences(about: dict, usual: dict) -> list[str]:
    ours, theirs = about["settings"], usual["settings"]
    names = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
    if "scoring" in names:  # another way of scoring has other variants, or none
        names = [name for name in names if name != "scoring_variant"]
    return [*(["data"] if about["data"] != usual["data"] else []), *names]


def _listed(anchors: Iterable[int]) -> str:
    *most, last = map(format_tokens, anchors)
    return f"anchors {', '.join(most)} and {last} were" if most else f"anchor {last} was"


def setting_words(about: dict, usual: dict) -> list[str]:
    """The conditions in which two differ, as people read them."""
    return [_NAMES.get(name, name) for name in _differences(about, usual)]


def value_words(about: dict, name: str) -> str:
    """One of the conditions, by a name of `setting_words`."""
    key = next((key for key, word in _NAMES.items() if word == name), name)
    value = about["data"] if key == "data" else about["settings"].get(key)
    if value is None and key in _UNSAID:
        return _UNSAID[key]
    return str(value)[:8] if key == "data" or key.endswith("sha256") else str(value)


def _kinds(differing: set[str]) -> str:
    """`data and settings (limit, precision)`."""
    settings = sorted(_NAMES.get(name, name) for name in differing - {"data"})
    kinds = ["data"] if "data" in differing else []
    return " and ".join([*kinds, *([f"settings ({', '.join(settings)})"] if settings else [])])
