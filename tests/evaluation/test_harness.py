"""Evaluations and the files they leave: groups, sharing, the cache, what they must not disturb."""

import json
import random
import re
import shutil
import sys
from operator import attrgetter
from pathlib import Path

import lm_eval
import numpy
import prepared
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from evaluation.evaluating import evaluate_model
from evaluation.small_models import save_model, write_pairs
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from transformers.integrations import HfDeepSpeedConfig, is_deepspeed_zero3_enabled

from lmeff.errors import InputError
from lmeff.evaluation.harness import Evaluation
from lmeff.evaluation.process_state import isolate_scoring
from lmeff.evaluation.tasks import loaded as loaded_tasks
from lmeff.evaluation.tasks.blimp import PARADIGMS, PHENOMENA
from lmeff.evaluation.tasks.names import tasks_folder
from lmeff.formats.result import read_result

TASKS = ("lmeff_blimp_ellipsis", "lmeff_blimp_wh_island", "lmeff_blimp_ellipsis_n_bar_2")


@pytest.fixture(scope="module")
def whole(model_folder, mini_blimp, tmp_path_factory):
    """All of (mini) BLiMP, once."""
    output = tmp_path_factory.mktemp("whole")
    result = evaluate_model(model_folder, ["lmeff_blimp"], output, paths={"blimp": str(mini_blimp)})
    return output, result["lmeff_blimp"]


@pytest.mark.medium
def test_groups_are_unweighted_means_over_paradigms(whole):
    _, result = whole
    accuracy = {uid: result["results"][f"lmeff_blimp_{uid.lower()}"]["acc,none"] for uid in PARADIGMS}
    sizes = {entry["effective"] for entry in result["n-samples"].values()}
    assert len(sizes) > 1  # else the test below could not tell the means apart
    assert 0 < sum(accuracy.values()) < 67
    assert result["groups"]["lmeff_blimp"]["acc,none"] == pytest.approx(sum(accuracy.values()) / 67, abs=1e-12)
    for phenomenon, paradigms in PHENOMENA.items():
        expected = sum(accuracy[uid] for uid in paradigms) / len(paradigms)
        assert result["groups"][f"lmeff_blimp_{phenomenon}"]["acc,none"] == pytest.approx(expected, abs=1e-12)


def test_results_are_those_of_lm_eval_and_say_what_they_depend_on(whole, mini_blimp):
    output, result = whole
    assert read_result(output / "lmeff_blimp.json") == result
    assert set(result["groups"]) == {"lmeff_blimp", *(f"lmeff_blimp_{phenomenon}" for phenomenon in PHENOMENA)}
    assert len(result["configs"]) == 67
    one = result["results"]["lmeff_blimp_wh_island"]
    assert one["acc_stderr,none"] > 0
    assert result["groups"]["lmeff_blimp"]["acc_stderr,none"] > 0
    assert result["higher_is_better"]["lmeff_blimp"] == {"acc": True, "ties": False}
    about = result["lmeff"]
    assert about["settings"]["dtype"] == "float32"
    assert about["target_delimiter"] == ""
    assert about["num_pairs"] == sum(entry["effective"] for entry in result["n-samples"].values())
    assert set(about["versions"]) >= {"lmeff", "lm_eval", "torch", "transformers"}
    assert str(mini_blimp) not in json.dumps(result)  # results are published; they name no folder of this machine
    assert str(tasks_folder()) not in json.dumps(result)


def test_the_pairs_of_a_task_are_kept(whole, mini_blimp):
    output, result = whole
    pairs = pq.read_table(output / "pairs" / "lmeff_blimp.parquet").to_pandas()
    assert list(pairs.columns) == ["task", "pair", "good", "bad", "score"]
    assert [str(kind) for kind in pairs.dtypes[1:]] == ["int32", "float64", "float64", "float64"]
    means = pairs.groupby("task")["score"].mean()
    for uid in PARADIGMS:
        task = f"lmeff_blimp_{uid.lower()}"
        assert means[task] == pytest.approx(result["results"][task]["acc,none"])
        assert len(pairs[pairs.task == task]) == len((mini_blimp / f"{uid}.jsonl").read_text().splitlines())


def test_scores_do_not_depend_on_the_other_tasks(whole, model_folder, mini_blimp, tmp_path):
    output, result = whole
    alone = evaluate_model(model_folder, TASKS, tmp_path, paths={"blimp": str(mini_blimp)})
    for task in TASKS[1:]:
        assert alone[task]["results"][task] == result["results"][task]
    everything = pq.read_table(output / "pairs" / "lmeff_blimp.parquet").to_pandas()
    pairs = pq.read_table(tmp_path / "pairs" / "lmeff_blimp_wh_island.parquet").to_pandas()
    assert pairs.equals(everything[everything.task == "lmeff_blimp_wh_island"].reset_index(drop=True))


