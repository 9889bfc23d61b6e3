"""Sends a revision's folder to its branch in one commit, and compares the branch with the folder afterwards."""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lmeff.files import MANIFEST, sha256_file
from lmeff.formats.manifest import ManifestDocument
from lmeff.hub.client import Hub, Moved, NotDelivered, RemoteFile, Unavailable
from lmeff.hub.mending import MENDED, corrected_names, is_before, was_before
from lmeff.hub.names import INDEX, MAIN
from lmeff.hub.outbox import Entry
from lmeff.revisions.store import MUTABLE, differences

_WEIGHTS = "model.safetensors"
_ATTEMPTS = 4
_FREE = (".gitattributes", *MUTABLE)
Files = Mapping[str, bytes | Path | None]
"""What to commit by path; None for a file that is to be removed."""
Row = dict[str, Any]


class Refused(Exception):
    """Not delivered, and trying again would not help."""


def deliver(hub: Hub, entry: Entry, folder: Path, take_commit: Callable[[], float]) -> str:
    """Puts a revision on its branch in one commit, unless it is there already, and compares. Returns the verified commit.

    A new branch begins at the repository's initial commit, and the commit names its parent: of two processes that deliver the
    same revision only one succeeds with its commit, and a reader sees all files or none. `take_commit` returns how many
    seconds the next commit has to wait. A branch that holds an earlier final model of the same run gets the present one.

    Raises Refused for a branch that holds something else and for a damaged folder, NotDelivered when the branch differs from
    the folder afterwards, and Unavailable.
    """
    if wrong := differences(folder):
        raise Refused(f"the folder is not what its manifest says: {wrong[0]}")
    repository, branch = entry.repository, entry.branch
    initial = hub.prepare(repository, entry.private)
    for _ in range(_ATTEMPTS):
        head = hub.branches(repository).get(branch)
        if head is None:
            hub.create_branch(repository, branch, initial)
            head = initial
        remote = hub.files(repository, head)
        files: Files = payload(folder)
        message = f"{entry.revision}, {read_sha256(folder)[:12]}"
        if MANIFEST in remote:
            if remote[MANIFEST].holds(folder / MANIFEST):
                return _compared(hub, entry, folder, head, remote, initial)
            former = None
            if not was_before(folder, remote[MANIFEST]):  # otherwise only corrected files are sent, and no weights
                former = former_files(hub, repository, head, remote, entry.former_manifests)
            if former is not None:
                files = {**dict.fromkeys(former), **files}
            else:
                files = _correction(hub, entry, folder, head, remote)
                message = f"Corrected: {', '.join(corrected_names(folder))}"
        elif head != initial:
            raise Refused(f"branch {branch} of {repository} holds what lmeff did not put there")
        wait_for(take_commit)
        try:
            head = hub.commit(repository, branch, head, files, message)
        except Moved:
            continue
        return _compared(hub, entry, folder, head, hub.files(repository, head), initial)
    raise NotDelivered(f"branch {branch} of {repository} moved under {_ATTEMPTS} attempts")


def _correction(hub: Hub, entry: Entry, folder: Path, head: str, remote: Mapping[str, RemoteFile]) -> dict[str, Path]:
    """The files that a correction changed, for a branch that holds this revision as it was before; no weights. Raises Refused
    for any other branch."""
    where = f"branch {entry.branch} of {entry.repository}"
    if MENDED in remote and is_before(folder, hub.read(entry.repository, head, MENDED)):
        raise Refused(
            f"{where} holds this very model with corrected files; lmeff publish --mend corrects those here too"
        )
    weights = ManifestDocument.read(folder).files[_WEIGHTS]
    if not was_before(folder, remote[MANIFEST]) or remote[_WEIGHTS].sha256 not in (None, weights.sha256):
        raise Refused(f"{where} holds another model; it is never overwritten")
    cards = {
        name: path for name, path in card_files(folder).items() if name not in remote or not remote[name].holds(path)
    }
    changed = (*corrected_names(folder), MENDED, MANIFEST)
    return {name: folder / name for name in changed} | cards


def former_files(
    hub: Hub, repository: str, head: str, remote: Mapping[str, RemoteFile], former_manifests: Collection[str]
) -> list[str] | None:
    """The files of an earlier final model of the run at the commit `head`, with its results; None when the commit holds
    something else."""
    content = hub.read(repository, head, MANIFEST)
    if hashlib.sha256(content).hexdigest() not in former_manifests:
        return None
    names = ManifestDocument.model_validate_json(content).files
    return [name for name in remote if name in names or name.split("/")[0] in MUTABLE]


def wait_for(take_commit: Callable[[], float]) -> None:
    """Raises Unavailable when no commit may be made yet."""
    if seconds := take_commit():
        said = "100 commits were made within an hour, and the Hub does not take many more"
        raise Unavailable(said, seconds, is_asked_wait=True, is_limit=True)


def read_sha256(folder: Path) -> str:
    """The hash of a revision's weights, as its manifest gives it."""
    return ManifestDocument.read(folder).files[_WEIGHTS].sha256


def payload(folder: Path) -> dict[str, Path]:
    """Every file of a revision as it goes to the Hub."""
    names = [*ManifestDocument.read(folder).files, MANIFEST]
    return {name: folder / name for name in names} | card_files(folder)


