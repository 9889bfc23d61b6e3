"""What a step of a curriculum reads, beside a literal slow construction; the same for any number of processes."""

import json
from pathlib import Path

import numpy as np
import pytest
from tokens.numbered_tokens import write_tokens

from lmeff.clock import Clock
from lmeff.errors import InputError
from lmeff.methods.curriculum.order import DecidedStages, ShuffledDocuments, Stage
from lmeff.methods.curriculum.seen import DocumentsSeen
from lmeff.methods.curriculum.selection import first_documents
from lmeff.objectives import CausalObjective, LossPositions
from lmeff.recipe.sections.batch import Batch
from lmeff.stateless import stateless_seed
from lmeff.tokens import PermutationOrder, Tokens
from lmeff.tokens.permutations import permutation
from lmeff.training.data.loader import StepBatches
from lmeff.training.data.sequences import TrainSequences

LENGTHS = [7, 30, 2, 2, 19, 45, 3, 11, 26, 5, 5, 70, 4, 33, 9, 66]
BATCH = Batch(tokens=64, sequence_length=16)
SEED = 3


def text_of(tokens: Tokens, documents: list[int]) -> list[int]:
    ends = np.cumsum(LENGTHS)
    return [token for one in documents for token in tokens.train.slice(int(ends[one] - LENGTHS[one]), int(ends[one]))]


def data_and_inner(tokens: Tokens, batch: Batch = BATCH) -> tuple[TrainSequences, PermutationOrder]:
    data = TrainSequences(tokens, batch, CausalObjective())
    return data, PermutationOrder(len(data), SEED, batch.clock)


def three_stages(tokens: Tokens, batch: Batch = BATCH) -> tuple[TrainSequences, DecidedStages]:
    data, inner = data_and_inner(tokens, batch)
    order = data.order = DecidedStages(inner, tokens, batch, SEED, "facts")
    order.begin(Stage(0, 0, 0.4, np.array([1, 4, 11])))
    order.begin(Stage(1, 5, 0.7, np.array([11, 5, 0, 13])))
    order.begin(Stage(4, 12, 1.0, None))
    return data, order


def literally(tokens: Tokens, num_steps: int) -> list[list[list[int]]]:
    """Every sequence of every step."""
    steps = []
    for stage, (first, last, documents) in enumerate(
        [(0, 5, [1, 4, 11]), (5, 12, [11, 5, 0, 13]), (12, num_steps, list(range(16)))]
    ):
        text = text_of(tokens, documents)
        blocks = [text[start : start + 16] for start in range(0, len(text) - 15, 16)]
        stream, epoch = [], 0
        while len(stream) < 4 * (last - first):
            stream += permutation(len(blocks), stateless_seed(SEED, "curriculum", stage), epoch).tolist()
            epoch += 1
        steps += [[blocks[one] for one in stream[4 * k : 4 * k + 4]] for k in range(last - first)]
    return steps


def read(data: TrainSequences, order: DecidedStages, step: int, world_size: int = 1) -> list[list[int]]:
    """The text of a step, as its processes read it."""
    turns = []
    for rank in range(world_size):
        batches = StepBatches(order, [(0, 16)], 2, rank, world_size, step + 1, first_step=lambda: step)
        turns.append([data.pieces(one).input_ids.tolist() for one in batches])
    return [row for turn in zip(*turns, strict=True) for batch in turn for row in batch]


@pytest.mark.parametrize("world_size", [1, 2])
def test_stages_read_their_documents(tmp_path: Path, world_size: int) -> None:
    data, order = three_stages(write_tokens(tmp_path, LENGTHS))
    wanted = literally(order.tokens, 18)
    # Backwards too, as a run that is gone on with does not ask for what came before.
    for step in [*range(18), 3, 17, 9]:
        assert read(data, order, step, world_size) == wanted[step]


def test_a_checkpoint_has_the_stages(tmp_path: Path) -> None:
    tokens = write_tokens(tmp_path, LENGTHS)
    _, order = three_stages(tokens)
    order.flops = 12.5
    _, inner = data_and_inner(tokens)
    other = DecidedStages(inner, tokens, BATCH, SEED, "facts")
    other.begin(Stage(0, 0, 0.1, np.array([3, 5])))
    before = other.fingerprint
    other.load_state(json.loads(json.dumps(order.state())))
    assert [other.sequences(step).tolist() for step in range(18)] == [
        order.sequences(step).tolist() for step in range(18)
    ]
    assert other.state() == order.state()
    assert before == other.fingerprint == order.fingerprint != inner.fingerprint
    assert DecidedStages(inner, tokens, BATCH, SEED, "others").fingerprint != before
    fewer = write_tokens(tmp_path / "fewer", LENGTHS[:-1])
    with pytest.raises(ValueError, match="over 16 documents, and the training text has 15"):
        DecidedStages(inner, fewer, BATCH, SEED, "facts").load_state(order.state())


@pytest.mark.parametrize("packing", ["concatenate", "best_fit"])
def test_all_from_the_start_is_no_curriculum(tmp_path: Path, packing: str) -> None:
    batch = Batch(tokens=64, sequence_length=16, packing=packing)
    tokens = write_tokens(tmp_path, LENGTHS)
    _, inner = data_and_inner(tokens, batch)
    order = DecidedStages(inner, tokens, batch, SEED, "facts")
    order.begin(Stage(19, 0, 1.0, None))
    assert [order.sequences(step).tolist() for step in range(40)] == [
        inner.sequences(step).tolist() for step in range(40)
    ]
    assert order.excerpt(7) is None


