"""Runs on disk, finished or growing, read into plain objects. Nothing here writes."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from lmeff.analysis.reading.results import Results, TaskResult, WrittenText, pair_files, read_results, read_texts
from lmeff.errors import InputError
from lmeff.files import load_yaml
from lmeff.formats.anchor import ANCHOR, AnchorDocument
from lmeff.formats.losses import training_name
from lmeff.formats.plan import PlanDocument
from lmeff.formats.provenance import PROVENANCE, read_provenance
from lmeff.formats.run_folder import RECIPE, RunFolder
from lmeff.formats.run_log import LogRecord, read_log
from lmeff.formats.state import StateDocument
from lmeff.quantities import format_short, format_tokens, parse_count
from lmeff.recipe.sections.objective import ObjectiveName

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Anchor:
    """One revision of a run, with what was measured on it."""

    revision: str
    document: AnchorDocument
    results: Results
    pair_paths: tuple[Path, ...] = ()
    """Parquet files with the score of every minimal pair."""

    texts_path: Path | None = None
    """`generations.jsonl`, where there is one."""
    recipe: dict = field(default_factory=dict)
    """The recipe that it was saved with, as parsed YAML: a run may have gone on with another one."""

    @cached_property
    def texts(self) -> tuple[WrittenText, ...]:
        """What it wrote after prompts."""
        return read_texts(self.texts_path) if self.texts_path else ()

    @cached_property
    def pairs(self) -> "pd.DataFrame":
        """Columns `task` (the paradigm), `pair`, `score` (1 right, 0.5 tie, 0 wrong), `item` (the same for pairs that were made
        from one item of the data, which are no independent samples)."""
        from lmeff.analysis.reading.pairs import read_pairs

        return read_pairs(self.pair_paths)

    @cached_property
    def scored_paradigms(self) -> frozenset[str]:
        """The tasks with scores of pairs."""
        return frozenset(self.pairs["task"].cat.categories)

    @property
    def flops(self) -> float | None:
        """FLOPs up to here, with those of teachers and of scoring text; None where they are not known."""
        costs = (getattr(self.document, name, None) for name in ("flops", "flops_teachers", "flops_scoring"))
        return sum(filter(None, costs)) or None

    @property
    def tokens_name(self) -> str:
        """The anchor as people read it, such as `25M` or `1.25B`."""
        return format_tokens(self.document.nominal_tokens)


@dataclass(frozen=True)
class Run:
    """One run folder."""

    folder: Path
    name: str
    seed: int
    recipe: dict
    """The recipe as parsed YAML; empty when the folder has none."""
    recipe_text: str
    plan: PlanDocument | None
    state: StateDocument | None
    anchors: tuple[Anchor, ...]
    """In rising order of tokens. A final revision that equals one of them is not repeated."""
    subtasks: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """lm-eval groups and what is directly below each."""
    source: str | None = None
    """The repository or folder whose revisions these are, when they are no run of ours: then only scores are known."""
    unit: str = "tokens"
    """What `nominal_tokens` and `exact_tokens` count: BabyLM's anchors are numbers of words."""
    left_out: tuple[str, ...] = ()
    """Lines that name results which are not shown, since they cannot be compared with the others."""
    last_logged_step: int | None = None
    """The step up to which the log is looked at; None for all of it."""

    @cached_property
    def log(self) -> tuple[LogRecord, ...]:
        """Logged steps in rising order, one record a step; none of what is no run of ours. Read when it is asked for, since
        logs are long."""
        last = self.last_logged_step
        logged = () if self.source else _read_logs(self.folder)
        return logged if last is None else tuple(line for line in logged if line.step <= last)

    def _setting(self, section: str, key: str) -> object | None:
        values = self.recipe.get(section)
        return values.get(key) if isinstance(values, dict) else None

    @cached_property
    def loss_kind(self) -> ObjectiveName:
        """What the training loss is of. Losses of different kinds never stand in one column or on one axis."""
        kinds = [anchor.document.loss_kind for anchor in self.anchors] or [record.loss_kind for record in self.log]
        return next((kind for kind in kinds if kind), "causal")

    @property
    def loss_metric(self) -> str:
        """The name of the training loss in tables: `loss` is that of predicting the next token."""
        return training_name(None if self.loss_kind == "causal" else self.loss_kind)

    @property
    def held_out_metric(self) -> str:
        """The name of the held-out loss in anchor.json: that of a hybrid is the causal one."""
        return f"dev_{self.loss_kind}_loss" if self.loss_kind in ("masked", "permutation") else "dev_loss"

    @property
    def corpus(self) -> str | None:
        name = self._setting("corpus", "name")
        return None if name is None else str(name)

    @property
    def family(self) -> str | None:
        name = self._setting("model", "family")
        return None if name is None else str(name)

    @cached_property
    def provenance(self) -> dict:
        """The last anchor's `provenance.json`: which text and tokenizer its losses are of. Empty where there is none. Raises
        InputError when it is damaged."""
        folders = (RunFolder(self.folder).revision(anchor.revision) for anchor in reversed(self.anchors))
        return next((read_provenance(folder) for folder in folders if (folder / PROVENANCE).is_file()), {})

    @property
    def num_parameters(self) -> int | None:
        return self.plan.parameters.total if self.plan else None

    @property
    def size(self) -> str | None:
        """The named size of the recipe, or else the parameter count, such as `233M`."""
        if self.has_named_size:
            return str(self._setting("model", "size"))
        return format_short(self.num_parameters) if self.num_parameters else None

    @property
    def has_named_size(self) -> bool:
        return self._setting("model", "size") is not None

    @property
    def vocab_size(self) -> int | None:
        try:
            return parse_count(self._setting("tokenizer", "vocab_size"))
        except ValueError:
            return None

    @property
    def tokens(self) -> int:
        """Tokens trained on so far, by the best witness there is."""
        seen = [self.state.tokens] if self.state else []
        return max([*seen, *(anchor.document.exact_tokens for anchor in self.anchors)], default=0)

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        """Every task with a result at any anchor, groups included, in the order of the result files."""
        return tuple(dict.fromkeys(task for anchor in self.anchors for task in anchor.results.tasks))

    def results_of(self, task: str) -> list[TaskResult]:
        """The results of a task, at every anchor that has one."""
        return [anchor.results.tasks[task] for anchor in self.anchors if task in anchor.results.tasks]

    @cached_property
    def headline_tasks(self) -> tuple[str, ...]:
        """The tasks that are part of no other."""
        below = {child for children in self.subtasks.values() for child in children}
        return tuple(task for task in self.tasks if task not in below)

    def level(self, task: str) -> str:
        """`group` (a suite), `phenomenon` (a group inside one) or `paradigm` (a task without subtasks)."""
        if not self.subtasks.get(task):
            return "paradigm"
        return "group" if task in self.headline_tasks else "phenomenon"

    def paradigms(self, task: str) -> tuple[str, ...]:
        """The tasks without subtasks at or under `task`."""
        children = self.subtasks.get(task)
        if not children:
            return (task,)
        return tuple(dict.fromkeys(leaf for child in children for leaf in self.paradigms(child)))

    def anchor(self, which: str | int) -> Anchor:
        """The anchor with this revision name or this number of tokens (`25M`). Raises InputError."""
        for anchor in self.anchors:
            if which == anchor.revision:
                return anchor
        try:
            tokens = parse_count(which)
        except ValueError:
            tokens = None
        for anchor in self.anchors:
            if anchor.document.nominal_tokens == tokens:
                return anchor
        have = ", ".join(anchor.tokens_name for anchor in self.anchors) or "none"
        raise InputError(f"{self.folder}: no anchor {which!r}; it has {have}")


