"""Revisions of older versions are mended, here and on the Hub, without a change of weights; a tokenizer that adds `<s>`."""

import json
import shutil
from pathlib import Path

import pytest
from hub_server import Commit, HubServer
from hub_user import REPOSITORY, lmeff
from launching import curve, finish, start, weights
from revisions.older import make_old

from lmeff.cli import main
from lmeff.files import sha256_file
from lmeff.formats.run_folder import RunFolder
from lmeff.hub.outbox import Outbox
from lmeff.runs.claim import claimed

pytestmark = pytest.mark.slow

NAMES = ("seed-1-tokens-0", "seed-1-tokens-20k", "seed-1")
CORRECTED = {"config.json", "tokenizer_config.json", "mended.json", "manifest.json"}


@pytest.fixture
def old_run(run: Path) -> Path:
    """A run as an older version of lmeff left it."""
    for name in NAMES:
        make_old(run / "revisions" / name)
    path = run / "recipe.yaml"
    path.write_text(path.read_text().replace("final_on_main: false", "final_on_main: true"))
    return run


def changed(newer: Commit, older: Commit) -> set[str]:
    return {name for name in newer.files.keys() | older.files.keys() if newer.files.get(name) != older.files.get(name)}


def test_named_mended_and_verified(
    hub: HubServer, old_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["publish", str(old_run)]) == 0
    before = {name: hub.repositories[REPOSITORY].find(name) for name in (*NAMES, "main")}
    copy = tmp_path / "elsewhere" / "outputs" / "job" / "seed-1"
    shutil.copytree(old_run, copy, ignore=shutil.ignore_patterns("outbox"))
    answer = lmeff("verify", str(old_run), "--no-reload")
    assert answer.returncode == 1
    for file, fault in (("config.json", "rope_theta, torch_dtype"), ("tokenizer_config.json", "first word")):
        (line,) = [line for line in answer.stdout.splitlines() if f" {file} of {', '.join(sorted(NAMES))}: " in line]
        assert fault in line
        assert line.endswith(f"; correct it with: lmeff publish {old_run} --mend")

    capsys.readouterr()
    assert main(["publish", str(old_run), "--mend"]) == 0
    said = capsys.readouterr().out
    assert all(f"{name}: corrected config.json, tokenizer_config.json\n" in said for name in NAMES)
    for name in NAMES:
        newest, *older = hub.commits(REPOSITORY, name)
        assert older == [before[name]]
        assert newest.title == "Corrected: config.json, tokenizer_config.json"
        assert changed(newest, before[name]) == CORRECTED
        assert json.loads(newest.files["config.json"].content)["rope_theta"] == 10_000
        assert json.loads(newest.files["tokenizer_config.json"].content)["add_prefix_space"] is True
    assert "model.safetensors" not in changed(hub.repositories[REPOSITORY].find("main"), before["main"])
    assert changed(hub.repositories[REPOSITORY].find("main"), before["main"]) >= CORRECTED
    answer = lmeff("verify", str(old_run))
    assert answer.returncode == 0, answer.stdout
    assert "3 revisions on the Hub are those of the folder" in answer.stdout
    assert "have the held-out loss that was recorded" in answer.stdout

    tips = dict(hub.repositories[REPOSITORY].branches)
    assert main(["publish", str(old_run), "--mend"]) == 0
    said = capsys.readouterr().out
    assert "nothing to correct" in said
    assert "everything is on the Hub" in said
    assert hub.repositories[REPOSITORY].branches == tips

    # A copy of the run on another machine, which knows nothing of this.
    assert main(["publish", str(copy)]) == 1
    assert "holds this very model with corrected files; lmeff publish --mend" in capsys.readouterr().err
    assert hub.repositories[REPOSITORY].branches == tips
    assert main(["publish", str(copy), "--mend"]) == 0
    assert hub.repositories[REPOSITORY].branches == tips, "both are corrected to the same bytes"