def card_files(folder: Path) -> dict[str, Path]:
    """The card and results of a revision, which may change after it was delivered."""
    paths = [folder / "README.md", *sorted((folder / ".eval_results").rglob("*"))]
    return {path.relative_to(folder).as_posix(): path for path in paths if path.is_file()}


def card_sha256(folder: Path) -> str:
    """Of the card and results as they are on disk."""
    lines = (f"{name} {sha256_file(path)}\n" for name, path in card_files(folder).items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _compared(hub: Hub, entry: Entry, folder: Path, head: str, remote: Mapping[str, RemoteFile], initial: str) -> str:
    allowed = set(hub.files(entry.repository, initial))
    if wrong := remote_differences(f"{entry.repository}@{entry.branch}", folder, remote, allowed):
        raise NotDelivered(f"delivered, but not verified: {wrong[0]}")
    return head


def remote_differences(
    where: str, folder: Path, remote: Mapping[str, RemoteFile], allowed: Collection[str] = ()
) -> list[str]:
    """How files on the Hub differ from a revision's folder and manifest, one line each, by the hashes that the Hub's API gives.
    `allowed` are files that may be there in addition."""
    wanted = ManifestDocument.read(folder).files
    lines = []
    for name in (*wanted, MANIFEST):
        if name not in remote:
            lines.append(f"{where}/{name}: missing on the Hub")
            continue
        there = remote[name]
        if name in wanted and there.sha256 is not None:
            same = (there.sha256, there.num_bytes) == (wanted[name].sha256, wanted[name].bytes)
        else:
            same = there.holds(folder / name)
        if not same:
            lines.append(f"{where}/{name}: changed on the Hub")
    unknown = [
        name for name in remote if name not in wanted and name not in allowed and name.split("/")[0] not in _FREE
    ]
    return lines + [f"{where}/{name}: not in the manifest" for name in sorted(unknown)]


def update_card(hub: Hub, entry: Entry, folder: Path, take_commit: Callable[[], float]) -> str:
    """Sends the card and results of a revision that was delivered before, if they have changed since; delivers all of it again
    when its branch is gone. Returns the branch's newest commit. Raises what `deliver` raises."""
    deliver(hub, entry, folder, take_commit)
    repository, branch = entry.repository, entry.branch
    return update_files(hub, repository, branch, lambda *_: card_files(folder), take_commit, "Card and results")


def update_main(
    hub: Hub,
    entry: Entry,
    rows: list[Row],
    make_files: Callable[[list[Row], Mapping[str, RemoteFile]], Files],
    take_commit: Callable[[], float],
    former_manifests: Collection[str] = (),
) -> str:
    """Writes the index to the main branch, and the files that `make_files(rows of the whole index, files on the branch)` gives;
    returns the branch's newest commit.

    Other runs may share the repository and have rows in the index; `rows` replaces those of the same branches. Raises Refused
    for a main branch that lmeff did not write, and for one with another model than the files have, unless that is an earlier
    final model of the same run.
    """
    initial = hub.prepare(entry.repository, entry.private)

    def files(head: str, remote: Mapping[str, RemoteFile]) -> Files:
        if INDEX not in remote and head != initial:
            raise Refused(f"the main branch of {entry.repository} holds what lmeff did not put there")
        there = json.loads(hub.read(entry.repository, head, INDEX))["revisions"] if INDEX in remote else []
        merged = {row["branch"]: row for row in (*there, *rows)}
        ordered = sorted(
            merged.values(), key=lambda row: (row["seed"], row["exact_tokens"], row["same_as"] is not None)
        )
        index = json.dumps({"format": 1, "revisions": ordered}, indent=2) + "\n"
        wanted = {INDEX: index.encode(), **make_files(ordered, remote)}
        manifest = wanted.get(MANIFEST)
        if isinstance(manifest, Path) and MANIFEST in remote and not _is_same_model(manifest, remote[MANIFEST]):
            former = former_files(hub, entry.repository, head, remote, former_manifests)
            if former is None:
                raise Refused(
                    f"the main branch of {entry.repository} holds another final model (publish.final_on_main)"
                )
            wanted = {**dict.fromkeys(former), **wanted}
        return wanted

    return update_files(hub, entry.repository, MAIN, files, take_commit, "Card and index")


def _is_same_model(manifest: Path, remote: RemoteFile) -> bool:
    """Whether a manifest on the Hub is that of a revision's folder, as it is or as it was before a correction."""
    return remote.holds(manifest) or was_before(manifest.parent, remote)


def update_files(
    hub: Hub,
    repository: str,
    branch: str,
    make_files: Callable[[str, Mapping[str, RemoteFile]], Files],
    take_commit: Callable[[], float],
    message: str,
) -> str:
    """Makes the branch hold the files that `make_files(newest commit, its files)` gives, in one commit, unless it does already;
    then looks again. Returns the commit that holds them all. Raises NotDelivered and Unavailable."""
    for _ in range(_ATTEMPTS):
        head = hub.branches(repository).get(branch)
        if head is None:
            raise NotDelivered(f"{repository} has no branch {branch!r}")
        remote = hub.files(repository, head)
        wanted = make_files(head, remote)
        new = {
            name: value
            for name, value in wanted.items()
            if (name in remote if value is None else name not in remote or not remote[name].holds(value))
        }
        if not new:
            return head
        wait_for(take_commit)
        with suppress(Moved):
            hub.commit(repository, branch, head, new, message)
    raise NotDelivered(f"branch {branch} of {repository} is another one after each of {_ATTEMPTS} commits")
