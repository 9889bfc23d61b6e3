"""Which tokens are masked: rates, replacements, words and spans by counting, and the key of every draw."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from objectives.drawing import VOCABULARY, pieces_of, recipe_of, rows_of
from splitmix import literal_numbers

from lmeff.objectives import Pieces, objective_of
from lmeff.objectives.masking import HELD_OUT, Masking, is_ordinary
from lmeff.stateless import stateless_seed
from lmeff.tokens.tokenizer.word_starts import WordStarts, word_starts

MASK = VOCABULARY
PLAIN = Masking(7, VOCABULARY, 0.15, 0.15, 10, 0.8, 0.1)


def within(count: int, total: int, share: float, deviations: float = 4.5) -> bool:
    """Whether so many of the total are what a share leads one to expect."""
    return abs(count - share * total) <= deviations * math.sqrt(total * share * (1 - share))


def draw(masking: Masking, pieces: Pieces) -> tuple[np.ndarray, np.ndarray]:
    return masking.draw(pieces, is_ordinary(pieces.input_ids))


def literal_draw(masking: Masking, pieces: Pieces, row: int) -> tuple[list[int], list[bool]]:
    """Single tokens of one row, with a loop for everything."""
    ids, length = pieces.input_ids[row].tolist(), pieces.input_ids.shape[1]

    def numbers(purpose: str, count: int) -> list[float]:
        return literal_numbers(stateless_seed(masking.key, pieces.step, pieces.slots[row], purpose), count)

    choice, fate, token = numbers("choice", length + 1), numbers("fate", length), numbers("token", length)
    ordinary = [place for place in range(length) if ids[place] > 2]
    wanted = max(1, math.floor(masking.rate * len(ordinary) + choice[length]))
    chosen = sorted(ordinary, key=lambda place: choice[place])[:wanted]
    for place in chosen:
        if fate[place] < 0.8:
            ids[place] = MASK
        elif fate[place] < 0.9:
            ids[place] = 3 + math.floor(token[place] * (VOCABULARY - 3))
    return ids, [place in chosen for place in range(length)]


@pytest.mark.parametrize("step", [0, 4])
def test_single_tokens_are_drawn_as_by_a_literal_loop(step: int) -> None:
    pieces = pieces_of(12, 32, step, padding=20)
    input_ids, chosen = draw(PLAIN, pieces)
    for row in range(12):
        assert (input_ids[row].tolist(), chosen[row].tolist()) == literal_draw(PLAIN, pieces, row)


def test_a_row_is_drawn_alike_in_every_micro_batch() -> None:
    pieces = pieces_of(8, 32, step=3)
    for masking in (PLAIN, replace(PLAIN, max_span=3)):
        whole = draw(masking, pieces)
        for size in (1, 2):
            parts = [draw(masking, rows_of(pieces, slice(first, first + size))) for first in range(0, 8, size)]
            for ours, theirs in zip(whole, zip(*parts, strict=True), strict=True):
                assert np.array_equal(ours, np.concatenate(theirs))
        assert not np.array_equal(whole[1], draw(masking, replace(pieces, step=4))[1])
        assert not np.array_equal(whole[1], draw(replace(masking, key=8), pieces)[1])
        held_out = masking.for_held_out_text()
        assert held_out.key == HELD_OUT
        assert np.array_equal(draw(held_out, pieces)[1], draw(replace(held_out, rate=0.15), pieces)[1])


def test_rates_and_replacements_are_those_of_the_recipe() -> None:
    pieces = pieces_of(2000, 64)
    masking = replace(PLAIN, masked_share=0.7, random_share=0.2)
    input_ids, chosen = draw(masking, pieces)
    may, text = is_ordinary(pieces.input_ids), pieces.input_ids
    assert not (chosen & ~may).any()
    assert np.array_equal(input_ids[~chosen], text[~chosen])
    num = int(chosen.sum())
    assert abs(num - 0.15 * may.sum()) < 4 * math.sqrt(2000 / 4), (
        "a row's number is rounded up or down, and so on average right"
    )
    masked, kept = int((input_ids == MASK).sum()), int((chosen & (input_ids == text)).sum())
    others = input_ids[chosen & (input_ids != MASK) & (input_ids != text)]
    ordinary = VOCABULARY - 3
    assert within(masked, num, 0.7)
    assert within(kept, num, 0.1 + 0.2 / ordinary)
    assert others.min() == 3
    assert others.max() == VOCABULARY - 1
    expected = len(others) / ordinary
    counts = np.bincount(others, minlength=VOCABULARY)[3:]
    assert ((counts - expected) ** 2 / expected).sum() < ordinary + 5 * math.sqrt(2 * ordinary), "all equally likely"
    places = chosen.sum(0) / may.sum(0)
    assert np.abs(places - 0.15).max() < 4.5 * math.sqrt(0.15 * 0.85 / may.sum(0).min()), "wherever they stand"


@pytest.mark.parametrize("span", [1, 3])
def test_a_row_of_few_tokens_has_one_that_is_predicted_and_padding_has_none(span: int) -> None:
    pieces = pieces_of(40, 8, padding=8)
    pieces.input_ids[:, 3:] = 0
    _, chosen = draw(replace(PLAIN, max_span=span), pieces)
    may = is_ordinary(pieces.input_ids)
    assert (chosen.any(1) == may.any(1)).all()
    assert not chosen[-1].any()
    assert not (chosen & ~may).any()


def test_the_rate_goes_from_one_to_the_other(tmp_path: Path) -> None:
    masking = Masking.of_recipe(recipe_of(tmp_path, "llama", "objective.name=hybrid"))
    assert (masking.num_steps, masking.max_span, masking.key) == (10, 3, 3)
    assert [masking.rate_at(step) for step in (0, 5, 10, 99)] == pytest.approx([0.3, 0.225, 0.15, 0.15])
    pieces = [pieces_of(1500, 32, step) for step in (0, 5)]
    for one, rate in zip(pieces, (0.3, 0.225), strict=True):
        may = is_ordinary(one.input_ids).sum()
        assert abs(int(draw(masking, one)[1].sum()) / may - rate) < 0.005


@pytest.mark.parametrize(("family", "objective"), [("llama", "hybrid"), ("bert", "masked")])
def test_a_part_with_a_schedule_of_its_own_has_the_whole_way(family: str, objective: str, tmp_path: Path) -> None:
    """As the run would that has this anchor alone."""
    keys = ["objective.mask_rate=0.3", "objective.final_mask_rate=0.15", f"objective.name={objective}"]
    part = objective_of(recipe_of(tmp_path, family, *keys))
    part.end_at(4)
    alone = objective_of(recipe_of(tmp_path, family, *keys, "anchors.tokens=[2048]"))
    assert part.masking == alone.masking


def test_spans_have_all_lengths_equally_often_and_one_fate() -> None:
    text = np.full((300, 400), 50)
    pieces = Pieces(text, np.zeros(text.shape, bool), np.arange(300), False, 0, range(300))
    input_ids, chosen = draw(replace(PLAIN, max_span=3, rate=0.02), pieces)
    assert abs(chosen.mean() - 0.02) < 0.0015
    spans = []
    for row, ids in zip(chosen.tolist(), input_ids.tolist(), strict=True):
        first = None
        for place in range(1, 400):
            if row[place] and not row[place - 1]:
                first = place
            elif not row[place] and first is not None:
                spans.append(ids[first:place])
                first = None
    # Of spans this rare one in fifty lies against another.
    lone = [span for span in spans if len(span) <= 3]
    assert len(lone) > 0.95 * len(spans) > 900
    for length in (1, 2, 3):
        assert abs(sum(len(span) == length for span in lone) / len(lone) - 1 / 3) < 0.06
    mixed = sum(len({token == MASK for token in span}) > 1 for span in lone)
    assert mixed < 0.02 * len(lone), "what becomes of a span is decided once"
    assert within(sum(token == MASK for span in lone for token in span), sum(map(len, lone)), 0.8, 7)


def words_by_hand() -> WordStarts:
    """Tokens 3 to 99 begin a word; 100 is a line feed."""
    is_first, ends = np.zeros((2, VOCABULARY), bool)
    is_first[:101] = True
    ends[[0, 1, 2, 100]] = True
    return WordStarts(is_first, ends)


def test_words_are_masked_whole_or_not_at_all() -> None:
    pieces = pieces_of(1000, 48)
    input_ids, chosen = draw(replace(PLAIN, words=words_by_hand()), pieces)
    num_words = 0
    for ids, row in zip(pieces.input_ids.tolist(), chosen.tolist(), strict=True):
        words: list[list[int]] = []
        for place, token in enumerate(ids):
            if token > 2:
                begins = place == 0 or token <= 100 or ids[place - 1] <= 2 or ids[place - 1] == 100
                words += [[place]] if begins else []
                if not begins:
                    words[-1].append(place)
        assert all(len({row[place] for place in word}) == 1 for word in words)
        num_words += sum(len(word) > 1 for word in words)
    assert num_words > 1000
    may = is_ordinary(pieces.input_ids).sum()
    assert abs(chosen.sum() / may - 0.15) < 0.006, "the rate holds for tokens"
    # What becomes of a token is decided for each, as in BERT.
    assert within(int((input_ids == MASK).sum()), int(chosen.sum()), 0.8)


def test_the_tokenizers_file_says_where_words_begin(tmp_path: Path) -> None:
    pieces = ["<pad>", "<s>", "</s>", "a", "Ġ", "Ġthe", "Ċ", "ing", ".Ċ", "ĠĊ", "ĉx"]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocabulary}}))
    words = word_starts(tmp_path)
    row = ["Ġthe", "ing", "Ġ", "a", "ing", ".Ċ", "a", "ĠĊ", "ing", "ĉx", "a", "</s>", "<s>", "a", "Ċ", "ing"]
    begins = words.begins(np.array([[vocabulary[piece] for piece in row]]))[0]
    firsts = [piece for piece, is_first in zip(row, begins, strict=True) if is_first]
    assert firsts == ["Ġthe", "Ġ", "a", "ĠĊ", "ing", "ĉx", "</s>", "<s>", "a", "Ċ", "ing"]
