"""Evaluations that are killed, and go on; models that are the same; runs that are followed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import prepared
import pytest
from evaluation.evaluating import evaluate_model
from evaluation.fake_run import fake_revision, write_recipe, write_state

from lmeff.cli import main
from lmeff.evaluation.harness import Evaluation

SLOW = """
import sys, time
from pathlib import Path
from lmeff.evaluation.harness import Evaluation
before = (lambda: time.sleep(0.05)) if sys.argv[4] == "slow" else None
evaluation = Evaluation(Path(sys.argv[1]), ("lmeff_blimp",), Path(sys.argv[2]), {"blimp": sys.argv[3]}, before_batch=before)
evaluation.score()
evaluation.finish()
"""


def start(model: Path, output: Path, blimp: Path, speed: str, environment: dict) -> subprocess.Popen:
    command = [sys.executable, "-c", SLOW, str(model), str(output), str(blimp), speed]
    return prepared.Popen(command, env={**environment, "OMP_NUM_THREADS": "1"})


def wait_for(condition, process: subprocess.Popen, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "it ended before"
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.01)


@pytest.mark.slow
def test_an_evaluation_killed_at_paradigm_33_does_the_rest_and_gives_the_same_files(
    model_folder, mini_blimp, tmp_path, clean_environment
):
    """F22."""
    output = tmp_path / "killed"
    process = start(model_folder, output, mini_blimp, "slow", clean_environment)
    try:
        wait_for(lambda: len(list(output.glob(".parts/*.json"))) >= 33, process)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    done = {path.name: path.stat().st_mtime_ns for path in output.glob(".parts/lmeff*.json")}
    assert 33 <= len(done) < 67
    assert not list(output.glob("*.json"))

    scored = []
    rest = Evaluation(
        model_folder, ("lmeff_blimp",), output, {"blimp": str(mini_blimp)}, before_batch=lambda: scored.append(1)
    )
    assert not rest.is_scored()
    rest.score()
    assert rest.is_scored()
    assert {name: (output / ".parts" / name).stat().st_mtime_ns for name in done} == done
    assert 0 < len(scored) <= 67 - len(done) + 3  # and what tries whether the model takes trees
    rest.finish()

    whole = tmp_path / "whole"
    evaluate_model(model_folder, ["lmeff_blimp"], whole, paths={"blimp": str(mini_blimp)})
    for name in ("lmeff_blimp.json", "pairs/lmeff_blimp.parquet"):
        assert (output / name).read_bytes() == (whole / name).read_bytes()
    assert not (output / ".parts").exists()


@pytest.mark.medium
def test_answers_for_other_weights_data_or_settings_are_not_gone_on_with(model_folder, mini_blimp, tmp_path):
    output = tmp_path / "results" / "a"
    options = (("lmeff_blimp_wh_island",), output, {"blimp": str(mini_blimp)})
    changed = shutil.copytree(mini_blimp, tmp_path / "changed")
    (file,) = changed.glob("wh_island.jsonl")
    file.write_text(file.read_text().replace("Anna", "Carla"))
    Evaluation(model_folder, *options).score()
    assert Evaluation(model_folder, *options).is_scored()
    assert not Evaluation(model_folder, *options, limit=2).is_scored()
    assert not Evaluation(model_folder, *options, exact=True).is_scored()
    assert not Evaluation(model_folder, *options[:2], {"blimp": str(changed)}).is_scored()
    (part,) = (output / ".parts").glob("*.json")
    part.write_text(part.read_text()[:-20])
    assert not Evaluation(model_folder, *options).is_scored()


def test_the_same_weights_are_not_scored_again(model_folder, mini_blimp, tmp_path):
    """The final revision of a run is its last anchor."""
    copy = tmp_path / "copy"
    shutil.copytree(model_folder, copy)
    task = "lmeff_blimp_ellipsis"
    first = evaluate_model(model_folder, [task], tmp_path / "results" / "a", paths={"blimp": str(mini_blimp)})

    def never() -> None:
        raise AssertionError("computed again")

    again = Evaluation(copy, (task,), tmp_path / "results" / "b", {"blimp": str(mini_blimp)}, before_batch=never)
    again.score()
    assert again.finish() == first
    for name in (f"{task}.json", f"pairs/{task}.parquet"):
        files = [tmp_path / "results" / folder / name for folder in "ab"]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_a_model_that_cannot_be_loaded_is_named_and_the_others_go_on(model_folder, mini_blimp, tmp_path, capsys):
    run = tmp_path / "run"
    names = ["seed-0-tokens-0", "seed-0-tokens-1M", "seed-0-tokens-2M"]
    for name in names:
        fake_revision(model_folder, run, name)
    (run / "revisions" / names[1] / "model.safetensors").write_bytes(b"nothing")
    write_recipe(run, mini_blimp)
    assert main(["eval", str(run)]) == 1
    said = capsys.readouterr()
    assert f"{names[1]}: cannot be scored" in said.out
    assert f"1 of 3 models could not be scored: {names[1]}" in said.err
    assert [folder.name for folder in sorted((run / "results").iterdir()) if list(folder.glob("*.json"))] == [
        names[0],
        names[2],
    ]


def test_the_final_revision_stands_for_the_anchor_it_equals(model_folder, mini_blimp, tmp_path, capsys):
    run = tmp_path / "run"
    fake_revision(model_folder, run, "seed-0-tokens-1M")
    shutil.copytree(run / "revisions" / "seed-0-tokens-1M", run / "revisions" / "seed-0")
    anchor = run / "revisions" / "seed-0" / "anchor.json"
    anchor.write_text(json.dumps(json.loads(anchor.read_text()) | {"same_as": "seed-0-tokens-1M"}))
    write_recipe(run, mini_blimp)
    write_state(run, "complete")
    assert main(["eval", str(run), "--revisions", "seed-0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "seed-0-tokens-1M (same as seed-0)"
    assert lines[-1] == f"results: {run}/results/seed-0-tokens-1M; table: lmeff curves {run}; page: lmeff report {run}"
    assert main(["eval", str(run), "--revisions", "seed-0", "--follow"]) == 0
    assert capsys.readouterr().out.startswith("seed-0-tokens-1M (same as seed-0)\n")
    assert main(["eval", str(run), "--revisions", "seed-1"]) == 2
    assert "has no 'seed-1'" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_is_followed_until_it_ends(model_folder, mini_blimp, tmp_path, clean_environment):
    run = tmp_path / "run"
    (run / "revisions").mkdir(parents=True)
    write_recipe(run, mini_blimp)
    write_state(run, "running")
    command = [sys.executable, "-m", "lmeff.cli", "eval", str(run), "--follow"]
    process = subprocess.Popen(
        command, env=clean_environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        for name in ("seed-0-tokens-0", "seed-0-tokens-1M"):
            fake_revision(model_folder, run, name)
            result = run / "results" / name / "lmeff_blimp_wh_island.json"
            wait_for(result.exists, process)
        fake_revision(model_folder, run, "seed-0-tokens-2M")
        write_state(run, "complete")
        said, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    assert [line.split()[0] for line in said.splitlines()] == [
        "revision",
        *(f"seed-0-tokens-{name}" for name in ("0", "1M", "2M")),
        "results:",
    ]


def test_following_wants_a_run(model_folder, capsys):
    assert main(["eval", str(model_folder), "--tasks", "lmeff_synthetic", "--follow"]) == 2
    assert "is no run folder" in capsys.readouterr().err