@pytest.mark.parametrize("packing", ["concatenate", "best_fit"])
@pytest.mark.parametrize("mask", [False, True])
def test_positions_with_a_loss_are_those_of_the_stages(tmp_path: Path, packing: str, mask: bool) -> None:
    tokens = write_tokens(tmp_path, LENGTHS)
    batch = Batch(tokens=64, sequence_length=16, packing=packing, document_mask=mask)
    data, order = three_stages(tokens, batch)
    wanted = [0]
    for step in range(18):
        batches = StepBatches(order, [(0, 16)], 4, 0, 1, step + 1, first_step=lambda step=step: step)
        (micro_batch,) = batches
        labels = data.__getitems__(micro_batch)["targets"]["labels"]
        wanted.append(wanted[-1] + int((labels != -100).sum()))
    positions = LossPositions(CausalObjective(), tokens, batch, order)
    assert [positions.after(step) for step in range(19)] == wanted
    assert LossPositions(CausalObjective(), tokens, batch, order).after(18) == wanted[18]


@pytest.mark.parametrize("packing", ["concatenate", "best_fit"])
def test_documents_are_counted_once(tmp_path: Path, packing: str) -> None:
    """Their tokens are numbers of their own, so that a step's text says which documents it has."""
    tokens = write_tokens(tmp_path, LENGTHS)
    data, order = three_stages(tokens, Batch(tokens=64, sequence_length=16, packing=packing))
    of_token = {token: one for one in range(16) for token in text_of(tokens, [one])[1:-1]}
    inner_tokens, wanted = set(), [0]
    for step in range(18):
        inner_tokens |= {of_token[token] for row in read(data, order, step) for token in row if token in of_token}
        wanted.append(len(inner_tokens))
    seen = DocumentsSeen(order, tokens, Batch(tokens=64, sequence_length=16, packing=packing))
    # Documents 2 and 3 are `<s> </s>`, which no token names: with them it may be more.
    found = [seen.after(step) for step in range(19)]
    assert all(0 <= ours - theirs <= 2 for ours, theirs in zip(found, wanted, strict=True))
    assert found[4] == wanted[4] == 3
    assert found[-1] == 16
    assert seen.after(3) == wanted[3]


def test_a_stage_without_a_whole_sequence_is_one_line(tmp_path: Path) -> None:
    tokens = write_tokens(tmp_path, LENGTHS)
    order = DecidedStages(data_and_inner(tokens)[1], tokens, BATCH, SEED, "facts")
    with pytest.raises(InputError, match=r"stage 1 has 2 documents of 9 tokens, .* raise curriculum\.start"):
        order.begin(Stage(0, 0, 0.01, np.array([0, 2])))


@pytest.mark.parametrize("packing", ["concatenate", "best_fit"])
def test_a_stage_without_a_document_is_one_line(tmp_path: Path, packing: str) -> None:
    """A share of documents is rounded down: 5% of 16 are none."""
    tokens = write_tokens(tmp_path, LENGTHS)
    batch = Batch(tokens=64, sequence_length=16, packing=packing)
    order = DecidedStages(data_and_inner(tokens, batch)[1], tokens, batch, SEED, "facts")
    none = first_documents(np.arange(16), np.array(LENGTHS), 0.05, True)
    with pytest.raises(InputError, match=r"stage 1 has 0 documents of 0 tokens, .* raise curriculum\.start"):
        order.begin(Stage(0, 0, 0.05, none))


@pytest.mark.parametrize("num_plain", [1, 2])
def test_documents_are_shuffled_for_every_epoch(tmp_path: Path, num_plain: int) -> None:
    tokens = write_tokens(tmp_path, LENGTHS)
    data, inner = data_and_inner(tokens)
    data.order = order = ShuffledDocuments(inner, tokens, BATCH, SEED, num_plain)
    num_sequences = sum(LENGTHS) // 16
    steps = -(-num_sequences // 4)
    assert steps * 4 > num_sequences, "an epoch ends within a step"
    texts = []
    for epoch in range(4):
        rows = [row for step in range(epoch * steps, (epoch + 1) * steps) for row in read(data, order, step)]
        if epoch < num_plain:
            assert order.sequences(epoch * steps).tolist() == inner.sequences(epoch * steps).tolist()
            continue
        stage = epoch - num_plain + 1
        documents = permutation(16, stateless_seed(SEED, "documents of an epoch"), stage).tolist()
        text = text_of(tokens, documents)
        blocks = [text[start : start + 16] for start in range(0, len(text) - 15, 16)]
        assert sorted(rows[:num_sequences]) == sorted(blocks), "all of it is read, the rest a second time"
        assert rows[:num_sequences] != blocks
        texts.append(text)
    assert len({tuple(text) for text in texts}) == len(texts)
    assert list(order.stretches(0, 3 * steps))[-1][1] == 3 * steps
    assert Clock(64, 16).sequences_per_step == len(order.sequences(2 * steps))
