"""Revisions as training saves them, and as older versions of lmeff wrote them."""

import json
from pathlib import Path

from models.tiny_families import TINY
from models.tiny_recipe import recipe
from revisions.facts import FACTS

from lmeff.files import describe_files, write_json
from lmeff.models.build import build_model
from lmeff.models.writing import write_model
from lmeff.revisions import RevisionStore
from lmeff.revisions.store import MUTABLE
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


OTHER_FAMILIES = tuple(family for family in TINY if family != "llama")


def save_older_tokenizer(folder: Path) -> Path:
    """As an older version of lmeff prepared it: such folders are taken as they are."""
    save_tokenizer(train_tokenizer(TEXT, 320), folder)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config.pop("add_prefix_space")
    write_json(folder / "tokenizer_config.json", config)
    return folder


def store(folder: Path, tokenizer_folder: Path, add_bos: bool = False, add_mask: bool = False) -> RevisionStore:
    own = {"add_bos": add_bos, "add_mask": add_mask}
    return RevisionStore(folder, 3, tokenizer_folder, "name: x\n", {"format": 1}, lambda anchor, name: "# x\n", **own)


def save(folder: Path, tokenizer_folder: Path, kind: str) -> Path:
    """A revision of a kind, or of a family, as training saves it."""
    if kind in OTHER_FAMILIES:
        settings = recipe(320, family=kind, initializer_range=0.5, **TINY[kind])
    else:
        settings = recipe(320, **SHAPE, **KINDS[kind])
    model = build_model(settings)
    facts = FACTS | {"nominal_tokens": 60_000, "exact_tokens": 60_000}
    own = store(folder, tokenizer_folder, kind == "adds <s>", settings.model_vocab_size > 320)
    return own.save(lambda aside: write_model(model, model.state_dict(), aside), facts)


def make_old(revision: Path) -> None:
    """What older versions of lmeff wrote in its place, with its manifest."""
    for name, later in (
        ("config.json", ("rope_theta", "torch_dtype")),
        ("tokenizer_config.json", ("add_prefix_space",)),
    ):
        content = json.loads((revision / name).read_text())
        write_json(revision / name, {key: value for key, value in content.items() if key not in later})
    write_json(revision / "manifest.json", {"format": 1, "files": describe_files(revision, exclude=MUTABLE)})
