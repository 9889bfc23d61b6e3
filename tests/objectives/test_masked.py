"""Masked models: the loss by hand, whatever the micro-batch; what sees what; the same masks on held-out text."""

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from objectives.drawing import VOCABULARY, equal, inputs_of, pieces_of, recipe_of, rows_of
from transformers import BertConfig, BertForMaskedLM, ModernBertConfig, ModernBertForMaskedLM, PreTrainedModel

from lmeff.objectives import MaskedObjective
from lmeff.objectives.forward import compute_losses_in_forward
from lmeff.objectives.held_out import rows_of_rank
from lmeff.tokens import BOS_ID, PAD_ID

SHAPE = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


def bert(num_positions: int = 64) -> PreTrainedModel:
    torch.manual_seed(0)
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config = BertConfig(vocab_size=VOCABULARY + 1, max_position_embeddings=num_positions, **SHAPE, **dropout)
    return BertForMaskedLM(config)


def modernbert() -> PreTrainedModel:
    torch.manual_seed(0)
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
    layers = {"global_attn_every_n_layers": 2, "local_attention": 8}
    config = ModernBertConfig(vocab_size=VOCABULARY + 1, max_position_embeddings=64, **SHAPE, **special, **layers)
    return ModernBertForMaskedLM(config)


def literal_loss(logits: torch.Tensor, labels: torch.Tensor, z_loss: float = 0.0) -> tuple[float, float, int]:
    """Sums of nats and of squared log-sum-exps, times `z_loss`, over the labeled positions, and their number."""
    nats, squares, count = 0.0, 0.0, 0
    for row, row_labels in zip(logits.double().tolist(), labels.tolist(), strict=True):
        for values, label in zip(row, row_labels, strict=True):
            if label != -100:
                total = math.log(math.fsum(math.exp(value) for value in values))
                nats, squares, count = nats + total - values[label], squares + total * total, count + 1
    return nats, z_loss * squares, count


@pytest.mark.parametrize("z_loss", [0.0, 0.01])
@pytest.mark.parametrize("micro_batch", [2, 8])
def test_the_loss_is_the_literal_one_for_every_micro_batch(tmp_path: Path, micro_batch: int, z_loss: float) -> None:
    words = ["batch.packing=best_fit", "objective.mask_rate=0.3", f"objective.z_loss={z_loss}"]
    objective, pieces = MaskedObjective(recipe_of(tmp_path, "bert", *words)), pieces_of(8, 32, padding=24)
    model = bert()
    whole = inputs_of(objective, pieces)
    targets = whole.pop("targets")
    logits = model(**whole).logits
    nats, squares, count = literal_loss(logits, targets["labels"], z_loss)
    wanted = torch.autograd.grad((nats_of(logits, targets["labels"], z_loss) / count), list(model.parameters()))
    compute_losses_in_forward(model, objective)
    parts = [
        inputs_of(objective, rows_of(pieces, slice(first, first + micro_batch))) for first in range(0, 8, micro_batch)
    ]
    numbers = [int(objective.num_labeled(part["targets"])) for part in parts]
    assert sum(numbers) == count
    total: dict[str, float] = {}
    for part in parts:
        losses = model(**part, num_labeled=torch.tensor(float(count)))
        losses["loss"].backward()
        for name, value in losses.items():
            total[name] = total.get(name, 0.0) + float(value.detach())
    assert total["loss"] == pytest.approx((nats + squares) / count, rel=1e-5)
    assert total.keys() == ({"loss", "nats"} if z_loss else {"loss"})
    assert total.get("nats", total["loss"]) == pytest.approx(nats / count, rel=1e-5)
    for weight, gradient in zip(model.parameters(), wanted, strict=True):
        torch.testing.assert_close(weight.grad, gradient, rtol=1e-4, atol=1e-6)


