"""With `batch.document_mask` a packed sequence computes what its documents compute alone: logits, loss and gradients."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from tokens.numbered_tokens import write_tokens
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPTJConfig,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
)

from lmeff.models.dropout import use_stateless_dropout
from lmeff.objectives import CausalObjective
from lmeff.objectives.held_out import causal_sums, held_out_text, summarize
from lmeff.recipe.sections.batch import Batch
from lmeff.recipe.sections.model import FAMILIES
from lmeff.tokens import BOS_ID, EOS_ID, PAD_ID, Tokens
from lmeff.tokens.packing import position_ids
from lmeff.training.data.sequences import MicroBatch, TrainSequences

ATTENTION = [("llama", "sdpa"), ("llama", "eager"), ("gpt2", "sdpa"), ("gpt2", "eager"), ("gptj", "eager")]
"""transformers has no other attention of GPT-J on a CPU."""
BY_POSITIONS = ("llama", "gpt2", "gptj")
LENGTHS = [5, 2, 14, 9, 3, 21, 7, 11, 2, 30, 6, 16, 4]


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    return write_tokens(tmp_path_factory.mktemp("tokens"), LENGTHS)


def configuration(family: str, dropout: float = 0.0) -> PreTrainedConfig:
    """Of a tiny model, with so much dropout of attention."""
    shape = {"vocab_size": 200, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    shape |= {"initializer_range": 0.3, "pad_token_id": PAD_ID}
    if family == "llama":
        more = {"intermediate_size": 48, "num_key_value_heads": 2}
        return LlamaConfig(**shape, **more, attention_dropout=dropout)
    other = {"attn_pdrop": dropout, "resid_pdrop": 0.0, "embd_pdrop": 0.0}
    return GPT2Config(**shape, **other) if family == "gpt2" else GPTJConfig(**shape, **other, rotary_dim=4)


def built(family: str, attention: str | None = None, dropout: float = 0.0) -> PreTrainedModel:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(configuration(family, dropout), attn_implementation=attention)
    return model.double().train()  # less rounding, which differs between processors


def sequences(tokens: Tokens, packing: str, mask: bool, length: int = 16) -> dict[str, torch.Tensor]:
    """All sequences of an epoch, as the model is given them, and their labels."""
    batch = Batch(tokens=64, sequence_length=16, packing=packing, document_mask=mask)
    data = TrainSequences(tokens, batch, CausalObjective())
    found = data.__getitems__(MicroBatch(list(range(len(data))), length, 0, 0))
    assert len(found.pop("micro_batch").sequence_ids) == len(data)
    return found | found.pop("targets")


def segments(batch: dict[str, torch.Tensor]) -> list[tuple[int, slice]]:
    """Row and columns of every stretch of text in it, found without its positions: it ends after `</s>`, at the padding, before
    a token that does not follow in the text, and with the row. (All tokens of the text but `<s>` and `</s>` are different.)"""
    found = []
    for row, ids in enumerate(batch["input_ids"].tolist()):
        start = 0
        for column in range(1, len(ids) + 1):
            before, after = ids[column - 1], ids[column] if column < len(ids) else None
            follows = after == before + 1 or before == BOS_ID or after == EOS_ID
            if after is None or before == EOS_ID or after == BOS_ID or not follows or after == before == PAD_ID:
                if before != PAD_ID:
                    found.append((row, slice(start, column)))
                start = column
    return found


def test_these_are_the_families_that_keep_documents_apart() -> None:
    by_mask = {name: section.document_mask for name, section in FAMILIES.items() if section.document_mask}
    # The others are in tests/objectives/test_masked.py.
    assert by_mask == {
        "bert": "attention_mask",
        "modernbert": "attention_mask",
        **dict.fromkeys(BY_POSITIONS, "positions"),
    }


@pytest.mark.parametrize(("family", "attention"), ATTENTION)
@pytest.mark.parametrize("packing", ["concatenate", "best_fit"])
@pytest.mark.parametrize("length", [16, 8])
def test_logits_loss_and_gradients_are_those_of_documents_alone(
    tokens: Tokens, packing: str, family: str, attention: str, length: int
) -> None:
    batch, model = sequences(tokens, packing, True, length), built(family, attention)
    assert batch["use_cache"] is False
    packed = model(**batch)
    packed.loss.backward()
    gradients = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    model.zero_grad()

    nats, count = torch.zeros(()), 0
    stretches = segments(batch)
    assert len(stretches) > len(batch["input_ids"]), "several documents share a sequence"
    for row, columns in stretches:
        alone = model(input_ids=batch["input_ids"][row, columns][None], use_cache=False)
        torch.testing.assert_close(packed.logits[row, columns], alone.logits[0], rtol=0, atol=1e-5)
        targets = batch["input_ids"][row, columns][1:]
        nats = nats + torch.nn.functional.cross_entropy(alone.logits[0, :-1], targets, reduction="sum")
        count += len(targets)
    assert count == (batch["labels"] != -100).sum()
    loss = nats / count
    loss.backward()
    assert packed.loss.item() == pytest.approx(loss.item(), rel=1e-5)
    for name, weight in model.named_parameters():
        torch.testing.assert_close(gradients[name], weight.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", BY_POSITIONS)
@pytest.mark.parametrize("packing", ["concatenate", "best_fit"])
def test_without_the_mask_they_are_not(tokens: Tokens, packing: str, family: str) -> None:
    batch, model = sequences(tokens, packing, False), built(family)
    assert "position_ids" not in batch
    logits = model(input_ids=batch["input_ids"], use_cache=False).logits
    differing = 0
    for row, columns in segments(batch):
        alone = model(input_ids=batch["input_ids"][row, columns][None], use_cache=False).logits[0]
        differing += int(not torch.allclose(logits[row, columns], alone, rtol=0, atol=1e-2))
        assert columns.start or torch.allclose(logits[row, columns], alone, rtol=0, atol=1e-5)
    assert differing > 5


def test_positions_restart() -> None:
    begins = np.array([[1, 0, 0, 1, 1, 0], [1, 0, 0, 0, 0, 0]], bool)
    assert position_ids(begins).tolist() == [[0, 1, 2, 0, 0, 1], [0, 1, 2, 3, 4, 5]]


@pytest.mark.parametrize("family", BY_POSITIONS)
def test_attention_dropout_keeps_to_the_document(tokens: Tokens, family: str) -> None:
    """A change in one document moves nothing in another of the sequence, in training with dropout."""
    batch, model = sequences(tokens, "best_fit", True), built(family, dropout=0.5)
    place = use_stateless_dropout(model, 0)
    row, columns = next((row, columns) for row, columns in segments(batch) if columns.start)

    def logits(input_ids: torch.Tensor) -> torch.Tensor:
        place.slots = range(len(input_ids))
        return model(input_ids=input_ids, position_ids=batch["position_ids"], use_cache=False).logits

    changed = batch["input_ids"].clone()
    changed[row, : columns.start] = 199
    before, after = logits(batch["input_ids"]), logits(changed)
    assert torch.equal(before[row, columns], after[row, columns])
    assert not torch.equal(before[row, : columns.start], after[row, : columns.start])
    place.step = 1
    assert not torch.equal(logits(batch["input_ids"])[row, columns], before[row, columns]), "dropout is on"


@pytest.mark.parametrize(
    ("packing", "mask", "length"), [*itertools.product(("concatenate", "best_fit"), (False, True), (16, 8, 4, 2))]
)
def test_labels(tokens: Tokens, packing: str, mask: bool, length: int) -> None:
    """What is predicted, and that the number of it is known beforehand."""
    batch = sequences(tokens, packing, mask, length)
    input_ids, labels = batch["input_ids"], batch["labels"]
    assert input_ids.shape[1] == length
    predicted = labels != -100
    assert torch.equal(labels[predicted], input_ids[predicted])
    assert not predicted[:, 0].any()
    assert not predicted[input_ids == PAD_ID].any()
    assert not (predicted & (input_ids == BOS_ID)).any() or not mask
    inside = input_ids[:, :-1] != PAD_ID
    follows = (input_ids[:, 1:] == input_ids[:, :-1] + 1) | (input_ids[:, :-1] == BOS_ID)
    assert predicted[:, 1:][follows & inside & (input_ids[:, 1:] > EOS_ID)].all()
    if not mask:
        # At the first token of a document's later piece, what came before it is elsewhere.
        assert torch.equal(
            predicted[:, 1:][inside], (follows | (input_ids[:, 1:] <= EOS_ID))[inside] & (input_ids[:, 1:] > 0)[inside]
        )
    recipe = Batch(tokens=64, sequence_length=16, packing=packing, document_mask=mask)
    of_sequences = predicted.reshape(-1, 16).sum(1)
    known = CausalObjective().loss_positions(tokens, recipe, length)
    assert np.broadcast_to(known, len(of_sequences)).tolist() == of_sequences.tolist()


@pytest.mark.parametrize("family", BY_POSITIONS)
def test_held_out_documents_are_kept_apart_too(tmp_path: Path, family: str) -> None:
    """The loss of windows that hold several documents is that of each document in its windows, alone."""
    lengths = [7, 9, 5, 2, 12]
    tokens = write_tokens(tmp_path, lengths)
    table = np.array([[length, length] for length in lengths])
    dev = type("Dev", (), {"dev": tokens.train, "dev_documents": table, "dev_pieces": None})
    model, text = built(family).eval(), held_out_text(dev, 99, 64, document_mask=True)
    found = summarize(causal_sums(model, text, np.arange(len(text.windows)), 4, torch.device("cpu")), text)
    nats, count, end = 0.0, 0, 0
    for length in lengths:
        ids = torch.from_numpy(tokens.train.slice(end, end + length))[None]
        if length > 1:
            nats += model(input_ids=ids, labels=ids).loss.item() * (length - 1)
        count, end = count + length - 1, end + length
    assert found.loss == pytest.approx(nats / count, rel=1e-6)
    assert found.bits_per_byte == pytest.approx(nats / math.log(2) / sum(lengths), rel=1e-6)
    assert held_out_text(dev, 99, 64).position_ids is None
    for window in (2, 5, 8):
        cut = held_out_text(dev, 99, window, document_mask=True)
        predicted = cut.windows[cut.labels >= 0]
        everything = tokens.train.slice(0, sum(lengths))
        assert predicted.tolist() == everything[everything != BOS_ID].tolist(), "each once, but for `<s>`"
        assert (cut.position_ids[:, 0] == 0).all()
