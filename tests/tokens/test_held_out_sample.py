"""A bounded sample of held-out text: whole documents, and of long ones stretches that are cut where a word begins."""

import json
import random

import numpy as np
import pytest
from tokenizers import Tokenizer as FastTokenizer

from lmeff.corpora import prepare_text
from lmeff.objectives.held_out import held_out_text
from lmeff.recipe.sections.corpus import Corpus
from lmeff.tokens import BOS_ID, EOS_ID, Tokens, prepare_tokenizer, prepare_tokens
from lmeff.tokens.held_out import chosen_first, held_out_sample

pytestmark = pytest.mark.medium

WORDS = ["sun", "moon", "ﬁre", "Zoë", "rain", "snow", "wind", "a", "the", "\uff11\uff12"]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> tuple[list[str], Tokens]:
    """Held-out text of one long book, whose letters normalization changes, between short documents."""
    folder, order = tmp_path_factory.mktemp("held_out"), random.Random(0)

    def text(num_words: int) -> str:
        return "".join(order.choice(WORDS) + order.choice((" ", " ", ".\n", "\n\n")) for _ in range(num_words)).strip()

    texts = [text(50) for _ in range(20)] + [text(60_000)] + [text(50) for _ in range(20)]
    for name, found in (("dev", texts), ("train", [text(3_000)])):
        lines = "".join(json.dumps({"text": one}) + "\n" for one in found)
        (folder / f"{name}.jsonl").write_text(lines)
    paths = {"paths": [str(folder / "train.jsonl")], "dev_paths": [str(folder / "dev.jsonl")]}
    corpus = prepare_text(Corpus(name="mine", **paths), folder / "data")
    return texts, prepare_tokens(corpus, prepare_tokenizer(corpus, 280))


def test_pieces_are_the_documents_again(prepared):
    """Tokens, bytes before normalization and words add up to those of every document, counted anew."""
    texts, tokens = prepared
    table, pieces = tokens.dev_documents, tokens.dev_pieces
    assert len(table) == 41
    assert (np.bincount(pieces[:, 0]) > 1).nonzero()[0].tolist() == [20]
    for index, text in enumerate(texts):
        own = pieces[pieces[:, 0] == index]
        assert own[:, 1:].sum(0).tolist() == [table[index, 0], len(text.encode()), len(text.split())]
    own = pieces[pieces[:, 0] == 20]
    assert own[:, 1].min() > 3_000
    assert own[:, 1].max() < 6_000


def test_a_sample_is_stretches_whose_tokens_spell_their_bytes(prepared):
    texts, tokens = prepared
    tokenizer = FastTokenizer.from_file(str(tokens.tokenizer_folder / "tokenizer.json"))
    sample = held_out_sample(tokens.dev_documents, tokens.dev_pieces, 20_000)
    assert sample.lengths.sum() <= 20_000
    assert set(np.diff(sample.starts) > 0) == {True}
    in_book = sample.documents == 20
    assert in_book.sum() >= 2
    assert not (sample.has_begin & sample.has_end)[in_book].any()
    book = tokenizer.normalizer.normalize_str(texts[20])
    for start, length, size, words in zip(
        sample.starts[in_book],
        sample.lengths[in_book],
        sample.num_bytes[in_book],
        sample.num_words[in_book],
        strict=True,
    ):
        ids = tokens.dev.slice(int(start), int(start + length))
        text = tokenizer.decode(ids[(ids != BOS_ID) & (ids != EOS_ID)].tolist()).strip()
        assert text in book
        assert len(text.split()) == words
        # The bytes are those before normalization: find the stretch by its words.
        before = book[: book.index(text)].split()
        own = texts[20].split()[len(before) : len(before) + words]
        assert abs(size - len(" ".join(own).encode())) < 0.2 * size
        assert size >= sum(len(word.encode()) for word in own)


def test_all_of_it_is_whole_documents(prepared):
    _, tokens = prepared
    table = tokens.dev_documents
    for limit in (None, int(table[:, 0].sum())):
        sample = held_out_sample(table, tokens.dev_pieces, limit)
        assert sample.documents.tolist() == list(range(41))
        assert sample.follows_end.all()
        assert sample.num_bytes.sum() == table[:, 1].sum()


def test_without_pieces_it_is_what_older_versions_chose(prepared):
    _, tokens = prepared
    table = tokens.dev_documents
    sample = held_out_sample(table, None, 900)
    assert sample.documents.tolist() == chosen_first(table[:, 0], 900).tolist()


def test_the_held_out_loss_begins_stretches_anew_and_predicts_no_beginning_but_after_an_end(prepared):
    """Every token of the stretches is predicted once; a `<s>` only where a document has ended right before."""
    _, tokens = prepared
    found = held_out_text(tokens, 20_000, 64)
    sample = held_out_sample(tokens.dev_documents, tokens.dev_pieces, 20_000)
    labels = found.labels[found.labels >= 0]
    wanted = np.concatenate(
        [
            tokens.dev.slice(int(start), int(start + size))
            for start, size in zip(sample.starts, sample.lengths, strict=True)
        ]
    )
    num_predicted_begins = int(sample.follows_end[1:].sum())
    assert np.array_equal(labels[labels != BOS_ID], wanted[wanted != BOS_ID])
    assert (labels == BOS_ID).sum() == num_predicted_begins < sample.has_begin.sum()
    assert found.num_bytes == sample.num_bytes.sum()
    kept_apart = held_out_text(tokens, 20_000, 64, document_mask=True)
    assert (kept_apart.labels != BOS_ID).all()
