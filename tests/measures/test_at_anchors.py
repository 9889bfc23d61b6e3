"""What a run measures of its own revisions is what the verbs measure of them afterwards."""

import json
import shutil
import signal
from pathlib import Path

import pytest
from launching import (
    finish,
    interrupt,
    kill,
    launch,
    run_folder,
    start,
    state_of,
    train_here,
    wait_until,
    wait_until_stopped,
    weights,
    workers,
    write_recipe,
)

from lmeff.analysis import curves_csv, read_runs
from lmeff.analysis.reading.results import Score, TaskResult, read_results
from lmeff.cli import main
from lmeff.files import read_json
from lmeff.formats.result import kind_of
from lmeff.publishing.cards import scores_of

LONG = ("batch.sequence_length=128", "batch.micro=2")
"""So that a model has room for prompts and what it writes after them."""
MEASURED = (*LONG, "evaluation.measures=[perplexity,generation]")
FILES = {"weights.json", "similarity.json", "perplexity_dev.json", "generation.json", "generations.jsonl"}
REVISIONS = [f"seed-1-tokens-{tokens}" for tokens in ("0", "5k", "20k")]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("anchors"))


@pytest.fixture(scope="module")
def finished(recipe: Path) -> Path:
    """A run of one process that was left alone."""
    assert train_here([str(recipe), "name=plain", *MEASURED]) == 0
    return run_folder(recipe, "plain")


def results_of(folder: Path) -> dict[str, bytes]:
    """Every file of results, by revision and name."""
    files = (path for path in sorted(folder.glob("results/*/*")) if path.is_file())
    return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in files}


def all_names() -> set[str]:
    return {f"{revision}/{name}" for revision in REVISIONS for name in FILES}


def measured_by_verbs(folder: Path) -> dict[str, bytes]:
    """The results of a copy of the run that has none yet, and that the verbs are called for."""
    copy = folder.with_name(f"{folder.name}-copy")
    shutil.copytree(folder, copy)
    shutil.rmtree(copy / "results")
    for verb in ("weights", "perplexity", "generate"):
        assert main([verb, str(copy)]) == 0
    found = results_of(copy)
    shutil.rmtree(copy)
    return found


@pytest.mark.medium
def test_a_run_measures_what_the_verbs_measure_afterwards(finished: Path):
    found = results_of(finished)
    assert set(found) == all_names()
    assert measured_by_verbs(finished) == found


@pytest.mark.medium
def test_the_verbs_take_what_the_run_has_measured(finished: Path):
    before = {path: path.stat().st_mtime_ns for path in finished.glob("results/*/*")}
    for verb in ("weights", "perplexity", "generate"):
        assert main([verb, str(finished)]) == 0
    assert {path: path.stat().st_mtime_ns for path in finished.glob("results/*/*")} == before


@pytest.mark.medium
def test_results_say_what_they_are_of(finished: Path):
    results = {path.name: read_json(path) for path in finished.glob("results/*/*.json")}
    assert {result["format"] for result in results.values()} == {1}
    kinds = {name: result["kind"] for name, result in results.items()}
    expected = {"weights.json": "weights", "similarity.json": "weights"}
    assert kinds == {**expected, "perplexity_dev.json": "perplexity", "generation.json": "generation"}


@pytest.mark.medium
def test_results_of_an_older_version_which_do_not_say_it_are_read_alike(finished: Path, tmp_path: Path):
    copy = tmp_path / "seed-1"
    shutil.copytree(finished, copy)
    for path in copy.glob("results/*/*.json"):
        content = read_json(path)
        kind = content.pop("kind")
        path.write_text(json.dumps(content))
        assert kind_of(content) == kind, path
    read = [read_results(run / "results" / REVISIONS[1]) for run in (finished, copy)]
    assert read[0] == read[1]
    assert read[0].weights["norm"] > 0


def test_a_task_of_lm_eval_with_a_perplexity_is_no_measure_of_ours():
    """LAMBADA has accuracy and perplexity, and one of them alone would stand on a card."""
    metrics = {"acc": Score(0.5, None), "perplexity": Score(30.0, None)}
    content = {"results": {"lambada_openai": {f"{metric},none": score.value for metric, score in metrics.items()}}}
    assert kind_of(content) == "choices"
    shown = scores_of([("lambada_openai", TaskResult(metrics, 10, kind=kind_of(content)))])
    assert {score.metric for score in shown} == {"acc", "perplexity"}
    shown = scores_of([("perplexity_dev", TaskResult(metrics, 10, kind="perplexity"))])
    assert {score.metric for score in shown} == {"perplexity"}


@pytest.mark.medium
def test_curves_and_the_report_show_them(finished: Path):
    table = curves_csv(read_runs([finished]))
    for task, metric in (("perplexity_dev", "bits_per_byte"), ("generation", "distinct_1")):
        rows = [line for line in table.splitlines() if task in line.split(",") and metric in line.split(",")]
        assert len(rows) == len(REVISIONS), (task, metric)
    assert "Once upon a time" in (finished / "report.html").read_text(), "the texts of the first and the last anchor"


