"""Which models a folder or a repository holds, and doing something with one after another."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lmeff.errors import InputError, RunFailed
from lmeff.files import read_json, write_json
from lmeff.formats.anchor import ANCHOR, AnchorDocument
from lmeff.formats.run_folder import RunFolder, suggest_run
from lmeff.hub.client import NotDelivered, Unavailable
from lmeff.hub.named_revision import NamedRevision
from lmeff.hub.remote import RemoteModel, download, find_remote, holds_weights, is_remote
from lmeff.revisions import list_revisions

SOURCE = ".model.json"
"""Beside results that do not lie in their run: which model it was. Stays on this machine."""

_FOR_PEOPLE = (InputError, RunFailed, OSError, Unavailable, NotDelivered)
"""Errors whose text says what is wrong."""


@dataclass(frozen=True)
class Subject:
    """A model to score and where its results go."""

    model_folder: Path | None
    """None for a model of the Hub, which is fetched when its turn comes."""
    output: Path
    remote: RemoteModel | None = None
    collection: Path | None = None
    """The run, or folder of model folders, that it is a revision of, where its results lie outside of it."""
    is_single: bool = False
    """A model folder that was named itself, and not as a part of something."""
    asked_as: str | None = None
    """The final revision's name, where it was asked for by that and not by the anchor that it equals."""

    @property
    def name(self) -> str:
        return self.remote.revision if self.remote else _called(self.model_folder).name

    @property
    def source(self) -> dict[str, str | None] | None:
        """What `SOURCE` says, by which results are known to belong together. None for a run's own, which lie in the run."""
        if self.remote:
            return {name: getattr(self.remote, name) for name in ("repository", "revision", "commit")}
        if owner := self.model_folder if self.is_single else self.collection:
            return {"repository": str(owner.resolve()), "revision": self.name, "commit": None}
        return None

    def fetch(self) -> Path:
        """The model's folder. Raises Unavailable for a model of the Hub that cannot be had."""
        return download(self.remote) if self.remote else self.model_folder


def find_subjects(what: str, revisions: Sequence[str] | None, every: bool, output: Path | None) -> list[Subject]:
    """The models of a run folder, of a repository on the Hub or of a folder with a model folder for each revision (such as
    BabyLM's `chck_10M`) in the order of their tokens, or the one of a model folder.

    `revisions` names some of them; without any a run means all of its own, and a repository needs `every`. Raises InputError
    for what holds no model or has no such revision, and RunFailed when the Hub cannot be asked.
    """
    if is_remote(what):
        try:
            found = find_remote(what, list(revisions or ()), every)
        except (Unavailable, NotDelivered) as error:
            raise RunFailed(f"{what}: {error}") from None
        if not found:
            raise InputError(f"{what}: no revision of it holds weights")
        subjects = [Subject(None, _own_folder(one.folder_name, output), one) for one in found]
        return [_checked(subject) for subject in subjects]
    what = Path(what)
    if not what.is_dir():
        raise InputError(f"{what}: {'not a folder' if what.exists() else 'no such folder'}")
    if (what / "config.json").is_file():
        if revisions:
            raise InputError(f"--revisions: {what} is one model and has no {revisions[0]!r}")
        return [_checked(Subject(what, output or _own_folder(_single_name(what), None), is_single=True))]
    own = list_revisions(what)
    collected = (
        [] if own else [path.parent for path in what.glob("[!.]*/config.json") if holds_weights(path.parent.iterdir())]
    )
    found = {
        folder.name: folder for folder in own or sorted(collected, key=lambda folder: NamedRevision.parse(folder.name))
    }
    if not found:
        raise InputError(
            f"{what}: neither a run with revisions nor a model folder with a config.json, nor a folder of such"
            + suggest_run(what)
        )
    finals: dict[str, str] = {}
    if own and revisions is not None:  # the final revision is one of the others under another name
        finals = {anchor_of(RunFolder(what).revision(name)): name for name in revisions if name not in found}
        revisions = [anchor_of(RunFolder(what).revision(name)) if name not in found else name for name in revisions]
    unknown = [name for name in revisions or () if name not in found]
    if unknown:
        raise InputError(f"--revisions: {what} has no {unknown[0]!r}; it has {', '.join([*found, *_finals(what)])}")
    names = [name for name in found if revisions is None or name in revisions]
    if own and output is None:
        return [Subject(found[name], RunFolder(what).results_of(name), asked_as=finals.get(name)) for name in names]
    if own:
        subjects = [Subject(found[name], output / name, None, what, asked_as=finals.get(name)) for name in names]
        return [_checked(subject) for subject in subjects]
    title = what.resolve().name
    return [_checked(Subject(found[name], _own_folder(f"{title}@{name}", output), collection=what)) for name in names]


