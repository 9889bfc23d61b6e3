"""Cards, result files and pictures of what is published, made from what is on disk."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import eval_result_entries_to_yaml

from lmeff.analysis import Anchor, Run, mixed_notes, read_runs
from lmeff.analysis.reading.results import TaskResult, read_result_files
from lmeff.errors import InputError
from lmeff.files import read_json, write_text
from lmeff.formats.anchor import AnchorDocument
from lmeff.formats.provenance import read_provenance
from lmeff.formats.result import Kind, kind_of, scoring_words
from lmeff.formats.run_folder import RunFolder
from lmeff.hub.delivery import Row
from lmeff.hub.outbox import Outbox
from lmeff.packages import package_of
from lmeff.publishing.folder import complete_revisions, page, read_run
from lmeff.revisions.card import CardRow, model_card
from lmeff.revisions.card_scores import CardScore, hub_entries

PICTURE = ".eval_results/curve.png"
_DRAWING = ("altair", "jinja2", "vl_convert")


def missing_for_drawing() -> list[str]:
    """Packages that charts and reports are made with, and that are not installed."""
    return [package_of(module) for module in _DRAWING if find_spec(module) is None]


def refresh_card(run: Path, revision: Path, whole: Run | None = None) -> None:
    """Writes a revision's README.md and `.eval_results/` again, with the present results and the curve up to it. `whole`: the
    run, where it was read already."""
    recipe, plan = read_run(run)
    anchor = AnchorDocument.read(revision)
    if whole is None:
        (whole,) = read_runs([run])
    known = tuple(one for one in whole.anchors if one.document.step <= anchor.step)
    part = replace(whole, state=None, anchors=known, last_logged_step=anchor.step)
    picture = _draw_curve(part, revision)
    rows = [CardRow(one.document, _scores(whole, one)) for one in known]
    scores = next((row.scores for row in rows if row.anchor.step == anchor.step), ())
    comparable = next((set(one.results.tasks) for one in known if one.document.step == anchor.step), set())
    results = own_results(RunFolder(run).results_of(anchor.same_as or revision.name), anchor.weights_sha256)
    results = _copy_results(results, revision / ".eval_results", comparable)
    entry = Outbox(run).read(revision.name)
    write_entries(revision / ".eval_results" / "lmeff.yaml", scores, results, page(entry) if entry else None)
    card = model_card(
        recipe,
        plan,
        anchor,
        revision.name,
        rows=rows,
        warnings=[f"{note}." for note in mixed_notes(part)],
        provenance=read_provenance(revision),
        source=(entry.repository, entry.branch) if entry else None,
        picture=picture,
    )
    write_text(revision / "README.md", card)


def _draw_curve(run: Run, revision: Path) -> str | None:
    """Writes the picture of a run's curve into a revision's folder, and returns its path there; None when there is nothing to
    draw yet, or nothing to draw with."""
    if missing_for_drawing():
        return None
    from lmeff.analysis import write_png

    try:
        write_png([run], revision / PICTURE)
    except InputError:
        return None
    return PICTURE


def _copy_results(results: Iterable[Path], folder: Path, comparable: Collection[str]) -> list[Path]:
    """Copies result files into the folder of a card, and returns them, without those that have no task that can be compared
    with other anchors; of these, a copy from before is removed."""
    copied = []
    for path in results:
        tasks = read_result_files([path]).tasks
        if tasks and not any(task in comparable for task in tasks):
            (folder / path.name).unlink(missing_ok=True)
        else:
            write_text(folder / path.name, path.read_text(encoding="utf-8"))
            copied.append(path)
    return copied


def _scores(run: Run, anchor: Anchor) -> tuple[CardScore, ...]:
    return tuple(scores_of(_own_tasks(run, anchor).items()))


def _own_tasks(run: Run, anchor: Anchor) -> dict[str, TaskResult]:
    """The headline tasks' results that were made with this anchor's weights."""
    ours = (None, anchor.document.weights_sha256)
    found = {task: anchor.results.tasks[task] for task in run.headline_tasks if task in anchor.results.tasks}
    return {task: result for task, result in found.items() if result.about.get("weights_sha256") in ours}


def scores_of(results: Iterable[tuple[str, TaskResult]]) -> list[CardScore]:
    """The metrics of some tasks that a card shows: of our own measures the few that are scores, of lm-eval's tasks all."""
    return [
        CardScore(
            task,
            metric,
            score.value,
            score.stderr,
            result.num_examples,
            result.limit,
            result.is_adaptive,
            result.num_items,
            result.context_start,
            result.is_older,
            result.scoring,
        )
        for task, result in results
        for metric, score in result.metrics.items()
        if metric in _shown(result)
    ]