@pytest.mark.parametrize("verb", [["verify", "--local", "--no-reload"], ["publish", "--mend"]])
def test_a_revision_that_a_killed_mend_left_hidden(
    old_run: Path, verb: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Both copies stand under hidden names, as an older version left them: one is brought back, nothing is lost."""
    folder = old_run / "revisions" / NAMES[1]
    shutil.copytree(folder, folder.with_name(f".{folder.name}.0123abcd.tmp"))
    weights = sha256_file(folder / "model.safetensors")
    folder.rename(folder.with_name(f".{folder.name}.4567cdef.tmp"))
    with claimed(RunFolder(old_run)):
        main(["verify", str(old_run), "--local", "--no-reload"])
        assert not folder.exists(), "a process at work may be about to rename it itself"
    capsys.readouterr()
    main([verb[0], str(old_run), *verb[1:]])
    assert f"{folder.name}: brought back" in capsys.readouterr().out
    assert sha256_file(folder / "model.safetensors") == weights
    assert main(["publish", str(old_run), "--mend"]) == 0
    assert not list((old_run / "revisions").glob(".*.tmp"))
    assert main(["verify", str(old_run), "--local", "--no-reload"]) == 0


def test_another_model_is_not_mended_over(hub: HubServer, old_run: Path, tmp_path: Path) -> None:
    assert main(["publish", str(old_run)]) == 0
    tips = dict(hub.repositories[REPOSITORY].branches)
    other = tmp_path / "other" / "outputs" / "job" / "seed-1"
    shutil.copytree(old_run, other, ignore=shutil.ignore_patterns("outbox"))
    for name in NAMES:
        recipe = other / "revisions" / name / "recipe.yaml"
        recipe.write_text(recipe.read_text() + "# another\n")
        make_old(other / "revisions" / name)
    assert main(["publish", str(other)]) == 1
    assert main(["publish", str(other), "--mend"]) == 1
    errors = {entry.revision: entry.error for entry in Outbox(other).entries()}
    assert all("holds another model; it is never overwritten" in errors[name] for name in NAMES)
    assert {name: tips[name] for name in NAMES} == {name: hub.repositories[REPOSITORY].branches[name] for name in NAMES}


def test_a_run_that_was_never_published(
    old_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HF_NAMESPACE", raising=False)
    before = {name: sha256_file(old_run / "revisions" / name / "model.safetensors") for name in NAMES}
    damaged = old_run / "revisions" / NAMES[1] / "recipe.yaml"
    whole = damaged.read_text()
    damaged.write_text("name: other\n")
    assert main(["publish", str(old_run), "--mend"]) == 2
    assert "a damaged revision is not mended" in capsys.readouterr().err
    damaged.write_text(whole)
    assert main(["publish", str(old_run), "--mend"]) == 0
    assert f"it was not published from here; lmeff publish {old_run} sends it" in capsys.readouterr().out
    assert main(["verify", str(old_run), "--no-reload", "--local"]) == 0
    assert {name: sha256_file(old_run / "revisions" / name / "model.safetensors") for name in NAMES} == before
    assert not (old_run / "outbox").exists() or Outbox(old_run).entries() == []


def test_a_tokenizer_that_adds_bos_changes_nothing_else(finished: Path, tmp_path: Path) -> None:
    """The same tokens, losses, weights and held-out perplexity; only what others are given differs. Not on the way of a run."""
    recipe = finished.parents[2] / "recipe.yaml"
    data = finished.parents[2] / "data"
    folders = sorted(path.name for path in data.glob("*/tok*/*"))
    words = ("anchors.tokens=[0,20k]", "model.max_position_embeddings=128", "name=adds", "tokenizer.add_bos=true")
    finish(start(None, str(recipe), *words))
    adds = finished.parents[1] / "adds" / "seed-1"
    assert sorted(path.name for path in data.glob("*/tok*/*")) == folders, "nothing is encoded anew"
    assert weights(adds) == weights(finished)
    assert curve(adds) == curve(finished)
    ours, theirs = (run / "revisions" / "seed-1" for run in (adds, finished))
    files = sorted(path.name for path in theirs.iterdir() if path.is_file())
    differing = [name for name in files if (ours / name).read_bytes() != (theirs / name).read_bytes()]
    assert sorted({*differing, "anchor.json", "provenance.json"}) == sorted(
        ["README.md", "anchor.json", "manifest.json", "provenance.json", "recipe.yaml", "tokenizer.json"]
    )
    assert "The tokenizer adds it to every text." in (ours / "README.md").read_text()
    perplexities = []
    for run in (adds, finished):
        output = tmp_path / run.parent.name
        assert main(["perplexity", str(run), "--output", str(output)]) == 0
        found = json.loads((output / "seed-1-tokens-20k" / "perplexity_dev.json").read_text())
        perplexities.append(found["results"])
    assert perplexities[0] == perplexities[1]
    process = start(None, str(recipe), *words[:3], "--accept-changes")
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "tokenizer.add_bos was True, is now False; a run cannot go on with another one" in said
