"""What provenance says about the text that losses are of."""

from pathlib import Path

import pytest

from lmeff.corpora import prepare_text
from lmeff.recipe.sections.corpus import Corpus
from lmeff.revisions import provenance

pytestmark = pytest.mark.medium


def test_the_same_held_out_text_is_known_under_other_training_text(tmp_path: Path) -> None:
    for name, text in {"a": "The cat sat.", "b": "A dog ran.", "held": "Birds sing.", "other": "Fish swim."}.items():
        (tmp_path / f"{name}.txt").write_text(text)
    found = {}
    for train, dev in (("a", "held"), ("b", "held"), ("a", "other")):
        paths = {"paths": [str(tmp_path / f"{train}.txt")], "dev_paths": [str(tmp_path / f"{dev}.txt")]}
        corpus = prepare_text(Corpus(name="mine", **paths), tmp_path / "data")
        tokens = {"fingerprint": "t", "splits": {}}
        found[train, dev] = provenance({}, corpus.manifest, tokens)["corpus"]
    one, other_training, other_held_out = found.values()
    assert one["fingerprint"] != other_training["fingerprint"]
    assert one["held_out_sha256"] == other_training["held_out_sha256"]
    assert one["held_out_sha256"] != other_held_out["held_out_sha256"]
