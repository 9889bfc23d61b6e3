"""The tokenizer's promises."""

import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from lmeff.errors import InputError
from lmeff.tokens.tokenizer import save_tokenizer, train_tokenizer

TEXT = ["The cat sat on the mat.", "The dogs that the boy saw ran away from the big house."] * 20


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXT, 300)


def test_has_exactly_the_asked_size_and_every_byte(tokenizer) -> None:
    assert tokenizer.get_vocab_size() == 300
    assert [tokenizer.token_to_id(token) for token in ("<pad>", "<s>", "</s>")] == [0, 1, 2]
    assert tokenizer.decode(tokenizer.encode("日本 🙂 ß").ids) == "日本 🙂 ß"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=40))
def test_decoding_an_encoding_gives_the_nfkc_form(tokenizer, text: str) -> None:
    """But for one space at the very start, which is what the first word gets anyway."""
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert tokenizer.decode(ids) == unicodedata.normalize("NFKC", text).removeprefix(" ")


def test_the_first_word_is_tokenised_as_anywhere_else(tokenizer) -> None:
    ids = tokenizer.encode("The cat sat on the mat. The cat").ids
    first = tokenizer.encode("The cat").ids
    assert ids[: len(first)] == first == ids[-len(first) :]
    assert tokenizer.encode(" The cat").ids == first


def test_the_saved_tokenizer_is_the_same_and_adds_nothing(tokenizer, tmp_path: Path) -> None:
    save_tokenizer(tokenizer, tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert '"tokenizer_class": "PreTrainedTokenizerFast"' in (tmp_path / "tokenizer_config.json").read_text()
    assert (loaded.bos_token_id, loaded.eos_token_id, loaded.pad_token_id) == (1, 2, 0)
    assert len(loaded) == 300
    assert loaded("The cat sat.").input_ids == tokenizer.encode("The cat sat.").ids
    assert loaded.decode(loaded("The cat  sat .").input_ids) == "The cat  sat ."


def test_training_is_reproducible(tokenizer) -> None:
    assert train_tokenizer(TEXT, 300).to_str() == tokenizer.to_str()


def test_a_vocabulary_larger_than_the_text_allows_is_an_error() -> None:
    with pytest.raises(InputError, match=r"tokenizer\.vocab_size: the training text allows \d+ entries, not 9000"):
        train_tokenizer(TEXT, 9000)