def nats_of(logits: torch.Tensor, labels: torch.Tensor, z_loss: float) -> torch.Tensor:
    """The literal sum again, as something that has gradients."""
    rows, places = torch.nonzero(labels != -100, as_tuple=True)
    sums = torch.zeros(())
    for row, place in zip(rows.tolist(), places.tolist(), strict=True):
        total = logits[row, place].exp().sum().log()
        sums = sums + total - logits[row, place, labels[row, place]] + z_loss * total**2
    return sums


def test_labels_stand_where_tokens_were_chosen_and_are_the_text(tmp_path: Path) -> None:
    objective, pieces = MaskedObjective(recipe_of(tmp_path, "bert")), pieces_of(8, 32)
    inputs = inputs_of(objective, pieces)
    labels, input_ids = inputs["targets"]["labels"].numpy(), inputs["input_ids"].numpy()
    chosen = labels != -100
    assert chosen.any(1).all()
    assert np.array_equal(labels[chosen], pieces.input_ids[chosen])
    assert np.array_equal(input_ids[~chosen], pieces.input_ids[~chosen])
    assert (input_ids == VOCABULARY).any()
    assert inputs.keys() == {"input_ids", "targets"}, "without padding and documents everything sees everything"
    again = inputs_of(MaskedObjective(recipe_of(tmp_path, "bert")), pieces)
    assert equal(inputs, again)
    assert not equal(inputs, inputs_of(MaskedObjective(recipe_of(tmp_path, "bert", "seed=4")), pieces))


def influences(model: PreTrainedModel, inputs: dict, row: int, place: int) -> list[int]:
    """Positions of the row whose embedding moves the logits at `place`, by the gradient."""
    embedded = model.get_input_embeddings()(inputs["input_ids"]).detach().requires_grad_()
    given = {name: value for name, value in inputs.items() if name not in ("input_ids", "targets")}
    model(inputs_embeds=embedded, **given).logits[row, place].square().sum().backward()
    moved = embedded.grad.abs().sum(-1)
    assert moved.sum() == moved[row].sum(), "rows see nothing of each other"
    return moved[row].nonzero().flatten().tolist()


def document_of(pieces, row: int, place: int) -> list[int]:
    groups = pieces.begins[row].cumsum()
    return np.flatnonzero(groups == groups[place]).tolist()


def test_documents_of_a_bert_see_nothing_of_each_other(tmp_path: Path) -> None:
    objective = MaskedObjective(recipe_of(tmp_path, "bert", "batch.document_mask=true"))
    pieces = pieces_of(3, 32, apart=True, padding=10)
    inputs, model = inputs_of(objective, pieces), bert()
    for row, place in ((0, 0), (0, 17), (1, 9), (2, 21), (2, 30)):
        assert influences(model, inputs, row, place) == document_of(pieces, row, place)
    # As a document alone: positions restart, too.
    place = 17
    document = document_of(pieces, 0, place)
    alone = model(input_ids=inputs["input_ids"][:1, document]).logits[0]
    torch.testing.assert_close(model(**{k: v for k, v in inputs.items() if k != "targets"}).logits[0, document], alone)