def read_run(folder: Path) -> Run:
    """One run folder. Raises InputError naming the file when one is damaged; missing files are no mistake."""
    run = RunFolder(folder)
    recipe_path = run.recipe_yaml
    recipe_text = recipe_path.read_text(encoding="utf-8", errors="replace") if recipe_path.is_file() else ""
    recipe = _parsed(recipe_path, recipe_text)
    absolute = folder.resolve()
    seed = absolute.name.removeprefix("seed-")
    anchors = _read_anchors(folder, {recipe_text: recipe})
    return Run(
        folder=folder,
        name=str(recipe.get("name") or (absolute.parent.name if seed.isdigit() else absolute.name)),
        seed=int(recipe.get("seed") or (seed if seed.isdigit() else 0)),
        recipe=recipe,
        recipe_text=recipe_text,
        plan=PlanDocument.read(run),
        state=StateDocument.read(run),
        anchors=anchors,
        subtasks=subtasks_of(anchors),
    )


def _parsed(path: Path, text: str) -> dict:
    try:
        recipe = load_yaml(text) or {}
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not readable as YAML ({' '.join(str(error).split())})") from None
    if not isinstance(recipe, dict):
        raise InputError(f"{path}: not a recipe")
    return recipe


def subtasks_of(anchors: Iterable[Anchor]) -> dict[str, tuple[str, ...]]:
    """lm-eval groups at any anchor, and what is directly below each."""
    return {group: below for anchor in anchors for group, below in anchor.results.subtasks.items()}


def _read_anchors(folder: Path, recipes: dict[str, dict]) -> tuple[Anchor, ...]:
    """`recipes`: parsed ones by their text, that of the run first. Those of its anchors are added."""
    anchors, run, of_run = {}, RunFolder(folder), next(iter(recipes))
    for path in run.find_in_revisions(ANCHOR):
        revision = path.parent.name
        results = run.results_of(revision)
        document = AnchorDocument.read(path.parent)
        own = path.parent / RECIPE
        text = own.read_text(encoding="utf-8", errors="replace") if own.is_file() else of_run
        if text not in recipes:
            recipes[text] = _parsed(own, text)
        texts = results / "generations.jsonl"
        anchors[revision] = Anchor(
            revision,
            document,
            read_results(results),
            pair_files(results),
            texts if texts.is_file() else None,
            recipes[text],
        )
    for name, twin in list(anchors.items()):
        original = anchors.get(twin.document.same_as) if twin.document.same_as else None
        if original is not None and original is not twin:
            # The final revision has the weights of an anchor: one point of the curve, whichever of the two was scored.
            del anchors[name]
            anchors[original.revision] = replace(
                original,
                results=original.results.joined_with(twin.results),
                pair_paths=original.pair_paths + twin.pair_paths,
                texts_path=original.texts_path or twin.texts_path,
            )
    return tuple(sorted(anchors.values(), key=lambda anchor: (anchor.document.exact_tokens, anchor.revision)))


def _read_logs(folder: Path) -> tuple[LogRecord, ...]:
    """The log of the run; of a run in parts that of its longest part, which is the trunk or the last restart."""
    run = RunFolder(folder)
    whole = read_log(run.log_jsonl)
    parts = [read_log(part.log_jsonl) for part in run.parts()]
    return whole or max(parts, key=len, default=())
