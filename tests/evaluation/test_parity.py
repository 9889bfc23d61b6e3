"""Real weights and real pairs, beside stock lm-eval: the same task through `hf` and `lmeff`, pair by pair; lm-eval's own BLiMP
beside ours under one delimiter, paradigm by paradigm. All of BLiMP: tests/benchmarks/blimp_speed.py."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from evaluation.suites import write_full_eval
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from transformers import AutoTokenizer

from lmeff.evaluation.scorer.load import load_model
from lmeff.evaluation.scorer.trees.adaptive import SAMPLE
from lmeff.evaluation.tasks.blimp import PARADIGMS
from lmeff.evaluation.tasks.loaded import load_tasks

pytestmark = pytest.mark.medium


def requests_of(data: Path, model: Path, tasks: tuple[str, ...], limit: int) -> list[Instance]:
    loaded = load_tasks(tasks, None, {"blimp": str(data / "blimp")}, limit, "parity", str(model))
    return [one for group in loaded.values() for name in group.tasks for one in group.fresh_requests(name)]


def values_of(model, requests: list[Instance]) -> np.ndarray:
    return np.array([value for value, _ in model.loglikelihood(requests, disable_tqdm=True)])


def right(values: np.ndarray) -> np.ndarray:
    """Of each pair, whether the acceptable sentence is the more probable one; a half for a tie."""
    margins = values[::2] - values[1::2]
    return np.where(margins == 0, 0.5, margins > 0)


BATCH_SIZE = 16
"""Stock lm-eval pads a batch to its longest text: of a larger one, most would be padding."""


def stock(model: Path, **options) -> HFLM:
    return HFLM(pretrained=str(model), dtype="float32", batch_size=BATCH_SIZE, device="cpu", **options)


def compare(
    model: Path,
    data: Path,
    num_pairs: int,
    adaptive: tuple[str, ...] = ("lmeff_blimp",),
    num_adaptive: int = SAMPLE + 18,
) -> None:
    """All paradigms in float32; these also in adaptive precision, with more pairs than are always scored in both."""
    requests = requests_of(data, model, ("lmeff_blimp",), num_pairs)
    assert len(requests) == 67 * num_pairs * 2
    expected = values_of(stock(model), requests)
    ours = load_model(model, "cpu", progress=False)
    found = values_of(ours, requests)
    differences = np.abs(found - expected)
    assert np.median(differences) < 1e-4
    assert np.quantile(differences, 0.99) < 1e-3
    assert differences.max() < 1e-2  # a few texts blow up any rounding
    certain = np.abs(expected[::2] - expected[1::2]) > 2e-2
    assert (right(found) == right(expected))[certain].all()
    assert certain.mean() > 0.99
    assert (right(found) != right(expected)).mean() <= 2 / 3350  # none at all of fewer pairs
    same = [one.args == other.args for one, other in zip(requests[::2], requests[1::2], strict=True)]
    assert np.array_equal(right(found) == 0.5, same)  # the only ties are pairs of one sentence

    some = requests_of(data, model, adaptive, num_adaptive)
    scorer = load_model(model, "cpu", progress=False, precision="adaptive")
    assert (right(values_of(scorer, some)) == right(values_of(ours, some))).all()
    assert len(scorer.adapted) == len({one.task_name for one in some})
    assert not np.concatenate([one.in_float32 for one in scorer.adapted.values()]).all()

    few = requests_of(data, model, ("lmeff_blimp_ellipsis",), 5)
    exact = load_model(model, "cpu", batch_size=BATCH_SIZE, progress=False, exact=True)
    assert np.array_equal(values_of(exact, few), values_of(stock(model), few))


def test_pairs_of_a_model_of_ours_score_as_with_lm_eval(trained_model, shared_data):
    compare(trained_model, shared_data, 50)


PAIRS_OF_SMOLLM2 = 10
"""Of each paradigm. A pair takes a second of it. The small model above is compared on 50 of each."""


@pytest.fixture
def share_of_cores() -> Iterator[None]:
    """This model is large enough for several. More threads than free cores wait for each other in loops that do nothing."""
    before = torch.get_num_threads()
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.real_model
@pytest.mark.usefixtures("share_of_cores")
def test_pairs_of_smollm2_score_as_with_lm_eval(smollm2, shared_data):
    adaptive = ("lmeff_blimp_ellipsis", "lmeff_blimp_irregular_forms")  # of long sentences and of short ones
    compare(smollm2, shared_data, PAIRS_OF_SMOLLM2, adaptive, SAMPLE + 8)


WITH_FILES = ("ewok", "entity_tracking", "comps")
WITH_A_CONTEXT = (
    "lmeff_ewok",
    "lmeff_ewok_context",
    "lmeff_entity_tracking",
    "lmeff_comps",
    "lmeff_smallbench_sst2",
    "lmeff_smallbench_rte",
    "lmeff_smallbench_mrpc",
)


def compare_contexts(model: Path, data: Path, folder: Path, limit: int) -> None:
    """Invented files in BabyLM's layouts and simplified GLUE, through stock lm-eval with a BOS before contexts and without."""
    write_full_eval(folder)
    paths = {name: str(folder / (f"{name}_filtered" if name == "ewok" else name)) for name in WITH_FILES}
    paths["smallbench"] = str(data / "leaner_glue")
    loaded = load_tasks(WITH_A_CONTEXT, None, paths, limit, "contexts", str(model))
    requests = [one for group in loaded.values() for name in group.tasks for one in group.fresh_requests(name)]
    assert all(one.args[0] for one in requests)
    few = [one for group in loaded.values() for one in group.fresh_requests(next(iter(group.tasks)))[:6]]
    found = {}
    for context_start, options in (("bos", {"add_bos_token": True}), ("tokenizer", {})):
        theirs = stock(model, **options)
        expected = values_of(theirs, requests)
        ours = load_model(model, "cpu", progress=False, context_start=context_start)
        found[context_start] = values_of(ours, requests)
        assert np.abs(found[context_start] - expected).max() < 1e-2
        assert np.median(np.abs(found[context_start] - expected)) < 1e-4
        exact = load_model(model, "cpu", batch_size=BATCH_SIZE, progress=False, exact=True, context_start=context_start)
        assert np.array_equal(values_of(exact, few), values_of(theirs, few))
    tokenizer = AutoTokenizer.from_pretrained(model)
    assert tokenizer("a")["input_ids"] == tokenizer("a", add_special_tokens=False)["input_ids"]
    assert np.median(np.abs(found["bos"] - found["tokenizer"])) > 1e-2  # the convention matters for this tokenizer


