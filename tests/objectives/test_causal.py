"""The causal loss against literal loops in float64: accumulation and processes divide a batch as they like."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from launching import curve, finish, launch, read_lines, run_folder, start, write_recipe
from transformers import LlamaConfig, LlamaForCausalLM

from lmeff.models.build import build_model
from lmeff.objectives import CausalObjective, Pieces
from lmeff.objectives.forward import compute_losses_in_forward
from lmeff.probes.probe_run import prepared_tokens, probe_trainer
from lmeff.recipe import read_recipe
from lmeff.tokens import BOS_ID, PAD_ID, prepare_packing

WORDS = ("batch.packing=best_fit", "batch.document_mask=true", "model.attention_dropout=0", "anchors.tokens=[1024]")
WORDS += ("schedule.warmup=1 steps",)


def literal_loss(logits: torch.Tensor, labels: torch.Tensor) -> tuple[float, int]:
    """Nats and number of the labeled positions, each for itself: what stands at t - 1 predicts the label at t."""
    nats, count = 0.0, 0
    for row, row_labels in zip(logits.tolist(), labels.tolist(), strict=True):
        for place in range(1, len(row)):
            if (label := row_labels[place]) != -100:
                highest = max(row[place - 1])
                total = math.log(sum(math.exp(value - highest) for value in row[place - 1])) + highest
                nats, count = nats + total - row[place - 1][label], count + 1
    return nats, count


def batch(num_rows: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and labels, of which each row has another number; the last has none."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(num_rows, 9, 13, generator=generator, dtype=torch.float64) * 3
    labels = torch.randint(13, (num_rows, 9), generator=generator)
    for row in range(num_rows):
        labels[row, : min(9, 1 + row * 9 // (num_rows - 1))] = -100
    return logits, labels


@pytest.mark.parametrize("micro_batch", [1, 2, 3, 6])
def test_the_shares_of_micro_batches_add_up_to_the_literal_loss(micro_batch: int) -> None:
    objective, (logits, labels) = CausalObjective(), batch(6, seed=1)
    nats, count = literal_loss(logits, labels)
    parts = list(zip(logits.split(micro_batch), labels.split(micro_batch), strict=True))
    counts = [int(objective.num_labeled({"labels": part})) for _, part in parts]
    assert sum(counts) == count
    assert micro_batch == 6 or len(set(counts)) > 1, "they are unequal"
    logits.requires_grad_()
    shares = [
        objective.losses(part, {"labels": part_labels}, torch.tensor(float(count)))
        for part, part_labels in zip(logits.split(micro_batch), labels.split(micro_batch), strict=True)
    ]
    assert all(share.keys() == {"loss"} for share in shares)
    total = sum(share["loss"] for share in shares)
    assert total.item() == pytest.approx(nats / count, rel=1e-6)
    total.backward()
    assert (logits.grad[:, -1] == 0).all(), "nothing follows the last position"
    probabilities = logits.detach().softmax(-1)
    row, place = 0, 4
    wanted = probabilities[row, place - 1] / count
    wanted[labels[row, place]] -= 1 / count
    torch.testing.assert_close(logits.grad[row, place - 1], wanted, rtol=1e-5, atol=1e-8)


def test_logits_of_16_bits_are_summed_in_float32() -> None:
    logits, labels = batch(5, seed=2)
    logits = logits.bfloat16()
    nats, count = literal_loss(logits.double(), labels)
    loss = CausalObjective().losses(logits, {"labels": labels}, torch.tensor(count))["loss"]
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(nats / count, rel=1e-6)


def test_a_models_own_loss_is_replaced_only_where_targets_are_given() -> None:
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=50, **shape)).eval()
    input_ids = np.random.default_rng(0).integers(3, 50, (2, 8))
    begins = np.zeros((2, 8), bool)
    begins[:, 0] = True
    given = CausalObjective().inputs(Pieces(input_ids, begins, np.arange(2), False, 0, range(2)))
    before = model(input_ids=given["input_ids"], labels=given["targets"]["labels"])
    compute_losses_in_forward(model, CausalObjective())
    assert torch.equal(model(input_ids=given["input_ids"]).logits, before.logits)
    losses = model(**given, num_labeled=torch.tensor(14.0))
    assert losses.keys() == {"loss"}
    assert losses["loss"].item() == pytest.approx(before.loss.item(), rel=1e-6)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("loss"))


@pytest.mark.slow
def test_the_loss_that_a_fused_kernel_takes_over_is_the_same(recipe: Path) -> None:
    """Liger replaces the model's own loss, so with it the labels are given to the model; without its kernels that is plain
    arithmetic, too."""
    settings = read_recipe(recipe, ["batch.micro=4", "batch.document_mask=true"]).recipe
    seen = []
    for is_fused in (False, True):
        with probe_trainer(settings, prepared_tokens(settings), 3) as trainer:
            trainer._loss_is_fused = is_fused
            looks = []
            trainer.run(lambda step: 1e-3, lambda look, looks=looks: looks.append(look) or True)
        seen.append(looks)
    assert len(seen[0]) == 3
    assert seen[0] == seen[1]


@pytest.fixture(scope="module")
def first_step(recipe: Path) -> tuple[float, float]:
    """Loss and gradient norm of the first step, in float64: every piece of a document alone, one token after the other."""
    settings = read_recipe(recipe, list(WORDS)).recipe
    tokens, model = prepared_tokens(settings), build_model(settings).double()
    packing = prepare_packing(tokens, 32)
    finish(start(None, str(recipe), "name=ids", *WORDS))
    ids = read_lines(run_folder(recipe, "ids") / "samples.jsonl")[0]["sequence_ids"]
    nats, count = torch.zeros((), dtype=torch.float64), 0
    numbers = set()
    for sequence in ids:
        in_sequence = 0
        for piece in range(packing.first_pieces[sequence], packing.first_pieces[sequence + 1]):
            begin = int(packing.starts[piece])
            text = torch.from_numpy(tokens.train.slice(begin, begin + int(packing.sizes[piece])))
            assert not ((text[1:] == PAD_ID) | (text[1:] == BOS_ID)).any()
            logits = model(input_ids=text[None], use_cache=False).logits[0]
            for place in range(1, len(text)):
                nats = nats - logits[place - 1].log_softmax(-1)[text[place]]
                in_sequence += 1
        count += in_sequence
        numbers.add(in_sequence)
    assert len(numbers) > 3, "sequences have unequal numbers of labeled positions"
    (nats / count).backward()
    squares = sum(float(weight.grad.square().sum()) for weight in model.parameters())
    return float(nats.detach() / count), math.sqrt(squares)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "micro"), [(None, 1), (None, 16), ("cpu_ddp", 1), ("cpu_ddp", 8), ("cpu_zero2", 2)]
)
def test_a_runs_first_step_is_the_literal_one(
    recipe: Path, first_step: tuple[float, float], launcher: str | None, micro: int
) -> None:
    name = f"{launcher}-{micro}"
    launch(launcher, str(recipe), f"name={name}", *WORDS, f"batch.micro={micro}")
    _, loss, norm, _ = curve(run_folder(recipe, name))[0]
    assert (loss, norm) == pytest.approx(first_step, rel=2e-5)
