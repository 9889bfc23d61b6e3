"""Hybrids: which rows are masked, what a row sees, the loss by hand, and causal rows that are those of a causal model."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from objectives.drawing import VOCABULARY, equal, inputs_of, pieces_of, recipe_of, rows_of
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from lmeff.objectives import CausalObjective, HybridObjective, LossPositions, Pieces
from lmeff.objectives.forward import compute_losses_in_forward


def llama() -> PreTrainedModel:
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY + 1, max_position_embeddings=64, **shape))


def gpt2() -> PreTrainedModel:
    torch.manual_seed(0)
    dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    return GPT2LMHeadModel(
        GPT2Config(vocab_size=VOCABULARY + 1, n_positions=64, n_embd=16, n_layer=2, n_head=2, **dropout)
    )


def hybrid(folder: Path, *words: str) -> HybridObjective:
    return HybridObjective(recipe_of(folder, "llama", "objective.name=hybrid", *words))


@pytest.mark.parametrize("share", [0, 0.3, 15 / 16, 1])
def test_the_share_of_masked_rows_is_exact_over_the_run(tmp_path: Path, share: float) -> None:
    objective = hybrid(tmp_path, f"objective.masked_rows={share}")
    of_steps = [objective.is_masked(pieces_of(16, 32, step)) for step in range(40)]
    for step in range(1, 41):
        total = sum(int(rows.sum()) for rows in of_steps[:step])
        assert total == math.floor(share * 16 * step + 1e-9)
    if share in (0.3, 15 / 16):
        assert {tuple(rows) for rows in of_steps} > {tuple(of_steps[0])}, "other rows in other steps"
        assert np.stack(of_steps).mean(0).min() > share - 0.3, "wherever they stand"
    # A row is of its kind in every micro-batch.
    pieces = pieces_of(16, 32, step=3)
    parts = [objective.is_masked(rows_of(pieces, slice(first, first + 2))) for first in range(0, 16, 2)]
    assert np.array_equal(np.concatenate(parts), of_steps[3])


def test_sequences_cut_shorter_are_more_rows(tmp_path: Path) -> None:
    objective = hybrid(tmp_path, "objective.masked_rows=0.5")
    assert objective.is_masked(pieces_of(64, 8)).sum() == 32


def test_causal_rows_are_read_as_by_a_causal_model_and_masked_ones_hide_what_they_ask_for(tmp_path: Path) -> None:
    objective, pieces = hybrid(tmp_path, "objective.masked_rows=0.5"), pieces_of(16, 32, step=2)
    inputs, causal = inputs_of(objective, pieces), inputs_of(CausalObjective(), pieces)
    is_masked = torch.from_numpy(objective.is_masked(pieces))
    labels = inputs["targets"]["labels"]
    assert equal(inputs["input_ids"][~is_masked], causal["input_ids"][~is_masked])
    assert equal(labels[~is_masked], causal["targets"]["labels"][~is_masked])
    chosen = labels[is_masked] != -100
    assert chosen.any(1).all()
    text = torch.from_numpy(pieces.input_ids)[is_masked]
    assert equal(labels[is_masked][chosen], text[chosen])
    assert equal(inputs["input_ids"][is_masked][~chosen], text[~chosen])
    assert not chosen[:, 0].any()
    assert not (chosen & (text <= 2)).any()
    share = (inputs["input_ids"][is_masked] == VOCABULARY).sum() / chosen.sum()
    assert 0.6 < share < 0.95


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("model", [llama, gpt2])
def test_a_row_sees_what_its_kind_may_see(tmp_path: Path, model, apart: bool) -> None:
    words = [f"batch.document_mask={apart}", "batch.packing=best_fit", "objective.masked_rows=0.5"]
    objective, pieces = hybrid(tmp_path, *words), pieces_of(16, 32, apart=apart, padding=9)
    inputs, network = inputs_of(objective, pieces), model()
    is_masked = objective.is_masked(pieces)
    rows = [*np.flatnonzero(is_masked)[:2], *np.flatnonzero(~is_masked)[:2], 15]
    for row in rows:
        for place in (0, 13, 20, 30):
            embedded = network.get_input_embeddings()(inputs["input_ids"]).detach().requires_grad_()
            given = {name: value for name, value in inputs.items() if name not in ("input_ids", "targets")}
            network(inputs_embeds=embedded, **given).logits[row, place].square().sum().backward()
            moved = embedded.grad.abs().sum(-1)
            seen = set(moved[row].nonzero().flatten().tolist())
            assert moved.sum() == moved[row].sum()
            same = set(range(32))
            if apart:
                groups = pieces.begins[row].cumsum()
                same = set(np.flatnonzero(groups == groups[place]).tolist())
            elif pieces.input_ids[row, place] != 0:
                same = set(np.flatnonzero(pieces.input_ids[row]).tolist())
            else:
                continue  # what padding sees is nobody's business
            assert seen == (same if is_masked[row] else {other for other in same if other <= place})


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("model", [llama, gpt2])
def test_causal_rows_have_the_logits_of_the_stock_model(tmp_path: Path, model, apart: bool) -> None:
    objective, pieces = hybrid(tmp_path, "objective.masked_rows=0.5"), pieces_of(16, 32, apart=apart)
    inputs, network = inputs_of(objective, pieces), model().eval()
    inputs.pop("targets")
    causal = torch.from_numpy(~objective.is_masked(pieces))
    stock = inputs_of(CausalObjective(), pieces)
    stock.pop("targets")
    found, wanted = network(**inputs).logits[causal], network(**stock).logits[causal]
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("words", [(), ("objective.causal_weight=0.5", "objective.z_loss=0.001")])
@pytest.mark.parametrize("micro_batch", [2, 8])
@pytest.mark.parametrize("model", [llama, gpt2])
def test_the_loss_is_the_literal_one_for_every_micro_batch(
    tmp_path: Path, model, micro_batch: int, words: tuple
) -> None:
    objective, pieces = hybrid(tmp_path, "objective.masked_rows=0.5", *words), pieces_of(16, 32, step=5)
    network = model()
    whole = inputs_of(objective, pieces)
    targets = whole.pop("targets")
    logits = network(**whole).logits.detach().double()
    is_masked = objective.is_masked(pieces)
    causal_weight, z_loss = (0.5, 0.001) if words else (0.3 + (0.15 - 0.3) * 5 / 10, 0.0)
    nats = squares = weight = 0.0
    for row in range(16):
        for place in range(1, 32):
            if (label := int(targets["labels"][row, place])) != -100:
                each = 1.0 if is_masked[row] else causal_weight
                total = math.log(math.fsum(math.exp(value) for value in logits[row, place - 1].tolist()))
                nats += each * (total - float(logits[row, place - 1, label]))
                squares, weight = squares + each * total * total, weight + each
    compute_losses_in_forward(network, objective)
    parts = [
        inputs_of(objective, rows_of(pieces, slice(first, first + micro_batch))) for first in range(0, 16, micro_batch)
    ]
    divisor = sum(objective.total_weight(part["targets"]) for part in parts)
    assert float(divisor) == pytest.approx(weight, rel=1e-6)
    labeled = sum(int(objective.num_labeled(part["targets"])) for part in parts)
    assert labeled == int((targets["labels"][:, 1:] != -100).sum())
    found = [network(**part, num_labeled=divisor.float()) for part in parts]
    loss = sum(float(one["loss"].detach()) for one in found)
    assert loss == pytest.approx((nats + z_loss * squares) / weight, rel=1e-5)
    if z_loss:
        assert sum(float(one["nats"].detach()) for one in found) == pytest.approx(nats / weight, rel=1e-5)


def test_all_rows_weigh_the_same_unless_the_recipe_says_otherwise(tmp_path: Path) -> None:
    objective = hybrid(tmp_path, "objective.mask_rate=0.2", "objective.masked_rows=0.5")
    generator = np.random.default_rng(0)
    input_ids = generator.integers(3, VOCABULARY, (5000, 32))
    begins = np.zeros(input_ids.shape, bool)
    begins[:, 0] = True
    objective.batch_tokens = input_ids.size
    pieces = Pieces(input_ids, begins, np.arange(5000), False, 0, range(5000))
    targets = inputs_of(objective, pieces)["targets"]
    weights = (targets["weights"] * (targets["labels"] != -100)).sum(1) / 2**20
    is_masked = torch.from_numpy(objective.is_masked(pieces))
    assert float(weights[is_masked].mean()) == pytest.approx(float(weights[~is_masked].mean()), rel=0.02)


def test_positions_are_counted_on_from_a_checkpoint(tmp_path: Path) -> None:
    positions = LossPositions(hybrid(tmp_path), None, None, None)
    for number in (5, 7):
        positions.count(torch.tensor(number))
    assert positions.after(2) == 12
    resumed = LossPositions(hybrid(tmp_path), None, None, None)
    resumed.go_on_from(2, 12)
    resumed.count(torch.tensor(3))
    assert resumed.after(3) == 15
