"""`lmeff finetune` on published tasks, on several revisions, and on what part of a task is which."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from evaluation.own_tasks import QUICK, write_own_tasks, write_rows
from evaluation.small_models import save_model
from safetensors.torch import load_file, save_file

from lmeff.analysis.reading.results import read_results
from lmeff.cli import main
from lmeff.evaluation.results import weights_sha256
from lmeff.files import read_json

pytestmark = pytest.mark.medium


def test_leaner_glue_over_the_revisions_of_a_run(trained_model, shared_data, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(trained_model.parents[1], run, ignore=shutil.ignore_patterns("checkpoints"))
    data = [
        "--data",
        str(shared_data / "leaner_glue"),
        *QUICK,
        "epochs=1",
        "max_train_examples=64",
        "max_dev_examples=32",
    ]
    assert main(["finetune", str(run), "--tasks", "leaner_glue", *data]) == 0
    said = capsys.readouterr().out
    assert "left out, since there are no training data: leaner_sst2, leaner_qqp, leaner_mnli, leaner_qnli\n" in said
    assert "leaner_rte: 64 of " in said
    (folder,) = (run / "results").glob("seed-0-*")
    results = read_results(folder)
    tasks = [f"finetune_leaner_{name}" for name in ("cola", "mrpc", "stsb", "rte", "wnli")]
    assert results.subtasks["finetune_leaner_glue"] == tuple(tasks)
    mean = np.mean([results.tasks[task].metrics["score"].value for task in tasks])
    assert results.tasks["finetune_leaner_glue"].metrics["score"].value == pytest.approx(mean)
    constants = [read_json(folder / f"{task}.json")["finetune"]["constant"]["score"] for task in tasks]
    assert read_json(folder / "finetune_leaner_glue.json")["finetune"]["constant"]["score"] == pytest.approx(
        np.mean(constants)
    )
    (line,) = [line for line in said.splitlines() if line.startswith("  finetune_leaner_glue")]
    assert line.split()[1:] == [
        "score",
        f"{100 * mean:.1f}",
        f"{100 * np.mean(constants):.1f}",
        "mean",
        "of",
        "5",
        "tasks",
    ]
    assert results.tasks["finetune_leaner_glue"].num_examples == 452 + 166 + 542 + 133 + 30
    assert main(["curves", str(run)]) == 0
    curves = capsys.readouterr().out
    assert f"{100 * mean:.1f}" in curves
    assert "finetune_leaner_glue: score x 100, the mean of its tasks or metrics" in curves
    assert main(["report", str(run), "-o", str(tmp_path / "report.html")]) == 0
    page = (tmp_path / "report.html").read_text()
    assert "Score, finetune_leaner_glue" in page
    assert "Accuracy, finetune_leaner_glue" not in page
    # Another result of one of its tasks leaves no mean of the old one behind.
    assert main(["finetune", str(run), "--tasks", "leaner_wnli", *data, "seeds=[1]"]) == 0
    assert not (folder / "finetune_leaner_glue.json").exists()


def add_revision(run: Path, name: str, tokens: int) -> Path:
    """Another revision of a run: its only one with all weights shifted, as one of fewer tokens."""
    (first,) = (run / "revisions").glob("seed-0-tokens-*")
    other = first.with_name(name)
    shutil.copytree(first, other)
    weights = load_file(other / "model.safetensors")
    save_file({key: value + 0.02 for key, value in weights.items()}, other / "model.safetensors", {"format": "pt"})
    anchor = json.loads((other / "anchor.json").read_text())
    anchor |= {"nominal_tokens": tokens, "exact_tokens": tokens, "weights_sha256": weights_sha256(other)}
    (other / "anchor.json").write_text(json.dumps(anchor))
    return other


def test_each_revision_of_a_run_has_a_result_of_its_own(trained_model, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(trained_model.parents[1], run, ignore=shutil.ignore_patterns("checkpoints"))
    names = ["seed-0-tokens-100k", "seed-0-tokens-200k"]
    add_revision(run, names[0], 100_000)
    write_own_tasks(tmp_path)
    words = ["finetune", str(run), "--recipe", str(tmp_path / "own.yaml"), "--tasks", "kind", *QUICK]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert said.index(names[0]) < said.index(names[1])
    scores, outputs = [], []
    for name in names:
        result = json.loads((run / "results" / name / "finetune_kind.json").read_text())
        assert result["lmeff"]["weights_sha256"] == weights_sha256(run / "revisions" / name)
        table = pd.read_parquet(run / "results" / name / "predictions" / "finetune_kind.parquet")
        scores.append(result["results"]["finetune_kind"]["acc,none"])
        outputs.append(np.stack(table["outputs"]))
        assert scores[-1] == np.mean(table["prediction"] == table["label"])
    assert np.abs(outputs[0] - outputs[1]).max() > 1e-3
    assert main(["curves", str(run)]) == 0
    curves = capsys.readouterr().out
    assert all(f"{100 * score:.1f}" in curves for score in scores)
    assert "than the others" not in curves
    assert main([*words, "--revisions", names[0], "batch_size=16"]) == 0
    assert main(["curves", str(run)]) == 0
    assert "settings (train_batch_size) than the others" in capsys.readouterr().out


def test_a_split_is_trained_on_when_the_user_says_so(model_folder, shared_data, tmp_path, capsys):
    words = ["finetune", str(model_folder), "--tasks", "leaner_sst2", "--data", str(shared_data / "leaner_glue")]
    words += [*QUICK, "epochs=1", "--limit", "40", "--output", str(tmp_path)]
    assert main(words) == 2
    assert "leaner_sst2: no training data in " in capsys.readouterr().err
    splits = ["tasks.leaner_sst2.train_split=validation", "tasks.leaner_sst2.validation_split=test"]
    assert main([*words, *splits]) == 0
    result = json.loads((tmp_path / "finetune_leaner_sst2.json").read_text())
    assert result["lmeff"]["settings"]["splits"] == ["validation", "test"]
    assert result["n-samples"]["finetune_leaner_sst2"]["effective"] == 40


def test_a_split_called_dev_is_scored_and_not_chosen_by(model_folder, tmp_path, capsys):
    rows = [{"sentence1": f"Anna {n}.", "sentence2": "Boris.", "label": n % 2} for n in range(60)]
    write_rows(tmp_path / "rte_train.jsonl", rows)
    write_rows(tmp_path / "rte_dev.jsonl", [{**row, "sentence1": "Carla."} for row in rows[:9]])
    words = ["finetune", str(model_folder), "--tasks", "rte", "--data", str(tmp_path), "tasks.rte.validation_split=dev"]
    assert main([*words, *QUICK, "epochs=1", "--limit", "5", "--output", str(tmp_path / "out")]) == 0
    assert "rte: 5 of 54 examples to train on, 5 to choose by, 5 of dev to score" in capsys.readouterr().out
    result = json.loads((tmp_path / "out" / "finetune_rte.json").read_text())
    numbers = {"offered_for_training": 60, "train": 5, "dev": 5, "scored": {"dev": 5}}
    assert result["finetune"]["num_examples"] == numbers
    assert main([*words, *QUICK, "epochs=1", "--output", str(tmp_path / "whole")]) == 0
    table = pd.read_parquet(tmp_path / "whole" / "predictions" / "finetune_rte.parquet")
    assert table["label"].tolist() == [row["label"] for row in rows[:9]]


def test_the_micro_batch_decides_a_result_only_where_there_is_dropout(tmp_path):
    write_own_tasks(tmp_path)
    for dropout in (0.0, 0.1):
        model, output = tmp_path / f"model-{dropout}", tmp_path / f"of-{dropout}" / "out"
        save_model(model, attention_dropout=dropout)
        words = ["finetune", str(model), "--recipe", str(tmp_path / "own.yaml"), "--tasks", "kind", *QUICK, "epochs=1"]
        words += ["--limit", "20", "--output", str(output)]
        for micro in (8, 7, 4):  # of 8, so that 7 means 4
            assert main([*words, f"micro_batch_size={micro}"]) == 0
        assert len(list(output.rglob("rate-*.json"))) == (2 if dropout else 1)
