"""What keeps two sides from being compared on a task, in one line, and what else differs between them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lmeff.analysis.comparison.estimates import Row
from lmeff.analysis.comparison.sides import Member, Side
from lmeff.analysis.reading.comparable import same_conditions, same_text
from lmeff.analysis.reading.held_out import same_source, same_tokenizer
from lmeff.analysis.reading.mixed_settings import conditions, setting_words, value_words
from lmeff.analysis.reading.results import TaskResult
from lmeff.evaluation.tasks.names import own_task_names

_NOT_OF_THE_MODEL = ("seed", "name", "paths", "publish", "evaluation", "checkpoints")
"""Keys of a recipe that do not decide what a model becomes."""
_MOST_KEYS = 8


class Sides:
    """The members of both sides by name."""

    def __init__(self, a: Side, b: Side) -> None:
        self.a, self.b = a, b
        self.names: dict[Member, str] = {
            member: side.name_of(member, letter) for letter, side in (("A", a), ("B", b)) for member in side.members
        }

    @property
    def members(self) -> list[Member]:
        return list(self.names)

    def who(self, members: Iterable[Member]) -> str:
        """`A and B, seed 2`: a side alone where all its members are among these."""
        chosen = list(members)
        names: list[str] = []
        for letter, side in (("A", self.a), ("B", self.b)):
            ours = [member for member in side.members if member in chosen]
            names += [letter] if len(ours) == len(side.members) else [self.names[member] for member in ours]
        return " and ".join(names)

    def listed(self, values: Mapping[Member, Any]) -> str:
        """`A 67,000, B 3,350`: seeds of a side with one value stand together."""
        parts: dict[str, list[str]] = {}
        for letter, side in (("A", self.a), ("B", self.b)):
            ours = [member for member in side.members if member in values]
            if ours and len({str(values[member]) for member in ours}) == 1:
                parts.setdefault(str(values[ours[0]]), []).append(letter)
            else:
                for member in ours:
                    parts.setdefault(str(values[member]), []).append(self.names[member])
        return ", ".join(f"{' and '.join(names)} {value}" for value, names in parts.items())


def results_of(sides: Sides, task: str) -> dict[Member, TaskResult]:
    """Of those members that have a result of the task."""
    tasks = {member: member.anchor.results.tasks.get(task) for member in sides.members}
    return {member: result for member, result in tasks.items() if result is not None}


def refusal(sides: Sides, task: str) -> str | None:
    """Why a task is not compared; None where it can be."""
    results = results_of(sides, task)
    if without := [member for member in sides.members if member not in results]:
        return f"{task}: no result of {sides.who(without)}"
    first, *others = results.values()
    alike = same_text if first.kind == "perplexity" else same_conditions
    if all(alike(first, other) for other in others):
        return _other_lm_eval(sides, task, results)
    return f"{task}: {'; '.join(_what_differs(sides, results))}"


def _what_differs(sides: Sides, results: Mapping[Member, TaskResult]) -> Iterable[str]:
    counts = {member: result.num_examples for member, result in results.items()}
    if len(set(counts.values())) > 1:
        shown = {member: "unknown" if count is None else f"{count:,}" for member, count in counts.items()}
        yield f"other numbers of examples ({sides.listed(shown)})"
    abouts = {member: conditions(result.about) for member, result in results.items() if result.about}
    names = dict.fromkeys(
        name for one in abouts.values() for other in abouts.values() for name in setting_words(one, other)
    )
    for name in names:
        values = {member: value_words(about, name) for member, about in abouts.items()}
        said = {member: "not said" if value == "None" else value for member, value in values.items()}
        yield f"other {name} ({sides.listed(said)})"
    scorings = {member: result.scoring for member, result in results.items() if result.scoring}
    if len(set(scorings.values())) > 1 and not names.keys() & {"scoring", "scoring_variant"}:
        yield f"other scoring ({sides.listed(scorings)})"


def _other_lm_eval(sides: Sides, task: str, results: Mapping[Member, TaskResult]) -> str | None:
    """lm-eval's own tasks are what its version says they are; ours say themselves what they are."""
    versions = _versions(results, "lm_eval")
    if len(set(versions.values())) < 2 or task in own_task_names() or task.startswith(("finetune", "lmeff_pairs")):
        return None
    if any(result.kind not in ("pairs", "choices") for result in results.values()):
        return None
    return f"{task}: a task of lm-eval, scored with other versions of it ({sides.listed(versions)})"


def _versions(results: Mapping[Member, TaskResult], package: str) -> dict[Member, str]:
    known = {member: (result.about.get("versions") or {}).get(package) for member, result in results.items()}
    return {member: version for member, version in known.items() if version}


def unsaid(sides: Sides, task: str) -> str | None:
    """Which results of a compared task do not say how they were made."""
    silent = [member for member, result in results_of(sides, task).items() if not result.about]
    if not silent:
        return None
    return f"{task}: the results of {sides.who(silent)} do not say with which data and settings they were made"


