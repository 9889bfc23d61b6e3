"""The fast encoder gives the tokenizer's own ids, for any text, or is not used."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from lmeff.corpora import prepare_text
from lmeff.errors import InputError
from lmeff.recipe.sections.corpus import Corpus
from lmeff.tokens import prepare_tokenizer, prepare_tokens
from lmeff.tokens.tokenizer.encoder import Encoder

TEXTS = [
    "Once </s> upon <pad> a time",
    "",
    " ",
    "caf\u00e9 cafe\u0301",
    "\ufb01ne \u2026 \u2122",
    "\u1112\u1161\u11ab x",
    "a\r\n\tb",
]


@pytest.fixture(scope="module")
def tokenizer_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    corpus = prepare_text(Corpus(name="synthetic", synthetic={"num_documents": 300}), tmp_path_factory.mktemp("data"))
    return prepare_tokenizer(corpus, 600) / "tokenizer.json"


@pytest.fixture(scope="module")
def encoder(tokenizer_file: Path) -> Encoder:
    return Encoder(tokenizer_file)


def own_ids(tokenizer_file: Path, texts: list[str]) -> list[list[int]]:
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.encode_special_tokens = True
    return [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]


def encoded(encoder: Encoder, texts: list[str]) -> list[list[int]]:
    ids, counts = encoder(texts, num_checked=len(texts))
    return [part.tolist() for part in np.split(ids, np.cumsum(counts)[:-1])]


@pytest.mark.skipif(sys.platform != "linux", reason="gigatoken is asked for on Linux alone")
def test_gigatoken_is_used(encoder: Encoder) -> None:
    assert encoder.backend == "gigatoken"


def test_the_same_ids(encoder: Encoder, tokenizer_file: Path) -> None:
    assert encoded(encoder, TEXTS) == own_ids(tokenizer_file, TEXTS)
    assert encoded(Encoder(tokenizer_file, may_be_fast=False), TEXTS) == own_ids(tokenizer_file, TEXTS)


@pytest.mark.medium
@settings(max_examples=200)
@given(st.lists(st.text(max_size=60), min_size=1, max_size=4))
def test_the_same_ids_of_any_text(encoder: Encoder, tokenizer_file: Path, texts: list[str]) -> None:
    assert encoded(encoder, texts) == own_ids(tokenizer_file, texts)


def test_a_fast_encoder_that_differs_is_not_used(tokenizer_file: Path, tmp_path: Path, capsys) -> None:
    """Here it was given another tokenizer's merges."""
    changed = json.loads(tokenizer_file.read_text())
    changed["model"]["merges"] = changed["model"]["merges"][:50]
    (tmp_path / "other.json").write_text(json.dumps(changed))
    encoder = Encoder(tokenizer_file)
    encoder._fast = Encoder(tmp_path / "other.json")._fast
    texts = ["Once upon a time there was a dog."] * 3
    assert encoded(encoder, texts) == own_ids(tokenizer_file, texts)
    assert encoder.backend == "tokenizers"
    assert "going on with tokenizers" in capsys.readouterr().err


def test_an_unknown_kind_of_tokenizer_is_encoded_by_itself(tokenizer_file: Path, tmp_path: Path) -> None:
    changed = json.loads(tokenizer_file.read_text()) | {"normalizer": {"type": "Lowercase"}}
    (tmp_path / "lower.json").write_text(json.dumps(changed))
    encoder = Encoder(tmp_path / "lower.json")
    assert encoder.backend == "tokenizers"
    assert encoded(encoder, ["ABC"]) == own_ids(tmp_path / "lower.json", ["ABC"])


def test_the_manifest_names_the_encoder(tokenizer_file: Path) -> None:
    data = tokenizer_file.parents[3]
    corpus = prepare_text(Corpus(name="synthetic", synthetic={"num_documents": 300}), data)
    assert prepare_tokens(corpus, tokenizer_file.parent).manifest["encoded_by"] == ["gigatoken"]


@pytest.mark.medium
def test_text_or_tables_that_were_changed_are_named(tmp_path: Path) -> None:
    corpus = prepare_text(Corpus(name="synthetic", synthetic={"num_documents": 300}), tmp_path)
    tokenizer = prepare_tokenizer(corpus, 600)
    text = corpus.path(corpus.shards("train")[0])
    whole = text.read_bytes()
    for content in (whole.replace(b"the", b"thy", 1), whole[:-200], b"{" + whole):
        text.write_bytes(content)
        with pytest.raises(InputError, match=r"train-00000\.jsonl: holds other bytes than were written"):
            prepare_tokens(corpus, tokenizer)
    text.write_bytes(whole)
    tokens = prepare_tokens(corpus, tokenizer)
    table = tokens.folder / "train.documents.npy"
    table.write_bytes(table.read_bytes()[:-1] + b"\1")
    with pytest.raises(InputError, match=r"train\.documents\.npy: holds other bytes"):
        _ = tokens.train_documents
