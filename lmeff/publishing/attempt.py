"""One attempt to deliver each of some revisions.

python -m lmeff.publishing.attempt RUN REVISION ...        what came of it stands in the outbox
"""

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from lmeff.errors import InputError
from lmeff.revisions.account import token
from lmeff.revisions.delivery import Refused, card_sha256, deliver, payload, update_card, update_main
from lmeff.revisions.hub import Hub, Unavailable
from lmeff.revisions.names import MAIN, final_name
from lmeff.revisions.outbox import Entry, Outbox
from lmeff.revisions.quota import CommitQuota


def attempt(run: Path, revision: str) -> None:
    """Tries once to deliver one entry, and notes in the outbox how that ended. It raises nothing of what may go wrong."""
    outbox = Outbox(run)
    with outbox.delivering() as ours:
        entry = outbox.read(revision)
        if not ours or entry is None:
            return
        try:
            if (secret := token()) is None:
                raise Unavailable("no token: set HF_TOKEN, or run `hf auth login`", 600.0)
            hub = Hub(secret)
            hub.prepare(entry.repository, entry.private)
            # From here on it costs something, which a Hub that is away does not.
            take_commit = CommitQuota(run.resolve().parents[1] / ".hub_commits.json").take
            if revision == MAIN:
                outbox.delivered(revision, _deliver_main(hub, entry, run, take_commit), None)
            else:
                _deliver_revision(hub, outbox, entry, take_commit)
        except Refused as error:
            outbox.refused(revision, str(error))
        except Unavailable as error:
            outbox.failed(revision, str(error), error.wait_seconds, hub_is_down=True)
        except Exception as error:  # one revision that cannot be read must not hold up the others
            outbox.failed(revision, f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")


def _deliver_revision(hub: Hub, outbox: Outbox, entry: Entry, take_commit: Callable[[], float]) -> None:
    from lmeff.publishing.cards import refresh_card

    folder = outbox.run / "revisions" / entry.revision
    refresh_card(outbox.run, folder)
    outbox.begun(entry.revision)
    send = deliver if entry.commit is None else update_card
    outbox.delivered(entry.revision, send(hub, entry, folder, take_commit), card_sha256(folder))
    outbox.again(MAIN)


def _deliver_main(hub: Hub, entry: Entry, run: Path, take_commit: Callable[[], float]) -> str:
    from lmeff.analysis import read_runs, write_png
    from lmeff.publishing.cards import index_rows
    from lmeff.publishing.folder import final_folder, read_run
    from lmeff.revisions.card import main_card

    recipe, _ = read_run(run)
    delivered = {one.revision: one.branch for one in Outbox(run).entries() if one.state == "delivered"}
    picture = run / "outbox" / ".curves.png"
    with suppress(InputError):  # nothing to draw yet
        write_png(read_runs([run]), picture)
    final = final_folder(run) if recipe.publish.final_on_main and final_name(recipe.seed) in delivered else None

    def files(index: Sequence[dict]) -> dict[str, bytes | Path]:
        shown = "curves.png" if picture.exists() else None
        card = main_card(recipe, entry.repository, index, picture=shown, has_weights=recipe.publish.final_on_main)
        weights = payload(final) if final else {}
        return {**weights, "README.md": card.encode(), **({"curves.png": picture} if picture.exists() else {})}

    return update_main(hub, entry, index_rows(run, delivered), files, take_commit)


def main(argv: Sequence[str]) -> int:
    """Dies with whoever started it, and gives way to training."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
    os.nice(19)
    run, *revisions = argv
    for revision in revisions:
        attempt(Path(run), revision)
        entry = Outbox(Path(run)).read(revision)
        if entry is not None and entry.hub_is_down:
            break
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