@pytest.mark.medium
def test_training_is_not_changed(finished: Path, recipe: Path):
    assert train_here([str(recipe), "name=unmeasured", *LONG, "evaluation.at_anchors=false"]) == 0
    unmeasured = run_folder(recipe, "unmeasured")
    assert weights(unmeasured) == weights(finished)
    assert not (unmeasured / "results").exists()


@pytest.mark.medium
def test_a_measure_that_fails_is_a_line_and_not_the_end_of_a_run(recipe: Path, capsys: pytest.CaptureFixture):
    """Prompts have no room in windows of 32 tokens."""
    assert train_here([str(recipe), "name=failing", "anchors.tokens=[0, 5k]", MEASURED[-1]]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "no texts were generated" in line]
    assert [line.partition(": ")[0] for line in lines] == REVISIONS[:2]
    assert "the model takes 32 in all" in lines[0]
    for revision in REVISIONS[:2]:
        assert (run_folder(recipe, "failing") / "results" / revision / "perplexity_dev.json").is_file()


def test_finetuning_without_data_is_told_before_a_step_is_trained(
    recipe: Path, capsys: pytest.CaptureFixture, monkeypatch
):
    monkeypatch.delenv("LMEFF_EVAL_DATA", raising=False)
    assert train_here([str(recipe), "name=nothing", "evaluation.measures=[finetuning]"]) == 2
    assert "evaluation.measures: finetuning finds no data" in capsys.readouterr().err
    assert not (run_folder(recipe, "nothing") / "revisions").exists()


def write_rte(folder: Path) -> Path:
    folder.mkdir()
    for split in ("train", "validation"):
        rows = [
            {"sentence1": f"Anna had {n} cats.", "sentence2": f"Anna had {n + n % 2} cats.", "label": n % 2}
            for n in range(40)
        ]
        (folder / f"rte_{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


@pytest.mark.slow
def test_the_final_revision_is_profiled_and_fine_tuned_when_training_has_ended(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    data = write_rte(tmp_path / "superglue")
    words = [*LONG, "evaluation.measures=[profile,finetuning]", f"evaluation.paths={{superglue: {data}}}", "name=whole"]
    assert train_here([str(recipe), *words, "evaluation.weights=false"]) == 0
    folder = run_folder(recipe, "whole")
    results = folder / "results" / REVISIONS[-1]
    assert [path.name for path in (folder / "results").iterdir()] == [REVISIONS[-1]]
    (profile,) = results.glob("profile/*.json")
    assert read_json(profile)["weights_sha256"] == weights(folder)["seed-1"]
    assert read_json(profile)["name"] == str(folder)
    tuned = results / "finetune_rte.json"
    before = tuned.stat().st_mtime_ns
    capsys.readouterr()
    assert main(["finetune", str(folder), "--revisions", "seed-1", "--tasks", "superglue"]) == 0
    assert tuned.stat().st_mtime_ns == before, "the verb takes what the run has measured"
    assert "left out, since there are no training data: boolq, multirc, wsc" in capsys.readouterr().out
    assert read_json(tuned)["kind"] == read_json(results / "finetune_superglue.json")["kind"] == "finetuning"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["killed", "asked to stop"])
def test_interrupted_in_the_middle_of_a_measure(recipe: Path, finished: Path, how: str):
    name = how.replace(" ", "_")
    folder = run_folder(recipe, name) / "results" / REVISIONS[1]
    fault = f"stop_in_text:{folder / 'perplexity_dev.json'}"
    process = start(None, str(recipe), f"name={name}", *MEASURED, faults=[fault])
    wait_until_stopped(process)
    assert (folder / "perplexity_dev.json").is_file()
    if how == "killed":
        kill(process)
    else:
        interrupt(process)
        assert process.returncode == 75
        assert state_of(run_folder(recipe, name))["state"] == "interrupted"
    assert not (folder / "generation.json").exists()
    finish(start(None, str(recipe), f"name={name}", *MEASURED))
    assert results_of(run_folder(recipe, name)) == results_of(finished)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["cpu_ddp", "cpu_zero3"])
def test_processes_share_the_measures(recipe: Path, launcher: str):
    launch(launcher, str(recipe), f"name={launcher}", *MEASURED)
    folder = run_folder(recipe, launcher)
    assert set(results_of(folder)) == all_names()
    assert measured_by_verbs(folder) == results_of(folder)
    assert not list(folder.glob(".waiting*"))


@pytest.mark.slow
def test_processes_are_interrupted_together(recipe: Path):
    words = ("cpu_ddp", str(recipe), "name=together", *MEASURED)
    folder = run_folder(recipe, "together")
    process = start(*words)
    wait_until((folder / "results" / REVISIONS[1] / "weights.json").is_file, process)
    workers(process)[1].send_signal(signal.SIGTERM)
    process.communicate()
    assert state_of(folder)["state"] == "interrupted"
    launch(*words)
    assert measured_by_verbs(folder) == results_of(folder)
