"""Scores that follow from the text, by hand."""

import math
from pathlib import Path

import numpy as np
import pytest
from tokens.numbered_tokens import described

from lmeff.methods.curriculum.text_scores import sentence_length, text_scores
from lmeff.tokens import BOS_ID, EOS_ID, Tokens
from lmeff.tokens.shards import ShardWriter

TEXTS = ["The cat sat. The cat ran!", "It's a dog", "...", "the the The sat"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The cat sat. It ran away quickly!", 3.5),
        ("One two three", 3),
        ("One two\nthree", 1.5),
        ('He said "go now." Then he left.', 3.5),
        ("It costs 3.50 now.", 5),
        ("Isn't it?", 2),
        ("", 0),
        ("?! ...", 0),
    ],
)
def test_words_a_sentence(text: str, words: float) -> None:
    assert sentence_length(text) == words


def write_text(folder: Path) -> Tokens:
    """`TEXTS` with a tokenizer of whole bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    folder = folder / "corpus-00000000" / "tokens" / "bytes"
    folder.mkdir(parents=True)
    special = ["<pad>", "<s>", "</s>"]
    symbols = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({token: index for index, token in enumerate(special + symbols)}, []))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    tokenizer.save(str(folder / "tokenizer.json"))
    documents = [[BOS_ID, *tokenizer.encode(text).ids, EOS_ID] for text in TEXTS]
    writer = ShardWriter(folder / "train-00000.bin", 300)
    for document in documents:
        writer.append(np.array(document))
    writer.close()
    table = np.array([[len(document), len(document)] for document in documents], np.int64)
    np.save(folder / "train.documents.npy", table)
    return described(folder, [["train-00000.bin", int(table[:, 0].sum())]])


def test_sentence_lengths_of_documents(tmp_path: Path) -> None:
    assert text_scores("sentence_length", write_text(tmp_path)).tolist() == [3, 3, 0, 4]


def test_rarity_is_the_mean_of_minus_the_logarithm_of_frequency(tmp_path: Path) -> None:
    tokens = write_text(tmp_path)
    the, cat, sat, once = (math.log(13 / count) for count in (5, 2, 2, 1))
    wanted = [(2 * the + 2 * cat + sat + once) / 6, once, 0, (3 * the + sat) / 4]
    assert text_scores("word_rarity", tokens) == pytest.approx(wanted)
    (kept,) = (tokens.folder / "scores").glob("word_rarity*.npy")
    np.save(kept, np.zeros(4))
    assert text_scores("word_rarity", tokens).tolist() == [0] * 4, "computed once"
