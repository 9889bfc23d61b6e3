"""One attempt to deliver one entry of an outbox."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from lmeff.errors import InputError
from lmeff.formats.run_folder import RunFolder
from lmeff.hub.account import token
from lmeff.hub.client import Hub, NotDelivered, RemoteFile, Unavailable
from lmeff.hub.delivery import Files, Refused, Row, card_sha256, deliver, payload, update_card, update_main
from lmeff.hub.names import MAIN
from lmeff.hub.outbox import Entry, Outbox
from lmeff.hub.quota import CommitQuota
from lmeff.revisions import Revision

NO_TOKEN = "no token: set HF_TOKEN, or run `hf auth login`"


def attempt(run: Path, revision: str) -> None:
    """Tries once to deliver one entry, and records in the outbox how that ended. Raises nothing."""
    outbox = Outbox(run)
    with outbox.delivering() as ours:
        entry = outbox.read(revision)
        if not ours or entry is None:
            return
        try:
            if (secret := token()) is None:
                raise Unavailable(NO_TOKEN, 600.0, is_rejected=True)
            hub = Hub(secret)
            hub.prepare(entry.repository, entry.private)
            # The Hub answers, so that from here on a commit may be used up.
            take_commit = CommitQuota(run.resolve().parents[1]).take
            if revision == MAIN:
                outbox.delivered(entry, _deliver_main(hub, entry, run, take_commit), None)
            else:
                _deliver_revision(hub, outbox, entry, take_commit)
        except Refused as error:
            outbox.refused(entry, str(error))
        except Unavailable as error:
            names = ("is_asked_wait", "is_rejected", "is_limit")
            flags = {name: getattr(error, name) for name in names}
            outbox.failed(entry, str(error), error.wait_seconds, hub_is_down=True, **flags)
        except Exception as error:  # one revision that cannot be read must not hold up the others
            said = str(error).partition("\n")[0]
            outbox.failed(entry, said if isinstance(error, NotDelivered) else f"{type(error).__name__}: {said}")


def _deliver_revision(hub: Hub, outbox: Outbox, entry: Entry, take_commit: Callable[[], float]) -> None:
    from lmeff.publishing.cards import refresh_card

    if not outbox.begin(entry):
        return
    folder = RunFolder(outbox.run).revision(entry.revision)
    refresh_card(outbox.run, folder)
    sent, send = card_sha256(folder), deliver if entry.commit is None else update_card
    outbox.delivered(entry, send(hub, entry, folder, take_commit), sent)
    if outbox.read(MAIN) is not None:
        outbox.again(MAIN)


def _deliver_main(hub: Hub, entry: Entry, run: Path, take_commit: Callable[[], float]) -> str:
    from lmeff.analysis import read_runs, write_png
    from lmeff.publishing.cards import index_rows
    from lmeff.publishing.folder import final_folder, read_run
    from lmeff.revisions.card import main_card

    recipe, _ = read_run(run)
    delivered = {one.revision: one.branch for one in Outbox(run).entries() if one.state == "delivered"}
    picture = RunFolder(run).outbox / ".curves.png"
    with suppress(InputError):  # nothing to draw yet
        write_png(read_runs([run]), picture)
    final_name = Revision(recipe.seed).name
    final = final_folder(run) if recipe.publish.final_on_main and final_name in delivered else None

    def files(index: list[Row], remote: Mapping[str, RemoteFile]) -> Files:
        weights = payload(final) if final else {}
        shown = "curves.png" if picture.exists() else None
        has_weights = final is not None or "model.safetensors" in remote
        card = main_card(recipe, entry.repository, index, picture=shown, has_weights=has_weights)
        return {**weights, "README.md": card.encode(), **({"curves.png": picture} if picture.exists() else {})}

    known = Outbox(run).read(final_name) if final else None
    former = known.former_manifests if known else ()
    return update_main(hub, entry, index_rows(run, delivered), files, take_commit, former)
