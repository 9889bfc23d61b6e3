"""Which models a command asks for, and where their results go."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lmeff.errors import InputError, RunFailed
from lmeff.files import read_json, write_json
from lmeff.formats.anchor import ANCHOR, anchor_of
from lmeff.formats.result import SOURCE
from lmeff.formats.run_folder import RunFolder, suggest_run
from lmeff.hub.client import NotDelivered, Unavailable
from lmeff.hub.named_revision import NamedRevision
from lmeff.hub.remote import RemoteModel, download, find_remote, holds_weights, is_remote
from lmeff.revisions import list_revisions


@dataclass(frozen=True)
class SelectedModel:
    """A model to measure and where its results go."""

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
        return self.remote.revision if self.remote else _called(self._local_folder).name

    @property
    def _local_folder(self) -> Path:
        assert self.model_folder is not None, "a model is either here or on the Hub"
        return self.model_folder

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
        return download(self.remote) if self.remote else self._local_folder

    def write_source(self) -> None:
        """Says beside results that do not lie in their run which model they are of."""
        if self.source is not None:
            path, content = self.output / SOURCE, {"format": 1, **self.source}
            if not (path.exists() and read_json(path) == content):
                write_json(path, content)


@dataclass(frozen=True)
class Selection:
    """The models that a command line asks for."""

    whats: tuple[str, ...]
    """Run folders, model folders, folders of them, and repositories of the Hub."""
    revisions: tuple[str, ...] | None = None
    """Some of them by name. Default: of a run all its own; a repository needs `every`."""
    every: bool = False
    output: Path | None = None
    """Where results go. Default: in the run, else in `outputs/eval`."""

    def models(self) -> list[SelectedModel]:
        """All models, in the order of their tokens. Raises InputError and RunFailed as `select_models`, and InputError where
        two would write to one folder."""
        return [model for models in self.by_what().values() for model in models]

    def by_what(self) -> dict[str, list[SelectedModel]]:
        """Those of each of `whats`."""
        outputs = _outputs(self.whats, self.output)
        models_of = {
            what: select_models(what, self.revisions, self.every, output)
            for what, output in zip(self.whats, outputs, strict=True)
        }
        folders = [model.output for models in models_of.values() for model in models]
        if len(set(folders)) < len(folders) or len(models_of) < len(self.whats):
            raise InputError(
                "two of these models would write to one folder; give them places of their own with --output DIR"
            )
        return models_of


def select_models(
    what: str, revisions: Sequence[str] | None = None, every: bool = False, output: Path | None = None
) -> list[SelectedModel]:
    """The models of a run folder, of a repository on the Hub or of a folder with a model folder for each revision (such as
    BabyLM's `chck_10M`) in the order of their tokens, or the one of a model folder.

    `revisions` names some of them; without any a run means all of its own, and a repository needs `every`. Raises InputError
    for what holds no model or has no such revision, and RunFailed when the Hub cannot be asked.
    """
    if is_remote(what):
        return _models_of_hub(what, revisions, every, output)
    folder = Path(what)
    if not folder.is_dir():
        raise InputError(f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}")
    if (folder / "config.json").is_file():
        if revisions:
            raise InputError(f"--revisions: {folder} is one model and has no {revisions[0]!r}")
        return [_checked(SelectedModel(folder, output or _own_folder(_single_name(folder), None), is_single=True))]
    if own := list_revisions(folder):
        return _models_of_run(folder, own, revisions, output)
    return _models_of_collection(folder, revisions, output)


def _models_of_hub(what: str, revisions: Sequence[str] | None, every: bool, output: Path | None) -> list[SelectedModel]:
    try:
        remotes = find_remote(what, list(revisions or ()), every)
    except (Unavailable, NotDelivered) as error:
        raise RunFailed(f"{what}: {error}") from None
    if not remotes:
        raise InputError(f"{what}: no revision of it holds weights")
    return [_checked(SelectedModel(None, _own_folder(one.folder_name, output), one)) for one in remotes]


def _models_of_run(
    run: Path, own: Sequence[Path], revisions: Sequence[str] | None, output: Path | None
) -> list[SelectedModel]:
    folders = {folder.name: folder for folder in own}
    asked_as: dict[str, str] = {}  # the final revision is one of the others under another name
    if revisions is not None:
        final = {name: anchor_of(RunFolder(run).revision(name)) for name in revisions if name not in folders}
        asked_as = {anchor: name for name, anchor in final.items()}
        revisions = [final.get(name, name) for name in revisions]
    names = _named(run, folders, revisions)
    if output is None:
        results = RunFolder(run).results_of
        return [SelectedModel(folders[name], results(name), asked_as=asked_as.get(name)) for name in names]
    models = [
        SelectedModel(folders[name], output / name, collection=run, asked_as=asked_as.get(name)) for name in names
    ]
    return [_checked(model) for model in models]


def _models_of_collection(folder: Path, revisions: Sequence[str] | None, output: Path | None) -> list[SelectedModel]:
    models = [path.parent for path in folder.glob("[!.]*/config.json") if holds_weights(path.parent.iterdir())]
    if not models:
        raise InputError(
            f"{folder}: neither a run with revisions nor a model folder with a config.json, nor a folder of such"
            + suggest_run(folder)
        )
    folders = {model.name: model for model in sorted(models, key=lambda model: NamedRevision.parse(model.name))}
    title = folder.resolve().name
    return [
        _checked(SelectedModel(folders[name], _own_folder(f"{title}@{name}", output), collection=folder))
        for name in _named(folder, folders, revisions)
    ]


def _named(what: Path, folders: Mapping[str, Path], revisions: Sequence[str] | None) -> list[str]:
    """Those of the revisions that are asked for, in their order. Raises InputError for one that is not there."""
    if unknown := [name for name in revisions or () if name not in folders]:
        raise InputError(f"--revisions: {what} has no {unknown[0]!r}; it has {', '.join([*folders, *_finals(what)])}")
    return [name for name in folders if revisions is None or name in revisions]


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


def _outputs(whats: Sequence[str], output: Path | None) -> list[Path | None]:
    """Where the results of several things go when they share one `--output`: into folders named after what each was called,
    by as many parts of its path as tell them apart."""
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


def _checked(model: SelectedModel) -> SelectedModel:
    """Raises InputError when results of another repository or folder of that name are there."""
    if model.source is None:
        return model
    ours, note = model.source["repository"], model.output / SOURCE
    if note.exists() and (other := read_json(note)["repository"]) != ours:
        raise InputError(
            f"{model.output}: holds results of {other}; give those of {ours} another place with --output DIR"
        )
    return model


def where_results_are(outputs: Sequence[Path]) -> str:
    """A line for the end: the folder of the results, or the one that holds them all, and what shows them."""
    parents = {output.parent: RunFolder.of_results(output) or output.parent for output in outputs}
    together = f"{', '.join(map(str, sorted(parents)))} (one folder for each revision)"
    place = outputs[0] if len(outputs) == 1 else together
    curves = " ".join(str(parents[parent]) for parent in sorted(parents))
    return f"results: {place}; table: lmeff curves {curves}; page: lmeff report {curves}"
