"""Revisions are whole, never changed, and say what they are."""

import json
from pathlib import Path

import pytest
from revisions.facts import FACTS

from lmeff.formats.anchor import AnchorDocument
from lmeff.formats.manifest import ManifestDocument
from lmeff.revisions import RevisionStore, differences, list_revisions


@pytest.fixture
def store(tmp_path: Path) -> RevisionStore:
    tokenizer = tmp_path / "tokenizer"
    tokenizer.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (tokenizer / name).write_text("{}")
    return RevisionStore(
        tmp_path / "run" / "revisions",
        3,
        tokenizer,
        "name: x\n",
        {"format": 1},
        lambda anchor, name: f"# {name} {anchor.step}\n",
    )


def weights(content: bytes):
    def write(folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(content)
        (folder / "config.json").write_text("{}")

    return write


def facts(tokens: int) -> dict:
    return FACTS | {"nominal_tokens": tokens, "exact_tokens": tokens}


def test_a_revision_is_complete_and_matches_its_manifest(store: RevisionStore) -> None:
    folder = store.save(weights(b"w"), facts(60_000))
    assert folder.name == "seed-3-tokens-60k"
    anchor = AnchorDocument.model_validate(json.loads((folder / "anchor.json").read_text()))
    assert anchor.weights_sha256 == "50e721e49c013f00c62cf59f2163542a9d8df02464efeb615d31051b0fddc326"
    manifest = ManifestDocument.model_validate(json.loads((folder / "manifest.json").read_text()))
    assert manifest.files["model.safetensors"].sha256 == anchor.weights_sha256
    assert "README.md" not in manifest.files
    assert (folder / "README.md").read_text() == "# seed-3-tokens-60k 2\n"
    assert differences(folder) == []


def test_every_kind_of_damage_is_named_and_the_card_may_change(store: RevisionStore) -> None:
    folder = store.save(weights(b"w"), facts(60_000))
    (folder / "README.md").write_text("new results")
    assert differences(folder) == []
    (folder / "model.safetensors").write_bytes(b"v")
    (folder / "config.json").unlink()
    (folder / "extra.bin").write_bytes(b"")
    assert [line.rsplit(": ", 1)[1] for line in differences(folder)] == ["missing", "not in the manifest", "changed"]
    (folder / "manifest.json").unlink()
    assert "no such file" in differences(folder)[0]


def test_a_save_that_fails_leaves_nothing(store: RevisionStore) -> None:
    def broken(folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        store.save(broken, facts(60_000))
    assert not store.folder.exists()


def test_a_revision_written_again_replaces_the_old_one_whole(store: RevisionStore) -> None:
    store.save(weights(b"old"), facts(60_000))
    folder = store.save(weights(b"new"), facts(60_000))
    assert (folder / "model.safetensors").read_bytes() == b"new"
    assert differences(folder) == []
    assert [path.name for path in store.folder.iterdir()] == [folder.name]


def test_the_final_revision_equals_the_last_anchor_and_says_so(store: RevisionStore) -> None:
    source = store.save(weights(b"w"), facts(60_000))
    before = (source / "anchor.json").read_text()
    final = store.save_final(60_000)
    anchor = AnchorDocument.model_validate(json.loads((final / "anchor.json").read_text()))
    assert anchor.same_as == source.name
    assert (source / "anchor.json").read_text() == before
    assert differences(final) == differences(source) == []
    assert (final / "README.md").read_text() == "# seed-3 2\n"


def test_revisions_are_listed_by_tokens_without_the_final(store: RevisionStore) -> None:
    for tokens in (1_000_000, 0, 60_000):
        store.save(weights(b"w%d" % tokens), facts(tokens))
    store.save_final(1_000_000)
    names = [folder.name for folder in list_revisions(store.folder.parent)]
    assert names == ["seed-3-tokens-0", "seed-3-tokens-60k", "seed-3-tokens-1M"]


def test_what_a_killed_process_left_aside_is_no_revision(store: RevisionStore) -> None:
    """Killed between the two renames that replace a folder, a process leaves both, whole, under hidden names."""
    whole = store.save(weights(b"abc"), facts(1000))
    whole.rename(whole.with_name(f".{whole.name}.0123abcd.tmp"))
    assert list_revisions(store.folder.parent) == []
    again = store.save(weights(b"abc"), facts(1000))
    assert list_revisions(store.folder.parent) == [again]
    assert [path.name for path in store.folder.iterdir()] == [again.name]
