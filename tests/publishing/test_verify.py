"""`lmeff verify` on a run that went on with another recipe: each held-out loss is over the text that its revision says."""

import json
from pathlib import Path

import pytest
from launching import run_folder, write_recipe
from training.in_turn import run_in_turn

from lmeff.analysis import read_runs
from lmeff.formats.manifest import ManifestDocument
from lmeff.publishing.verify import verify
from lmeff.revisions.store import MUTABLE

WORDS = ("evaluation.weights=false", "anchors.tokens=[0, 2k, 5k]")
OTHER_TEXT = ("evaluation.dev_tokens=300", "--accept-changes")


@pytest.mark.slow
def test_losses_are_taken_again_over_the_text_of_their_revision(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path)
    words = [str(recipe), *WORDS]
    assert run_in_turn([["stop_at:6", *words], [*words, *OTHER_TEXT]]) == [0, 0]
    run = run_folder(recipe)
    names = [f"seed-1-tokens-{name}" for name in ("0", "2k", "5k")]
    anchors = [json.loads((run / "revisions" / name / "anchor.json").read_text()) for name in names]
    provenance = json.loads((run / "revisions" / names[0] / "provenance.json").read_text())
    there = provenance["tokens"]["splits"]["dev"]["num_tokens"]
    assert [anchor["dev_tokens"] for anchor in anchors] == [min(5000, there), min(5000, there), 300]
    assert there > 600
    (read,) = read_runs([run])
    assert [anchor.document.dev_loss for anchor in read.anchors] == [None, None, anchors[2]["dev_loss"]]
    wrong, right = verify(run)
    assert wrong == []
    assert "3 models load and have the held-out loss that was recorded" in right
    # Told to be over other text, the same loss is another one.
    anchor = run / "revisions" / names[2] / "anchor.json"
    anchor.write_text(json.dumps(anchors[2] | {"dev_tokens": 20}))
    ManifestDocument.of(anchor.parent, exclude=MUTABLE).write(anchor.parent)
    (line,) = verify(run)[0]
    assert line.startswith(f"{anchor.parent}: its weights give a held-out loss of ")
    # A revision without a recipe has that of the run; whatever is wrong with another one's, the others are looked at.
    without, unknown = (run / "revisions" / name / "recipe.yaml" for name in names[:2])
    without.unlink()
    unknown.write_text("of_old: true\n" + unknown.read_text())
    for folder in (without.parent, unknown.parent):
        ManifestDocument.of(folder, exclude=MUTABLE).write(folder)
    first, second = verify(run)[0]
    assert first.startswith(f"{unknown}:1: of_old: unknown key")
    assert second == line
