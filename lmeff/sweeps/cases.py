"""From a sweep to its cases: recipes that are numbered, named and checked, all of them before any is run."""

import itertools
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lmeff.errors import InputError
from lmeff.formats.run_folder import RunFolder
from lmeff.models.families import check_family
from lmeff.plan import make_plan
from lmeff.recipe import Resolved
from lmeff.recipe.mistakes import as_lines
from lmeff.recipe.reading import Setting
from lmeff.recipe.schema import Recipe
from lmeff.recipe.yaml_lines import COMMAND_LINE, Layer, Mistake
from lmeff.sweeps.axes import Choice, is_excluded
from lmeff.sweeps.names import case_name, hub_mistakes, named_apart, short_keys
from lmeff.sweeps.ranking.section import Ranking
from lmeff.sweeps.reading import SweepText, read_text
from lmeff.sweeps.rungs.checks import mistakes_with_cases


@dataclass(frozen=True)
class Case:
    """One recipe of a sweep."""

    index: int
    """Counted from 0. Seeds vary slowest, so that further ones leave the numbers of the others as they are."""
    name: str
    """CASE in its folder `OUTPUTS/SWEEP/CASE/seed-S`; a sweep without axes has one case, which is called as the sweep."""
    values: Mapping[str, Any]
    """By the axes' keys: a plain value as the recipe reads it, or the name of a named one."""
    resolved: Resolved

    @property
    def recipe(self) -> Recipe:
        return self.resolved.recipe

    @property
    def seed(self) -> int:
        return self.recipe.seed

    @property
    def run(self) -> RunFolder:
        return RunFolder.of(self.recipe)

    def __str__(self) -> str:
        return f"{self.name}, seed {self.seed}"


@dataclass(frozen=True)
class Sweep:
    """A sweep with all its cases, which are right as far as the sweep and its recipe say."""

    name: str
    file: str
    cases: tuple[Case, ...]
    compared: tuple[Case, ...]
    """All cases of the file, whichever of them words of the command line choose: those that rules compare, so that no command
    decides otherwise than another one."""
    ranking: Ranking = field(default_factory=Ranking)
    """By what the cases are compared, and which of them end early."""

    @property
    def not_compared(self) -> list[Case]:
        """Those with a value or a seed that only the command line names."""
        known = {(case.name, case.seed) for case in self.compared}
        return [case for case in self.cases if (case.name, case.seed) not in known]

    @property
    def is_part(self) -> bool:
        """Whether words of the command line leave out some of those that rules compare."""
        return bool(
            {(case.name, case.seed) for case in self.compared} - {(case.name, case.seed) for case in self.cases}
        )

    @property
    def seeds(self) -> list[int]:
        return list(dict.fromkeys(case.seed for case in self.cases))

    def case(self, index: int) -> Case:
        """The case of that number. Raises InputError."""
        if not 0 <= index < len(self.cases):
            raise InputError(f"{self.file}: there is no case {index}; it has {self.describe_numbers()}")
        return self.cases[index]

    def describe_numbers(self) -> str:
        return f"{len(self.cases)} cases, 0 to {len(self.cases) - 1}" if len(self.cases) > 1 else "one case, 0"


def read_sweep(file: str, words: Sequence[str] = ()) -> Sweep:
    """The cases of a sweep's file, or of a recipe with lists on the command line (`seed=[0,1,2]`); other words hold for all.

    Raises InputError with the mistakes of all cases at once.
    """
    text = read_text(file, words)
    name, cases = _cases_of(text)
    compared = cases
    if text.choosing and (text.ranking.kill or text.ranking.promote):
        _, compared = _cases_of(read_text(file, [word for word in words if word not in text.choosing]))
    _check_ranking(compared, text)
    return Sweep(name, text.file, tuple(_with_repositories(cases, text)), tuple(compared), text.ranking)


def _cases_of(text: SweepText) -> tuple[str, list[Case]]:
    """The name of the sweep, and its cases. Raises InputError."""
    drafts = _resolve_all(text)
    name = text.name or drafts[0].resolved.recipe.name
    has_axes = bool(text.axes)
    cases = [
        Case(index, draft.name if has_axes else name, draft.values, _in_folder(draft, name, has_axes, text))
        for index, draft in enumerate(drafts)
    ]
    _check_apart(cases, drafts, text)
    return name, cases


@dataclass(frozen=True)
class _Draft:
    name: str
    values: dict[str, Any]
    choices: tuple[Choice, ...]
    resolved: Resolved


