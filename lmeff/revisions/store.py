"""Revisions of a run on disk: written whole or not at all, and never changed afterwards."""

import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lmeff.files import MANIFEST, bring_back, new_folder, sha256_file, write_text
from lmeff.formats.anchor import ANCHOR, AnchorDocument
from lmeff.formats.manifest import ManifestDocument, manifest_differences
from lmeff.formats.provenance import write_provenance
from lmeff.formats.run_folder import RECIPE, RunFolder
from lmeff.logs import say
from lmeff.revisions.listener import RevisionListener
from lmeff.revisions.revision import Revision
from lmeff.tokens.tokenizer.published import write_published_tokenizer

MUTABLE = ("README.md", ".eval_results", MANIFEST)
"""What a manifest does not cover: the card and the results may change after the revision was written."""
_WEIGHTS = "model.safetensors"


class _NotNeeded(Exception):
    """Ends the writing of a revision whose folder stays as it is."""


@dataclass(frozen=True)
class RevisionStore:
    """`RUN/revisions`."""

    folder: Path
    seed: int
    tokenizer_folder: Path
    recipe_yaml: str
    provenance: Mapping[str, Any]
    write_card: Callable[[AnchorDocument, str], str]
    """Gives the text of README.md from the anchor and the revision's name."""
    listener: RevisionListener = field(default_factory=RevisionListener)
    add_bos: bool = False
    """Whether the tokenizer of a revision adds `<s>` by itself (`tokenizer.add_bos`)."""
    add_mask: bool = False
    """Whether it has `<mask>`, with which the model was trained."""

    def path(self, nominal_tokens: int) -> Path:
        return self.folder / Revision(self.seed, nominal_tokens).name

    @property
    def final_path(self) -> Path:
        return self.folder / Revision(self.seed).name

    def save(self, write_weights: Callable[[Path], None], facts: Mapping[str, Any], final: bool = False) -> Path:
        """Writes one anchor, or the final model when it is none of the anchors. Returns the folder.

        `write_weights(folder)` puts model.safetensors and config.json there; `facts` are the fields of anchor.json but for the
        weights' hash.
        """
        target = self.final_path if final else self.path(facts["nominal_tokens"])
        with suppress(_NotNeeded), new_folder(target) as aside:
            write_weights(aside)
            anchor = AnchorDocument(weights_sha256=sha256_file(aside / _WEIGHTS), same_as=None, **facts)
            if self._is_same(target, anchor) or self._must_stay(target, final):
                raise _NotNeeded
            write_published_tokenizer(self.tokenizer_folder, aside, self.add_bos, self.add_mask)
            write_text(aside / RECIPE, self.recipe_yaml)
            write_provenance(aside, self.provenance)
            self._complete(aside, anchor, target.name)
        self.listener.saved(target)
        return target

    def save_final(self, nominal_tokens: int) -> Path:
        """The finished model: the last anchor's files under the final name, weights shared on disk where possible."""
        source, target = self.path(nominal_tokens), self.final_path
        anchor = AnchorDocument.read(source).model_copy(update={"same_as": source.name})
        with suppress(_NotNeeded), new_folder(target) as aside:
            # A run that was extended has another final model now. Whether its branch may have it, delivery decides.
            if self._is_same(target, anchor):
                raise _NotNeeded
            self.listener.hold(target.name, True)
            for file in ManifestDocument.read(source).files:
                try:
                    os.link(source / file, aside / file)
                except OSError:
                    shutil.copyfile(source / file, aside / file)
            # Removed first, since writing to the hard link would change the file of the anchor, too.
            (aside / ANCHOR).unlink()
            self._complete(aside, anchor, target.name)
        self.listener.saved(target)
        return target

    def _is_same(self, target: Path, anchor: AnchorDocument) -> bool:
        """Whether the same model is there already, from before a restart. Its wall times may differ."""
        if not target.exists() or differences(target):
            return False
        before = AnchorDocument.read(target)
        keys = ("weights_sha256", "step", "same_as")
        return all(getattr(before, key) == getattr(anchor, key) for key in keys)

    def _must_stay(self, target: Path, final: bool) -> bool:
        """Whether the revision that is there must not be replaced, since others may have loaded it; says so."""
        if not target.exists() or differences(target) or self.listener.hold(target.name, final):
            return False
        say(f"{target}: stays as it was sent to the Hub; after a restart this step gave other weights")
        return True

    def _complete(self, aside: Path, anchor: AnchorDocument, name: str) -> None:
        anchor.write(aside)
        write_text(aside / "README.md", self.write_card(anchor, name))
        ManifestDocument.of(aside, exclude=MUTABLE).write(aside)


def bring_back_revisions(run: Path) -> list[str]:
    """Renames revisions back that a killed process left under their hidden names, and returns what they are called. Only for a
    process that holds the run: what another process is just writing looks the same."""
    folder = RunFolder(run)
    names = {path.name[1:].rsplit(".", 2)[0] for path in folder.revisions.glob(".*.tmp") if path.is_dir()}
    return [name for name in sorted(names) if bring_back(folder.revision(name))]


def list_revisions(run: Path) -> list[Path]:
    """The complete anchors of a run in the order of their tokens; the final revision, which equals the last, is left out."""
    folders = [path.parent for path in RunFolder(run).find_in_revisions(MANIFEST)]
    anchors = [(AnchorDocument.read(folder), folder) for folder in folders]
    return [
        folder for anchor, folder in sorted(anchors, key=lambda pair: pair[0].exact_tokens) if anchor.same_as is None
    ]


def differences(folder: Path) -> list[str]:
    """How a revision on disk differs from its manifest, one line each; empty when all is well."""
    return manifest_differences(folder, MUTABLE)
