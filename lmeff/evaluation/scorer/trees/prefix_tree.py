"""Texts laid out as trees of prefixes: what begins alike is computed once.

A row of the layout is a forest: each node is one token after all tokens before it in its texts. Depth first, the
descendants of a node are the positions up to its `end`, so a node sees an earlier one if it lies before that one's end:
attention then gives every node what it would see at the end of a row of its own. Tree attention is known from speculative
decoding (Miao et al. 2024, SpecInfer); sentences of minimal pairs share two fifths of their tokens.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np

ScoredText = tuple[Sequence[int], Sequence[int]]
"""Tokens that the model reads, and the tokens to score, which follow its last `len(scored)` ones: for a text of which all is
scored, the text without its last token and the text without its first."""


@dataclass(frozen=True)
class TreeBatch:
    """Rows that are computed in one forward pass, and what is read from them."""

    input_ids: np.ndarray
    """(rows, width) int64."""
    position_ids: np.ndarray
    """(rows, width) int64: the depth of each node."""
    ends: np.ndarray
    """(rows, width) int64: one past the last descendant of each node."""
    nodes: np.ndarray
    """(nodes,) int64: flat positions whose prediction is needed."""
    edge_nodes: np.ndarray
    """(edges,) int64, ascending: of each scored pair of a node and a token after it, the node's index in `nodes`."""
    edge_tokens: np.ndarray
    """(edges,) int64."""


@dataclass(frozen=True)
class Layout:
    """The batches for some requests, and where each request finds its tokens' log-probabilities."""

    batches: tuple[TreeBatch, ...]
    edges: np.ndarray
    """Numbers of edges over all batches, request after request."""
    starts: np.ndarray
    """(requests + 1,) int64: request r owns `edges[starts[r]:starts[r + 1]]`."""


class _Row:
    """A forest that grows text by text, in the order of the texts."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.tokens: list[int] = []
        self.depths: list[int] = []
        self.ends: list[int] = []
        self.edges: dict[tuple[int, int], int] = {}
        self.num_texts = 0
        self._path: list[int] = []
        self._text: Sequence[int] = ()

    def num_shared(self, text: Sequence[int]) -> int:
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(text, self._text, strict=False)))

    def has_room_for(self, text: Sequence[int]) -> bool:
        """Short texts share a row in any case, long ones if at least half of a text is there already."""
        shared = self.num_shared(text)
        num_tokens = len(self.tokens) + len(text) - shared
        return num_tokens <= (2 * self.capacity if 2 * shared >= len(text) else self.capacity)

    def add(self, text: Sequence[int], scored: Sequence[int]) -> list[int]:
        """The row's numbers of the edges that hold the scored tokens."""
        shared = self.num_shared(text)
        self._close(shared)
        for depth in range(shared, len(text)):
            self._path.append(len(self.tokens))
            self.tokens.append(text[depth])
            self.depths.append(depth)
            self.ends.append(0)
        self._text = text
        self.num_texts += 1
        nodes = self._path[len(text) - len(scored) :]
        edges = self.edges
        return [edges.setdefault(edge, len(edges)) for edge in zip(nodes, scored, strict=True)]

    def _close(self, keep: int) -> None:
        for node in self._path[keep:]:
            self.ends[node] = len(self.tokens)
        del self._path[keep:]

    def finish(self) -> None:
        self._close(0)


def lay_out(requests: Sequence[ScoredText], texts_per_batch: int, row_length: int = 64) -> Layout:
    """Sorts requests into rows of about `row_length` tokens (a longer text has a row of its own, which others join that begin
    like it) and rows of like length into batches.

    Args:
        texts_per_batch: at most so many texts share a forward pass, and `row_length` times as many positions.
    """
    rows: list[_Row] = []
    placed: list[tuple[int, list[int]]] = [(0, [])] * len(requests)
    order = sorted(range(len(requests)), key=lambda index: tuple(requests[index][0]))
    for index in order:
        text, scored = requests[index]
        row = rows[-1] if rows else None
        if row is None or row.num_texts == texts_per_batch or not row.has_room_for(text):
            row = _Row(max(row_length, len(text)))
            rows.append(row)
        placed[index] = (len(rows) - 1, row.add(text, scored))
    for row in rows:
        row.finish()
    batches, first_edge, numbers_of_edges = [], np.zeros(len(rows), np.int64), [np.zeros(0, np.int64)]
    num_edges = 0
    for numbers in _batches(rows, texts_per_batch, row_length * texts_per_batch):
        batch, offsets, places = _batch([rows[number] for number in numbers])
        first_edge[numbers] = num_edges + offsets
        numbers_of_edges.append(num_edges + places)
        num_edges += len(batch.edge_tokens)
        batches.append(batch)
    lengths = [len(edges) for _, edges in placed]
    flat = np.fromiter((edge for _, edges in placed for edge in edges), np.int64, sum(lengths))
    row_of = np.repeat(np.array([row for row, _ in placed], np.int64), lengths)
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Layout(tuple(batches), np.concatenate(numbers_of_edges)[flat + first_edge[row_of]], starts)


def _batches(rows: Sequence[_Row], max_texts: int, max_positions: int) -> Iterator[list[int]]:
    """Numbers of rows of like length, longest first, so that little is padding and a lack of memory shows at once."""
    chosen: list[int] = []
    num_texts, width = 0, 0
    for number in sorted(range(len(rows)), key=lambda number: -len(rows[number].tokens)):
        is_full = num_texts + rows[number].num_texts > max_texts or (len(chosen) + 1) * width > max_positions
        if chosen and is_full:
            yield chosen
            chosen, num_texts = [], 0
        if not chosen:
            width = len(rows[number].tokens)
        chosen.append(number)
        num_texts += rows[number].num_texts
    if chosen:
        yield chosen


def _batch(rows: Sequence[_Row]) -> tuple[TreeBatch, np.ndarray, np.ndarray]:
    """One batch; by row, the number of edges in rows before it; by edge of the rows in turn, its place in the batch."""
    width = max(len(row.tokens) for row in rows)
    input_ids, position_ids, ends = (np.zeros((len(rows), width), np.int64) for _ in range(3))
    for number, row in enumerate(rows):
        length = len(row.tokens)
        input_ids[number, :length] = row.tokens
        position_ids[number, :length] = row.depths
        ends[number, :length] = row.ends
    counts = [len(row.edges) for row in rows]
    offsets = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
    keys = [(number * width + node, token) for number, row in enumerate(rows) for node, token in row.edges]
    flat = np.array(keys, np.int64).reshape(-1, 2)
    order = np.argsort(flat[:, 0], kind="stable")
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    nodes, edge_nodes = np.unique(flat[order, 0], return_inverse=True)
    batch = TreeBatch(input_ids, position_ids, ends, nodes, edge_nodes.reshape(-1), flat[order, 1])
    return batch, offsets, places
