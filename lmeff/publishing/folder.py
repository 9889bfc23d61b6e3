"""What a run's folder holds for the Hub, and where it goes."""

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from lmeff.errors import Busy, InputError
from lmeff.files import MANIFEST, has_manifest, sha256_file
from lmeff.formats.plan import PlanDocument
from lmeff.formats.run_folder import RunFolder
from lmeff.hub.names import MAIN, HubNames
from lmeff.hub.outbox import Entry, Outbox
from lmeff.logs import say
from lmeff.plan import make_plan
from lmeff.recipe import read_recipe
from lmeff.recipe.schema import Recipe
from lmeff.revisions import Revision, list_revisions
from lmeff.revisions.store import bring_back_revisions
from lmeff.runs.claim import claimed


def read_run(run: Path) -> tuple[Recipe, PlanDocument]:
    """A run's recipe and plan. Raises InputError for a folder that is no run."""
    folder = RunFolder(run)
    if not folder.recipe_yaml.is_file():
        raise InputError(f"{run}: not a run (no recipe.yaml)")
    recipe = read_recipe(folder.recipe_yaml).recipe
    return recipe, PlanDocument.read(folder) or make_plan(recipe)


def add_to_outbox(outbox: Outbox, names: HubNames, recipe: Recipe, revision: Revision) -> None:
    """Adds an entry for a revision, and one for the repository's index."""
    sha256 = sha256_file(RunFolder(outbox.run).revision(revision.name) / MANIFEST)
    outbox.add(revision.name, names.repository, names.branch(revision), recipe.publish.private, sha256)
    outbox.add(MAIN, names.repository, MAIN, recipe.publish.private)


def bring_back_interrupted(run: Path) -> None:
    """Renames revisions back that a killed `lmeff publish --mend` left under their hidden names, and says so. Does nothing
    while another process works on the run."""
    if not any(RunFolder(run).revisions.glob(".*.tmp")):
        return
    with suppress(Busy, InputError), claimed(RunFolder(run)):
        for name in bring_back_revisions(run):
            say(f"{name}: brought back; a process was killed while it replaced its files")


def complete_revisions(run: Path) -> list[Path]:
    """Every whole revision, the final one last."""
    final = final_folder(run)
    folders = list_revisions(run)
    return folders if final is None or final in folders else [*folders, final]


def undelivered(run: Path, recipe: Recipe) -> list[str]:
    """Names of what is not on the Hub yet: what waits in the outbox, and, in a run with `publish.to: hub`, revisions that never
    came into it or are another model now."""
    outbox = Outbox(run)
    waiting = [entry.revision for entry in outbox.undelivered()]
    missing = []
    for folder in complete_revisions(run) if recipe.publish.to == "hub" else ():
        entry = outbox.read(folder.name)
        if entry is None or entry.manifest_sha256 != sha256_file(folder / MANIFEST):
            missing.append(folder.name)
    return list(dict.fromkeys([*missing, *waiting]))


def final_folder(run: Path) -> Path | None:
    folder = RunFolder(run).revision(Revision(read_run(run)[0].seed).name)
    return folder if has_manifest(folder) else None


def page(entry: Entry) -> str:
    from huggingface_hub.constants import ENDPOINT

    return f"{ENDPOINT}/{entry.repository}/tree/{entry.branch}"


def undelivered_text(run: Path, left: Sequence[Entry]) -> str:
    """One line for each undelivered entry, and what to do."""
    lines = [f"{one.revision}: not on the Hub yet ({one.error or 'not tried'}{_when(one)})" for one in left]
    return "\n".join([*lines, f"deliver with: lmeff publish {run}"])


def _when(entry: Entry) -> str:
    minutes = (entry.not_before - time.time()) / 60
    return f"; not before {minutes:.0f} minutes from now" if entry.state == "waiting" and minutes > 1 else ""
