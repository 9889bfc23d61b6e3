"""Some documents as a text of their own: the tokens that a list of their tokens has, in blocks and packed."""

from pathlib import Path

import numpy as np
import pytest
from tokens.numbered_tokens import write_tokens

from lmeff.clock import Clock
from lmeff.objectives import CausalObjective, LossPositions
from lmeff.recipe.sections.batch import Batch
from lmeff.tokens import DataOrder, Excerpt, PermutationOrder, WrappedOrder, positions_per_epoch, prepare_packing
from lmeff.training.data.sequences import MicroBatch, TrainSequences

LENGTHS = [7, 30, 2, 2, 19, 45, 3, 11, 26, 5, 5, 70, 4]
CHOSEN = [11, 3, 0, 12, 5, 2]


def documents_of(folder: Path) -> tuple:
    tokens = write_tokens(folder, LENGTHS)
    ends = np.cumsum(LENGTHS)
    return tokens, [tokens.train.slice(int(end - n), int(end)).tolist() for end, n in zip(ends, LENGTHS, strict=True)]


def test_its_blocks_are_those_of_its_documents(tmp_path: Path) -> None:
    tokens, documents = documents_of(tmp_path)
    excerpt = Excerpt.of(tokens, np.array(CHOSEN), 1000)
    text = [token for one in CHOSEN for token in documents[one]]
    assert excerpt.train.num_tokens == len(text) == sum(LENGTHS[one] for one in CHOSEN)
    assert excerpt.train_documents[:, 0].tolist() == [LENGTHS[one] for one in CHOSEN]
    for length in (2, 9, 64):
        rows = np.arange(len(text) // length)[::-1]
        wanted = [text[row * length : (row + 1) * length] for row in rows]
        assert excerpt.train.blocks(rows, length).tolist() == wanted
    assert [excerpt.train.slice(a, b).tolist() for a, b in ((0, 7), (69, 75), (5, 5), (100, 999))] == [
        text[0:7],
        text[69:75],
        [],
        text[100:],
    ]


def test_all_documents_are_the_whole_text(tmp_path: Path) -> None:
    tokens, _ = documents_of(tmp_path)
    excerpt = Excerpt.of(tokens, np.arange(len(LENGTHS)), 0)
    rows = np.arange(sum(LENGTHS) // 16)
    assert np.array_equal(excerpt.train.blocks(rows, 16), tokens.train.blocks(rows, 16))
    whole, packed = (prepare_packing(one, 16) for one in (tokens, excerpt))
    rows = np.arange(whole.num_sequences)
    assert packed.num_sequences == len(rows)
    for one, other in zip(whole.read(tokens.train, rows), packed.read(excerpt.train, rows), strict=True):
        assert np.array_equal(one, other)
    assert (tokens.folder / "packing").exists()


def test_packed_it_has_every_token_of_its_documents_once(tmp_path: Path) -> None:
    tokens, documents = documents_of(tmp_path)
    excerpt = Excerpt.of(tokens, np.array(CHOSEN), 1000)
    packing = prepare_packing(excerpt, 16)
    input_ids, begins = packing.read(excerpt.train, np.arange(packing.num_sequences))
    pieces = [documents[one][start : start + 16] for one in CHOSEN for start in range(0, LENGTHS[one], 16)]
    found = []
    for row, starts in zip(input_ids, begins, strict=True):
        found += [piece[piece != 0].tolist() for piece in np.split(row, np.flatnonzero(starts)[1:])]
    assert sorted(filter(None, found)) == sorted(piece for piece in pieces if len(piece) > 1)
    assert prepare_packing(excerpt, 16) is packing, "it is made once"


class Halves(WrappedOrder):
    """Ten steps of the whole text, and then those of an excerpt."""

    def __init__(self, inner: DataOrder, excerpt: Excerpt, num_sequences: int) -> None:
        super().__init__(inner)
        self.later, self.second = excerpt, PermutationOrder(num_sequences, 9, inner.clock)

    def sequences(self, step: int) -> np.ndarray:
        return self.inner.sequences(step) if step < 10 else self.later.first_id + self.second.sequences(step - 10)

    def excerpt(self, step: int) -> Excerpt | None:
        return self.later if step >= 10 else None

    def stretches(self, begin: int, end: int):
        yield from ((a, b) for a, b in ((begin, min(end, 10)), (max(begin, 10), end)) if a < b)


@pytest.mark.parametrize("packing", ["concatenate", "best_fit"])
@pytest.mark.parametrize("mask", [False, True])
def test_what_a_step_reads_and_its_positions_are_those_of_its_text(tmp_path: Path, packing: str, mask: bool) -> None:
    tokens, _ = documents_of(tmp_path)
    batch = Batch(tokens=64, sequence_length=16, packing=packing, document_mask=mask)
    excerpt, objective = Excerpt.of(tokens, np.array(CHOSEN), 1000), CausalObjective()
    data = TrainSequences(tokens, batch, objective)
    num_sequences = positions_per_epoch(excerpt, batch) // 16
    data.order = order = Halves(PermutationOrder(len(data), 3, Clock(64, 16)), excerpt, num_sequences)
    alone = TrainSequences(excerpt, batch, objective)
    wanted = [0]
    for step in range(20):
        ids = order.sequences(step)
        found = data.__getitems__(MicroBatch(ids.tolist(), 16, step, 0))
        if step >= 10:
            same = alone.__getitems__(MicroBatch((ids - 1000).tolist(), 16, step, 0))
            assert np.array_equal(found["input_ids"], same["input_ids"])
        wanted.append(wanted[-1] + int((found["targets"]["labels"] != -100).sum()))
    positions = LossPositions(objective, tokens, batch, order)
    assert [positions.after(step) for step in range(21)] == wanted
    assert LossPositions(objective, tokens, batch, order).after(20) == wanted[20]
