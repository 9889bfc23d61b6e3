"""Which models a word of the command line names: a run, a revision, results of another model, or seeds of one recipe."""

from collections.abc import Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path

from lmeff.analysis.reading.groups import group_runs
from lmeff.analysis.reading.other_models import read_collections, read_model_results, result_folders
from lmeff.analysis.reading.paths import find_folders, read_one_run
from lmeff.analysis.reading.runs import Anchor, Run
from lmeff.errors import InputError
from lmeff.formats.anchor import anchor_of
from lmeff.formats.result import SOURCE
from lmeff.formats.run_folder import RunFolder
from lmeff.hub.remote import is_remote
from lmeff.quantities import format_tokens

FINAL = "final"
"""For `at`: the last anchor of each."""


@dataclass(frozen=True, eq=False)
class Member:
    """One model of a side."""

    run: Run
    anchor: Anchor

    @property
    def tokens(self) -> int | None:
        """Nominal; None for a model whose name does not say it."""
        tokens: int | None = self.anchor.document.nominal_tokens
        return tokens

    @property
    def tokens_text(self) -> str:
        """`2B tokens`, or the name of the revision."""
        return self.anchor.revision if self.tokens is None else f"{format_tokens(self.tokens)} {self.run.unit}"


def held_out_metric(anchor: Anchor) -> str | None:
    """What an anchor calls its held-out loss; None without one."""
    names = ("dev_loss", "dev_masked_loss", "dev_permutation_loss")
    return next((name for name in names if getattr(anchor.document, name, None) is not None), None)


@dataclass(frozen=True)
class Side:
    """What is compared with the other side."""

    label: str
    members: tuple[Member, ...]
    """In the order of their seeds."""
    seeds: tuple[int, ...] | None
    """None where nothing says which seed a member has."""

    def name_of(self, member: Member, letter: str) -> str:
        """`A`, or `A, seed 1`."""
        if len(self.members) == 1:
            return letter
        number = self.members.index(member)
        return f"{letter}, seed {self.seeds[number]}" if self.seeds else f"{letter}, model {number + 1}"


@dataclass(frozen=True)
class _Named:
    """A run, and the anchor that was named of it."""

    run: Run
    anchor: Anchor | None


def read_sides(a: str | Path, b: str | Path, at: str | int | None = None) -> tuple[Side, Side, list[str]]:
    """Both sides, and a line for what was chosen without being asked for.

    Each is a run folder, `RUN@REVISION`, `RUN/revisions/NAME`, `RUN/results/NAME`, a folder with the results of another model,
    a folder of seeds, or several of these between commas, also with `*`. Runs are compared at their last anchor that all of
    them have; beside a revision that was named, at the last anchor of each.

    Args:
        at: an anchor of all runs, such as `25M`, or `final`.

    Raises InputError for what is not there, or is no one recipe.
    """
    named = [_find(str(word)) for word in (a, b)]
    for word, found in zip((a, b), named, strict=True):
        _check_one_recipe(str(word), found)
    members, notes = _choose(named, at)
    first, second = (_ordered(str(word), found) for word, found in zip((a, b), members, strict=True))
    _check_no_overlap(first[0], second[0])
    label_a, label_b = _labels(first[0], second[0])
    return Side(label_a, *first), Side(label_b, *second), notes


def _ordered(word: str, found: Sequence[Member]) -> tuple[tuple[Member, ...], tuple[int, ...] | None]:
    """The members in the order of their seeds, and these seeds where they are known. Raises InputError for other anchors."""
    if len({member.tokens for member in found}) > 1:
        reached = ", ".join(f"{member.run.folder} {member.tokens_text}" for member in found)
        raise InputError(f"{word}: its seeds are not at one number of tokens ({reached}); name it with --at TOKENS")
    ordered = tuple(sorted(found, key=lambda member: member.run.seed))
    seeds = tuple(member.run.seed for member in ordered)
    return (ordered, seeds) if len(set(seeds)) == len(seeds) else (tuple(found), None)


def _find(word: str) -> list[_Named]:
    path = Path(word)
    if path.is_dir():
        return _in_folder(path)
    if any(mark in word for mark in "*?["):
        folders = [match for match in map(Path, sorted(glob(word))) if match.is_dir()]
        if not folders:
            raise InputError(f"{word}: no folder is called so")
        return [named for folder in folders for named in _in_folder(folder)]
    if "," in word:
        return [named for part in word.split(",") if part for named in _find(part)]
    folder, at, revision = word.rpartition("@")
    if at and Path(folder).is_dir() and RunFolder(Path(folder)).has_revisions:
        return [_revision(RunFolder(Path(folder)), revision)]
    if is_remote(word):
        raise InputError(
            f"{word}: no such folder; a model of the Hub is compared by its results: `lmeff eval {word} --tasks ...`, then "
            "name their folder, such as outputs/eval/REPO@REVISION"
        )
    raise InputError(f"{word}: {'not a folder' if path.exists() else 'no such folder'}")


