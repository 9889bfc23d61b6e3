"""`lmeff finetune` from the user's side: real models, the real Trainer, files of one's own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import prepared
import pytest
import torch
from evaluation.own_tasks import QUICK, write_own_tasks, write_rows

from lmeff.analysis.reading.results import read_results
from lmeff.cli import main
from lmeff.measures.finetuning.data import load_task
from lmeff.measures.finetuning.tasks import TASKS, find_tasks
from lmeff.measures.finetuning.trial import encode_task, run_trial
from lmeff.recipe.sections.finetune import FinetuneRecipe, FinetuneSettings


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    write_own_tasks(folder)
    return folder


@pytest.fixture(scope="module")
def done(folder, model_folder, tmp_path_factory) -> Path:
    """The output of both tasks, with two seeds."""
    output = tmp_path_factory.mktemp("output")
    words = ["finetune", str(model_folder), "--recipe", str(folder / "own.yaml"), "--tasks", "kind,worth"]
    assert main([*words, "--output", str(output), *QUICK, "epochs=8", "seeds=[0,1]"]) == 0
    return output


@pytest.mark.medium
def test_a_model_learns_and_its_result_is_read_like_any_other(done):
    results = read_results(done)
    kind, worth = results.tasks["finetune_kind"], results.tasks["finetune_worth"]
    assert kind.metrics["acc"].value > 0.95
    assert kind.metrics["score"].value == kind.metrics["acc"].value
    assert worth.metrics["pearson"].value > 0.9
    assert kind.num_examples == worth.num_examples == 60
    content = json.loads((done / "finetune_kind.json").read_text())
    about, decided = content["finetune"], content["lmeff"]
    assert about["how"].startswith(
        "Learning rate and epoch were chosen on a dev split made from the training examples."
    )
    assert about["num_examples"] == {"offered_for_training": 160, "train": 144, "dev": 16, "scored": {"validation": 60}}
    assert (about["learning_rate"], set(about["best_epochs"]), about["std"].keys()) == (
        3e-3,
        {"0", "1"},
        {"score", "acc", "f1"},
    )
    assert 0.3 < about["constant"]["acc"] < 0.7
    assert about["data"] == "local"  # results are published: no folder of this machine is in them
    assert decided["settings"]["seeds"] == [0, 1]
    assert decided["settings"]["labels"] == ["bad", "nice"]
    assert {"transformers", "torch", "accelerate", "scikit-learn", "scipy"} <= decided["versions"].keys()
    assert decided["device"] == (torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu")


@pytest.mark.medium
def test_predictions_give_the_scores_again(done):
    content = json.loads((done / "finetune_kind.json").read_text())
    table = pd.read_parquet(done / "predictions" / "finetune_kind.parquet")
    assert len(table) == 2 * 60
    by_seed = (table["prediction"] == table["label"]).groupby(table["seed"]).mean()
    assert content["results"]["finetune_kind"]["acc,none"] == pytest.approx(by_seed.mean())
    assert content["finetune"]["std"]["acc"] == pytest.approx(by_seed.std(ddof=1))
    assert (np.stack(table["outputs"]).argmax(axis=1) == table["prediction"]).all()
    assert table["example"].tolist() == [*range(60)] * 2


@pytest.mark.medium
def test_done_again_nothing_is_trained_and_one_more_seed_is_one_more_trial(
    done, folder, model_folder, tmp_path, capsys
):
    output = tmp_path / "output"
    shutil.copytree(done, output)
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.is_file()}
    words = ["finetune", str(model_folder), "--recipe", str(folder / "own.yaml"), "--tasks", "kind"]
    words += ["--output", str(output), *QUICK, "epochs=8"]
    assert main([*words, "seeds=[0,1]"]) == 0
    first = capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.is_file()} == before
    assert "kind  acc" in first
    assert main([*words, "seeds=[0,1,2]"]) == 0
    trials = sorted(path.name for path in output.rglob("rate-*.json") if "finetune_kind" in str(path))
    assert trials == [f"rate-0.003-seed-{seed}.json" for seed in (0, 1, 2)]
    assert all(before[path] == path.stat().st_mtime_ns for path in before if path.name.startswith("rate-"))


@pytest.mark.medium
def test_killed_in_the_middle_the_rest_is_done_and_the_result_is_the_same(
    folder, model_folder, tmp_path, clean_environment
):
    words = ["finetune", str(model_folder), "--recipe", str(folder / "own.yaml"), "--tasks", "kind", *QUICK]
    words += ["seeds=[0,1,2]", "epochs=3", "--output"]
    work = tmp_path / "work"
    work.mkdir()
    killed = prepared.Popen(
        [sys.executable, "-m", "lmeff.cli", *words, str(tmp_path / "killed" / "out")],
        cwd=work,
        env=clean_environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 90
    while not (trials := list((tmp_path / "killed").rglob("rate-*.json"))) and time.monotonic() < deadline:
        assert killed.poll() is None, killed.stderr.read().decode()
        time.sleep(0.02)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert trials
    assert not (tmp_path / "killed" / "out" / "finetune_kind.json").exists()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "killed").rglob("rate-*.json")}
    assert len(before) < 3
    for name in ("killed", "whole"):
        assert main([*words, str(tmp_path / name / "out")]) == 0
    assert all(path.stat().st_mtime_ns == before[path] for path in before)
    results = [(tmp_path / name / "out" / "finetune_kind.json").read_bytes() for name in ("killed", "whole")]
    assert results[0] == results[1]
    assert list(work.iterdir()) == []


@pytest.mark.medium
def test_predictions_of_other_settings_beside_a_result_are_written_again(done, folder, model_folder, tmp_path):
    """As a run with other settings leaves them that was killed before it wrote its result."""
    output = tmp_path / "output"
    shutil.copytree(done, output)
    path = output / "predictions" / "finetune_kind.parquet"
    right = path.read_bytes()
    pd.read_parquet(path)[60:].to_parquet(path)
    words = ["finetune", str(model_folder), "--recipe", str(folder / "own.yaml"), "--tasks", "kind"]
    assert main([*words, "--output", str(output), *QUICK, "epochs=8", "seeds=[0,1]"]) == 0
    assert path.read_bytes() == right


@pytest.mark.medium
def test_a_twin_beside_it_takes_the_result_and_its_predictions_over(done, folder, model_folder, tmp_path):
    shutil.copytree(done, tmp_path / "one")
    path = tmp_path / "one" / "finetune_kind.json"
    path.write_text(path.read_text().replace('"alias": "finetune_kind"', '"alias": "known"'))
    words = ["finetune", str(model_folder), "--recipe", str(folder / "own.yaml"), "--tasks", "kind"]
    words += [*QUICK, "epochs=8", "seeds=[0,1]", "--output", str(tmp_path / "two")]
    assert main(words) == 0
    for name in ("finetune_kind.json", "predictions/finetune_kind.parquet"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    assert not (tmp_path / "two" / ".finetune").exists()


@pytest.mark.medium
def test_a_part_never_replaces_the_result_of_all_examples_of_a_model_folder(
    done, folder, model_folder, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    output = tmp_path / "outputs" / "eval" / model_folder.name
    shutil.copytree(done, output)
    before = (output / "finetune_kind.json").read_bytes()
    words = ["finetune", str(model_folder), "--recipe", str(folder / "own.yaml"), "--tasks", "kind", *QUICK]
    assert main([*words, "--limit", "30"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "finetune_kind.json holds the result of all examples" in line
    assert (output / "finetune_kind.json").read_bytes() == before
    assert main([*words, "--limit", "30", "epochs=1", "--output", str(tmp_path / "part")]) == 0


@pytest.mark.medium
def test_labels_of_the_validation_split_decide_nothing(folder, model_folder, tmp_path):
    """Turned around they turn the scores around, and change neither what is chosen nor what the model says."""
    rows = [json.loads(line) for line in (folder / "val.jsonl").read_text().splitlines()]
    for row in rows:
        row["kind"] = {"nice": "bad", "bad": "nice"}[row["kind"]]
    write_rows(tmp_path / "val.jsonl", rows)
    words = ["finetune", str(model_folder), "--recipe", str(folder / "own.yaml"), "--tasks", "kind", *QUICK]
    words += ["learning_rates=[1e-5,3e-3]", "epochs=3", "--output"]
    assert main([*words, str(tmp_path / "right")]) == 0
    assert main([*words, str(tmp_path / "turned"), f"tasks.kind.files.validation={tmp_path}/val.jsonl"]) == 0
    right, turned = (json.loads((tmp_path / name / "finetune_kind.json").read_text()) for name in ("right", "turned"))
    assert right["finetune"]["trials"] == turned["finetune"]["trials"]
    assert right["finetune"]["learning_rate"] == turned["finetune"]["learning_rate"] == 3e-3
    scores = [one["results"]["finetune_kind"]["acc,none"] for one in (right, turned)]
    assert sum(scores) == pytest.approx(1)
    outputs = [
        pd.read_parquet(tmp_path / n / "predictions" / "finetune_kind.parquet")["outputs"] for n in ("right", "turned")
    ]
    assert all(np.array_equal(a, b) for a, b in zip(*outputs, strict=True))


@pytest.mark.medium
def test_the_seed_decides_and_the_micro_batch_does_not(folder, model_folder):
    recipe = FinetuneRecipe(
        tasks={
            "kind": {
                "files": {"train": f"{folder}/train.jsonl", "validation": f"{folder}/val.jsonl"},
                "columns": ["a"],
                "label": "kind",
            }
        },
        epochs=1,
        max_length=16,
    )
    task = find_tasks(["kind"], recipe).tasks["kind"]

    def outputs(seed: int = 0, **more) -> np.ndarray:
        settings = FinetuneSettings(**recipe.settings("kind").model_dump() | more)
        encoded = encode_task(model_folder, load_task(task, settings, None, {}), settings)
        return np.array(run_trial(model_folder, encoded, settings, 1e-3, seed).outputs["validation"])

    first = outputs()
    assert np.array_equal(first, outputs())
    np.testing.assert_allclose(first, outputs(micro_batch_size=5), atol=2e-4)  # 4 at once, the last step has fewer
    assert np.abs(first - outputs(seed=1)).max() > 1e-2


@pytest.mark.medium
def test_the_shell_does_not_decide_the_precision(folder, model_folder, tmp_path, monkeypatch):
    words = ["finetune", str(model_folder), "--recipe", str(folder / "own.yaml"), "--tasks", "kind", *QUICK, "epochs=1"]
    outputs = []
    for said in ("no", "bf16"):
        monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", said)
        assert main([*words, "precision=float32", "--output", str(tmp_path / said / "out")]) == 0
        outputs.append(pd.read_parquet(tmp_path / said / "out" / "predictions" / "finetune_kind.parquet")["outputs"])
    assert all(np.array_equal(a, b) for a, b in zip(*outputs, strict=True))


@pytest.mark.medium
def test_what_is_wrong_with_one_task_does_not_end_the_others(folder, model_folder, tmp_path, capsys):
    (tmp_path / "predictions" / "finetune_kind.parquet").mkdir(parents=True)
    words = ["finetune", str(model_folder), "--recipe", str(folder / "own.yaml"), "--tasks", "kind,worth", *QUICK]
    assert main([*words, "epochs=1", "--output", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert f"{model_folder.name}: cannot be scored: kind: IsADirectoryError: " in said
    assert not (tmp_path / "finetune_kind.json").exists()
    assert (tmp_path / "finetune_worth.json").is_file()


@pytest.mark.medium
def test_a_learning_rate_that_diverges_is_never_chosen(folder, model_folder, tmp_path, capsys):
    words = [
        "finetune",
        str(model_folder),
        "--recipe",
        str(folder / "own.yaml"),
        "--tasks",
        "worth",
        *QUICK,
        "epochs=1",
    ]
    words += ["max_grad_norm=1e9"]
    assert main([*words, "learning_rates=[1e30,1e-3]", "--output", str(tmp_path)]) == 0
    about = json.loads((tmp_path / "finetune_worth.json").read_text())["finetune"]
    assert about["learning_rate"] == 1e-3
    assert [trial["best_epoch"] for trial in about["trials"]] == [None, 1]
    assert main([*words, "learning_rates=[1e30]", "--output", str(tmp_path / "all")]) == 1
    assert "the model diverged with every learning rate" in capsys.readouterr().out
    assert not (tmp_path / "all" / "finetune_worth.json").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tasks", "bolq"], "--tasks: no task 'bolq'; did you mean 'boolq'?"),
        (["--tasks", "kind", "epoch=3"], "command line: epoch=3: unknown key; did you mean 'epochs'?"),
        (["--tasks", "kind", "seeds=[1,1]"], "command line: seeds=[1,1]: holds a value twice"),
        (["--tasks", "kind", "learning_rates=3"], "must be a list such as [a, b], not 3; write [3]"),
        (["--tasks", "kind", "best_by=mcc"], "best_by: kind has no 'mcc'; it has acc, f1"),
        (["--tasks", "kind", "tasks.kind.sedes=[1]"], "did you mean 'tasks.kind.seeds'?"),
        (["--tasks", "kind", "tasks.worth.metrics=[acc]"], "acc does not fit a number"),
        (["--tasks", "kind", "tasks.kind.columns=[z]"], "train.jsonl, line 1: no field 'z'; it has a, b, kind, worth"),
        (["--tasks", "kind", "tasks.kind.files.train=none"], "none: cannot be read (No such file or directory)"),
        (
            ["--tasks", "rte", "tasks.rte.train_split=validation"],
            "'validation' is both trained on and scored; name two",
        ),
        (["--tasks", "leaner_rte", "--data", "/nowhere"], "--data: /nowhere: no such folder"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_trained(words, said, folder, model_folder, capsys):
    assert main(["finetune", str(model_folder), "--recipe", str(folder / "own.yaml"), *words]) == 2
    errors = capsys.readouterr().err.strip()
    assert said in errors
    assert "\n" not in errors


def test_a_part_of_the_examples_never_replaces_the_results_of_a_run(tmp_path, capsys):
    (tmp_path / "revisions").mkdir()
    assert main(["finetune", str(tmp_path), "--tasks", "rte", "--limit", "5"]) == 2
    assert "--output DIR" in capsys.readouterr().err


def test_the_tasks_of_published_tables_are_known():
    known = "boolq mrpc rte wsc multirc mnli qqp cola sst2 qnli stsb wnli"
    assert set(known.split()) <= set(TASKS)
