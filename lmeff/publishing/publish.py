"""`lmeff publish`."""

import time
from pathlib import Path

from lmeff.errors import InputError
from lmeff.publishing.courier import attempt_beside
from lmeff.publishing.folder import add_to_outbox, complete_revisions, page, read_run
from lmeff.revisions.account import namespace as own_namespace
from lmeff.revisions.delivery import card_sha256
from lmeff.revisions.names import MAIN, hub_names
from lmeff.revisions.outbox import Entry, Outbox

_GROUP, _POLL_SECONDS = 4, 1.0


def publish(run: Path, namespace: str | None = None) -> list[Entry]:
    """Delivers everything of a run that is not on the Hub yet, and cards that changed since; returns what is left.

    Runs with `publish.to: local` are delivered too. `namespace` replaces the recipe's. Prints a line for each revision.
    """
    recipe, plan = read_run(run)
    outbox = Outbox(run)
    known = outbox.entries()
    if namespace is None and known:
        namespace = known[0].repository.partition("/")[0]  # where the others went
    if namespace is not None:
        recipe = recipe.model_copy(update={"publish": recipe.publish.model_copy(update={"namespace": namespace})})
    names = hub_names(recipe, plan, own_namespace())
    revisions = complete_revisions(run)
    if not revisions:
        raise InputError(f"{run}: no revisions here yet")
    for folder in revisions:
        add_to_outbox(outbox, names, recipe, folder.name)
    for entry in outbox.entries():
        if entry.state != "delivered" or (entry.revision != MAIN and _is_stale(run, entry)):
            outbox.again(entry.revision)
    tried: list[str] = []
    while ready := [entry for entry in outbox.due() if entry.revision not in tried]:
        with outbox.delivering() as is_free:
            pass
        if not is_free:
            time.sleep(_POLL_SECONDS)
            continue
        # In small groups, so that there is something to see; `main` is opened by every delivery, and comes last.
        group = [entry.revision for entry in ready if entry.revision != MAIN][:_GROUP] or [MAIN]
        attempt_beside(run, group)
        after = [outbox.read(revision) for revision in group]
        for entry in after:
            if entry not in ready:
                tried.append(entry.revision)
                print(f"{entry.revision}: {_outcome(entry)}", flush=True)
    if outbox.read(MAIN).state == "delivered" and MAIN not in tried:
        print(f"{names.repository}: everything is on the Hub")
    return outbox.undelivered()


def _is_stale(run: Path, entry: Entry) -> bool:
    from lmeff.publishing.cards import refresh_card

    folder = run / "revisions" / entry.revision
    refresh_card(run, folder)
    return card_sha256(folder) != entry.card_sha256


def _outcome(entry: Entry) -> str:
    return f"delivered and verified, {page(entry)}" if entry.state == "delivered" else f"{entry.state}: {entry.error}"
