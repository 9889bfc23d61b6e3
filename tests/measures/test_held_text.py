"""The text whose perplexity is taken: of mixtures every document once, and windows that are those of the held-out loss."""

import json
import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tokenizers
import torch
import yaml
from transformers import AutoTokenizer, ByT5Tokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from lmeff.corpora import prepare_text
from lmeff.errors import InputError
from lmeff.files import write_json
from lmeff.measures.perplexity.losses import summarize, token_losses
from lmeff.measures.perplexity.text import HeldText, file_text, split_text
from lmeff.measures.perplexity.windows import packed_windows, strided_windows
from lmeff.objectives.held_out import causal_sums, held_out_text
from lmeff.recipe import read_recipe
from lmeff.tokens import Tokens, prepare_tokenizer, prepare_tokens


@pytest.fixture(scope="module")
def mixture(tmp_path_factory) -> tuple[Path, list[str]]:
    """A revision's folder, as far as its text goes: of two sources one is read twice and a half, the other once. And its
    training texts."""
    folder = tmp_path_factory.mktemp("mixture")
    texts = {
        name: [f"{name} number {n} sat on a naïve mat" + " and sat" * (n % 5) for n in range(200)] for name in "ab"
    }
    for name, lines in texts.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
    sources = {name: {"paths": [f"{folder}/{name}.jsonl"], "epochs": epochs} for name, epochs in (("a", 2.5), ("b", 1))}
    recipe = {"name": "x", "corpus": {"name": "mixed", "sources": sources, "dev_share": 0.1}}
    recipe |= {"tokenizer": {"vocab_size": 300}, "paths": {"data": str(folder / "data")}}
    recipe |= {"model": {"family": "llama", "size": "20m"}, "batch": {"tokens": 256, "sequence_length": 64}}
    recipe |= {"anchors": {"tokens": [1024]}, "schedule": {"warmup": "1 steps"}}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    corpus = prepare_text(read_recipe(folder / "recipe.yaml").recipe.corpus, folder / "data")
    tokens = prepare_tokens(corpus, prepare_tokenizer(corpus, 300))
    write_json(folder / "provenance.json", {"tokens": {"fingerprint": tokens.fingerprint}})
    assert len(tokens.train_documents) > 1.5 * sum(1 for _ in corpus.documents("train"))
    return folder, list(corpus.documents("train"))


def test_of_text_that_is_read_several_times_every_document_counts_once(mixture):
    folder, texts = mixture
    found = split_text(folder, "train", None)
    assert len(found.lengths) == len(texts)
    assert found.num_bytes.sum() == sum(len(text.encode()) for text in texts)
    assert found.num_words.sum() == sum(len(text.split()) for text in texts)
    assert {name: found.domains.count(name) for name in "ab"} == {
        name: sum(text.startswith(f"{name} ") for text in texts) for name in "ab"
    }
    begins = found.lengths.cumsum() - found.lengths
    assert (found.ids[begins] == 1).all()
    assert (found.ids[found.lengths.cumsum() - 1] == 2).all()


def test_a_part_is_taken_from_all_over_and_its_text_is_that_of_its_tokens(mixture):
    folder, texts = mixture
    found = split_text(folder, "train", 1000)
    assert 900 < len(found.ids) <= 1000
    assert set(found.domains) == {"a", "b"}
    assert found.num_bytes.sum() < sum(len(text.encode()) for text in texts) / 3
    assert split_text(folder, "train", 1000).sha256 == found.sha256
    assert split_text(folder, "train", 990).sha256 != found.sha256
    dev = split_text(folder, "dev", None)
    assert 0 < len(dev.lengths) < len(texts) / 3


def test_text_that_is_not_what_the_tokens_were_made_of_is_told(mixture):
    folder, _ = mixture
    (path,) = (folder / "data").glob("*/text/dev-00000.jsonl")
    before = path.read_text()
    path.write_text(before.replace("number", "numbers"))
    try:
        with pytest.raises(InputError, match=r"dev-00000\.jsonl:1: is not the text that the tokens were made of"):
            split_text(folder, "dev", None)
    finally:
        path.write_text(before)


