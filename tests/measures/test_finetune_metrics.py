"""Scores against values worked out by hand, by `evaluate` without a network and without a home that can be written."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lmeff.measures.finetuning import metrics
from lmeff.measures.finetuning.data import Example
from lmeff.measures.finetuning.metrics import accuracy_stderr, constant_answer, predictions, score
from lmeff.measures.finetuning.tasks import TASKS

MODULES = Path(metrics.__file__).with_name("metric_modules")


def examples(labels, questions=None):
    return [Example("A.", None, label, n, questions[n] if questions else None) for n, label in enumerate(labels)]


def test_accuracy_f1_and_their_mean():
    found = score(TASKS["mrpc"], [1, 1, 1, 0, 0], examples([1, 1, 0, 1, 0]))  # 2 right of 3 said, 2 of 3 there
    assert found["acc"] == pytest.approx(3 / 5)
    assert found["f1"] == pytest.approx(2 / 3)
    assert found["score"] == pytest.approx((3 / 5 + 2 / 3) / 2)
    assert found["mcc"] == pytest.approx((2 * 1 - 1 * 1) / (3 * 2 * 3 * 2) ** 0.5)


def test_f1_is_of_label_1_and_macro_is_the_mean_over_labels():
    assert score(TASKS["sst2"], [0, 0, 0, 0], examples([0, 0, 0, 1]))["f1"] == 0
    found = score(TASKS["mnli"], [0, 1, 1, 1], examples([0, 1, 1, 2]))
    assert found["f1_macro"] == pytest.approx((1 + 4 / 5 + 0) / 3)


def test_correlations():
    found = score(TASKS["stsb"], [1.0, 2.0, 9.0], examples([0.0, 1.0, 2.0]))
    assert found["spearman"] == pytest.approx(1)
    assert found["pearson"] == pytest.approx(np.corrcoef([1, 2, 9], [0, 1, 2])[0, 1])
    assert found["score"] == pytest.approx((found["pearson"] + 1) / 2)
    said, right = [1.0, 2.5, 9.0, 2.5, 4.0], [0.0, 3.0, 2.0, 1.0, 5.0]
    found = score(TASKS["stsb"], said, examples(right))
    assert found["pearson"] == pytest.approx(np.corrcoef(said, right)[0, 1])
    assert found["spearman"] == pytest.approx(np.corrcoef([1, 2.5, 5, 2.5, 4], [1, 4, 3, 2, 5])[0, 1])  # of the ranks


def test_multirc_is_f1_over_answers_and_exact_match_over_questions():
    questions = ["p1 q1", "p1 q1", "p1 q2", "p2 q1", "p2 q1"]
    found = score(TASKS["multirc"], [1, 0, 1, 1, 1], examples([1, 0, 0, 1, 1], questions))
    assert found["em"] == pytest.approx(2 / 3)
    assert found["f1a"] == pytest.approx(2 * (3 / 4) * 1 / (3 / 4 + 1))
    assert found["score"] == pytest.approx((found["em"] + found["f1a"]) / 2)


def test_a_constant_answer_has_no_correlation():
    assert constant_answer(TASKS["cola"], [0, 1, 1]) == 1
    assert score(TASKS["cola"], [1, 1, 1, 1], examples([1, 1, 1, 0])) == {
        "score": 0.0,
        "mcc": 0.0,
        "acc": 0.75,
        "f1": pytest.approx(6 / 7),
    }
    assert constant_answer(TASKS["stsb"], [1.0, 4.0]) == 2.5
    assert score(TASKS["stsb"], [2.5, 2.5], examples([1.0, 4.0]))["pearson"] == 0


def test_predictions_and_the_error_of_accuracy():
    assert predictions(TASKS["cola"], np.array([[0.1, 0.2], [3, 1], [2, 2]])).tolist() == [1, 0, 0]
    assert predictions(TASKS["stsb"], np.array([[0.5], [4.5]])).tolist() == [0.5, 4.5]
    labels = examples([1, 1, 0, 0])
    assert accuracy_stderr([[1, 1, 0, 1]], labels) == pytest.approx(np.std([1, 1, 1, 0], ddof=1) / 2)
    # Two seeds that are wrong on different examples: the mean is surer than either.
    assert accuracy_stderr([[1, 1, 0, 1], [0, 1, 0, 0]], labels) == pytest.approx(np.std([0.5, 1, 1, 0.5], ddof=1) / 2)


@pytest.mark.medium
def test_no_network_and_no_home_are_needed_and_the_modules_are_local_folders(tmp_path, clean_environment):
    """In a process of its own, since `evaluate` takes its folders from the environment. Those given cannot be made."""
    code = f"""
import json
from lmeff.measures.finetuning.data import Example
from lmeff.measures.finetuning.metrics import score
from lmeff.measures.finetuning.tasks import TASKS
print("ours", score(TASKS["cola"], [1, 0], [Example("A.", None, 1, 0), Example("B.", None, 0, 1)]))
import evaluate
evaluate.config.HF_MODULES_CACHE = evaluate.config.HF_METRICS_CACHE = {str(tmp_path)!r}
given = {{"predictions": [1, 0, 1, 1], "references": [1, 0, 0, 1]}}
found = [evaluate.load("{MODULES}/" + name).compute(**given) for name in ("acc", "f1", "mcc", "pearson", "spearman")]
found.append(evaluate.load("{MODULES}/multirc").compute(**given, questions=["a", "a", "b", "c"]))
print(json.dumps(found))
"""
    environment = {**clean_environment, "HF_HOME": "/proc/none", "HOME": "/proc/none", "XDG_CACHE_HOME": "/proc/none"}
    answer = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert "ours {'score': 1.0, 'mcc': 1.0" in answer.stdout
    correlation = (2 * 1 - 1 * 0) / (3 * 1 * 2 * 2) ** 0.5  # of two yes-or-no series all three are the same
    assert json.loads(answer.stdout.splitlines()[-1]) == [
        {"acc": pytest.approx(3 / 4)},
        {"f1": pytest.approx(4 / 5)},
        *({name: pytest.approx(correlation)} for name in ("mcc", "pearson", "spearman")),
        {"f1a": pytest.approx(4 / 5), "em": pytest.approx(2 / 3)},
    ]
