"""`lmeff verify`: whether a run's revisions are what they say, on disk and on the Hub."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lmeff.errors import InputError
from lmeff.files import has_manifest
from lmeff.formats.anchor import AnchorDocument
from lmeff.formats.provenance import read_provenance
from lmeff.formats.run_folder import RECIPE, RunFolder, suggest_run
from lmeff.hub.account import token
from lmeff.hub.client import Hub, NotDelivered, Unavailable
from lmeff.hub.delivery import read_sha256, remote_differences
from lmeff.hub.mending import faults
from lmeff.hub.names import MAIN
from lmeff.hub.outbox import Entry, Outbox
from lmeff.logs import say
from lmeff.progress import shown
from lmeff.publishing.folder import bring_back_interrupted, read_run
from lmeff.recipe import read_recipe
from lmeff.revisions import differences

if TYPE_CHECKING:
    from lmeff.objectives import Objective
    from lmeff.objectives.held_out import HeldOutText

LOSS_TOLERANCE = 2e-3
"""Relative; a loss measured in bfloat16 on a GPU and again in float32 on a CPU differs by less, two anchors by more."""


def verify(run: Path, *, reload: bool = True, hub: bool = True) -> tuple[list[str], list[str]]:
    """What is wrong with a run's revisions, a line each, and what was looked at and found right.

    Compares every folder with its manifest, revisions with one another, reloaded weights with the recorded held-out loss
    (`reload`), and what was delivered with the Hub, by the hashes that its API gives (`hub`). Raises InputError for a folder
    without revisions.
    """
    bring_back_interrupted(run)
    folders = sorted(path for path in RunFolder(run).revisions.glob("[!.]*") if path.is_dir())
    if not folders:
        raise InputError(f"{run}: no revisions here{suggest_run(run)}" if run.is_dir() else f"{run}: no such folder")
    with shown("comparing files with their manifests"):
        found = {folder: differences(folder) for folder in folders}
    wrong = [line for lines in found.values() for line in lines]
    right = [] if wrong else [f"{len(folders)} revisions are what their manifests say"]
    whole = [folder for folder, lines in found.items() if not lines]
    wrong += [*_anchor_mistakes(whole), *_twins(whole), *_faults(run, whole)]
    if reload and whole:
        problems, said = _reloaded(read_run(run)[0].paths.data, whole)
        wrong, right = wrong + problems, right + said
    if hub:
        with shown("asking the Hub"):
            problems, said = _on_hub(run)
        wrong, right = wrong + problems, right + said
    return wrong, right


def _anchors(folders: list[Path]) -> dict[Path, AnchorDocument]:
    return {folder: AnchorDocument.read(folder) for folder in folders}


def _anchor_mistakes(folders: list[Path]) -> Iterator[str]:
    for folder, anchor in _anchors(folders).items():
        if anchor.weights_sha256 != read_sha256(folder):
            yield f"{folder}: anchor.json names other weights than the manifest"


def _faults(run: Path, folders: list[Path]) -> Iterator[str]:
    """Files that mean something else to some versions of transformers, one line for each kind of fault."""
    named: dict[tuple[str, str], list[str]] = {}
    for folder in folders:
        for file, fault in faults(folder).items():
            named.setdefault((file, fault), []).append(folder.name)
    for (file, fault), names in named.items():
        yield f"{RunFolder(run).revisions}: {file} of {_listed(names)}: {fault}; correct it with: lmeff publish {run} --mend"


def _listed(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{len(names)} revisions ({names[0]} to {names[-1]})"


def _twins(folders: list[Path]) -> Iterator[str]:
    """Revisions that have the weights of another one and do not say so, or say so and do not have them."""
    first: dict[str, Path] = {}
    by_step = sorted(_anchors(folders).items(), key=lambda pair: (pair[1].same_as is not None, pair[1].exact_tokens))
    for folder, anchor in by_step:
        twin = first.setdefault(anchor.weights_sha256, folder)
        if anchor.same_as is not None and anchor.same_as != twin.name:
            yield f"{folder}: says it is the same as {anchor.same_as}, and is not"
        elif twin != folder and anchor.same_as is None:
            yield f"{folder}: bit for bit the weights of {twin.name}, and does not say so"


class _HeldOutTexts:
    """What held-out losses are taken over, as each revision says it: a run may have gone on with another recipe."""

    def __init__(self, data: str) -> None:
        self._data = data
        self._made: dict[tuple[bytes, str, int | None], tuple[Objective, HeldOutText] | None] = {}

    def of(self, folder: Path, anchor: AnchorDocument) -> "tuple[Objective, HeldOutText] | None":
        """None where the tokens are not there. Raises InputError for a revision that does not say it."""
        try:
            fingerprint = read_provenance(folder)["tokens"]["fingerprint"]
        except (KeyError, TypeError):
            raise InputError(f"{folder}: its provenance does not name the tokens of its held-out loss") from None
        recipe = folder / RECIPE
        if not recipe.is_file() and (run := RunFolder.of_revision(folder)):
            recipe = run.recipe_yaml
        key = (recipe.read_bytes(), fingerprint, anchor.dev_tokens)
        if key not in self._made:
            self._made[key] = self._make(folder, recipe, fingerprint, anchor.dev_tokens)
        return self._made[key]

    def _make(
        self, folder: Path, file: Path, fingerprint: str, dev_tokens: int | None
    ) -> "tuple[Objective, HeldOutText] | None":
        from lmeff.objectives import objective_of
        from lmeff.tokens import find_tokens

        if (tokens := find_tokens(self._data, fingerprint, folder)) is None:
            return None
        recipe = read_recipe(file).recipe
        objective = objective_of(recipe, tokens)
        wanted = dev_tokens or recipe.evaluation.dev_tokens
        return objective, objective.held_out_text(tokens, wanted, recipe.batch)


def _reloaded(data: str, folders: list[Path]) -> tuple[list[str], list[str]]:
    """Loads every model and computes its held-out loss again."""
    with shown("loading PyTorch"):
        import numpy as np
        from transformers.utils import logging as transformers_logging

        from lmeff.models.device import choose_device
        from lmeff.models.loading import load_causal_model, load_language_model

    transformers_logging.disable_progress_bar()

    texts = _HeldOutTexts(data)
    device = choose_device()
    wrong: list[str] = []
    without: list[str] = []
    checked = 0
    for folder, anchor in _anchors(folders).items():
        if anchor.same_as is not None or anchor.held_out is None:
            continue
        with shown(f"{folder.name}: held-out loss"):
            try:
                if (found := texts.of(folder, anchor)) is None:
                    without.append(folder.name)
                    continue
                objective, text = found
                is_causal = anchor.held_out[0] == "dev_loss"
                model = load_causal_model(folder) if is_causal else load_language_model(folder)
            except InputError as error:
                wrong.append(str(error))
                continue
            except Exception as error:  # whatever is wrong with one, the others are looked at
                wrong.append(f"{folder}: does not load: {' '.join(str(error).split())}")
                continue
            model = model.to(device).eval()
            rows = np.arange(len(text.windows))
            loss = objective.held_out_loss(objective.held_out_sums(model, text, rows, 16, device), text).loss
        checked += 1
        recorded = anchor.held_out[1]
        if not abs(loss - recorded) <= LOSS_TOLERANCE * recorded:
            wrong.append(f"{folder}: its weights give a held-out loss of {loss:.4f}; anchor.json says {recorded:.4f}")
    right = [f"{checked} models load and have the held-out loss that was recorded"] if checked and not wrong else []
    if without:
        of_some = f" of {_listed(without)}" if checked or wrong else ""
        right.append(f"held-out losses{of_some} were not taken again: the tokens are not under {data} (paths.data)")
    return wrong, right


def _on_hub(run: Path) -> tuple[list[str], list[str]]:
    """What was delivered, against what the Hub's API says of it."""
    entries = [entry for entry in Outbox(run).entries() if entry.revision != MAIN]
    wrong = [
        f"{RunFolder(run).revision(entry.revision)}: refused: {entry.error}"
        for entry in entries
        if entry.state == "refused"
    ]
    delivered = [entry for entry in entries if entry.commit is not None]
    if not delivered:
        return wrong, [] if wrong else ["nothing of this run is on the Hub, so nothing was compared with it"]
    hub = Hub(token())
    try:
        problems = [line for entry in delivered for line in _differences_on_hub(hub, run, entry)]
    except (Unavailable, NotDelivered) as error:
        problems = [f"the Hub could not be asked ({error}); with --local only the folder is looked at"]
    return wrong + problems, [] if problems else [f"{len(delivered)} revisions on the Hub are those of the folder"]


def _differences_on_hub(hub: Hub, run: Path, entry: Entry) -> list[str]:
    where, folder = f"{entry.repository}@{entry.branch}", RunFolder(run).revision(entry.revision)
    if not has_manifest(folder):
        return [f"{where}: on the Hub, and its folder is gone"]
    try:
        head = hub.branches(entry.repository).get(entry.branch)
    except InputError as error:
        return [str(error)]
    if head is None:
        return [f"{where}: no such branch on the Hub"]
    initial = set(hub.files(entry.repository, hub.prepare(entry.repository, entry.private)))
    return remote_differences(where, folder, hub.files(entry.repository, head), initial)


def main(run: Path, *, reload: bool, hub: bool) -> bool:
    """Prints what `verify` finds; returns whether all is well."""
    wrong, right = verify(run, reload=reload, hub=hub)
    waiting = [entry.revision for entry in Outbox(run).undelivered() if entry.state == "waiting"]
    say("\n".join([*wrong, *right, *([f"not on the Hub yet: {', '.join(waiting)}"] if waiting and hub else [])]))
    return not wrong