TWO_RANKS = """
import os, sys
from pathlib import Path
import torch.distributed
from lmeff.evaluation.harness import Evaluation
torch.set_num_threads(1)
torch.distributed.init_process_group("gloo")
rank = torch.distributed.get_rank()
evaluation = Evaluation(Path(sys.argv[1]), tuple(sys.argv[4:]), Path(sys.argv[2]), {"blimp": sys.argv[3]})
evaluation.score(rank, 2)
torch.distributed.barrier()
if rank == 0:
    evaluation.finish()
torch.distributed.barrier()
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_ranks_give_what_one_process_gives(
    model_folder, mini_blimp, tmp_path, clean_environment, unused_port, whole
):
    """In a real process group of two, whose ranks lm-eval must not try to share work with by itself."""
    (tmp_path / "job.py").write_text(TWO_RANKS)
    arguments = [str(model_folder), str(tmp_path / "two"), str(mini_blimp), "lmeff_blimp"]
    world = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(unused_port), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    ranks = [
        prepared.Popen(
            [sys.executable, str(tmp_path / "job.py"), *arguments],
            env={**clean_environment, **world, "RANK": rank, "LOCAL_RANK": rank},
        )
        for rank in ("0", "1")
    ]
    try:
        assert [process.wait(timeout=120) for process in ranks] == [0, 0]
    finally:
        for process in ranks:
            process.kill()
    output, single = whole
    shared = json.loads((tmp_path / "two" / "lmeff_blimp.json").read_text())
    assert shared == single
    tables = [pq.read_table(folder / "pairs" / "lmeff_blimp.parquet") for folder in (tmp_path / "two", output)]
    assert tables[0].equals(tables[1])
    assert not (tmp_path / "two" / ".parts").exists()


def test_more_ranks_than_tasks_and_a_rank_that_starts_again(model_folder, mini_blimp, tmp_path):
    evaluation = Evaluation(model_folder, TASKS[1:2], tmp_path, {"blimp": str(mini_blimp)})
    for rank in (0, 1, 2):
        evaluation.score(rank, 3)
    evaluation.score(0, 3)
    assert evaluation.finish()[TASKS[1]]["lmeff"]["num_pairs"] > 0


def test_a_result_is_computed_again_only_when_something_changed(model_folder, mini_blimp, tmp_path):
    model, blimp, output = tmp_path / "model", tmp_path / "blimp", tmp_path / "out"
    shutil.copytree(model_folder, model)
    shutil.copytree(mini_blimp, blimp)
    task = "lmeff_blimp_wh_island"
    options = {"paths": {"blimp": str(blimp)}}

    def is_cached(**more) -> bool:
        evaluation = Evaluation(model, (task,), output, **{**options, **more})
        return task in evaluation.cached()

    assert not is_cached()
    first = evaluate_model(model, [task], output, **options)
    assert is_cached()
    written = (output / f"{task}.json").stat().st_mtime_ns
    assert evaluate_model(model, [task], output, **options) == first
    assert (output / f"{task}.json").stat().st_mtime_ns == written
    assert not is_cached(limit=2)
    assert not is_cached(batch_size=64)
    pairs = (blimp / "wh_island.jsonl").read_text()
    (blimp / "wh_island.jsonl").write_text(pairs.replace("Anna", "Elena", 1).replace("Boris", "Elena", 1))
    assert not is_cached()
    (blimp / "wh_island.jsonl").write_text(pairs)
    assert is_cached()
    (output / f"{task}.json").write_text("{")
    assert not is_cached()
    assert evaluate_model(model, [task], output, **options)[task]["results"] == first[task]["results"]
    save_model(model, hidden_size=16)
    assert not is_cached()


def test_a_limit_counts_for_every_paradigm(model_folder, mini_blimp, tmp_path):
    result = evaluate_model(model_folder, TASKS[:1], tmp_path, paths={"blimp": str(mini_blimp)}, limit=2)[TASKS[0]]
    assert [entry["effective"] for entry in result["n-samples"].values()] == [2, 2]
    assert result["lmeff"]["num_pairs"] == 4
    leaves = [result["results"][f"lmeff_blimp_ellipsis_n_bar_{number}"]["acc,none"] for number in (1, 2)]
    assert result["groups"][TASKS[0]]["acc,none"] == sum(leaves) / 2


@pytest.mark.parametrize("kind", ["cuda.matmul", "mkldnn.matmul", "cudnn.conv"])
def test_products_of_float32_are_not_rounded_while_scoring(kind):
    products = attrgetter(kind)(torch.backends)
    before = products.fp32_precision
    try:
        products.fp32_precision = "tf32"
        with isolate_scoring():
            assert products.fp32_precision == "ieee"
        assert products.fp32_precision == "tf32"
    finally:
        products.fp32_precision = before


def test_training_may_go_on_as_if_nothing_was_scored(model_folder, mini_blimp, tmp_path):
    states = []
    for score in (False, True):
        random.seed(1), numpy.random.seed(1), torch.manual_seed(1)
        torch.backends.cuda.matmul.fp32_precision = "tf32"
        if score:
            evaluate_model(model_folder, TASKS[1:2], tmp_path, paths={"blimp": str(mini_blimp)})
        states.append((random.random(), numpy.random.random(), torch.rand(1).item()))
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
        torch.backends.cuda.matmul.fp32_precision = "none"
    assert states[0] == states[1]


def test_a_model_is_loaded_whole_during_zero3_training(model_folder, mini_blimp, tmp_path, whole):
    config = HfDeepSpeedConfig({"zero_optimization": {"stage": 3}, "train_micro_batch_size_per_gpu": 1})
    result = evaluate_model(model_folder, TASKS[1:2], tmp_path, paths={"blimp": str(mini_blimp)})
    assert is_deepspeed_zero3_enabled()
    del config
    assert result[TASKS[1]]["results"][TASKS[1]] == whole[1]["results"][TASKS[1]]


@pytest.mark.medium
def test_a_users_own_pairs_and_other_tasks(model_folder, tmp_path):
    """The task file in the README of the tasks folder, and one of a kind that has no pairs."""
    write_pairs(tmp_path / "my_pairs.jsonl", [("Anna sees Boris.", "Anna see Boris."), ("Elena hides.",) * 2])
    (example,) = re.findall(r"```yaml\n(.*?)```", (tasks_folder() / "README.md").read_text(), re.DOTALL)
    (tmp_path / "my_pairs.yaml").write_text(example.replace("/path/to", str(tmp_path)))
    text = {"task": "my_text", "dataset_path": "json", "test_split": "test", "output_type": "loglikelihood_rolling"}
    text["dataset_kwargs"] = {"data_files": {"test": str(tmp_path / "my_pairs.jsonl")}}
    metric = {"metric": "bits_per_byte", "aggregation": "bits_per_byte", "higher_is_better": False}
    text |= {"doc_to_text": "", "doc_to_target": "{{sentence_good}}", "metric_list": [metric]}
    (tmp_path / "my_text.yaml").write_text(yaml.safe_dump(text))
    results = evaluate_model(model_folder, ["my_pairs", "my_text"], tmp_path / "out", include_path=str(tmp_path))
    assert results["my_pairs"]["lmeff"]["num_ties"] == 1
    assert results["my_pairs"]["results"]["my_pairs"]["acc,none"] in (0.25, 0.75)
    assert results["my_text"]["results"]["my_text"]["bits_per_byte,none"] > 0
    assert not (tmp_path / "out" / "pairs" / "my_text.parquet").exists()

    file = tmp_path / "my_pairs.jsonl"
    file.write_text(file.read_text().replace("Elena", "Carla"))
    loaded_tasks._kept.clear()  # as in a new process
    again = Evaluation(model_folder, ("my_pairs", "my_text"), tmp_path / "out", include_path=str(tmp_path))
    assert again.cached() == {}
    file.write_text(file.read_text().replace("Carla", "Elena"))
    loaded_tasks._kept.clear()
    assert set(again.cached()) == {"my_pairs", "my_text"}


def choices_of_people(folder: Path) -> dict:
    """lm-eval's own kind of task, whose choices are the same for every example and whose labels are in the file."""
    return {
        "task": "my_labels",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / "labels.jsonl")}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{name}} sees",
        "doc_to_choice": ["Anna", "Boris"],
        "doc_to_target": "label",
        "metric_list": [{"metric": "acc"}],
    }