def test_documents_of_a_modernbert_see_nothing_of_each_other(tmp_path: Path) -> None:
    words = ["batch.document_mask=true", "model.global_attn_every_n_layers=2", "model.local_attention=8"]
    objective = MaskedObjective(recipe_of(tmp_path, "modernbert", *words))
    pieces = pieces_of(3, 32, apart=True, padding=10)
    inputs, model = inputs_of(objective, pieces), modernbert()
    for row, place in ((0, 0), (0, 17), (1, 9), (2, 21), (2, 30)):
        assert influences(model, inputs, row, place) == document_of(pieces, row, place)
    document = document_of(pieces, 0, 17)
    alone = model(input_ids=inputs["input_ids"][:1, document]).logits[0]
    found = model(**{k: v for k, v in inputs.items() if k != "targets"}).logits[0, document]
    assert len(document) > 5, "longer than the window of the local layers"
    torch.testing.assert_close(found, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", [bert, modernbert])
def test_nothing_sees_padding(tmp_path: Path, model) -> None:
    objective = MaskedObjective(recipe_of(tmp_path, "bert", "batch.packing=best_fit"))
    pieces = pieces_of(3, 32, padding=32)
    pieces.input_ids[1, 20:] = PAD_ID
    inputs = inputs_of(objective, pieces)
    assert set(influences(model(), inputs, 1, 5)) <= set(range(20))
    logits = model()(**{k: v for k, v in inputs.items() if k != "targets"}).logits
    assert torch.isfinite(logits).all(), "a row of padding alone is no NaN"
    assert (inputs["targets"]["labels"][2] == -100).all()


def held_out(tmp_path: Path, apart: bool):
    """Documents of 7, 9, 40 and 5 tokens."""
    lengths = [7, 9, 40, 5]
    generator = np.random.default_rng(5)
    ids = np.concatenate([[BOS_ID, *generator.integers(3, VOCABULARY, length - 2), 2] for length in lengths])
    stream = SimpleNamespace(slice=lambda start, stop: ids[start:stop].astype(np.int64), num_tokens=len(ids))
    documents = np.array([[length, 3 * length] for length in lengths], np.int64)
    tokens = SimpleNamespace(dev=stream, dev_documents=documents, dev_pieces=None)
    words = ["batch.document_mask=true"] if apart else []
    objective = MaskedObjective(recipe_of(tmp_path, "bert", *words))
    return (
        objective,
        objective.held_out_text(tokens, 999, SimpleNamespace(sequence_length=16, document_mask=apart)),
        ids,
    )


@pytest.mark.parametrize("apart", [False, True])
def test_held_out_loss_is_that_of_fixed_masks_for_every_batch_and_process(tmp_path: Path, apart: bool) -> None:
    objective, text, ids = held_out(tmp_path, apart)
    assert text.windows.shape == (4, 16)
    assert text.windows.flatten()[: len(ids)].tolist() == ids.tolist()
    assert (text.windows.flatten()[len(ids) :] == PAD_ID).all()
    model, device = bert().eval(), torch.device("cpu")
    sums = objective.held_out_sums(model, text, np.arange(4), 3, device)
    ranks = [objective.held_out_sums(model, text, rows_of_rank(4, rank, 3), 1, device) for rank in range(3)]
    torch.testing.assert_close(sum(ranks), sums)
    found = objective.held_out_loss(sums, text)
    assert (found.kind, found.name, found.perplexity, found.bits_per_byte) == ("masked", "dev_masked_loss", None, None)
    assert found.fields() == {
        "dev_loss": None,
        "dev_perplexity": None,
        "dev_bits_per_byte": None,
        "dev_masked_loss": found.loss,
    }
    # Window by window and one position after the other, as the masks of window 2 alone are.
    nats, count = 0.0, 0
    sibling = objective.for_held_out_text()
    for row in range(4):
        groups = text.begins[row].cumsum() if apart else (text.windows[row] == PAD_ID).astype(int)
        part = inputs_of(sibling, rows_of(whole_pieces(text, apart), slice(row, row + 1)))
        for group in np.unique(groups):
            places = np.flatnonzero(groups == group)
            logits = model(input_ids=part["input_ids"][:, places], **positions(part, places, apart)).logits
            more, _, number = literal_loss(logits.detach(), part["targets"]["labels"][:, places])
            nats, count = nats + more, count + number
    assert sums.tolist() == pytest.approx([nats, count], rel=1e-5)
    other = MaskedObjective(recipe_of(tmp_path, "bert", "seed=9", *(["batch.document_mask=true"] if apart else [])))
    assert torch.equal(other.held_out_sums(model, text, np.arange(4), 3, device), sums), "whatever the run's seed"


def whole_pieces(text, apart: bool):
    from lmeff.objectives import Pieces

    return Pieces(text.windows, text.begins, np.arange(4), apart, 0, range(4))


def positions(part: dict, places: np.ndarray, apart: bool) -> dict:
    return (
        {"position_ids": part["position_ids"][:, places]} if apart else {"position_ids": torch.from_numpy(places)[None]}
    )
