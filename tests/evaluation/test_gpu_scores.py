"""Scores on a GPU are those of a CPU, for each way of scoring, and too little memory costs time only. Without a GPU there is
nothing to be tried."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from evaluation.evaluating import evaluate_model
from evaluation.masked_models import HYBRIDS, MASKED, OTHERS, save_masking
from evaluation.small_models import NAMES, VERBS, write_pairs

pytestmark = [
    pytest.mark.medium,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
]

TASK = "lmeff_blimp_wh_island"
WAYS = [
    *((kind, "auto") for kind in (*MASKED, *HYBRIDS, *OTHERS)),
    *((kind, "pseudo_log_likelihood") for kind in HYBRIDS),
    *((kind, "pseudo_log_likelihood_original") for kind in MASKED),
]


def scored(folder: Path, name: str, device: str = "cuda", **options) -> np.ndarray:
    """(pairs, 2): log-probabilities of both sentences of each pair. Results that lie side by side would be taken for those of
    another device, which they equal."""
    output, paths = folder / name / "results" / "model", {"blimp": str(folder / "blimp")}
    result = evaluate_model(folder / "model", [TASK], output, paths=paths, device=device, **options)[TASK]
    assert result["lmeff"]["device"] == ("cpu" if device == "cpu" else torch.cuda.get_device_name())
    table = pq.read_table(output / "pairs" / f"{TASK}.parquet")
    return np.stack([table["good"].to_numpy(), table["bad"].to_numpy()], axis=1)


def write_model_and_pairs(folder: Path, kind: str, num_pairs: int = 60) -> None:
    save_masking(folder / "model", {**MASKED, **HYBRIDS, **OTHERS}[kind])
    sentences = [
        f"{NAMES[n % 6]} {VERBS[n % 7]} the old {'very ' * (n % 4)}doctors {NAMES[n % 5]}."
        for n in range(num_pairs + 1)
    ]
    write_pairs(folder / "blimp" / "wh_island.jsonl", list(pairwise(sentences)))


@pytest.mark.parametrize(("kind", "scoring"), WAYS)
def test_scores_are_those_of_a_cpu(tmp_path: Path, kind: str, scoring: str) -> None:
    write_model_and_pairs(tmp_path, kind)
    cpu, gpu = (scored(tmp_path, device, device=device, scoring=scoring) for device in ("cpu", "cuda"))
    assert len(np.unique(cpu.round(3))) > 20
    assert gpu == pytest.approx(cpu, abs=1e-3)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_adaptive_precision_chooses_as_float32_does(tmp_path: Path, kind: str) -> None:
    write_model_and_pairs(tmp_path, kind, 400)
    float32, adaptive = (scored(tmp_path, one, precision=one) for one in ("float32", "adaptive"))
    assert (np.sign(adaptive[:, 0] - adaptive[:, 1]) == np.sign(float32[:, 0] - float32[:, 1])).all()


def test_texts_that_do_not_fit_at_once_are_scored_in_smaller_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model_and_pairs(tmp_path, "llama", 400)
    monkeypatch.setattr("lmeff.evaluation.scorer.trees.tree_scorer._LOGITS_BYTES", {"cuda": 1 << 34})
    torch.cuda.empty_cache()
    before = torch.cuda.memory_reserved()
    torch.cuda.reset_peak_memory_stats()
    wanted = scored(tmp_path, "all")
    enough = torch.cuda.max_memory_reserved()
    assert torch.cuda.memory_stats()["num_ooms"] == 0
    torch.cuda.empty_cache()
    whole = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((before + enough) / 2 / whole)
    try:
        found = scored(tmp_path, "parts")
        assert torch.cuda.memory_stats()["num_ooms"] > 0, "there was room for all"
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert found == pytest.approx(wanted, abs=1e-3)
