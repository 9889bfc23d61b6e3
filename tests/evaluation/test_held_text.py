"""The text whose perplexity is taken: of mixtures every document once, and windows that are those of the held-out loss."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from lmeff.corpora import prepare_text
from lmeff.errors import InputError
from lmeff.evaluation.held_text import HeldText, file_text, split_text
from lmeff.evaluation.perplexity import token_losses
from lmeff.evaluation.windows import packed_windows
from lmeff.files import write_json
from lmeff.recipe import read_recipe
from lmeff.tokens import prepare_tokenizer, prepare_tokens
from lmeff.training.dev import dev_text, negative_log_likelihood


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
    trained = dev_text(SimpleNamespace(dev=stream, dev_documents=table, dev_pieces=None), 999, 11, document_mask)
    text = HeldText(ids, lengths, 3 * lengths, lengths, ("x",) * 5, True)
    windows = packed_windows(text, 11, document_mask)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=50, initializer_range=0.5, **sizes)).eval()
    rows, device = np.arange(len(trained.windows)), torch.device("cpu")
    nats, count = negative_log_likelihood(model, trained, rows, 4, device).tolist()
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
