"""What is read of a task: texts, labels, the dev split; and mistakes in it, one line each."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lmeff.errors import InputError, RunFailed
from lmeff.measures.finetuning.data import NoTrainingData, load_task
from lmeff.measures.finetuning.metrics import constant_answer
from lmeff.measures.finetuning.tasks import GROUPS, TASKS, find_tasks
from lmeff.recipe.sections.finetune import FinetuneRecipe, FinetuneSettings

SETTINGS = FinetuneSettings(max_train_examples=None)


def write(folder: Path, name: str, rows: list[dict]) -> None:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_leaner_glue_is_read_whole(shared_data):
    sizes = {}
    for name in ("cola", "mrpc", "rte", "stsb", "wnli"):
        data = load_task(TASKS[f"leaner_{name}"], SETTINGS, None, {"leaner_glue": str(shared_data / "leaner_glue")})
        sizes[name] = (len(data.train) + len(data.dev), len(data.validation["validation"]))
        assert data.num_offered == sizes[name][0]
        assert 0.08 < len(data.dev) / data.num_offered < 0.14
        assert not {one.first for one in data.train} & {one.first for one in data.dev}
    assert sizes == {
        "cola": (7443, 452),
        "mrpc": (2730, 166),
        "rte": (2197, 133),
        "stsb": (4415, 542),
        "wnli": (545, 30),
    }
    with pytest.raises(NoTrainingData, match=r"leaner_sst2: no training data in .*sst2_train.jsonl"):
        load_task(TASKS["leaner_sst2"], SETTINGS, str(shared_data / "leaner_glue"), {})


def test_the_dev_split_depends_on_content_alone(tmp_path):
    rows = [{"sentence": f"Sentence {n}.", "label": n % 2} for n in range(100)]
    held = []
    for order in (rows, rows[::-1]):
        write(tmp_path, "cola_train.jsonl", order)
        write(tmp_path, "cola_validation.jsonl", rows[:4])
        held.append(sorted(one.first for one in load_task(TASKS["cola"], SETTINGS, str(tmp_path), {}).dev))
    assert held[0] == held[1]
    assert len(held[0]) == 10
    write(tmp_path, "cola_train.jsonl", rows)
    few = load_task(TASKS["cola"], FinetuneSettings(max_train_examples=20), str(tmp_path), {})
    assert (len(few.train), len(few.dev), few.num_offered) == (20, 10, 100)
    part = load_task(TASKS["cola"], SETTINGS, str(tmp_path), {}, limit=3)
    assert (len(part.train), len(part.dev), part.num_trainable) == (3, 3, 90)
    assert few.sha256 != load_task(TASKS["cola"], SETTINGS, str(tmp_path), {}).sha256


def test_a_scored_split_may_be_called_dev_and_is_not_the_one_to_choose_by(tmp_path):
    rows = [{"sentence": f"Sentence {n}.", "label": n % 2} for n in range(100)]
    write(tmp_path, "cola_train.jsonl", rows)
    write(tmp_path, "cola_dev.jsonl", rows[:4])
    task = find_tasks(["cola"], FinetuneRecipe(tasks={"cola": {"validation_split": "dev"}})).tasks["cola"]
    data = load_task(task, SETTINGS, str(tmp_path), {})
    assert (len(data.dev), len(data.validation["dev"])) == (10, 4)
    assert (
        len({one.sha256 for one in (data, replace(data, dev=data.dev[1:]), replace(data, validation={"dev": ()}))}) == 3
    )


def test_hidden_labels_of_a_number_are_refused(tmp_path):
    rows = [{"sentence1": f"{n}.", "sentence2": "B.", "label": n / 20} for n in range(100)]
    write(tmp_path, "stsb_train.jsonl", rows)
    write(tmp_path, "stsb_validation.jsonl", [rows[0], {**rows[1], "label": -1.0}])
    with pytest.raises(InputError, match=r"stsb_validation.jsonl, line 2: its label is -1, that is hidden"):
        load_task(TASKS["stsb"], SETTINGS, str(tmp_path), {})
    files = {split: str(tmp_path / f"stsb_{split}.jsonl") for split in ("train", "validation")}
    own = {"files": files, "columns": ["sentence1"], "regression": True}
    task = find_tasks(["mine"], FinetuneRecipe(tasks={"mine": own})).tasks["mine"]
    assert load_task(task, SETTINGS, None, {}).validation["validation"][1].label == -1


@pytest.mark.parametrize("hidden", [-1, "-1"])
def test_a_hidden_label_is_no_label_of_its_own(tmp_path, hidden):
    """Three labels and the mark of hidden ones must not become four labels."""
    rows = [{"sentence": f"{n}.", "label": n % 3} for n in range(60)]
    write(tmp_path, "own_train.jsonl", [*rows, {"sentence": "Hidden.", "label": hidden}])
    write(tmp_path, "own_validation.jsonl", rows)
    files = {split: str(tmp_path / f"own_{split}.jsonl") for split in ("train", "validation")}
    own = {"files": files, "columns": ["sentence"]}
    task = find_tasks(["mine"], FinetuneRecipe(tasks={"mine": own})).tasks["mine"]
    with pytest.raises(
        InputError, match=r"own_train.jsonl, line 61: its label is -1, .* name the labels with tasks.mine.labels"
    ):
        load_task(task, SETTINGS, None, {})
    named = find_tasks(["mine"], FinetuneRecipe(tasks={"mine": {**own, "labels": ["-1", "0", "1", "2"]}})).tasks["mine"]
    assert load_task(named, SETTINGS, None, {}).labels == ("-1", "0", "1", "2")


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_a_file_without_examples_is_refused(tmp_path, content):
    write(tmp_path, "cola_train.jsonl", [{"sentence": f"{n}.", "label": n % 2} for n in range(8)])
    (tmp_path / "cola_validation.jsonl").write_text(content)
    with pytest.raises(InputError, match=r"cola_validation.jsonl: holds no examples"):
        load_task(TASKS["cola"], SETTINGS, str(tmp_path), {})


def test_multirc_passages_are_on_one_side_and_questions_stay_together(tmp_path):
    rows = [
        {"paragraph": f"Passage {p}.", "question": f"Why {q}?", "answer": f"Since {a}.", "label": a % 2}
        for p in range(20)
        for q in range(2)
        for a in range(3)
    ]
    for split in ("train", "validation"):
        write(tmp_path, f"multirc_{split}.jsonl", rows)
    data = load_task(TASKS["multirc"], SETTINGS, str(tmp_path), {})
    assert len(data.dev) == 12
    assert not {one.first for one in data.train} & {one.first for one in data.dev}
    assert len({one.question for one in data.validation["validation"]}) == 40
    assert (data.train[0].first.partition(" ")[0], data.train[0].second) == ("Passage", "Why 0? Since 0.")
    whole = [{**rows[0], "question": "Why 0? Since", "answer": "0."}, *rows[1:]]  # reads the same, is another question
    write(tmp_path, "multirc_validation.jsonl", whole)
    other = load_task(TASKS["multirc"], SETTINGS, str(tmp_path), {})
    assert other.validation["validation"][0].second == data.validation["validation"][0].second
    assert other.sha256 != data.sha256


def test_wsc_marks_the_pronoun_that_is_asked_about(tmp_path):
    row = {
        "text": "Mark told Pete many lies about himself, which he believed. Then he left.",
        "span1_text": "Mark",
        "span2_text": "he",
        "span2_index": 8,
        "label": 0,
    }
    for split in ("train", "validation"):
        write(tmp_path, f"wsc_{split}.jsonl", [row, {**row, "text": row["text"] + " Ah.", "span2_index": 10}])
    first, second = load_task(TASKS["wsc"], SETTINGS, str(tmp_path), {}).validation["validation"]
    assert (first.first, first.second) == (row["text"].replace("which he", "which *he*"), "Mark")
    assert "Then *he* left" in second.first  # the index is off by one, as in some published examples
    rows = [{**row, "text": f"{n} {row['text']}", "span2_index": place} for n in range(12) for place in (9, 11)]
    write(tmp_path, "wsc_train.jsonl", rows)
    data = load_task(TASKS["wsc"], SETTINGS, str(tmp_path), {})
    sentences = [{one.first.replace("*", "") for one in part} for part in (data.train, data.dev)]
    assert len(sentences[0]) + len(sentences[1]) == 12  # both pronouns of a sentence are on one side
    write(tmp_path, "wsc_train.jsonl", [{**row, "span2_text": "she"}])
    with pytest.raises(InputError, match=r"wsc_train.jsonl, line 1: its text does not hold the word 'she'"):
        load_task(TASKS["wsc"], SETTINGS, str(tmp_path), {})


def test_both_validation_splits_of_mnli_and_the_file_names_of_babylm(tmp_path):
    rows = [{"premise": f"It is {n}.", "hypothesis": "It is.", "label": n % 3} for n in range(12)]
    write(tmp_path, "mnli.train.jsonl", rows)
    write(tmp_path, "mnli.valid.jsonl", rows[:5])
    data = load_task(TASKS["mnli"], SETTINGS, str(tmp_path), {})
    assert {name: len(found) for name, found in data.validation.items()} == {"validation_matched": 5}
    write(tmp_path, "mnli_validation_mismatched.jsonl", rows[:4])
    data = load_task(TASKS["mnli"], SETTINGS, str(tmp_path), {})
    assert {name: len(found) for name, found in data.validation.items()} == {
        "validation_matched": 5,
        "validation_mismatched": 4,
    }


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"sentence": "A.", "label": -1}', "line 3: its label is -1, that is hidden"),
        ('{"sentence": "A.", "label": 2}', "line 3: label is 2, none of unacceptable, acceptable"),
        ('{"sentence": "A."}', "line 3: no field 'label'; it has sentence"),
        ('{"sentence": 5, "label": 1}', "line 3: sentence must be text, not 5"),
        ('{"sentence": "A.", label', "line 3: not readable as JSON"),
        ("[1]", "line 3: must be an object"),
    ],
)
def test_a_wrong_example_is_named_by_file_and_line(tmp_path, line, said):
    write(tmp_path, "cola_train.jsonl", [{"sentence": f"{n}.", "label": n % 2} for n in range(8)])
    write(
        tmp_path,
        "cola_validation.jsonl",
        [{"sentence": "A.", "label": "acceptable"}, {"sentence": "B.", "label": True}],
    )
    with open(tmp_path / "cola_validation.jsonl", "a") as file:
        file.write(line + "\n")
    with pytest.raises(InputError) as caught:
        load_task(TASKS["cola"], SETTINGS, str(tmp_path), {})
    assert said in str(caught.value)
    assert "cola_validation.jsonl" in str(caught.value)


def test_where_data_are_looked_for(tmp_path, monkeypatch):
    monkeypatch.delenv("LMEFF_EVAL_DATA", raising=False)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"leaner_rte: its data are on no Hub; .*--data DIR"):
        load_task(TASKS["leaner_rte"], SETTINGS, None, {})
    with pytest.raises(RunFailed, match=r"rte: cannot be read from the Hub data set nyu-mll/glue .*--data DIR"):
        load_task(TASKS["rte"], SETTINGS, None, {})
    with pytest.raises(InputError, match=r"evaluation.paths.leaner_glue: /nowhere: no such folder"):
        load_task(TASKS["leaner_rte"], SETTINGS, None, {"leaner_glue": "/nowhere"})
    (tmp_path / "leaner_glue").mkdir()
    rows = [{"sentence1": f"{n}.", "sentence2": "B.", "label": n % 2} for n in range(8)]
    for split in ("train", "validation"):
        write(tmp_path / "leaner_glue", f"rte_{split}.jsonl", rows)
    monkeypatch.setenv("LMEFF_EVAL_DATA", str(tmp_path))
    assert load_task(TASKS["leaner_rte"], SETTINGS, None, {}).num_offered == 8


def test_without_a_network_the_hub_is_asked_once_and_said_in_words(monkeypatch, capfd):
    monkeypatch.delenv("LMEFF_EVAL_DATA", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("lmeff.hub.availability._away", {})
    with pytest.raises(
        RunFailed, match=r"nyu-mll/glue \(127\.0\.0\.1 cannot be reached \(.*refused\)\); to use local files"
    ):
        load_task(TASKS["rte"], SETTINGS, None, {})
    assert capfd.readouterr().err == ""


def test_a_task_of_several_groups_is_found_in_the_folder_of_any(tmp_path, monkeypatch):
    monkeypatch.setenv("LMEFF_EVAL_DATA", str(tmp_path))
    rows = [{"sentence1": f"{n}.", "sentence2": "B.", "label": n % 2} for n in range(8)]
    (tmp_path / "glue").mkdir()
    for size, suite in ((6, "superglue"), (7, "babylm"), (8, "glue")):
        (tmp_path / suite).mkdir(exist_ok=True)
        for split in ("train", "validation"):
            write(tmp_path / suite, f"rte_{split}.jsonl", rows[:size])
        found = load_task(TASKS["rte"], SETTINGS, None, {})
        assert (found.num_offered, found.origin) == ({6: 6, 7: 6, 8: 8}[size], "local")
    assert load_task(TASKS["rte"], SETTINGS, None, {}, groups=["babylm"]).num_offered == 7
    assert (
        load_task(
            TASKS["rte"], SETTINGS, None, {"superglue": str(tmp_path / "babylm")}, groups=["superglue"]
        ).num_offered
        == 7
    )
    with pytest.raises(NoTrainingData):
        load_task(TASKS["cola"], SETTINGS, None, {})


def test_the_files_of_ones_own_may_hold_the_numbers_of_named_labels(tmp_path):
    def labels(values: list, names: list[str] | None) -> list[int]:
        write(tmp_path, "own.jsonl", [{"text": f"{n}.", "label": value} for n, value in enumerate(values)])
        files = {"train": str(tmp_path / "own.jsonl"), "validation": str(tmp_path / "own.jsonl")}
        recipe = FinetuneRecipe(tasks={"own": {"files": files, "columns": ["text"], "labels": names}})
        task = find_tasks(["own"], recipe).tasks["own"]
        return [one.label for one in load_task(task, SETTINGS, None, {}).validation["validation"]]

    assert labels([0, 1, "good"], ["bad", "good"]) == [0, 1, 1]
    assert labels([2, 1], ["2", "1"]) == [0, 1]
    for values, names in (([0, 2], ["bad", "good"]), ([0, True], ["bad", "good"]), ([1, 0], ["1", "2"])):
        with pytest.raises(InputError, match=r"own.jsonl, line \d: label is \w+, none of"):
            labels(values, names)


def test_the_constant_answer_is_of_all_training_examples(tmp_path):
    rows = [{"sentence": f"Sentence {n}.", "label": int(n < 40)} for n in range(100)]
    for split in ("train", "validation"):
        write(tmp_path, f"cola_{split}.jsonl", rows)
    data = load_task(TASKS["cola"], FinetuneSettings(max_train_examples=1), str(tmp_path), {}, limit=1)
    assert (len(data.train), constant_answer(data.task, data.offered_labels)) == (1, 0)
    assert sorted(data.offered_labels) == [0] * 60 + [1] * 40


def test_groups_hold_tasks_that_exist_and_unknown_names_are_refused():
    assert {task for tasks in GROUPS.values() for task in tasks} <= set(TASKS)
    wanted = find_tasks(["glue", "boolq", "rte"], FinetuneRecipe())
    assert list(wanted.tasks) == [*GROUPS["glue"], "boolq"]
    assert wanted.named == {"boolq", "rte"}
    with pytest.raises(InputError, match=r"--tasks: no task 'bolq'; did you mean 'boolq'\?"):
        find_tasks(["bolq"], FinetuneRecipe())
    own = FinetuneRecipe(tasks={"rte": {"files": {"train": "a", "validation": "b"}, "columns": ["text"]}})
    with pytest.raises(InputError, match="known already"):
        find_tasks(["rte"], own)
