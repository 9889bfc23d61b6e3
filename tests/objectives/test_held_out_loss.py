"""Held-out loss: every token once, the same for any number of processes, in bits of the real bytes."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from lmeff.objectives.held_out import causal_sums, held_out_text, rows_of_rank, summarize


class Stream:
    def __init__(self, ids: np.ndarray) -> None:
        self.ids = ids

    def slice(self, start: int, stop: int) -> np.ndarray:
        return self.ids[start:stop]


def tokens(lengths: list[int]) -> SimpleNamespace:
    ids = np.random.default_rng(0).integers(3, 50, sum(lengths))
    documents = np.array([[length, 3 * length] for length in lengths])
    return SimpleNamespace(dev=Stream(ids), dev_documents=documents, dev_pieces=None)


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=50, **shape)).eval()


@pytest.mark.parametrize("length", [2, 5, 8, 64])
def test_every_token_but_the_first_is_predicted_once(length: int) -> None:
    found = held_out_text(tokens([7, 9, 5]), max_tokens=99, length=length)
    predicted = found.windows[:, 1:][found.labels[:, 1:] >= 0]
    assert predicted.tolist() == tokens([7, 9, 5]).dev.ids[1:].tolist()
    assert (found.labels[:, 0] == -100).all()
    assert found.num_bytes == 3 * 21


def test_a_part_is_whole_documents_from_all_over_the_text() -> None:
    lengths = [5 + index % 7 for index in range(300)]
    whole = tokens(lengths)
    found = held_out_text(whole, max_tokens=400, length=1000)
    text = found.windows[0][found.windows[0] == np.where(found.labels[0] < 0, found.windows[0][0], found.labels[0])]
    assert 380 < (found.labels >= 0).sum() <= 399
    starts = np.cumsum([0, *lengths])
    documents = [whole.dev.ids[start : start + length].tolist() for start, length in zip(starts, lengths, strict=False)]
    chosen, position = [], 0
    for index, document in enumerate(documents):
        if text[position : position + len(document)].tolist() == document:
            chosen.append(index)
            position += len(document)
    assert position >= (found.labels >= 0).sum() + 1
    assert min(chosen) < 40
    assert max(chosen) > 260
    assert found.num_bytes == 3 * sum(lengths[index] for index in chosen)
    assert held_out_text(whole, max_tokens=3, length=8).num_bytes in {3 * length for length in lengths}


def test_the_loss_is_the_mean_over_tokens(model: LlamaForCausalLM) -> None:
    found = held_out_text(tokens([7, 9]), max_tokens=99, length=64)
    ids = torch.from_numpy(found.windows[:, :16])
    wanted = model(input_ids=ids, labels=ids).loss.item()
    result = summarize(causal_sums(model, found, np.arange(1), 4, torch.device("cpu")), found)
    assert result.loss == pytest.approx(wanted, rel=1e-6)
    assert result.perplexity == pytest.approx(math.exp(wanted), rel=1e-6)
    assert result.bits_per_byte == pytest.approx(wanted * 15 / math.log(2) / 48, rel=1e-6)


@pytest.mark.parametrize("world_size", [2, 3, 7])
def test_ranks_together_give_the_same(model: LlamaForCausalLM, world_size: int) -> None:
    found = held_out_text(tokens([7, 9, 14]), max_tokens=99, length=6)
    shares = [rows_of_rank(len(found.windows), rank, world_size) for rank in range(world_size)]
    assert len({len(share) for share in shares}) == 1
    alone = causal_sums(model, found, np.arange(len(found.windows)), 4, torch.device("cpu"))
    together = sum(causal_sums(model, found, share, 4, torch.device("cpu")) for share in shares)
    torch.testing.assert_close(together, alone, rtol=1e-6, atol=0)
