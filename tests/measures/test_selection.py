"""Which models are meant, where their results go, and what keeps results of one from replacing those of another."""

import json
import math
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from evaluation.fake_run import fake_revision, write_recipe, write_state
from evaluation.small_models import write_pairs

from lmeff.cli import main
from lmeff.errors import RunFailed
from lmeff.measures.measure import Measure, Measured, measured, measured_each
from lmeff.measures.scores.following import follow_run
from lmeff.measures.scores.table import ScoreTable
from lmeff.measures.selection import SelectedModel, select_models

TASK = "lmeff_pairs"


@pytest.fixture
def here(tmp_path, monkeypatch, mini_blimp) -> Path:
    """A working directory with pairs to score."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LMEFF_EVAL_DATA", raising=False)
    write_pairs(Path("pairs/own.jsonl"), [(f"Anna sees {n} doctors.", f"doctors {n} Anna sees.") for n in range(6)])
    return tmp_path


def score(*words: str) -> int:
    return main(["eval", *words, "--tasks", TASK, "--path", "pairs=pairs", "--device", "cpu"])


def num_scored(path: Path) -> int:
    (counts,) = json.loads(path.read_text())["n-samples"].values()
    return counts["effective"]


@pytest.mark.medium
def test_a_part_of_the_examples_never_replaces_all_of_them(model_folder, here, capsys):
    shutil.copytree(model_folder, "model")
    path = Path("outputs/eval/model") / f"{TASK}.json"
    assert score("model", "--limit", "2") == 0
    assert num_scored(path) == 2
    assert score("model") == 0, "all of them may replace a part"
    assert num_scored(path) == 6
    capsys.readouterr()
    assert score("model", "--limit", "2") == 2
    said = capsys.readouterr().err
    assert "--limit: " in said
    assert "--output DIR" in said
    assert len(said.splitlines()) == 1
    assert num_scored(path) == 6
    assert score("model", "--limit", "2", "--output", "part") == 0
    assert num_scored(Path("part") / f"{TASK}.json") == 2


def test_models_of_one_name_do_not_share_results(model_folder, here, monkeypatch, capsys):
    for parent in "ab":
        shutil.copytree(model_folder, Path(parent) / "model")
    assert score("a/model") == score("./a/model/") == 0
    capsys.readouterr()
    assert score("b/model") == 2
    assert f"outputs/eval/model: holds results of {here}/a/model" in capsys.readouterr().err


def test_runs_do_not_share_a_folder_of_results(model_folder, here, capsys):
    """Their revisions have the same names."""
    for run, name in (("a/seed-0", "seed-0-tokens-1M"), ("b/seed-0", "seed-0-tokens-1M")):
        fake_revision(model_folder, Path(run), name)
    assert score("a/seed-0", "--output", "out") == score("a/seed-0", "--output", "out") == 0
    assert (Path("out") / "seed-0-tokens-1M" / f"{TASK}.json").is_file()
    capsys.readouterr()
    assert score("b/seed-0", "--output", "out") == 2
    assert f"holds results of {here}/a/seed-0" in capsys.readouterr().err


def test_a_model_with_pickled_weights_is_named_and_not_passed_over(model_folder, here, capsys):
    for name in ("chck_1M", "chck_2M"):
        shutil.copytree(model_folder, Path("babygpt") / name)
    (Path("babygpt") / "chck_2M" / "model.safetensors").rename("babygpt/chck_2M/pytorch_model.bin")
    assert score("babygpt") == 1
    assert "chck_2M: cannot be scored: babygpt/chck_2M: holds no safetensors weights" in capsys.readouterr().out


def test_wrong_words_are_told_before_a_model_is_loaded(model_folder, mini_blimp, here, capsys):
    fake_revision(model_folder, Path("run"), "seed-0-tokens-1M")
    write_recipe(Path("run"), mini_blimp)
    assert score("run", "--exact", "--precision", "adaptive") == 2
    assert "--exact: is lm-eval's own scoring in float32" in capsys.readouterr().err
    shutil.rmtree("run/revisions")  # a run in its first steps
    assert score("run", "--follow", "--limit", "2") == 2
    assert "--limit: a part's results" in capsys.readouterr().err


def test_a_model_folder_has_no_revisions(model_folder, here, capsys):
    assert main(["eval", str(model_folder), "--revisions", "foo", "--tasks", "lmeff_synthetic"]) == 2
    assert f"--revisions: {model_folder} is one model and has no 'foo'" in capsys.readouterr().err


def test_a_model_folder_is_named_also_where_it_is_called_a_dot(model_folder, here, monkeypatch):
    shutil.copytree(model_folder, "model")
    monkeypatch.chdir("model")
    (found,) = select_models(".")
    assert (found.output, found.name) == (Path("outputs/eval/model"), "model")


def test_revisions_of_different_runs_have_folders_of_their_own(model_folder, here):
    outputs = set()
    for run in ("small/seed-0", "large/seed-0", "alone"):
        fake_revision(model_folder, Path(run), "seed-0-tokens-1M")
        (found,) = select_models(f"{run}/revisions/seed-0-tokens-1M")
        outputs.add(found.output.relative_to("outputs/eval").as_posix())
    assert outputs == {f"{name}-seed-0-tokens-1M" for name in ("small", "large", "alone")}


@pytest.mark.medium
def test_data_are_named_on_the_command_line(model_folder, here, capsys):
    shutil.copytree(model_folder, "model")
    with pytest.raises(SystemExit) as error:
        main(["eval", "model", "--tasks", TASK, "--path", "pairs"])
    assert error.value.code == 2
    assert "not NAME=DIR" in capsys.readouterr().err
    assert main(["eval", "model", "--tasks", TASK, "--path", "pears=pairs"]) == 2
    assert "no data named 'pears'; did you mean 'pairs'?" in capsys.readouterr().err
    Path("own").mkdir()
    (Path("own") / "mine.yaml").write_text(
        "task: mine\ncustom_dataset: !function made.data\noutput_type: multiple_choice\ntest_split: test\n"
        "doc_to_text: ''\ndoc_to_target: 0\ndoc_to_choice: ['Anna', 'Boris']\n"
        "metric_list: [{metric: acc}]\n"
    )
    (Path("own") / "made.py").write_text(
        "import datasets\n\ndef data(**_):\n    return {'test': datasets.Dataset.from_list([{'n': 1}, {'n': 2}])}\n"
    )
    assert main(["eval", "model", "--tasks", "mine", "--include-path", "own"]) == 0
    assert "mine  " in capsys.readouterr().out


def test_a_line_says_the_percent_the_interval_and_over_what():
    """Wilson's interval of 3 of 4 is by hand: (0.75 + 1.96²/8 ± 1.96 √(0.75·0.25/4 + 1.96²/64)) / (1 + 1.96²/4)."""
    table = ScoreTable(["seed-0"], ["pairs"])
    result = {
        "lmeff": {"num_pairs": 4},
        "results": {"pairs": {"acc,none": 1.0, "acc_stderr,none": 0.0, "ties,none": 0.25}},
        "n-samples": {"a": {"effective": 1}, "b": {"effective": 3}},
        "group_subtasks": {"pairs": ["a", "b"]},
    }
    (line,) = table.lines("seed-0", {"pairs": result})
    assert re.split(r" {2,}", line) == ["seed-0", "pairs", "100.00%", "[51.0, 100.0] over 4 pairs", "25.00% ties"]
    assert table.header().split() == ["revision", "task", "accuracy", "95%", "interval"]
    result["results"] = {
        "pairs": {"acc,none": 0.75, "acc_stderr,none": math.sqrt(0.75 * 0.25 / 3), "majority,none": 0.5}
    }
    (line,) = table.lines("seed-0", {"pairs": result})
    assert "75.00%  [30.1, 95.4] over 4 pairs" in line
    assert line.endswith("50.00% for the most frequent label alone")


