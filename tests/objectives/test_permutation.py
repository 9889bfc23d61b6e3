"""Models of permutations: spans and orders by counting and by a literal loop, what sees what, the loss by hand."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from objectives.drawing import VOCABULARY, equal, inputs_of, pieces_of, recipe_of, rows_of
from splitmix import literal_numbers
from transformers import XLNetConfig, XLNetLMHeadModel

from lmeff.models.families.xlnet import XLNet
from lmeff.objectives import Pieces
from lmeff.objectives.forward import compute_losses_in_forward
from lmeff.objectives.held_out import HeldOutText
from lmeff.objectives.permutation import PermutationObjective
from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.objective import Objective, share_predicted
from lmeff.stateless import stateless_seed


def xlnet() -> XLNetLMHeadModel:
    torch.manual_seed(0)
    shape = {"d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 32, "dropout": 0.0, "summary_last_dropout": 0.0}
    model = XLNetLMHeadModel(
        XLNetConfig(vocab_size=VOCABULARY, pad_token_id=0, bos_token_id=1, eos_token_id=2, **shape)
    )
    torch.nn.init.normal_(model.transformer.mask_emb, std=0.1)
    return model


def objective_for(folder: Path, **settings) -> PermutationObjective:
    """The recipe is that of another family: only its numbers matter here."""
    recipe: Recipe = recipe_of(folder, "llama").model_copy(
        update={"objective": Objective(name="permutation", **settings)}
    )
    return PermutationObjective(recipe)


def text_of(num_rows: int, length: int) -> Pieces:
    """Without special tokens."""
    input_ids = np.random.default_rng(0).integers(3, VOCABULARY, (num_rows, length))
    begins = np.zeros(input_ids.shape, bool)
    begins[:, 0] = True
    return Pieces(input_ids, begins, np.arange(num_rows), False, 0, range(num_rows))


@pytest.mark.parametrize("share", [1 / 6, 0.22])
def test_spans_are_drawn_as_by_a_literal_loop(tmp_path: Path, share: float) -> None:
    objective, pieces = objective_for(tmp_path, predicted_share=share), pieces_of(20, 64, step=3)
    found = objective.targets_of(pieces)
    for row in range(20):
        num_spans = 64 // math.floor(1 / share) + 1
        drawn = literal_numbers(stateless_seed(3, 3, row, "spans"), 2 * num_spans + 64)
        rounding = literal_numbers(stateless_seed(3, 3, row, "contexts"), num_spans)
        targets, begin, number = set(), 0, 0
        while begin < 64:
            span = 1 + math.floor(5 * drawn[number])
            context = 6 * span if share == 1 / 6 else math.floor(span / share + rounding[number])
            first = begin + math.floor((context - span + 1) * drawn[num_spans + number])
            targets |= {place for place in range(first, first + span) if place < 64}
            begin, number = begin + context, number + 1
        targets = {place for place in targets if pieces.input_ids[row, place] > 2}
        assert set(np.flatnonzero(found[row])) == targets
    assert equal(inputs_of(objective, pieces), inputs_of(objective_for(tmp_path, predicted_share=share), pieces))
    parts = [inputs_of(objective, rows_of(pieces, slice(first, first + 4))) for first in range(0, 20, 4)]
    whole = inputs_of(objective, pieces)
    for name in ("perm_mask", "target_mapping", "input_ids"):
        assert torch.equal(torch.cat([part[name] for part in parts]), whole[name])


def test_a_sixth_of_the_text_is_predicted_in_spans_of_one_to_five(tmp_path: Path) -> None:
    pieces = text_of(2000, 240)
    targets = objective_for(tmp_path).targets_of(pieces)
    assert abs(targets.mean() - 1 / 6) < 0.004
    assert np.abs(targets[:, 60:180].mean(0) - 1 / 6).max() < 0.045, "wherever it stands"
    assert targets.any(1).all()
    lengths = np.zeros(12, int)
    for row in targets[:400].tolist():
        first = None
        for place, is_target in enumerate([*row, False]):
            if is_target and first is None:
                first = place
            elif not is_target and first is not None:
                lengths[min(11, place - first)] += 1
                first = None
    assert lengths[1:6].min() > 0.12 * lengths.sum()
    assert lengths[6:].sum() < 0.06 * lengths.sum(), "two spans rarely meet"


@pytest.mark.parametrize("span", [1, 2, 5, 10])
@pytest.mark.parametrize("share", [0.05, 0.15, 0.3, 0.4, 0.7, 0.9])
def test_the_share_of_the_recipe_is_predicted(tmp_path: Path, share: float, span: int) -> None:
    """Also where a span is no whole share of its context: 1 token of 1.43."""
    objective = objective_for(tmp_path, predicted_share=share, max_span=span)
    found = objective.targets_of(text_of(1000, 128)).mean(1)
    assert found.mean() == pytest.approx(share, abs=4 * found.std() / 1000**0.5 + 0.002 * share)


@pytest.mark.parametrize(("length", "share", "span"), [(16, 0.05, 5), (16, 0.001, 5), (8, 0.9, 3)])
def test_the_share_of_short_rows_is_what_recipes_are_told(tmp_path: Path, length: int, share: float, span: int) -> None:
    """One token of a row is predicted, and one is not, whatever is drawn."""
    objective = objective_for(tmp_path)
    objective.share, objective.max_span = share, span
    found = objective.targets_of(text_of(4000, length)).mean(1)
    assert found.mean() == pytest.approx(share_predicted(length, share, span), abs=4 * found.std() / 4000**0.5)
    assert abs(found.mean() / share - 1) > 0.03


def test_something_of_a_row_is_seen(tmp_path: Path) -> None:
    """With nothing to see, the softmax of attention would be over all, and a token would see itself."""
    objective, pieces = objective_for(tmp_path, predicted_share=0.9), text_of(300, 8)
    pieces.input_ids[0, 1:] = 0
    targets = objective.targets_of(pieces)
    assert not targets.all(1).any()
    assert (targets.sum(1) == 7).sum() > 50
    assert not targets[0].any(), "a token alone"
    hidden = inputs_of(objective, pieces)["perm_mask"]
    assert not hidden[1:].bool().all(2).any()


def test_a_row_of_few_tokens_has_one_that_is_predicted(tmp_path: Path) -> None:
    pieces = text_of(50, 8)
    pieces.input_ids[:, 2:] = 0
    pieces.input_ids[-1] = 0
    targets = objective_for(tmp_path).targets_of(pieces)
    assert targets[:-1].any(1).all()
    assert not targets[:, 2:].any()
    assert not targets[-1].any()


def test_a_position_sees_what_is_no_target_and_targets_before_it_in_the_order(tmp_path: Path) -> None:
    objective, pieces = objective_for(tmp_path), pieces_of(6, 32, step=1)
    is_target = objective.targets_of(pieces)
    hidden = inputs_of(objective, pieces)["perm_mask"].bool().numpy()
    for row in range(6):
        drawn = literal_numbers(stateless_seed(3, 1, row, "order"), 32)
        order = [sorted(drawn[:16]).index(one) for one in drawn[:16]]
        order += [16 + sorted(drawn[16:]).index(one) for one in drawn[16:]]
        for place in range(32):
            if not is_target[row, place]:
                order[place] = -1
        for one in range(32):
            for other in range(32):
                assert hidden[row, one, other] == (bool(is_target[row, other]) and order[one] <= order[other])


def test_a_prediction_sees_neither_itself_nor_what_comes_later(tmp_path: Path) -> None:
    objective, pieces = objective_for(tmp_path), pieces_of(3, 32, padding=12)
    objective.has_padding = True
    inputs, model = inputs_of(objective, pieces), xlnet().eval()
    targets = inputs.pop("targets")
    is_target = objective.targets_of(pieces)
    hidden = inputs["perm_mask"].bool().numpy()
    num_seen = set()
    for row in range(3):
        places = np.flatnonzero(is_target[row])
        assert targets["labels"][row, : len(places)].tolist() == pieces.input_ids[row, places].tolist()
        assert (targets["labels"][row, len(places) :] == -100).all()
        for number, place in enumerate(places):
            embedded = model.get_input_embeddings()(inputs["input_ids"]).detach().requires_grad_()
            given = {name: value for name, value in inputs.items() if name != "input_ids"}
            model(inputs_embeds=embedded, **given).logits[row, number].square().sum().backward()
            seen = set(embedded.grad[row].abs().sum(-1).nonzero().flatten().tolist())
            allowed = set(np.flatnonzero(~hidden[row, place]).tolist())
            assert place not in seen
            assert seen == allowed
            num_seen.add(len(seen & set(places.tolist())))
    assert len(num_seen) > 2, "targets see other targets, each another number of them"


@pytest.mark.parametrize("micro_batch", [2, 8])
def test_the_loss_is_the_literal_one_for_every_micro_batch(tmp_path: Path, micro_batch: int) -> None:
    objective, pieces = objective_for(tmp_path, z_loss=0.01), pieces_of(8, 32)
    model = xlnet()
    whole = inputs_of(objective, pieces)
    labels = whole.pop("targets")["labels"]
    logits = model(**whole).logits.detach().double()
    nats, squares, count = 0.0, 0.0, 0
    for row, number in zip(*np.nonzero(labels.numpy() != -100), strict=True):
        values = logits[row, number].tolist()
        total = math.log(math.fsum(math.exp(value) for value in values))
        nats, squares, count = nats + total - values[labels[row, number]], squares + total**2, count + 1
    assert count == objective.targets_of(pieces).sum()
    compute_losses_in_forward(model, objective)
    parts = [
        inputs_of(objective, rows_of(pieces, slice(first, first + micro_batch))) for first in range(0, 8, micro_batch)
    ]
    assert sum(int(objective.num_labeled(part["targets"])) for part in parts) == count
    found = [model(**part, num_labeled=torch.tensor(float(count))) for part in parts]
    assert sum(float(one["nats"].detach()) for one in found) == pytest.approx(nats / count, rel=1e-5)
    assert sum(float(one["loss"].detach()) for one in found) == pytest.approx((nats + 0.01 * squares) / count, rel=1e-5)


@pytest.mark.parametrize(("share", "span"), [(0.17, 5), (0.4, 2), (0.9, 7), (0.05, 5)])
def test_there_is_room_for_all_targets_of_a_row(tmp_path: Path, share: float, span: int) -> None:
    objective, pieces = objective_for(tmp_path, predicted_share=share, max_span=span), text_of(300, 16)
    labels = inputs_of(objective, pieces)["targets"]["labels"].numpy()
    assert ((labels != -100).sum(1) == objective.targets_of(pieces).sum(1)).all()


def test_held_out_text_is_read_by_weights_of_16_bits(tmp_path: Path) -> None:
    """As under ZeRO."""
    objective, model = objective_for(tmp_path), xlnet().eval()
    pieces = pieces_of(3, 32, padding=20)
    text = HeldOutText(pieces.input_ids, pieces.input_ids, 100, begins=pieces.begins)
    wanted, device = objective.held_out_sums(model, text, np.arange(3), 2, torch.device("cpu")), torch.device("cpu")
    XLNet.take_half_weights(model)
    found = objective.held_out_sums(model.bfloat16(), text, np.arange(3), 2, device)
    assert found.tolist() == pytest.approx(wanted.tolist(), rel=1e-3)
    assert found[0] != wanted[0]


def test_a_row_of_padding_alone_is_no_nan_in_16_bits(tmp_path: Path) -> None:
    """What may not be seen has 65,500 taken off its score there; below -65,504 a score is minus infinity. Here all scores that
    come from positions are -28."""
    objective, model = objective_for(tmp_path), xlnet()
    objective.has_padding = True
    for layer in model.transformer.layer:
        layer.rel_attn.r.data[-1], layer.rel_attn.r_r_bias.data[:] = -1.0, 10.0
    XLNet.take_half_weights(model)
    pieces = pieces_of(3, 32, padding=32)
    waiting = objective.inputs(pieces)
    waiting["is_taken"] = waiting["is_taken"].half()  # as an engine of this precision has it
    inputs = objective.prepare(waiting)
    assert {inputs[name].dtype for name in ("perm_mask", "target_mapping")} == {torch.float16}
    targets = inputs.pop("targets")
    logits = model.half()(**inputs).logits
    assert torch.isfinite(logits).all()
    objective.losses(logits, targets, objective.num_labeled(targets))["loss"].backward()
    assert all(one.grad is None or one.grad.isfinite().all() for one in model.parameters())
