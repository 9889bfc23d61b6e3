"""Which models of a run or repository a model is compared with."""

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lmeff.files import MANIFEST
from lmeff.formats.anchor import AnchorDocument
from lmeff.formats.run_folder import RunFolder
from lmeff.measures.selection import SelectedModel
from lmeff.revisions import Revision


@dataclass(frozen=True)
class CurvePoint:
    """A model on the curve of a run."""

    folder: Path
    anchor: AnchorDocument

    @property
    def is_final(self) -> bool:
        return self.anchor.same_as is not None or self.folder.name == Revision(self.anchor.seed).name

    @property
    def is_twin(self) -> bool:
        """Whether it is a final model that is an anchor too: of a run that trains on, another one takes its name."""
        return self.anchor.same_as is not None

    @property
    def name(self) -> str:
        """The revision's; the folder of a model from the Hub is called after its commit."""
        return Revision(self.anchor.seed, None if self.is_final else self.anchor.nominal_tokens).name


def read_point(folder: Path) -> CurvePoint | None:
    """Where a model stands; None without an `anchor.json`."""
    anchor = AnchorDocument.find(folder)
    return CurvePoint(folder, anchor) if anchor else None


@dataclass(frozen=True)
class Neighbors:
    """The models that one is compared with; None where there is no such model."""

    previous: Path | None = None
    """At the nearest anchor with fewer tokens."""
    initial: Path | None = None
    """At 0 tokens."""
    final: Path | None = None


def find_neighbors(folder: Path, others: Iterable[Path]) -> Neighbors:
    """Out of models of one run or repository: by the tokens and seeds of their `anchor.json`, without which a model has no
    neighbors."""
    own = read_point(folder)
    if own is None:
        return Neighbors()
    points = [point for other in others if (point := read_point(other)) and point.anchor.seed == own.anchor.seed]
    before = [point for point in points if point.anchor.exact_tokens < own.anchor.exact_tokens and not point.is_twin]
    return Neighbors(
        previous=max(before, key=lambda point: point.anchor.exact_tokens).folder if before else None,
        initial=next((point.folder for point in before if point.anchor.exact_tokens == 0), None),
        final=next((point.folder for point in points if point.is_final), None),
    )


def same_origin(model: SelectedModel, folder: Path, models: Sequence[SelectedModel]) -> list[Path]:
    """The folders of the run's revisions, or of the repository's that are among `models` and can be had. A model folder that
    lies elsewhere has none: those beside it may be of other runs."""
    if model.remote is None:
        run = RunFolder.of_revision(Path(os.path.abspath(folder)))
        return [] if run is None else [path.parent for path in run.find_in_revisions(MANIFEST)]
    folders = []
    for other in models:
        if other.remote and other.remote.repository == model.remote.repository:
            with suppress(Exception):  # its own turn tells what is wrong with it
                folders.append(other.fetch())
    return folders
