"""Cards, result files and pictures of what is published, made from what is on disk."""

import shutil
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import yaml
from huggingface_hub import eval_result_entries_to_yaml

from lmeff.analysis import read_runs, write_png
from lmeff.errors import InputError
from lmeff.files import read_json, write_text
from lmeff.publishing.folder import complete_revisions, page, read_run
from lmeff.recipe.documents import AnchorDocument
from lmeff.revisions.card import CardRow, CardScore, hub_entries, model_card
from lmeff.revisions.outbox import Outbox

PICTURE = ".eval_results/curve.png"


def refresh_card(run: Path, revision: Path) -> None:
    """Writes a revision's README.md and `.eval_results/` anew, with the results and the curve up to it."""

    recipe, plan = read_run(run)
    anchor = AnchorDocument.model_validate(read_json(revision / "anchor.json"))
    (whole,) = read_runs([run])
    known = tuple(one for one in whole.anchors if one.document.step <= anchor.step)
    part = replace(whole, state=None, anchors=known, log=tuple(line for line in whole.log if line.step <= anchor.step))

    def scores_of(one) -> tuple[CardScore, ...]:
        found = [(task, one.results.tasks[task]) for task in whole.headline_tasks if task in one.results.tasks]
        return tuple(
            CardScore(task, metric, score.value, score.stderr, result.num_examples)
            for task, result in found
            for metric, score in result.metrics.items()
        )

    rows = [CardRow(one.document, scores_of(one)) for one in known]
    picture = None
    with suppress(InputError):  # nothing to draw yet
        write_png([part], revision / PICTURE)
        picture = PICTURE
    results, entry = run / "results" / (anchor.same_as or revision.name), Outbox(run).read(revision.name)
    for path in sorted(results.glob("[!.]*.json")):
        shutil.copyfile(path, _made(revision / ".eval_results" / path.name))
    repository = entry.repository if entry else None
    url = page(entry) if entry else None
    own = next((row.scores for row in rows if row.anchor.step == anchor.step), ())
    date = time.strftime(
        "%Y-%m-%d", time.gmtime(max((path.stat().st_mtime for path in results.glob("*.json")), default=0))
    )
    if entries := hub_entries(own, date, url):
        text = yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False)
        write_text(revision / ".eval_results" / "lmeff.yaml", text)
    provenance = read_json(revision / "provenance.json")
    source = (repository, entry.branch) if entry else None
    card = model_card(
        recipe, plan, anchor, revision.name, rows=rows, provenance=provenance, source=source, picture=picture
    )
    write_text(revision / "README.md", card)


def _made(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    return path


def refresh_cards(run: Path) -> None:
    """The cards of all revisions."""
    for revision in complete_revisions(run):
        refresh_card(run, revision)


def index_rows(run: Path, branches: dict[str, str]) -> list[dict]:
    """This run's rows of a repository's index: what is delivered, by branch."""

    (whole,) = read_runs([run])
    by_step = {one.document.step: one for one in whole.anchors}
    rows = []
    for folder in complete_revisions(run):
        if folder.name in branches:
            document = AnchorDocument.model_validate(read_json(folder / "anchor.json"))
            results = by_step[document.step].results.tasks if document.step in by_step else {}
            keys = ("seed", "nominal_tokens", "exact_tokens", "step", "dev_loss", "weights_sha256")
            rows.append(
                {
                    "branch": branches[folder.name],
                    **{key: getattr(document, key) for key in keys},
                    "same_as": branches.get(document.same_as, document.same_as),
                    "scores": {
                        task: results[task].metrics["acc"].value
                        for task in whole.headline_tasks
                        if task in results and "acc" in results[task].metrics
                    },
                }
            )
    return rows