def test_pairs_that_were_made_from_the_same_items_count_once():
    """EWoK at 100%: 8 pairs of 4 items, Wilson's interval of 4 of 4."""
    result = {
        "lmeff": {"num_pairs": 8, "num_items": 4, "num_items_of": {"a": 1, "b": 3}},
        "results": {"ewok": {"acc,none": 1.0, "acc_stderr,none": 0.0}},
        "n-samples": {"a": {"effective": 2}, "b": {"effective": 6}},
        "group_subtasks": {"ewok": ["a", "b"]},
    }
    (line,) = ScoreTable(["seed-0"], ["ewok"]).lines("seed-0", {"ewok": result})
    assert "[51.0, 100.0] over 4 items" in line


def test_metrics_of_a_task_without_accuracy_are_shown():
    scores = {"alias": "wug", "spearman,none": 0.43123, "spearman_stderr,none": "N/A", "f1,strict": 2 / 3}
    (line,) = ScoreTable(["m"], ["wug"]).lines("m", {"wug": {"lmeff": {}, "results": {"wug": scores}}})
    assert line.split() == ["m", "wug", "spearman", "0.4312", "f1,strict", "0.6667"]


def test_tasks_of_a_group_without_a_score_are_shown():
    results = {"mine": {"alias": "mine", "name": "mine"}, "a": {"alias": "a", "acc,none": 0.5}, "b": {"acc,none": 0.25}}
    lines = list(ScoreTable(["m"], ["mine"]).lines("m", {"mine": {"lmeff": {}, "results": results}}))
    assert [line.split() for line in lines[1:]] == [["m", "a", "50.00%"], ["m", "b", "25.00%"]]


