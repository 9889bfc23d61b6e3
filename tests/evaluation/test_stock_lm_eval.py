"""Our task files with lm-eval as it is, and our numbers beside those of lm-eval's own BLiMP tasks."""

import json
import subprocess
import sys
from pathlib import Path

import lm_eval
import pyarrow.parquet as pq
import pytest
import yaml
from evaluation.evaluating import evaluate_model
from evaluation.small_models import write_pairs
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from lmeff.evaluation.tasks.blimp import PARADIGMS
from lmeff.evaluation.tasks.names import tasks_folder

NUM_PAIRS = 20


@pytest.mark.slow
def test_the_command_line_of_lm_eval_takes_our_tasks(shared_data, model_folder, tmp_path, clean_environment):
    tasks = "lmeff_blimp_ellipsis,lmeff_blimp_principle_a_case_1"
    command = [Path(sys.executable).with_name("lm_eval"), "run", "--model", "hf", "--device", "cpu", "--tasks", tasks]
    command += ["--model_args", f"pretrained={model_folder},dtype=float32", "--include_path", tasks_folder()]
    command += ["--limit", "20", "--batch_size", "16", "--output_path", tmp_path / "out.json"]
    environment = {**clean_environment, "LMEFF_EVAL_DATA": str(shared_data)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (written,) = tmp_path.rglob("*.json")
    stock = json.loads(written.read_text())
    ours = evaluate_model(
        model_folder, tasks.split(","), tmp_path / "ours", paths={"blimp": str(shared_data / "blimp")}, limit=20
    )
    assert set(stock["results"]) == {name for result in ours.values() for name in result["results"]}
    for result in ours.values():
        for name, scores in result["results"].items():
            for key in ("acc,none", "acc_stderr,none", "ties,none"):
                assert stock["results"][name][key] == pytest.approx(scores[key], abs=1e-9)


@pytest.mark.slow
def test_lm_evals_command_line_with_our_model_finds_our_tasks(shared_data, model_folder, tmp_path, clean_environment):
    """`lmeff lm-eval`: model `lmeff`, the fast way and lm-eval's own, and lm-eval's `hf`; our tasks without --include_path."""
    environment = {**clean_environment, "LMEFF_EVAL_DATA": str(shared_data)}
    answers = {}
    ways = {
        "exact": ["run", "--model", "lmeff", "--model_args", f"pretrained={model_folder},exact=true"],
        "fast": ["--model", "lmeff", "--model_args", f"pretrained={model_folder}"],  # lm-eval takes it for `run`
        "hf": ["run", "--model", "hf", "--model_args", f"pretrained={model_folder},dtype=float32"],
    }
    for way, words in ways.items():
        command = [sys.executable, "-m", "lmeff.cli", "lm-eval", *words, "--device", "cpu"]
        command += ["--tasks", "lmeff_blimp_ellipsis"]
        command += ["--limit", "20", "--batch_size", "16", "--log_samples", "--output_path", tmp_path / way]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        lines = [line for path in sorted((tmp_path / way).rglob("*.jsonl")) for line in path.read_text().splitlines()]
        samples = map(json.loads, lines)
        answers[way] = [float(answer[0][0]) for sample in samples for answer in sample["resps"]]
    assert len(answers["hf"]) == 80
    assert answers["exact"] == answers["hf"]
    assert answers["fast"] == pytest.approx(answers["hf"], abs=1e-4)
    assert answers["fast"] != answers["hf"]


@pytest.fixture(scope="module")
def some_blimp(shared_data, tmp_path_factory) -> Path:
    """20 pairs of each of the 67 paradigms, with the 7 pairs of BLiMP whose two sentences are the same."""
    folder = tmp_path_factory.mktemp("some_blimp")
    for uid in PARADIGMS:
        lines = (shared_data / "blimp" / f"{uid}.jsonl").read_text().splitlines()
        same = [line for line in lines if (pair := json.loads(line))["sentence_good"] == pair["sentence_bad"]]
        (folder / f"{uid}.jsonl").write_text("\n".join([*same, *lines[: NUM_PAIRS - len(same)]]) + "\n")
    return folder


def lm_evals_own(model_folder: Path, data: Path, folder: Path) -> dict[str, float]:
    """Accuracy by lm-eval's own `blimp_*` tasks in lm-eval's own way, pointed at local files."""
    templates = Path(lm_eval.__file__).parent / "tasks" / "blimp"
    for uid in PARADIGMS:
        files = {"data_files": {"train": str(data / f"{uid}.jsonl")}, "cache_dir": str(folder / "cache")}
        include = {"include": str(templates / f"{uid}.yaml"), "dataset_path": "json", "dataset_kwargs": files}
        (folder / f"{uid}.yaml").write_text(yaml.safe_dump({**include, "task": f"blimp_{uid}"}))
    results = lm_eval.simple_evaluate(
        model=HFLM(pretrained=str(model_folder), device="cpu", dtype="float32", batch_size=128),
        tasks=[f"blimp_{uid}" for uid in PARADIGMS],
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        bootstrap_iters=0,
    )["results"]
    return {uid: results[f"blimp_{uid}"]["acc,none"] for uid in PARADIGMS}


@pytest.mark.slow
def test_accuracies_are_those_of_lm_evals_own_tasks_up_to_ties(trained_model, some_blimp, tmp_path):
    """lm-eval puts a space before the sentence (its default delimiter) and ours nothing; the tokenizer makes one of both."""
    tasks = {uid: f"lmeff_blimp_{uid.lower()}" for uid in PARADIGMS}
    stock = lm_evals_own(trained_model, some_blimp, tmp_path)
    ours = evaluate_model(trained_model, list(tasks.values()), tmp_path / "out", paths={"blimp": str(some_blimp)})
    num_ties = {}
    for uid, task in tasks.items():
        scores = ours[task]["results"][task]
        num_ties[uid] = ours[task]["lmeff"]["num_ties"]
        assert scores["ties,none"] == num_ties[uid] / NUM_PAIRS
        assert stock[uid] == pytest.approx(scores["acc,none"] + scores["ties,none"] / 2, abs=1e-12)
        pairs = pq.read_table(tmp_path / "out" / "pairs" / f"{task}.parquet").to_pandas()
        assert list(pairs.index[pairs.good == pairs.bad]) == list(range(num_ties[uid]))  # the same pairs come first
    assert len(set(stock.values())) > 5, "a model that learned something tells the paradigms apart"
    assert num_ties == {uid: {"passive_1": 2, "principle_A_case_2": 5}.get(uid, 0) for uid in PARADIGMS}


@pytest.mark.medium
def test_lm_eval_finds_a_folder_of_pairs_by_the_environment(tmp_path, clean_environment):
    write_pairs(tmp_path / "pairs" / "My-File.jsonl", [("Anna sees Boris.", "Anna see Boris.")])
    code = (
        "import sys; from lm_eval.tasks import TaskManager\n"
        "loaded = TaskManager(include_path=sys.argv[1], include_defaults=False).load(['lmeff_pairs'])\n"
        "print(*loaded['tasks'])"
    )
    command = [sys.executable, "-c", code, str(tasks_folder())]
    environment = {**clean_environment, "LMEFF_EVAL_DATA": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["lmeff_pairs::My-File"]
    done = subprocess.run(command, env=clean_environment, capture_output=True, text=True, check=False)
    assert "set evaluation.paths.pairs to a folder" in done.stderr.splitlines()[-1]


@pytest.mark.medium
def test_a_group_of_ones_own_takes_the_pairs_that_a_recipe_names(model_folder, tmp_path, monkeypatch):
    """And not those of the environment."""
    for folder, name in (("recipe", "mine"), ("environment/pairs", "other")):
        write_pairs(tmp_path / folder / f"{name}.jsonl", [("Anna sees Boris.", "Anna see Boris.")])
    monkeypatch.setenv("LMEFF_EVAL_DATA", str(tmp_path / "environment"))
    (tmp_path / "tasks").mkdir()
    group = {"group": "my_group", "task": ["lmeff_pairs"]}
    metrics = [{"metric": "acc", "aggregation": "mean", "weight_by_size": False}]
    (tmp_path / "tasks" / "my_group.yaml").write_text(yaml.safe_dump({**group, "aggregate_metric_list": metrics}))
    options = {"include_path": str(tmp_path / "tasks"), "paths": {"pairs": str(tmp_path / "recipe")}}
    result = evaluate_model(model_folder, ["my_group"], tmp_path / "out", **options)["my_group"]
    assert result["group_subtasks"]["lmeff_pairs"] == ["lmeff_pairs::mine"]
    assert (result["format"], result["kind"]) == (1, "pairs")