def test_tasks_with_a_context_score_as_with_lm_eval_told_to_add_bos(trained_model, shared_data, tmp_path):
    compare_contexts(trained_model, shared_data, tmp_path, 12)


@pytest.mark.slow
@pytest.mark.real_model
@pytest.mark.usefixtures("share_of_cores")
def test_tasks_with_a_context_score_as_with_lm_eval_for_smollm2(smollm2, shared_data, tmp_path):
    compare_contexts(smollm2, shared_data, tmp_path, 3)


def compare_tasks(model: Path, data: Path, limit: int, folder: Path) -> None:
    """lm-eval's own tasks put a space before the sentence. With that, ours ask the same; each text is scored once for both."""
    import lm_eval

    templates = Path(lm_eval.__file__).parent / "tasks" / "blimp"
    for uid in PARADIGMS:
        files = {"data_files": {"train": str(data / "blimp" / f"{uid}.jsonl")}, "cache_dir": str(folder / "cache")}
        include = {"include": str(templates / f"{uid}.yaml"), "dataset_path": "json", "dataset_kwargs": files}
        (folder / f"{uid}.yaml").write_text(yaml.safe_dump({**include, "task": f"blimp_{uid}"}))
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    theirs = manager.load([f"blimp_{uid}" for uid in PARADIGMS])["tasks"]
    scorer = load_model(model, "cpu", progress=False)
    ours = requests_of(data, model, ("lmeff_blimp",), limit)
    for one in ours:
        one.arguments = ("", " " + one.args[1])
    values = values_of(scorer, ours)
    value_of = {one.args: value for one, value in zip(ours, values, strict=True)}
    by_task = dict(zip([one.task_name for one in ours[:: 2 * limit]], np.split(right(values), 67), strict=True))
    accuracies = {}
    for uid in PARADIGMS:
        theirs[f"blimp_{uid}"].build_all_requests(limit=limit, rank=0, world_size=1)
        values = np.array([value_of[one.args] for one in theirs[f"blimp_{uid}"].instances])
        accuracies[uid] = np.mean(values[::2] >= values[1::2])  # numpy's argmax: a tie is right
        found = by_task[f"lmeff_blimp_{uid.lower()}"]
        assert accuracies[uid] == pytest.approx(np.ceil(found).mean(), abs=1e-12), uid
    assert len(set(accuracies.values())) > 5


@pytest.mark.slow
@pytest.mark.real_model
@pytest.mark.usefixtures("share_of_cores")
def test_paradigms_of_smollm2_are_those_of_lm_evals_own_tasks(smollm2, shared_data, tmp_path):
    compare_tasks(smollm2, shared_data, PAIRS_OF_SMOLLM2, tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    assert tokenizer("Who")["input_ids"] != tokenizer(" Who")["input_ids"]  # the delimiter matters for this model