@pytest.mark.medium
@pytest.mark.filterwarnings("ignore:A single label was found:UserWarning")  # an untrained model may answer all alike
@pytest.mark.parametrize("item", ["the same", ["a", "list"], None])
def test_a_field_called_item_means_nothing_in_a_users_own_task(model_folder, tmp_path, item):
    task = {**choices_of_people(tmp_path), "metric_list": [{"metric": "acc"}, {"metric": "f1"}, {"metric": "mcc"}]}
    (tmp_path / "my_labels.yaml").write_text(yaml.safe_dump(task))
    labels = [{"name": name, "label": n % 2, "item": item} for n, name in enumerate(["Carla", "Elena", "Farid"] * 2)]
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(label) + "\n" for label in labels))
    found = evaluate_model(model_folder, ["my_labels"], tmp_path / "out", include_path=str(tmp_path))
    scores = found["my_labels"]["results"]["my_labels"]
    accuracy = scores["acc,none"]
    assert 0 < accuracy < 1
    assert scores["acc_stderr,none"] == pytest.approx((accuracy * (1 - accuracy) / 5) ** 0.5)
    assert {"f1,none", "mcc,none"} <= scores.keys()


def test_a_label_that_was_corrected_and_another_lm_eval_make_other_results(model_folder, tmp_path, monkeypatch):
    (tmp_path / "my_labels.yaml").write_text(yaml.safe_dump(choices_of_people(tmp_path)))
    labels = [{"name": name, "label": 0} for name in ("Carla", "Elena", "Farid", "Dmitri")]

    def accuracy() -> float:
        (tmp_path / "labels.jsonl").write_text("".join(json.dumps(label) + "\n" for label in labels))
        loaded_tasks._kept.clear()  # as in a new process
        found = evaluate_model(model_folder, ["my_labels"], tmp_path / "out", include_path=str(tmp_path))
        return found["my_labels"]["results"]["my_labels"]["acc,none"]

    first = accuracy()
    for label in labels:
        label["label"] = 1
    assert accuracy() == 1 - first
    evaluation = Evaluation(model_folder, ("my_labels",), tmp_path / "out", include_path=str(tmp_path))
    assert evaluation.cached()
    monkeypatch.setattr("lmeff.evaluation.harness.version", lambda name: "0.4.99")
    assert not evaluation.cached()


