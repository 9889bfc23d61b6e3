"""Losses of documents, beside one document after the other in float64; a scoring that was stopped goes on."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tokens.numbered_tokens import described
from transformers import LlamaConfig, LlamaForCausalLM

from lmeff.methods.curriculum import scoring
from lmeff.methods.curriculum.scoring import Windows, score_windows
from lmeff.runs.signals import Interrupted
from lmeff.tokens import BOS_ID, EOS_ID, Tokens
from lmeff.tokens.shards import ShardWriter

LENGTHS = [7, 2, 33, 48, 49, 130, 3, 95, 20]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=40, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LlamaForCausalLM(config).eval()


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    folder = tmp_path / "corpus-00000000" / "tokens" / "random"
    folder.mkdir(parents=True)
    draw, writer = np.random.default_rng(0), ShardWriter(folder / "train-00000.bin", 40)
    for length in LENGTHS:
        writer.append(np.array([BOS_ID, *draw.integers(3, 40, length - 2), EOS_ID]))
    writer.close()
    np.save(folder / "train.documents.npy", np.array([[length, length] for length in LENGTHS], np.int64))
    return described(folder, [["train-00000.bin", sum(LENGTHS)]])


def one_by_one(model: LlamaForCausalLM, tokens: Tokens, length: int, apart: bool) -> list[float]:
    exact, scores, begin = LlamaForCausalLM(model.config).double().eval(), [], 0
    exact.load_state_dict(model.state_dict())
    for size in LENGTHS:
        ids, total = tokens.train.slice(begin, begin + size), 0.0
        for start in range(0, size, length) if apart else range(0, max(1, size - 1), length - 1):
            window = torch.tensor(ids[start : start + length])[None]
            with torch.no_grad():
                nats = -exact(input_ids=window).logits.log_softmax(-1)
            total += sum(float(nats[0, place, token]) for place, token in enumerate(window[0, 1:]))
        scores.append(total / (size if apart else size - 1))
        begin += size
    return scores


@pytest.mark.parametrize("apart", [False, True])
def test_losses_are_those_of_one_document_after_the_other(
    model: LlamaForCausalLM, tokens: Tokens, tmp_path: Path, apart: bool
) -> None:
    windows = Windows.of(np.array(LENGTHS), 48, apart)
    nats = score_windows(model, tokens.train, windows, CPU, tmp_path / "kept.npz", "a key")
    assert windows.scores(nats) == pytest.approx(one_by_one(model, tokens, 48, apart), abs=1e-5)


def test_the_published_loss_is_too_low_for_short_documents() -> None:
    """Of a model that gives every token three nats."""
    ours, published = (Windows.of(np.array([5, 100]), 48, apart) for apart in (False, True))
    assert ours.scores(3.0 * (ours.sizes - 1)) == pytest.approx([3, 3])
    assert published.scores(3.0 * (published.sizes - 1)) == pytest.approx([3 * 4 / 5, 3 * 97 / 100])


def test_batches_have_few_shapes_and_every_window_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "_POSITIONS_OF_BATCH", 128)
    windows = Windows.of(np.array(LENGTHS), 100)
    batches = windows.batches()
    assert {(shape, len(rows)) for shape, rows in batches} == {(32, 4), (64, 2), (100, 1)}
    found = np.concatenate([rows for _, rows in batches])
    assert sorted(found[found >= 0].tolist()) == list(range(len(windows.sizes))) == list(range(10))
    assert all((windows.sizes[rows[rows >= 0]] <= shape).all() for shape, rows in batches)
    positions = sum(shape * len(rows) for shape, rows in batches)
    assert windows.flops(lambda length: 2.0) == 2 * positions
    assert windows.flops(float) == sum(shape * shape * len(rows) for shape, rows in batches)


def test_a_stopped_scoring_goes_on(
    model: LlamaForCausalLM, tokens: Tokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "_POSITIONS_OF_BATCH", 64)
    monkeypatch.setattr(scoring, "_BATCHES_OF_ROUND", 2)
    windows, kept, asked = Windows.of(np.array(LENGTHS), 48), tmp_path / "kept.npz", []
    whole = score_windows(model, tokens.train, windows, CPU, tmp_path / "other.npz", "a key")

    def stop() -> None:
        asked.append(1)
        if len(asked) == 2:
            raise Interrupted

    def count(*arguments: object, **options: object) -> torch.Tensor:
        counted.append(1)
        return score_batch(*arguments, **options)

    score_batch, counted = scoring._score_batch, []
    monkeypatch.setattr(scoring, "_score_batch", count)
    with pytest.raises(Interrupted):
        score_windows(model, tokens.train, windows, CPU, kept, "a key", stop)
    assert len(counted) == 4
    assert np.array_equal(score_windows(model, tokens.train, windows, CPU, kept, "a key"), whole)
    assert len(counted) == len(windows.batches()) > 5
    assert np.array_equal(score_windows(model, tokens.train, windows, CPU, kept, "a key"), whole)
    assert len(counted) == len(windows.batches()), "what is done is not done again"
    score_windows(model, tokens.train, windows, CPU, kept, "of other weights")
    assert len(counted) == 2 * len(windows.batches())