_SHOWN: dict[Kind, Collection[str]] = {
    "generation": ("completion_accuracy",),
    "finetuning": ("score",),
    "perplexity": ("perplexity", "bits_per_byte"),
}
"""Metrics of our own measures on a card. A generation's counts say what texts are like, not how good a model is; a fine-tuned
model's metrics are in its `score`."""


def _shown(result: TaskResult) -> Collection[str]:
    return _SHOWN.get(result.kind, result.metrics)


def own_results(folder: Path, weights_sha256: str) -> list[Path]:
    """The files of scores that were made with these weights, and with no other. Measures of the weights are left out: anybody
    can take them from the weights, and similarity to the final model is known only long after a revision was delivered."""
    contents = {path: read_json(path) for path in sorted(folder.glob("[!.]*.json"))}
    return [
        path
        for path, content in contents.items()
        if content.get("lmeff", {}).get("weights_sha256") in (None, weights_sha256) and kind_of(content) != "weights"
    ]


def write_entries(path: Path, scores: Sequence[CardScore], results: Sequence[Path], source_url: str | None) -> None:
    """The Hub's own form of evaluation results, for the scores on its data sets."""
    newest = max((one.stat().st_mtime for one in results), default=None)
    date = datetime.fromtimestamp(newest, UTC).date().isoformat() if newest else None
    if entries := hub_entries(scores, date, source_url):
        write_text(path, yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False))


def refresh_cards(run: Path) -> None:
    """The cards of all revisions."""
    if revisions := complete_revisions(run):
        (whole,) = read_runs([run])
        for revision in revisions:
            refresh_card(run, revision, whole)


def index_rows(run: Path, branches: dict[str, str]) -> list[Row]:
    """This run's rows of a repository's index, one for each delivered revision; `branches` gives its branch by its name."""
    (whole,) = read_runs([run])
    by_step = {one.document.step: one for one in whole.anchors}
    rows = []
    for folder in complete_revisions(run):
        if folder.name in branches:
            document = AnchorDocument.read(folder)
            keys = ("seed", "nominal_tokens", "exact_tokens", "step", "dev_loss", "weights_sha256")
            rows.append(
                {
                    "branch": branches[folder.name],
                    **{key: getattr(document, key) for key in keys},
                    **(dict([document.held_out]) if document.held_out else {}),
                    **({"dev_tokens": document.dev_tokens} if document.dev_tokens else {}),
                    "same_as": branches.get(document.same_as or "", document.same_as),
                    **_index_scores(_own_tasks(whole, by_step[document.step]) if document.step in by_step else {}),
                }
            )
    return rows


def _index_scores(results: Mapping[str, TaskResult]) -> dict[str, dict[str, Any]]:
    """The accuracies by task, and what has to be said of some of them."""
    scored = {task: result for task, result in results.items() if "acc" in result.metrics}
    limits = {task: result.limit for task, result in scored.items() if result.limit}
    starts = {task: one.context_start for task, one in scored.items() if one.context_start or one.is_older}
    scorings = {task: one.scoring for task, one in scored.items() if scoring_words(one.scoring)}
    return {
        "scores": {task: result.metrics["acc"].value for task, result in scored.items()},
        **({"limits": limits} if limits else {}),
        **({"context_starts": starts} if starts else {}),
        **({"scorings": scorings} if scorings else {}),
    }