@pytest.mark.parametrize("document_mask", [False, True])
def test_packed_windows_predict_what_the_held_out_loss_of_training_does(document_mask):
    lengths = np.array([9, 30, 5, 12, 17])
    ids = np.random.default_rng(0).integers(3, 50, lengths.sum())
    ids[lengths.cumsum() - lengths], ids[lengths.cumsum() - 1] = 1, 2
    table = np.stack([lengths, 3 * lengths], 1)
    stream = SimpleNamespace(slice=lambda start, stop: ids[start:stop])
    trained = held_out_text(SimpleNamespace(dev=stream, dev_documents=table, dev_pieces=None), 999, 11, document_mask)
    text = HeldText(ids, lengths, 3 * lengths, lengths, ("x",) * 5, True)
    windows = packed_windows(text, 11, document_mask)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=50, initializer_range=0.5, **sizes)).eval()
    rows, device = np.arange(len(trained.windows)), torch.device("cpu")
    nats, count = causal_sums(model, trained, rows, 4, device).tolist()
    assert windows.is_scored.sum() == count == len(ids) - (5 if document_mask else 1)
    assert token_losses(model, windows, 3).sum() == pytest.approx(nats, rel=1e-6)


def test_text_that_spells_a_special_token_is_text(model_folder, tmp_path):
    (tmp_path / "a.txt").write_text("Anna sees </s> <s> Boris.\n\nFarid.\n")
    (tmp_path / "b.jsonl").write_text('{"text": "Elena"}\n\n{"text": " "}\n{"text": "Carla", "more": 1}\n')
    found = file_text([str(tmp_path)], AutoTokenizer.from_pretrained(model_folder), None)
    assert found.domains == ("a", "b", "b")
    assert (found.ids == 0).sum() == (found.ids == 1).sum() == 3
    assert found.num_bytes.tolist() == [33, 5, 5]
    assert found.num_words.tolist() == [6, 1, 1]


@pytest.fixture(scope="module")
def books(tmp_path_factory) -> tuple[Path, Tokens]:
    """A revision's folder, as far as its text goes, and its tokens: of stories, and of a book that is longer than all that is
    held out, and so in pieces."""
    folder = tmp_path_factory.mktemp("books")
    story = [f"Story {n}: Anna saw a cat and a dog. " * 30 for n in range(100)]
    book = "\n\n".join(f"Chapter {n}. Boris sat on the mat and saw the cat {n % 7} times." for n in range(4_000))
    (folder / "a.jsonl").write_text("".join(json.dumps({"text": text.strip()}) + "\n" for text in [*story, book]))
    recipe = {"name": "x", "corpus": {"name": "books", "paths": [f"{folder}/a.jsonl"], "dev_share": 0.1}}
    recipe |= {"tokenizer": {"vocab_size": 300}, "paths": {"data": str(folder / "data")}}
    recipe |= {"model": {"family": "llama", "size": "20m"}, "batch": {"tokens": 256, "sequence_length": 64}}
    recipe |= {"anchors": {"tokens": [1024]}, "schedule": {"warmup": "1 steps"}}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    corpus = prepare_text(read_recipe(folder / "recipe.yaml").recipe.corpus, folder / "data")
    tokens = prepare_tokens(corpus, prepare_tokenizer(corpus, 300))
    write_json(folder / "provenance.json", {"tokens": {"fingerprint": tokens.fingerprint}})
    (folder / "tokenizer.json").write_bytes((tokens.tokenizer_folder / "tokenizer.json").read_bytes())
    return folder, tokens


