"""`lmeff publish`: delivers what a run has for the Hub, and corrects revisions of older versions."""

from pathlib import Path

from lmeff.errors import InputError, RunFailed
from lmeff.files import locked
from lmeff.formats.run_folder import RunFolder
from lmeff.hub.account import namespace as own_namespace
from lmeff.hub.delivery import card_sha256
from lmeff.hub.mending import mend
from lmeff.hub.names import MAIN, HubNames, hub_names
from lmeff.hub.outbox import Entry, Outbox
from lmeff.logs import note, say
from lmeff.progress import shown
from lmeff.publishing.courier import attempt_beside
from lmeff.publishing.folder import add_to_outbox, bring_back_interrupted, complete_revisions, page, read_run
from lmeff.publishing.retries import NEEDS_A_PERSON, Retries
from lmeff.recipe.schema import Recipe
from lmeff.revisions import Revision
from lmeff.runs.claim import claimed

_GROUP = 4


def publish(
    run: Path, namespace: str | None = None, wait_seconds: float | None = None, mends: bool = False
) -> list[Entry]:
    """Delivers everything of a run that is not on the Hub yet, and cards that changed since; returns what is left.

    Runs with `publish.to: local` are delivered too. `namespace` replaces the recipe's. Where the Hub is in trouble, goes on
    with other revisions and tries again for `wait_seconds` (`Retries`). Prints a line for each revision. With `mends`, first
    corrects files that mean something else to some versions of transformers; of a run that was never published, nothing is
    sent then.
    """
    recipe, plan = read_run(run)
    outbox, retries = Outbox(run), Retries(wait_seconds)
    bring_back_interrupted(run)
    revisions = complete_revisions(run)
    if not revisions:
        raise InputError(f"{run}: no revisions here yet")
    known = outbox.entries()
    if mends:
        mend_all(run, revisions, retries)
        if not known and namespace is None and recipe.publish.to == "local":
            say(f"{run}: it was not published from here; lmeff publish {run} sends it")
            return []
    if namespace is None and known:
        namespace = known[0].repository.partition("/")[0]  # where the others went
    if namespace is not None:
        recipe = recipe.model_copy(update={"publish": recipe.publish.model_copy(update={"namespace": namespace})})
    names = hub_names(recipe, plan, own_namespace(), ways="in the recipe, as HF_NAMESPACE or with --namespace NAME")
    _ask_for_all(run, outbox, names, recipe, revisions)
    tried = _deliver(run, outbox, retries)
    if (index := outbox.read(MAIN)) and index.state == "delivered" and MAIN not in tried:
        say(f"{names.repository}: everything is on the Hub")
    return outbox.undelivered()


def mend_all(run: Path, revisions: list[Path], retries: Retries) -> None:
    """Corrects the revisions of a run, which must not be training, and says what was corrected. Raises RunFailed while another
    process delivers."""
    outbox, is_whole = Outbox(run), True
    with claimed(RunFolder(run)), locked(RunFolder(run).final_lock):
        is_free = False
        while not is_free:
            if not retries.wait_until_free(outbox):
                raise RunFailed(
                    f"{run}: another process delivers it, so that nothing was corrected; run this again later"
                )
            with outbox.delivering() as is_free:
                for folder in revisions if is_free else ():
                    outbox.hold(folder.name, even_if_seen=True)
                    if corrected := mend(folder):
                        is_whole = False
                        say(f"{folder.name}: corrected {', '.join(corrected)}")
    if is_whole:
        say(f"{run}: nothing to correct: its revisions say all that transformers from 4.46 on need")


def _ask_for_all(run: Path, outbox: Outbox, names: HubNames, recipe: Recipe, revisions: list[Path]) -> None:
    """Asks for the delivery of every revision and card that is not on the Hub as it is here."""
    for folder in revisions:
        add_to_outbox(outbox, names, recipe, Revision.parse(folder.name))
    for entry in outbox.entries():
        if entry.state != "delivered" or (entry.revision != MAIN and _is_stale(run, entry)):
            outbox.again(entry.revision)


def _deliver(run: Path, outbox: Outbox, retries: Retries) -> set[str]:
    """Tries what waits, again and again while that may help; returns the names of what was tried."""
    tried: set[str] = set()
    while ready := retries.ready(lambda: _waiting(outbox)):
        if not retries.wait_until_free(outbox):
            note(f"{run}: another process delivers it; what it leaves is for later")
            break
        group = _first_group(ready)
        if obstacle := retries.known_obstacle():
            outbox.failed(group[0], obstacle, hub_is_down=True, is_rejected=obstacle in NEEDS_A_PERSON)
        else:
            names = [entry.revision for entry in group]
            with shown(f"delivering {', '.join(names)}"):
                attempt_beside(run, names, wait_seconds=retries.wanted_seconds)
        for before in group:
            after = outbox.read(before.revision)
            if after and after != before:  # else an earlier one of the group found the Hub away
                tried.add(after.revision)
                retries.note(after)
                say(f"{after.revision}: {_outcome(after)}")
        if obstacle in NEEDS_A_PERSON or retries.is_rejected:
            break
        if obstacle:
            retries.note_away()
    return tried


def _first_group(ready: list[Entry]) -> list[Entry]:
    """A few entries to deliver together, those that failed least first: in small groups, so that there is something to see.
    `main`, which every delivery opens again, comes last and alone."""
    revisions = sorted((one for one in ready if one.revision != MAIN), key=lambda entry: entry.attempts)
    return revisions[:_GROUP] or ready


def _waiting(outbox: Outbox) -> list[Entry]:
    return [entry for entry in outbox.entries() if entry.state == "waiting" and not entry.is_held]


def _is_stale(run: Path, entry: Entry) -> bool:
    from lmeff.publishing.cards import refresh_card

    folder = RunFolder(run).revision(entry.revision)
    refresh_card(run, folder)
    return card_sha256(folder) != entry.card_sha256


def _outcome(entry: Entry) -> str:
    return f"delivered and verified, {page(entry)}" if entry.state == "delivered" else f"{entry.state}: {entry.error}"