def _in_folder(folder: Path) -> list[_Named]:
    if (folder / SOURCE).is_file():
        run = read_model_results(folder)
        return [_Named(run, run.anchors[0])]
    owner = RunFolder.of_revision(folder.resolve()) or RunFolder.of_results(folder.resolve())
    if owner and owner.has_revisions:
        return [_revision(owner, folder.resolve().name)]
    runs, collected = find_folders([folder])
    found = [*map(read_one_run, runs), *read_collections(collected)]
    if not found:
        single = [read_model_results(one) for one in result_folders(folder)]
        return [_Named(run, run.anchors[0]) for run in single]
    return [_Named(run, None) for run in found]


def _revision(folder: RunFolder, name: str) -> _Named:
    run = read_one_run(folder.path)
    return _Named(run, run.anchor(anchor_of(folder.revision(name)) if folder.revision(name).is_dir() else name))


def _check_one_recipe(word: str, found: Sequence[_Named]) -> None:
    """Raises InputError unless these are one model or models that differ in their seed."""
    if len(found) == 1:
        return
    has_recipe = [bool(one.run.recipe) for one in found]
    if "," in word and not any(has_recipe):  # nothing says whether they are: a person does
        return
    groups = group_runs([one.run for one in found])
    if len(groups) > 1:
        names = ", ".join(dict.fromkeys(group.label for group in groups))
        raise InputError(
            f"{word}: these are no seeds of one recipe, each once ({names}); name one of them, or seeds of one: a,b,c"
        )


def _check_no_overlap(a: Sequence[Member], b: Sequence[Member]) -> None:
    """Raises InputError where some, but not all, models are on both sides: the sides are then neither paired nor apart."""
    ours, theirs = ({(m.run.folder.resolve(), m.run.name, m.anchor.revision) for m in side} for side in (a, b))
    if ours & theirs and ours != theirs:
        names = ", ".join(sorted(f"{folder.name} {revision}" for folder, _, revision in ours & theirs))
        raise InputError(f"{names}: on both sides; a model can only be on one")


# ---- which anchor of a run


def _choose(named: Sequence[list[_Named]], at: str | int | None) -> tuple[list[list[Member]], list[str]]:
    open_runs = [one.run for side in named for one in side if one.anchor is None]
    has_fixed = any(one.anchor is not None for side in named for one in side)
    if at is not None and not open_runs:
        raise InputError(f"--at {at}: both sides name a revision already")
    if at is not None and at != FINAL:
        return [[Member(one.run, one.anchor or one.run.anchor(at)) for one in side] for side in named], []
    if at == FINAL or has_fixed or not open_runs:
        return [[Member(one.run, one.anchor or anchor) for one, anchor in _last(side)] for side in named], []
    tokens = _last_common(open_runs)
    ends = {_measured(run)[-1].document.nominal_tokens for run in open_runs}
    chosen = [[Member(one.run, one.run.anchor(tokens)) for one in side] for side in named]
    if len(ends) == 1:
        return chosen, []
    reached = " and ".join(format_tokens(end) for end in sorted(ends))
    unit = open_runs[0].unit
    return chosen, [
        f"compared at {format_tokens(tokens)} {unit}, the last anchor that all have; they end at {reached} (--at final "
        "compares the ends)"
    ]


def _last(side: Sequence[_Named]) -> list[tuple[_Named, Anchor]]:
    """The last anchors of a side: of several seeds the last that all have."""
    runs = [one.run for one in side if one.anchor is None]
    tokens = _last_common(runs) if len(runs) > 1 else None
    return [
        (one, one.anchor or (one.run.anchor(tokens) if tokens is not None else _measured(one.run)[-1])) for one in side
    ]


def _last_common(runs: Sequence[Run]) -> int:
    if len(units := dict.fromkeys(run.unit for run in runs)) > 1:
        raise InputError(f"these count {' and '.join(units)}: no anchor is the same; --at final compares the ends")
    common = set.intersection(*({anchor.document.nominal_tokens for anchor in _measured(run)} for run in runs))
    if not common:
        have = "; ".join(f"{run.folder}: {', '.join(a.tokens_name for a in _measured(run))}" for run in runs)
        raise InputError(f"these share no anchor with results ({have}); --at final compares the ends")
    return int(max(common))


def _measured(run: Run) -> list[Anchor]:
    """Anchors with results, or else with a held-out loss. Raises InputError without any."""
    for anchors in (
        [anchor for anchor in run.anchors if anchor.results.tasks],
        [anchor for anchor in run.anchors if held_out_metric(anchor)],
    ):
        if anchors:
            return anchors
    raise InputError(f"{run.folder}: nothing was measured of it; lmeff eval {run.folder}")


# ---- labels


def _labels(a: Sequence[Member], b: Sequence[Member]) -> tuple[str, str]:
    """The shortest names that tell the sides apart."""
    forms = [_forms(side) for side in (a, b)]
    for first, second in zip(*forms, strict=True):
        if first != second:
            return first, second
    return f"{forms[0][0]} (A)", f"{forms[1][0]} (B)"


def _forms(members: Sequence[Member]) -> list[str]:
    first = members[0]
    name, tokens = first.run.name, first.tokens_text
    seeds = f"seed{'s' if len(members) > 1 else ''} " + ", ".join(str(member.run.seed) for member in members)
    folder = first.run.folder.resolve()
    place = folder.parent.name if first.run.source else folder.parents[1].name
    return [name, f"{name}, {tokens}", f"{name}, {seeds}", f"{name}, {seeds}, {tokens}", f"{place}/{name}, {seeds}"]