class Scripted(Measure):
    """Notes which models it is asked for, and does what it is told then."""

    def __init__(self, act: Callable[[SelectedModel], None] = lambda model: None) -> None:
        self.act, self.names = act, []

    def measure(self, model: SelectedModel, folder: Path, say: Callable[[str], None]) -> None:
        self.names.append(model.name)
        self.act(model)


def test_an_error_that_says_nothing_is_named_by_its_kind(model_folder, tmp_path):
    def fail(model):
        raise KeyError("vocab_size")

    said = []
    with pytest.raises(RunFailed, match="1 of 1 models could not be scored: model"):
        list(measured(Scripted(fail), [SelectedModel(model_folder, tmp_path / "results")], said.append))
    assert said == [f"{model_folder.name}: cannot be scored: KeyError: 'vocab_size'"]


class Followed:
    """A run to follow, that says what was scored, and goes on by itself."""

    def __init__(self, run: Path, model_folder: Path, blimp: Path, *steps) -> None:
        (run / "revisions").mkdir(parents=True)
        write_recipe(run, blimp)
        self.run, self.model_folder, self.steps = run, model_folder, list(steps)
        self.measure = Scripted(self._go_on)

    @property
    def scored(self) -> list[str]:
        return self.measure.names

    def save(self, name: str) -> None:
        fake_revision(self.model_folder, self.run, name)

    def _go_on(self, model: SelectedModel) -> None:
        if self.steps:
            self.steps.pop(0)(self)

    def follow(self, *names: str) -> list[Measured]:
        coming = follow_run(self.run, names or None, poll_seconds=0.01)
        return list(measured_each(self.measure, coming, print))


def test_the_first_of_two_followed_revisions_does_not_wait_for_the_second(model_folder, mini_blimp, tmp_path):
    def second(followed):
        assert followed.scored == ["seed-0-tokens-0"]
        followed.save("seed-0-tokens-1M")
        followed.save("seed-0-tokens-2M")
        write_state(followed.run, "complete")

    followed = Followed(tmp_path / "run", model_folder, mini_blimp, second)
    followed.save("seed-0-tokens-0")
    write_state(followed.run, "running")
    followed.follow("seed-0-tokens-0", "seed-0-tokens-2M")
    assert followed.scored == ["seed-0-tokens-0", "seed-0-tokens-2M"]


def test_a_followed_name_that_no_revision_got_is_a_mistake(model_folder, mini_blimp, tmp_path, capsys):
    run = tmp_path / "run"
    followed = Followed(run, model_folder, mini_blimp)
    followed.save("seed-0-tokens-0")
    write_state(run, "complete")
    assert main(["eval", str(run), "--follow", "--revisions", "seed-0-tokens-0,seed-0-tokens-9M"]) == 2
    said = capsys.readouterr()
    assert re.search(r"^seed-0-tokens-0 +lmeff_blimp_wh_island", said.out, re.MULTILINE)
    assert f"--revisions: {run} has no 'seed-0-tokens-9M'; it has seed-0-tokens-0" in said.err


def set_state(run: Path, **facts) -> None:
    path = run / "state.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))


def test_a_killed_run_is_not_waited_for(model_folder, mini_blimp, tmp_path):
    process = subprocess.Popen(["sleep", "60"])
    followed = Followed(tmp_path / "run", model_folder, mini_blimp, lambda _: (process.kill(), process.wait()))
    followed.save("seed-0-tokens-0")
    write_state(followed.run, "running")
    set_state(followed.run, pid=process.pid, host=socket.gethostname())
    with pytest.raises(RunFailed, match=rf"its process \({process.pid}\) is gone") as error:
        followed.follow("seed-0-tokens-0", "seed-0-tokens-1M")
    assert followed.scored == ["seed-0-tokens-0"]
    assert "start the run again" in str(error.value)


def test_a_silent_run_elsewhere_is_warned_of_and_waited_for(model_folder, mini_blimp, tmp_path, capsys, monkeypatch):
    """Also a live one here."""
    followed = Followed(tmp_path / "run", model_folder, mini_blimp)
    write_state(followed.run, "running")
    waits = []

    def wait(_):
        waits.append(None)
        if len(waits) == 3:
            set_state(followed.run, pid=os.getpid(), host=socket.gethostname())
        if len(waits) == 6:
            followed.save("seed-0-tokens-0")
            write_state(followed.run, "complete")

    monkeypatch.setattr("lmeff.measures.scores.following.time.sleep", wait)
    followed.follow()
    assert followed.scored == ["seed-0-tokens-0"]
    assert len(waits) == 6
    assert capsys.readouterr().err.count("says it runs on here, but nothing else since 2026-01-01") == 1