def test_pieces_of_one_document_count_as_one_in_standard_errors(books):
    """The ratio estimator over documents, in plain loops; slices of one book are not independent."""
    folder, tokens = books
    text = split_text(folder, "dev", None)
    windows = strided_windows(text, 64, 32)
    losses = np.random.default_rng(0).random(len(text.ids)) * windows.is_scored
    found = summarize(losses, windows, text)[None]
    by_document: dict[str, list[float]] = {}
    place = 0
    for (length, _), (document, piece) in zip(tokens.dev_documents.tolist(), lines_of(folder, "dev"), strict=True):
        sums = by_document.setdefault(document, [0.0, 0, 0])
        sums[0] += losses[place : place + length].sum()
        sums[1] += length - 1
        sums[2] += len(piece.encode())
        place += length
    assert len(by_document) < len(tokens.dev_documents)
    assert found["counts"]["num_documents"] == len(by_document)
    nats, counts, sizes = (np.array(values) for values in zip(*by_document.values(), strict=True))
    for name, above, below in (("loss", nats, counts), ("bits_per_byte", nats / np.log(2), sizes)):
        ratio = above.sum() / below.sum()
        assert found["metrics"][name] == pytest.approx(ratio)
        variance = sum((a - ratio * b) ** 2 for a, b in zip(above, below, strict=True)) / (len(above) - 1)
        stderr = (len(above) * variance) ** 0.5 / below.sum()
        assert found["metrics"][f"{name}_stderr"] == pytest.approx(stderr)


def lines_of(folder: Path, side: str) -> list[tuple[str, str]]:
    """(document, text) of every line of prepared text; lines of no cut document are documents of their own."""
    lines = [
        line for path in sorted(folder.glob(f"data/*/text/{side}-*.jsonl")) for line in path.read_text().splitlines()
    ]
    return [(record.get("document", str(n)), record["text"]) for n, record in enumerate(map(json.loads, lines))]


@pytest.mark.medium
@pytest.mark.parametrize("document_mask", [False, True])
def test_a_sample_with_stretches_of_a_book_is_that_of_the_held_out_loss(tmp_path, document_mask):
    book = "\n\n".join(f"Chapter {n}. Boris sat on the mat and saw the cat {n % 7} times." for n in range(4_000))
    for name, texts in (("train", ["Anna saw a cat and a dog. " * 300]), ("dev", ["Anna saw a dog."] * 9 + [book])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    recipe = {"name": "x", "tokenizer": {"vocab_size": 275}, "paths": {"data": str(tmp_path / "data")}}
    recipe["corpus"] = {"name": "b", "paths": [f"{tmp_path}/train.jsonl"], "dev_paths": [f"{tmp_path}/dev.jsonl"]}
    recipe |= {"model": {"family": "llama", "size": "20m"}, "batch": {"tokens": 256, "sequence_length": 64}}
    recipe |= {"anchors": {"tokens": [1024]}, "schedule": {"warmup": "1 steps"}}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    corpus = prepare_text(read_recipe(tmp_path / "recipe.yaml").recipe.corpus, tmp_path / "data")
    tokens = prepare_tokens(corpus, prepare_tokenizer(corpus, 275))
    write_json(tmp_path / "provenance.json", {"tokens": {"fingerprint": tokens.fingerprint}})
    trained = held_out_text(tokens, 9_000, 64, document_mask)
    text = split_text(tmp_path, "dev", 9_000)
    windows = packed_windows(text, 64, document_mask)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=275, initializer_range=0.5, **sizes)).eval()
    rows, device = np.arange(len(trained.windows)), torch.device("cpu")
    nats, count = causal_sums(model, trained, rows, 16, device).tolist()
    assert windows.is_scored.sum() == count
    assert token_losses(model, windows, 16).sum() == pytest.approx(nats, rel=1e-6)
    assert text.num_bytes.sum() == trained.num_bytes
    assert text.stretches is not None
    strided = strided_windows(text, 64, 32, score_end=False)
    assert strided.is_scored.sum() == len(text.ids) - len(text.lengths) - text.has_own_end.sum()
    # The same text in a file, in the tokens of the same tokenizer.
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(tokens.tokenizer_folder / "tokenizer.json"), bos_token="<s>", eos_token="</s>"
    )
    file = file_text([f"{tmp_path}/dev.jsonl"], tokenizer, 9_000)
    for name in ("ids", "lengths", "num_bytes", "num_words", "has_own_end"):
        assert np.array_equal(getattr(file, name), getattr(text, name)), name
    assert np.array_equal(packed_windows(file, 64, document_mask).is_scored, windows.is_scored)


