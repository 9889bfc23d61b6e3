"""Zero-shot SmallBench: the published prompts, the mean over tokens by hand, labels and files as they come."""

import json
from pathlib import Path

import numpy
import pytest
import torch
from evaluation.evaluating import evaluate_model
from evaluation.small_models import save_model
from evaluation.suites import write_lines
from transformers import AutoModelForCausalLM, AutoTokenizer

from lmeff.errors import InputError
from lmeff.evaluation.scoring import choice_score
from lmeff.evaluation.tasks.checks import check_tasks
from lmeff.evaluation.tasks.data import dataset, documents

NUM = 12
QUESTIONS = {
    "sst2": ({"sentence": "Fun."}, "Sentence: Fun.\nSentiment:", [" negative", " positive"]),
    "rte": (
        {"sentence1": "It rains.", "sentence2": "It is wet."},
        "Premise: It rains.\nHypothesis: It is wet.\nRelation:",
        [" entailment", " not entailment"],
    ),
    "boolq": (
        {"passage": "Cats purr.", "question": "do cats purr"},
        "Passage: Cats purr.\nQuestion: do cats purr\nAnswer:",
        [" no", " yes"],
    ),
    "mrpc": (
        {"sentence1": "One.", "sentence2": "Two."},
        "Sentence 1: One.\nSentence 2: Two.\nParaphrase:",
        [" no", " yes"],
    ),
}
PUBLISHED = {"sst2": 500, "rte": 277, "boolq": 500, "mrpc": 408}


@pytest.fixture(scope="module")
def long_model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("long")
    save_model(folder, max_position_embeddings=2048)
    return folder


def token_log_probabilities(model, tokenizer, prompt: str, answer: str) -> list[float]:
    ids, start = tokenizer(prompt + answer)["input_ids"], len(tokenizer(prompt)["input_ids"])
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0].double()
    return logits.log_softmax(-1)[range(start - 1, len(ids) - 1), ids[start:]].tolist()


@pytest.mark.medium
def test_simplified_glue_is_scored_by_the_mean_over_the_tokens_of_an_answer(shared_data, long_model, tmp_path):
    tasks = [f"lmeff_smallbench_{name}" for name in ("sst2", "rte", "mrpc")]
    paths = {"smallbench": str(shared_data / "leaner_glue")}
    check_tasks(tasks, None, paths)
    results = evaluate_model(long_model, tasks, tmp_path, paths=paths, limit=NUM)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(long_model), AutoTokenizer.from_pretrained(long_model)
    decided = 0
    for task in tasks:
        name = task.rpartition("_")[2]
        means, sums = [], []
        for record in map(
            json.loads, (shared_data / "leaner_glue" / f"{name}_validation.jsonl").read_text().splitlines()[:NUM]
        ):
            fields = QUESTIONS[name][0]
            prompt = QUESTIONS[name][1]
            for key, placeholder in fields.items():
                prompt = prompt.replace(placeholder, record[key], 1)
            answers = [token_log_probabilities(model, tokenizer, prompt, answer) for answer in QUESTIONS[name][2]]
            means.append(choice_score([sum(each) / len(each) for each in answers], record["label"]))
            sums.append(choice_score([sum(each) for each in answers], record["label"]))
        scores = results[task]["results"][task]
        assert scores["acc,none"] == pytest.approx(sum(means) / NUM, abs=1e-9)
        assert scores["acc_sum,none"] == pytest.approx(sum(sums) / NUM, abs=1e-9)
        decided += means != sums
        assert str(long_model) not in json.dumps(results[task])
    assert decided, "for some task the mean and the sum must not choose alike, else this could not tell them apart"


@pytest.mark.parametrize("name", QUESTIONS)
def test_prompts_and_answers_are_the_published_ones(name, tmp_path):
    record, prompt, answers = QUESTIONS[name]
    write_lines(tmp_path / f"{name}.jsonl", [{**record, "label": 1}])
    (found,) = documents("smallbench", name, {"smallbench": str(tmp_path)})
    assert found == {"context": prompt, "choices": answers, "gold": 1}


