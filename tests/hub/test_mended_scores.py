"""Our own scores are the same whatever the published tokenizer adds, and before and after a revision is mended."""

import json
from pathlib import Path

import pytest
from revisions.older import make_old, save, save_older_tokenizer

from lmeff.cli import main
from lmeff.hub.mending import mend

pytestmark = pytest.mark.slow


def test_scores_perplexity_and_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tokenizer").mkdir()
    tokenizer_folder = save_older_tokenizer(tmp_path / "tokenizer")
    models = Path("models")
    models.mkdir()
    for name, kind in (("plain", "default"), ("adds", "adds <s>"), ("before", "default"), ("mended", "default")):
        save(Path("saved") / name, tokenizer_folder, kind).rename(models / name)
    for name in ("before", "mended"):
        make_old(models / name)
    assert mend(models / "mended")
    for recipe in models.glob("*/recipe.yaml"):
        recipe.unlink()  # it is no whole one
    Path("text.txt").write_text("The dogs that the boy saw.\n\nRan away, and <s> came </s> back.\n")
    Path("prompts.jsonl").write_text(json.dumps({"prompt": "The cat"}) + "\n" + json.dumps({"prompt": " sat on"}))
    own_pairs = Path("pairs")
    own_pairs.mkdir()
    pair = {"sentence_good": "The dogs ran.", "sentence_bad": "The dogs runs."}
    (own_pairs / "mine.jsonl").write_text(json.dumps(pair))
    words = ["--tasks", "lmeff_synthetic,lmeff_pairs", "--path", "pairs=pairs", "--limit", "3"]
    assert main(["eval", "models", *words, "--output", "out"]) == 0
    assert main(["perplexity", "models", "--text", "text.txt", "--output", "out"]) == 0
    assert main(["generate", "models", "--prompts", "prompts.jsonl", "--samples", "2", "--output", "out"]) == 0
    found = {}
    for name in ("plain", "adds", "before", "mended"):
        folder = next(path for path in Path("out").iterdir() if path.name.endswith(f"@{name}"))
        results = {path.name: json.loads(path.read_text())["results"] for path in sorted(folder.glob("[!.]*.json"))}
        texts = (folder / "generations.jsonl").read_text()
        found[name] = (results, texts)
        assert len(results) == 4
    assert found["adds"] == found["plain"] == found["before"] == found["mended"]