def _finals(run: Path) -> list[str]:
    """The final revisions of a run, which equal one of its anchors each."""
    folders = (path.parent for path in RunFolder(run).find_in_revisions(ANCHOR))
    return [folder.name for folder in folders if anchor_of(folder) != folder.name]


def _called(folder: Path) -> Path:
    """The folder with a name, also for `.`, and with the name it was called by, also for a link."""
    return Path(os.path.abspath(folder))


def _single_name(folder: Path) -> str:
    """What to call the results of a model folder: its name or, for a revision in a run folder, whose name other runs have
    too, that behind the run's."""
    folder = _called(folder)
    run = RunFolder.of_revision(folder)
    if run is None:
        return folder.name
    return f"{run.path.parent.name if run.path.name.startswith('seed-') else run.path.name}-{folder.name}"


def anchor_of(revision: Path) -> str:
    """The name of the anchor that a revision equals, else its own."""
    anchor = AnchorDocument.find(revision)
    return (anchor.same_as if anchor else None) or revision.name


def outputs_of(whats: Sequence[str], output: Path | None) -> list[Path | None]:
    """Where the results of several `find_subjects` go when they share one `--output`: into folders named after what each was
    called, by as many parts of its path as tell them apart."""
    if output is None or len(whats) == 1:
        return [output] * len(whats)
    parts = [[part for part in what.split("/") if part not in ("", ".", "..")] for what in whats]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["-".join(each[-depth:]) for each in parts]
        if len(set(names)) == len(names):
            return [output / name for name in names]
    raise InputError("--output: the same model is named twice")


def _own_folder(name: str, output: Path | None) -> Path:
    """Where the results of a model called `name` go, such as `REPO@REVISION`."""
    return (output or Path("outputs") / "eval") / name


def _checked(subject: Subject) -> Subject:
    """Raises InputError when results of another repository or folder of that name are there."""
    ours, note = subject.source["repository"], subject.output / SOURCE
    if note.exists() and (other := read_json(note)["repository"]) != ours:
        raise InputError(
            f"{subject.output}: holds results of {other}; give those of {ours} another place with --output DIR"
        )
    return subject


def _write_note(subject: Subject) -> None:
    note, content = subject.output / SOURCE, {"format": 1, **subject.source}
    if not (note.exists() and read_json(note) == content):
        write_json(note, content)


def where_results_are(outputs: Sequence[Path]) -> str:
    """A line for the end: the folder of the results, or the one that holds them all, and what shows them."""
    parents = {output.parent: RunFolder.of_results(output) or output.parent for output in outputs}
    together = f"{', '.join(map(str, sorted(parents)))} (one folder for each revision)"
    place = outputs[0] if len(outputs) == 1 else together
    curves = " ".join(str(parents[parent]) for parent in sorted(parents))
    return f"results: {place}; table: lmeff curves {curves}; page: lmeff report {curves}"


def score_each(subjects: Sequence[Subject], score: Callable[[Subject, Path], None]) -> None:
    """Calls `score(subject, model_folder)` for every model. A model for which that fails is named and the others go on;
    RunFailed is raised at the end."""
    failed = []
    for subject in subjects:
        if subject.asked_as:
            print(f"{subject.name} (same as {subject.asked_as})", flush=True)
        try:
            model_folder = subject.fetch()
            if subject.source:
                _write_note(subject)
            score(subject, model_folder)
        except Exception as error:  # whatever is wrong with one model, the others go on
            failed.append(subject.name)
            said = " ".join(str(error).split())
            if not isinstance(error, _FOR_PEOPLE):  # what it says may be a bare key or nothing
                said = f"{type(error).__name__}: {said}"
            print(f"{subject.name}: cannot be scored: {said}", flush=True)
    if failed:
        raise RunFailed(f"{len(failed)} of {len(subjects)} models could not be scored: {', '.join(failed)}")