@pytest.mark.parametrize(
    ("name", "label", "gold"),
    [
        ("sst2", "positive", 1),
        ("sst2", 0, 0),
        ("rte", "not_entailment", 1),
        ("rte", "entailment", 0),
        ("mrpc", "equivalent", 1),
        ("mrpc", "0", 0),
        ("boolq", True, 1),
        ("boolq", "False", 0),
        ("rte", -1, None),
        ("sst2", "great", None),
        ("mrpc", None, None),
    ],
)
def test_labels_are_numbers_or_words(name, label, gold, tmp_path):
    key = "answer" if name == "boolq" else "label"
    write_lines(tmp_path / f"{name}_validation.jsonl", [{**QUESTIONS[name][0], key: label}])
    paths = {"smallbench": str(tmp_path)}
    if gold is None:
        with pytest.raises(InputError, match=f"{name}_validation.jsonl, line 1: label is .*; it must be one of 0, 1"):
            documents("smallbench", name, paths)
    else:
        assert documents("smallbench", name, paths)[0]["gold"] == gold


@pytest.mark.parametrize("name", PUBLISHED)
def test_as_many_examples_as_published_are_taken_after_the_same_shuffle(name, tmp_path):
    import datasets

    num = PUBLISHED[name]
    records = [
        {**QUESTIONS[name][0], next(iter(QUESTIONS[name][0])): f"Text {index}.", "label": index % 2}
        for index in range(num + 9)
    ]
    write_lines(tmp_path / f"{name}.jsonl", records)
    paths = {"smallbench": str(tmp_path)}
    found = documents("smallbench", name, paths)
    shuffled = datasets.Dataset.from_list(records).shuffle(seed=42).select(range(num))
    first = next(iter(QUESTIONS[name][0]))
    assert [one["context"].splitlines()[0].partition(": ")[2] for one in found] == shuffled[first][:]
    write_lines(tmp_path / f"{name}.jsonl", records[:num])
    assert [one["gold"] for one in documents("smallbench", name, paths)] == [index % 2 for index in range(num)]


def test_the_group_counts_a_task_with_no_right_answer(long_model, tmp_path):
    """The mean is over all four tasks; one with an accuracy of 0 is not left out."""
    for name, (record, _, _) in QUESTIONS.items():
        write_lines(tmp_path / "data" / f"{name}.jsonl", [{**record, "label": 0}] * 2)
    result = evaluate_model(
        long_model, ["lmeff_smallbench"], tmp_path / "out", paths={"smallbench": str(tmp_path / "data")}
    )["lmeff_smallbench"]
    accuracies = [result["results"][f"lmeff_smallbench_{name}"]["acc,none"] for name in QUESTIONS]
    assert set(accuracies) == {0.0, 1.0}
    assert result["groups"]["lmeff_smallbench"]["acc,none"] == numpy.mean(accuracies)


def test_without_a_tokenizer_the_mean_cannot_be_taken(tmp_path):
    write_lines(tmp_path / "sst2.jsonl", [{"sentence": "Fun.", "label": 1}])
    with pytest.raises(InputError, match="must know the tokenizer"):
        dataset("smallbench", "sst2", {"smallbench": str(tmp_path)})


def test_missing_files_are_named(tmp_path, monkeypatch):
    monkeypatch.delenv("LMEFF_EVAL_DATA", raising=False)
    write_lines(tmp_path / "sst2_validation.jsonl", [{"sentence": "Fun.", "label": 1}])
    paths = {"smallbench": str(tmp_path)}
    check_tasks(["lmeff_smallbench_sst2"], None, paths)
    with pytest.raises(
        InputError, match=r"lacks rte.jsonl, boolq.jsonl, mrpc.jsonl of SmallBench \(published: nyu-mll/glue"
    ):
        check_tasks(["lmeff_smallbench"], None, paths)
