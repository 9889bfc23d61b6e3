"""Layouts of texts as trees of prefixes: every request finds its own tokens again, and shared ones are there once."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmeff.evaluation.scorer.trees.prefix_tree import Layout, ScoredText, lay_out


def read_back(layout: Layout) -> list[ScoredText]:
    """The requests that a layout stands for, read from what a model would see."""
    edges = []
    for batch in layout.batches:
        width = batch.ends.shape[1]
        for node, token in zip(batch.nodes[batch.edge_nodes], batch.edge_tokens, strict=True):
            row, at = divmod(int(node), width)
            seen = [j for j in range(at + 1) if at < batch.ends[row, j]]
            assert batch.position_ids[row, seen].tolist() == list(range(len(seen)))
            edges.append((batch.input_ids[row, seen].tolist(), int(token)))
    requests = []
    for first, last in pairwise(layout.starts):
        found = [edges[number] for number in layout.edges[first:last]]
        for (text, token), (longer, _) in pairwise(found):
            assert longer == [*text, token]
        requests.append((found[-1][0], [token for _, token in found]))
    return requests


texts = st.lists(st.integers(0, 3), min_size=1, max_size=12)
requests = st.tuples(texts, texts).map(lambda two: ((two[0] + two[1])[:-1], two[1]))


@pytest.mark.medium
@settings(max_examples=150)
@given(st.lists(requests, min_size=1, max_size=40), st.integers(1, 9), st.sampled_from([4, 16, 64]))
def test_every_request_is_found_again(asked, texts_per_batch, row_length):
    layout = lay_out(asked, texts_per_batch, row_length)
    assert read_back(layout) == [(list(text), list(scored)) for text, scored in asked]


def test_what_texts_share_is_computed_once():
    pair = [([0, 5, 6, 7], [5, 6, 7, 8]), ([0, 5, 6, 9], [5, 6, 9, 8])]
    layout = lay_out(pair * 3, texts_per_batch=64)
    (batch,) = layout.batches
    assert batch.input_ids.tolist() == [[0, 5, 6, 7, 9]]
    assert len(batch.edge_tokens) == 6  # 5, 6, 7 and 9 after the shared start, and the last token of each
    assert len(batch.nodes) == 5


def test_only_positions_whose_prediction_is_scored_get_logits():
    (batch,) = lay_out([([1, 2, 3, 4, 5], [6]), ([1, 2, 3, 4, 5], [7])], texts_per_batch=2).batches
    assert batch.nodes.tolist() == [4]
    assert batch.edge_tokens.tolist() == [6, 7]


def test_a_batch_holds_no_more_texts_than_asked_for_and_rows_of_like_length():
    generator = np.random.default_rng(0)
    asked = [([0, *generator.integers(1, 99, length).tolist()], [1]) for length in generator.integers(1, 200, 300)]
    layout = lay_out(asked, texts_per_batch=16)
    assert all(batch.input_ids.shape[0] <= 16 for batch in layout.batches)
    padded = sum(batch.input_ids.size for batch in layout.batches)
    assert padded < 1.25 * sum(int((batch.ends > 0).sum()) for batch in layout.batches)
    widths = [batch.input_ids.shape[1] for batch in layout.batches]
    assert widths == sorted(widths, reverse=True)


@pytest.mark.parametrize("length", [64, 65, 500])
def test_a_text_longer_than_a_row_has_one_of_its_own(length):
    ((_, scored),) = read_back(lay_out([(list(range(length)), [7])], texts_per_batch=4))
    assert scored == [7]


def test_long_texts_do_not_share_a_row_for_nothing_and_fill_no_memory():
    """64 windows of 2,048 tokens, as lm-eval's rolling log-likelihood asks for; their mask has width x width entries."""
    generator = np.random.default_rng(0)
    windows = [(tokens[:-1], tokens[1:]) for tokens in generator.integers(0, 9999, (64, 2049)).tolist()]
    layout = lay_out(windows, texts_per_batch=256)
    assert {batch.input_ids.shape for batch in layout.batches} == {(8, 2048)}
    context = generator.integers(0, 9999, 1000).tolist()
    choices = [([*context, choice], [choice, 1]) for choice in range(4)]
    (batch,) = lay_out(choices, texts_per_batch=256).batches
    assert batch.input_ids.shape == (1, 1004)