@pytest.mark.medium
@pytest.mark.parametrize("trimmed", [False, True])
def test_a_part_of_a_file_is_stretches_of_its_book(tmp_path, trimmed):
    """With a tokenizer such as GPT-2's: one token both begins and ends documents, and a word's token begins with its space."""
    words = ["sun", "moon", "Zoë", "rain", "日本", "wind"]
    order = random.Random(0)
    book = "".join(order.choice(words) + order.choice((" ", ". ", "\n\n")) for _ in range(30_000)).strip()
    (tmp_path / "a.txt").write_text(book)
    bpe = tokenizers.ByteLevelBPETokenizer(trim_offsets=trimmed)
    bpe.train_from_iterator([book], vocab_size=275, special_tokens=["<|endoftext|>"], show_progress=False)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe._tokenizer, bos_token="<|endoftext|>", eos_token="<|endoftext|>"
    )
    limit = 12_000
    whole, part = (file_text([f"{tmp_path}/a.txt"], tokenizer, wanted) for wanted in (None, limit))
    assert len(whole.ids) > 4 * limit
    assert 0.4 * limit < len(part.ids) <= limit + len(part.lengths)
    assert part.groups.tolist() == [0] * len(part.lengths)
    place = 0
    for index, length in enumerate(part.lengths.tolist()):
        ids = part.ids[place : place + length].tolist()
        place += length
        assert ids[0] == tokenizer.bos_token_id
        text = tokenizer.decode(ids[1:], skip_special_tokens=True)
        assert "\ufffd" not in text
        at = book.index(text)
        assert at == 0 or text[0].isspace() or book[at - 1].isspace()
        assert (part.num_bytes[index], part.num_words[index]) == (len(text.encode()), len(text.split()))
    # Each stretch begins anew, and no beginning is predicted: nothing has ended before it.
    packed = packed_windows(part, 64, document_mask=False)
    assert packed.is_scored.sum() == len(part.ids) - len(part.lengths)
    assert len(file_text([f"{tmp_path}/a.txt"], tokenizer, len(whole.ids)).ids) == len(whole.ids)


def test_a_part_of_a_file_is_whole_documents_without_characters_of_tokens(tmp_path):
    """Where a tokenizer does not say which characters a token is, one document at least is taken."""
    (tmp_path / "a.txt").write_text("Anna sees Boris.\n" * 1_000)
    found = file_text([f"{tmp_path}/a.txt"], ByT5Tokenizer(), 9_000)
    assert len(found.ids) == len("Anna sees Boris.\n" * 1_000) - 1 + 2
    assert found.stretches is None


def test_text_of_an_older_version_says_what_its_documents_are(books, tmp_path):
    folder, _ = books
    assert not split_text(folder, "dev", None).is_by_older_rule
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
    recipe["paths"]["data"] = str(tmp_path / "data")
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    corpus = prepare_text(read_recipe(tmp_path / "recipe.yaml").recipe.corpus, tmp_path / "data", by_older_rule=True)
    tokens = prepare_tokens(corpus, prepare_tokenizer(corpus, 300))
    write_json(tmp_path / "provenance.json", {"tokens": {"fingerprint": tokens.fingerprint}})
    assert split_text(tmp_path, "dev", None).is_by_older_rule


def test_a_file_of_text_read_in_pieces_is_one_document(model_folder, tmp_path, monkeypatch):
    """Above 16 million characters a file is read in pieces; here the limit is lowered."""
    from lmeff.corpora.reading import records as reading

    monkeypatch.setattr(reading, "_WHOLE_FILE_CHARACTERS", 2_000)
    monkeypatch.setattr(reading, "_PIECE_CHARACTERS", 1_000)
    (tmp_path / "a.txt").write_text("Anna sees Boris.\n" * 300)
    (tmp_path / "b.jsonl").write_text('{"text": "Anna."}\n{"text": "Boris."}\n')
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    text = file_text([str(tmp_path)], tokenizer, None)
    assert len(text.lengths) > 4
    assert len(np.unique(text.groups)) == 3
    assert len(np.unique(text.groups[:-2])) == 1
