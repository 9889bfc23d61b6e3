"""Learning curves with planted effects, as an array and as a CSV file."""

from pathlib import Path

import numpy as np

from lmeff.analysis.scores.curve_table import CurveTable

MILLION = 10**6
FAR = np.array([1.0, 0.6, 0.3, 0.0])
"""How much of the rise is still to come at 1M, 2M, 4M and 8M tokens."""


def synthetic_table(
    seed: int,
    num_corpora: int = 12,
    num_cells: int = 10,
    num_seeds: int = 3,
    noise: float = 1.0,
    size_gain: float = 0.012,
) -> CurveTable:
    """Ends differ by corpus, size and cell; rises by corpus and, by `size_gain` a doubling of tokens per step, size; the rest
    is normal noise, none with `noise=0`."""
    draw = np.random.default_rng(seed)
    cells = num_corpora * num_cells
    cell = np.repeat(np.arange(cells), num_seeds)
    corpus_of_cell = np.arange(cells) // num_cells
    log_batch = np.array([-2.0, 0.0, 1.0])[np.arange(cells) % 3]
    corpus_end, corpus_gain = draw.normal(0.7, 0.04, num_corpora), noise * draw.normal(0, 0.01, num_corpora)
    end = corpus_end[corpus_of_cell] + 0.01 * log_batch + draw.normal(0, 0.012, cells)
    target = end[cell] + noise * draw.normal(0, 0.01, len(cell))
    rise = (0.05 + corpus_gain[corpus_of_cell] + size_gain * log_batch)[cell]
    scores = target[:, None] - FAR * rise[:, None] + noise * draw.normal(0, 0.008, (len(cell), len(FAR))) * (FAR > 0)
    return CurveTable(
        run_names=tuple(f"cell {one}, seed {index % num_seeds}" for index, one in enumerate(cell)),
        cell_names=tuple(f"cell {one}" for one in range(cells)),
        corpus_names=tuple(f"corpus {one}" for one in range(num_corpora)),
        cell=cell,
        corpus_of_cell=corpus_of_cell,
        size_of_cell=2.0**log_batch,
        vocabulary_of_cell=np.full(cells, 8000.0),
        log_batch_of_cell=log_batch,
        has_batches=True,
        anchors=np.array([1, 2, 4, 8]) * MILLION,
        scores=scores,
        final=np.full(len(cell), np.nan),
        flops=np.full(scores.shape, np.nan),
    ).with_target("8M", scores[:, -1], 8 * MILLION)


def write_csv(path: Path, table: CurveTable, unfinished: dict[int, int] | None = None) -> Path:
    """A row for each score, with a vocabulary of its own for every cell; `unfinished` has by cell the anchors of its runs."""
    lines = ["dataset,params,vocab_size,batch_tokens,seed,tokens_m,acc"]
    for run, cell in enumerate(table.cell):
        corpus = table.corpus_names[table.corpus_of_cell[cell]]
        last = (unfinished or {}).get(int(cell), len(table.anchors))
        parameters = int(1e6 * table.size_of_cell[cell])
        batch = int(65_536 * 2 ** table.log_batch_of_cell[cell])
        seed = table.run_names[run].rpartition(" ")[2]
        lines += [
            f"{corpus},{parameters},{8000 + cell},{batch},{seed},{anchor // MILLION},{score:.5f}"
            for anchor, score in zip(table.anchors[:last], table.scores[run, :last], strict=True)
        ]
    path.write_text("\n".join(lines) + "\n")
    return path


COLUMNS = "tokens=tokens_m:M"