def headline_note(sides: Sides, row: Row) -> str | None:
    """Where the scores of pairs make another accuracy than the result says: a group that weighs its paradigms by size, or
    files that do not belong together."""
    reported = []
    for side in (sides.a, sides.b):
        scores = [m.anchor.results.tasks[row.task].metrics.get("acc") for m in side.members]
        known = [score.value for score in scores if score is not None]
        reported.append(math.fsum(known) / len(known) if len(known) == len(scores) else None)
    ours = dict(zip("AB", zip((row.a, row.b), reported, strict=True), strict=True))
    other = [
        f"{letter} {100 * mean:.2f}, not {100 * said:.2f}"
        for letter, (mean, said) in ours.items()
        if said is not None and abs(mean - said) > 1e-6
    ]
    if not other:
        return None
    return f"{row.task}: the unweighted mean over paradigms is not what the results say ({'; '.join(other)})"


# ---- what is stated beside the numbers


def facts(member: Member) -> dict[str, Any]:
    """What a difference may come from, by name; None for what is not known."""
    run, document = member.run, member.anchor.document
    plan = run.plan
    return {
        "tokens": getattr(document, "exact_tokens", None),
        "parameters": run.num_parameters,
        "flops": _flops(document),
        "batch_tokens": plan.batch_tokens if plan else None,
        "sequence_length": plan.sequence_length if plan else None,
        "vocab_size": run.vocab_size,
        "corpus": run.corpus,
    }


def _flops(document: Any) -> float | None:
    """With those of teachers and of scoring text, where an anchor has them."""
    parts = [getattr(document, name, None) for name in ("flops", "flops_teachers", "flops_scoring")]
    return None if parts[0] is None else math.fsum(part for part in parts if part is not None)


def recipe_notes(sides: Sides) -> list[str]:
    """In which keys the recipes of the sides differ: what a difference may come from."""
    first, second = (_flat(side.members[0].run.recipe) for side in (sides.a, sides.b))
    if not first or not second:
        return []
    keys = [key for key in {**first, **second} if first.get(key) != second.get(key)]
    if not keys:
        return []
    shown = [f"{key} ({_said(first, key)} | {_said(second, key)})" for key in keys[:_MOST_KEYS]]
    more = f" and {len(keys) - _MOST_KEYS} more" if len(keys) > _MOST_KEYS else ""
    together = "; the difference is that of all of these together" if len(keys) > 1 else ""
    return [f"recipes differ in {', '.join(shown)}{more}{together}"]


def seeds_alone(sides: Sides) -> str | None:
    """What to say first of two sides at one anchor of one recipe that differ in their seeds alone; else None."""
    recipes = [_flat(member.run.recipe) for member in sides.members]
    seeds = [set(side.seeds or ()) for side in (sides.a, sides.b)]
    is_one_recipe = all(recipes) and all(recipe == recipes[0] for recipe in recipes)
    is_one_anchor = len({member.tokens for member in sides.members}) == 1
    if not (is_one_recipe and is_one_anchor and all(seeds) and seeds[0].isdisjoint(seeds[1])):
        return None
    return "A and B are seeds of one recipe" + (": what differs here is what seeds do" if _made_alike(sides) else "")


def _made_alike(sides: Sides) -> bool:
    """Whether, as far as is known, models of one recipe had one text, as many devices and the same versions: a corpus that was
    prepared anew may be another."""
    first, *others = sides.members
    is_one_text = all(same_source(first.run, one.run) and same_tokenizer(first.run, one.run) for one in others)
    world_sizes = {getattr(member.anchor.document, "world_size", None) for member in sides.members} - {None}
    tasks = dict.fromkeys(task for member in sides.members for task in member.anchor.results.tasks)
    return is_one_text and len(world_sizes) < 2 and not version_notes(sides, list(tasks))


def _said(recipe: Mapping[str, Any], key: str) -> str:
    text = str(recipe.get(key, "-"))
    return text if len(text) <= 40 else f"{text[:37]}..."


def _flat(recipe: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in recipe.items():
        name = f"{before}{key}"
        if name in _NOT_OF_THE_MODEL:
            continue
        found |= _flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return found


def weights_notes(sides: Sides) -> list[str]:
    """Where models of the two sides are the same."""
    hashes = [{_weights(member) for member in side.members} - {None} for side in (sides.a, sides.b)]
    same = hashes[0] & hashes[1]
    return [f"A and B have the same weights ({', '.join(sorted(one[:8] for one in same if one))})"] if same else []


def _weights(member: Member) -> str | None:
    known: str | None = getattr(member.anchor.document, "weights_sha256", None)
    abouts = (result.about.get("weights_sha256") for result in member.anchor.results.tasks.values())
    return known or next((one for one in abouts if one), None)


def version_notes(sides: Sides, tasks: Sequence[str]) -> list[str]:
    """Versions of what computed the scores, where they differ."""
    notes = []
    for package in ("torch", "transformers", "lm_eval"):
        versions: dict[Member, str] = {}
        for task in tasks:
            versions |= _versions(results_of(sides, task), package)
        if len(set(versions.values())) > 1:
            notes.append(f"scored with other versions of {package} ({sides.listed(versions)})")
    return notes


def facts_table(sides: Sides) -> dict[str, tuple[list[Any], list[Any]]]:
    """By name of a fact, its values on either side, each once; facts that neither side has are left out."""
    a, b = ([facts(member) for member in side.members] for side in (sides.a, sides.b))
    once = [{name: list(dict.fromkeys(one[name] for one in side)) for name in side[0]} for side in (a, b)]
    table = {name: (values, once[1][name]) for name, values in once[0].items()}
    return {name: values for name, values in table.items() if values != ([None], [None])}