def test_what_other_tasks_have_scored_so_far_stays(model_folder, mini_blimp, tmp_path):
    options = (tmp_path, {"blimp": str(mini_blimp)})
    begun = Evaluation(model_folder, TASKS[1:2], *options)
    begun.score()
    evaluate_model(model_folder, TASKS[2:], *options[:1], paths=options[1])
    assert begun.is_scored()
    begun.finish()
    assert not (tmp_path / ".parts").exists()


def test_pairs_that_are_gone_are_made_again(model_folder, mini_blimp, tmp_path):
    task = TASKS[1]
    evaluate_model(model_folder, [task], tmp_path, paths={"blimp": str(mini_blimp)})
    pairs = tmp_path / "pairs" / f"{task}.parquet"
    content = pairs.read_bytes()
    pairs.unlink()
    evaluate_model(model_folder, [task], tmp_path, paths={"blimp": str(mini_blimp)})
    assert pairs.read_bytes() == content


@pytest.mark.medium
def test_a_task_that_shuffles_its_choices_asks_the_same_every_time_and_as_lm_eval_does(model_folder, tmp_path):
    task = choices_of_people(tmp_path) | {"process_docs": "FUNCTION", "doc_to_choice": "choices"}
    (tmp_path / "my_labels.yaml").write_text(yaml.safe_dump(task).replace("FUNCTION", "!function made.shuffle"))
    (tmp_path / "made.py").write_text(
        "import random\n\ndef shuffle(docs):\n"
        "    return docs.map(lambda doc: {'choices': random.sample(['Anna', 'Boris', 'Carla', 'Elena', 'Farid'], 5)})\n"
    )
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps({"name": name, "label": 0}) + "\n" for name in "abcdef"))
    asked = []
    for seed in (5, 6):
        random.seed(seed)
        loaded = loaded_tasks.load_tasks(["my_labels"], str(tmp_path), {}, None, seed, str(model_folder))["my_labels"]
        asked.append([one.args for one in loaded.fresh_requests("my_labels")])
    manager = TaskManager(include_path=str(tmp_path), include_defaults=False)
    model = HFLM(pretrained=str(model_folder), device="cpu")
    stock = lm_eval.simple_evaluate(model=model, tasks=["my_labels"], task_manager=manager, bootstrap_iters=0)
    samples = [tuple(one) for each in stock["samples"]["my_labels"] for one in each["arguments"]]
    assert asked[0] == asked[1] == samples


@pytest.mark.medium
def test_the_generated_pairs_are_scored(model_folder, tmp_path):
    result = evaluate_model(model_folder, ["lmeff_synthetic"], tmp_path, limit=2)["lmeff_synthetic"]
    assert result["lmeff"]["num_pairs"] == 2 * len(result["n-samples"])
    assert 0 <= result["groups"]["lmeff_synthetic"]["acc,none"] <= 1


def test_a_folder_without_safetensors_is_named(mini_blimp, tmp_path):
    with pytest.raises(InputError, match="no safetensors"):
        evaluate_model(tmp_path, TASKS, tmp_path / "out", paths={"blimp": str(mini_blimp)})
