"""A revision means the same to every transformers that loads it: ids, logits and texts, from 4.46 on."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from models.test_models import recipe
from old_transformers import ROOT, VERSIONS, run_with
from revisions.test_store import FACTS

from lmeff.files import write_json
from lmeff.hub.mending import faults, mend
from lmeff.models.build import build_model
from lmeff.models.writing import write_model
from lmeff.revisions import RevisionStore
from lmeff.tokens.tokenizer.bpe import save_tokenizer, train_tokenizer

TEXT = [
    "The cat sat on the mat.",
    "The dogs that the boy saw ran away from the big house, and don't come back.",
    "日本 🙂 ß naïve cafe\n\nnew line",
] * 20
# Weights so large that a wrong angle, a wrong head or a wrong first word changes what is written.
SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "initializer_range": 0.5,
}
KINDS = {
    "default": {},
    "adds <s>": {},
    "theta": {"rope_theta": 500_000},
    "fewer heads for keys": {"num_key_value_heads": 2},
    "wide heads": {"head_dim": 16},
    "tied": {"tie_word_embeddings": True},
    "long": {"max_position_embeddings": 2048},
    "epsilon": {"rms_norm_eps": 0.01},
    "dropout": {"attention_dropout": 0.1},
    "everything": {
        "rope_theta": 123.5,
        "num_key_value_heads": 1,
        "head_dim": 10,
        "tie_word_embeddings": True,
        "rms_norm_eps": 1e-5,
        "attention_dropout": 0.3,
        "max_position_embeddings": 300,
    },
}
"""The options of `model` that change a configuration, one after the other and all at once."""
AS_BEFORE = "theta, as older versions wrote it"


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As an older version of lmeff prepared it: such folders are taken as they are."""
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(train_tokenizer(TEXT, 320), folder)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config.pop("add_prefix_space")
    write_json(folder / "tokenizer_config.json", config)
    return folder


def store(folder: Path, tokenizer_folder: Path, add_bos: bool = False) -> RevisionStore:
    return RevisionStore(
        folder, 3, tokenizer_folder, "name: x\n", {"format": 1}, lambda anchor, name: "# x\n", add_bos=add_bos
    )


def save(folder: Path, tokenizer_folder: Path, kind: str) -> Path:
    """A revision of a kind, as training saves it."""
    model = build_model(recipe(320, **SHAPE, **KINDS[kind]))
    facts = FACTS | {"nominal_tokens": 60_000, "exact_tokens": 60_000}
    own = store(folder, tokenizer_folder, kind == "adds <s>")
    return own.save(lambda aside: write_model(model, model.state_dict(), aside), facts)


def make_old(revision: Path) -> None:
    """What older versions of lmeff wrote in its place, with its manifest."""
    from lmeff.files import describe_files
    from lmeff.revisions.store import MUTABLE

    for name, later in (
        ("config.json", ("rope_theta", "torch_dtype")),
        ("tokenizer_config.json", ("add_prefix_space",)),
    ):
        content = json.loads((revision / name).read_text())
        write_json(revision / name, {key: value for key, value in content.items() if key not in later})
    write_json(revision / "manifest.json", {"format": 1, "files": describe_files(revision, exclude=MUTABLE)})


@pytest.fixture(scope="module")
def revisions(tokenizer_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A revision of each kind; one as older versions wrote it; and that one mended."""
    root = tmp_path_factory.mktemp("revisions")
    found = {kind: save(root / str(number), tokenizer_folder, kind) for number, kind in enumerate(KINDS)}
    for name in (AS_BEFORE, "mended"):
        found[name] = save(root / name, tokenizer_folder, "theta")
        make_old(found[name])
    assert mend(found["mended"]) == ["config.json", "tokenizer_config.json"]
    return found


@pytest.fixture(scope="module")
def present(revisions: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """What the present version makes of each."""
    answer = tmp_path_factory.mktemp("present") / "answer.json"
    program = ROOT / "tests" / "load_revisions.py"
    command = [sys.executable, str(program), *map(str, revisions.values()), str(answer)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return dict(zip(revisions, json.loads(answer.read_text())["answers"].values(), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_older_versions_read_the_same(version: str, revisions: dict[str, Path], present: dict[str, dict]) -> None:
    told = run_with(version, ROOT / "tests" / "load_revisions.py", *map(str, revisions.values()))
    assert told["version"] == version
    found = dict(zip(revisions, told["answers"].values(), strict=True))
    before = found.pop(AS_BEFORE)
    for kind, own in found.items():
        for what, value in own.items():
            if what == "logits":
                np.testing.assert_allclose(value, present[kind][what], atol=1e-4, err_msg=f"{kind}: {what}")
            else:
                assert value == present[kind][what], f"{kind}: {what}"
    # What is mended was needed: 10,000 in place of the rotary base, and in some versions other ids.
    assert np.abs(np.array(before["logits"]) - present[AS_BEFORE]["logits"]).max() > 0.1
    assert (before["ids"] == present[AS_BEFORE]["ids"]) == (version == "4.46.3")


@pytest.mark.slow
def test_the_kinds_differ_where_they_should(present: dict[str, dict]) -> None:
    """Else the comparison with older versions would say nothing."""
    assert present["mended"] == present["theta"] == present[AS_BEFORE], "the present version takes mending for nothing"
    texts = {kind: tuple(found["written"]) for kind, found in present.items()}
    for kind in ("theta", "fewer heads for keys", "wide heads", "tied", "epsilon", "everything"):
        assert texts[kind] != texts["default"]
    plain, adding = present["default"], present["adds <s>"]
    assert adding["ids"] == [[1, *ids] for ids in plain["ids"]]
    assert adding["ids of pairs"] == [1, *plain["ids of pairs"]]
    assert adding["offsets"] == [[0, 0], *plain["offsets"]]
    for what in ("ids without special tokens", "decoded", "logits", "text"):
        assert adding[what] == plain[what]


def test_a_revision_says_both_spellings(tokenizer_folder: Path, tmp_path: Path) -> None:
    revision = save(tmp_path, tokenizer_folder, "theta")
    config = json.loads((revision / "config.json").read_text())
    assert config["rope_parameters"] == {"rope_type": "default", "rope_theta": 500_000}
    assert config["rope_theta"] == 500_000
    assert config["dtype"] == config["torch_dtype"] == "float32"
    told = json.loads((revision / "tokenizer_config.json").read_text())
    assert (told["tokenizer_class"], told["add_prefix_space"]) == ("PreTrainedTokenizerFast", True)
    assert faults(revision) == {}
    assert (revision / "tokenizer.json").read_bytes() == (tokenizer_folder / "tokenizer.json").read_bytes()