def _resolve_all(text: SweepText) -> list[_Draft]:
    """Every case by itself. Raises InputError with each mistake once, saying of which cases it is where it is not of all."""
    combinations = _combinations(text)
    mistakes: dict[str, list[str]] = defaultdict(list)
    drafts = []
    short = short_keys([key for axis in text.axes for key in axis.keys])
    seeds: list[Setting | None] = [*text.seeds] or [None]
    for seed, choices in itertools.product(seeds, combinations):
        values = {key: value for choice in choices for key, value in choice.values.items()}
        named = [key for choice in choices if choice.is_named for key in choice.values]
        settings = [setting for choice in choices for setting in choice.settings]
        if text.name:  # a recipe that other recipes extend may have no name
            settings.append(Setting(("name",), Layer(text.name), text.mark))
        try:
            resolved = text.recipe.resolve([*settings, *([seed] if seed else [])], text.overrides)
            _check_plan(resolved)
            read = {key: value if key in named else _value_of(resolved, key, value) for key, value in values.items()}
            drafts.append(_Draft(case_name(read, named, short), read, choices, resolved))
        except InputError as error:
            for line in error.mistakes:
                mistakes[line].append(case_name(values, named, short))
    if mistakes:
        num_cases = len(combinations) * max(1, len(text.seeds))
        # A line of the sweep's own file names the value that is wrong.
        is_own = tuple(f"{source}:" for source in (text.file, COMMAND_LINE.removesuffix(": ")))
        raise InputError(
            *(line if line.startswith(is_own) else said_of(line, names, num_cases) for line, names in mistakes.items())
        )
    return drafts


def _combinations(text: SweepText) -> list[tuple[Choice, ...]]:
    """The choices of every case without its seed: the first axis varies slowest."""
    found = []
    for choices in itertools.product(*(axis.choices for axis in text.axes)):
        values = {key: value for choice in choices for key, value in choice.values.items()}
        if not is_excluded(values, text.exclusions):
            found.append(choices)
    if not found:
        raise InputError(f"{text.file}: exclude: leaves no case")
    return found


def _value_of(resolved: Resolved, key: str, written: Any) -> Any:
    """A value as the recipe reads it, so that `8k` and `8000` are one name."""
    value: Any = resolved.values
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            return written
        value = value[part]
    return value


def _check_plan(resolved: Resolved) -> None:
    """What only the model or the plan shows. Raises InputError, with file and line where a key is named."""
    check_family(resolved)
    with resolved.naming_lines():
        make_plan(resolved.recipe)


def said_of(line: str, names: Sequence[str], num_cases: int) -> str:
    """A line with the name of the first case that it is true of, where it is not true of all."""
    if len(names) == num_cases:
        return line
    different = list(dict.fromkeys(names))
    others = f" and {len(different) - 1} more" if len(different) > 1 else ""
    return f"{line} (case {different[0]}{others})"


def _in_folder(draft: _Draft, sweep: str, has_axes: bool, text: SweepText) -> Resolved:
    """The recipe of a case under its own name, in the folder of the sweep. Without axes the seeds are all that differ."""
    outputs = draft.resolved.recipe.paths.outputs
    folder = {"name": draft.name, "paths.outputs": os.path.join(outputs, sweep)} if has_axes else {"name": sweep}
    return draft.resolved.with_values(folder, str(text.mark))


def _check_apart(cases: Sequence[Case], drafts: Sequence[_Draft], text: SweepText) -> None:
    """Raises InputError where two cases would be in one folder, which is so when an axis has a value twice."""
    seen: dict[str, int] = {}
    lines = []
    for case, draft in zip(cases, drafts, strict=True):
        first = seen.setdefault(str(case.run), case.index)
        if first != case.index:
            pairs = zip(draft.choices, drafts[first].choices, strict=True)
            marks = [f"{ours.mark}: {', '.join(ours.values)}" for ours, theirs in pairs if ours != theirs]
            lines.append(f"{marks[0] if marks else text.file}: the cases {first} and {case.index} are the same, {case}")
    if lines:
        raise InputError(*dict.fromkeys(lines))


def _check_ranking(cases: Sequence[Case], text: SweepText) -> None:
    """Raises InputError for rules that do not fit the cases."""
    found = mistakes_with_cases(text.ranking, [(case.name, case.recipe) for case in cases])
    mistakes = [Mistake(("ranking", *path), problem) for path, problem in found]
    if mistakes:
        raise InputError(*as_lines(mistakes, text.marks, [text.file], text.file))


def _with_repositories(cases: Sequence[Case], text: SweepText) -> Iterator[Case]:
    """Cases that could share a repository on the Hub get their names into its name. Raises InputError for names that the Hub
    would not take."""
    mistakes: list[str] = []
    templates = named_apart([(case.name, case.recipe) for case in cases], text.axes)
    for case, template in zip(cases, templates, strict=True):
        resolved = case.resolved
        if template is not None:
            resolved = resolved.with_values({"publish.repository": template}, str(text.mark))
        mistakes += [f"{mistake} (case {case.name})" for mistake in hub_mistakes(resolved)]
        yield Case(case.index, case.name, case.values, resolved)
    if mistakes:
        raise InputError(*dict.fromkeys(mistakes))
