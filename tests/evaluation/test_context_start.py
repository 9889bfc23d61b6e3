"""What contexts begin with is a part of every result: told, and never taken for another."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from evaluation.evaluating import evaluate_model
from evaluation.small_models import save_model
from evaluation.suites import write_full_eval, write_lines
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from transformers import AutoModelForCausalLM, AutoTokenizer

from lmeff.cli import main
from lmeff.evaluation.harness import Evaluation
from lmeff.evaluation.scorer.language_model import LmeffLM
from lmeff.evaluation.scorer.load import load_model
from lmeff.evaluation.tasks.items import ITEM, clustered_stderr, correct_stderrs
from lmeff.evaluation.tasks.sources import EWOK_DOMAINS
from lmeff.measures.scores.measure import evaluation_of
from lmeff.recipe.sections.evaluation import Evaluation as EvaluationSection

EWOK = "lmeff_ewok_social_relations"


@pytest.fixture(scope="module")
def ewok(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("full_eval")
    write_full_eval(folder)
    return {"ewok": str(folder / "ewok_filtered")}


def log_probabilities(folder: Path, records: list[dict], front: list[int]) -> list[list[float]]:
    """Of both targets of every item of EWoK, by a plain forward pass."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    found = []
    for record in records:
        found.append([])
        for target in (record["Target1"], record["Target2"]):
            context = front + tokenizer(record["Context1"])["input_ids"]
            ids = front + tokenizer(f"{record['Context1']} {target}")["input_ids"]
            with torch.no_grad():
                logits = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
            places = range(len(context) - 1, len(ids) - 1)
            found[-1].append(logits[places, ids[len(context) :]].sum().item())
    return found


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize(("context_start", "front"), [("bos", [1]), ("tokenizer", [])])
def test_results_say_what_contexts_began_with_and_have_its_numbers(
    own_model, ewok, tmp_path, exact, context_start, front
):
    options = {} if context_start == "bos" else {"context_start": context_start}
    result = evaluate_model(own_model, [EWOK], tmp_path, paths=ewok, exact=exact, **options)[EWOK]
    assert result["lmeff"]["settings"]["context_start"] == context_start
    records = [json.loads(line) for line in Path(ewok["ewok"], "social-relations.jsonl").read_text().splitlines()]
    pairs = pq.read_table(tmp_path / "pairs" / f"{EWOK}.parquet").to_pandas()
    expected = log_probabilities(own_model, records, front)
    assert np.allclose(pairs[["good", "bad"]].to_numpy(), expected, rtol=0, atol=2e-4)
    other = log_probabilities(own_model, records, [] if front else [1])
    assert np.abs(np.subtract(expected, other)).min() > 1e-2


def test_a_bos_that_the_tokenizer_adds_is_not_given_twice(model_folder, ewok, tmp_path):
    pairs = {}
    for context_start in ("bos", "tokenizer"):
        evaluate_model(model_folder, [EWOK], tmp_path / context_start, paths=ewok, context_start=context_start)
        pairs[context_start] = pq.read_table(tmp_path / context_start / "pairs" / f"{EWOK}.parquet").to_pandas()
    assert pairs["bos"].equals(pairs["tokenizer"])


def test_results_of_another_beginning_and_old_ones_are_not_taken_for_these(own_model, ewok, tmp_path, capsys):
    tasks, paths = (EWOK,), dict(ewok)
    evaluate_model(own_model, tasks, tmp_path / "runs" / "a", paths=paths)
    path = tmp_path / "runs" / "a" / f"{EWOK}.json"
    assert Evaluation(own_model, tasks, tmp_path / "runs" / "b", paths).cached()
    assert not Evaluation(own_model, tasks, tmp_path / "runs" / "b", paths, context_start="tokenizer").cached()
    result = json.loads(path.read_text())
    del result["lmeff"]["settings"]["context_start"]
    path.write_text(json.dumps(result))
    for context_start in ("bos", "tokenizer"):
        assert not Evaluation(own_model, tasks, tmp_path / "runs" / "a", paths, context_start=context_start).cached()
    words = ["eval", str(own_model), "--tasks", EWOK, "--path", f"ewok={ewok['ewok']}", "--output", str(path.parent)]
    assert main(words) == 0
    name = own_model.name
    assert capsys.readouterr().out.splitlines()[0] == (
        f"{name}: scored again with context_start bos; it was scored on {EWOK} by a version without context_start"
    )
    assert main([*words, "--context-start", "tokenizer"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == (
        f"{name}: scored again with context_start tokenizer; it was scored on {EWOK} with context_start bos"
    )
    assert json.loads(path.read_text())["lmeff"]["settings"]["context_start"] == "tokenizer"
    assert main([*words, "--context-start", "tokenizer"]) == 0
    assert "scored again" not in capsys.readouterr().out


def test_answers_kept_of_an_interrupted_evaluation_are_not_gone_on_with(own_model, ewok, tmp_path):
    output = tmp_path / "models" / "own"  # results of the same model are looked for in folders beside it
    Evaluation(own_model, (EWOK,), output, ewok).score()
    assert Evaluation(own_model, (EWOK,), output, ewok).is_scored()
    assert not Evaluation(own_model, (EWOK,), output, ewok, context_start="tokenizer").is_scored()


def test_the_model_of_lm_evals_command_line_takes_it_and_says_it(own_model):
    models = [
        LmeffLM.create_from_arg_string(f"pretrained={own_model}{more}", {"device": "cpu"})
        for more in ("", ",context_start=tokenizer")
    ]
    assert [model.get_model_info()["context_start"] for model in models] == ["bos", "tokenizer"]
    asked = [Instance("loglikelihood", {}, ("Anna sees", " Boris."), 0, metadata=("task", 0, 1))]
    assert [model.token_requests(asked)[0][1][0] == 1 for model in models] == [True, False]


def test_the_recipe_says_it(own_model, tmp_path):
    assert EvaluationSection().context_start == "bos"
    section = EvaluationSection(tasks=[EWOK], context_start="tokenizer")
    assert evaluation_of(section, own_model, tmp_path).settings["context_start"] == "tokenizer"
    with pytest.raises(ValueError, match="context_start"):
        EvaluationSection(context_start="eos")


def test_perplexity_and_generated_texts_say_it_too(own_model, tmp_path):
    (tmp_path / "text.txt").write_text("Anna sees the old doctors.\n")
    (tmp_path / "prompts.txt").write_text("Anna sees\n")
    words = [str(own_model), "--output", str(tmp_path / "out")]
    assert main(["perplexity", *words, "--text", str(tmp_path / "text.txt")]) == 0
    assert main(["generate", *words, "--prompts", str(tmp_path / "prompts.txt"), "--max-new-tokens", "2"]) == 0
    for name in ("perplexity_text", "generation"):
        result = json.loads((tmp_path / "out" / f"{name}.json").read_text())
        assert result["lmeff"]["settings"]["context_start"] == "bos"


# ---- examples that are not independent, and what a classifier without a model scores


def test_errors_of_examples_of_one_item_by_hand():
    assert clustered_stderr([1, 0, 1, 1], "abcd") == pytest.approx(np.std([1, 0, 1, 1], ddof=1) / 2)
    assert clustered_stderr([1, 1, 0, 0, 1, 1], "aabbcc") == pytest.approx(np.std([1, 0, 1], ddof=1) / np.sqrt(3))
    assert clustered_stderr([1, 0, 0, 1, 1, 1], "aabbcc") == pytest.approx(np.std([0.5, 0.5, 1], ddof=1) / np.sqrt(3))
    assert clustered_stderr([1, 0], "aa") is None


def test_values_that_no_mean_is_taken_of_have_no_error_by_items():
    class Task:
        instances = tuple(
            Instance("loglikelihood", {ITEM: n // 2}, ("", "a"), 0, metadata=("task", n, 1), resps=[(-n, True)])
            for n in range(6)
        )

        def process_results(self, document, answers):
            return {"f1": (1, int(answers[0][0] < -2)), "acc": float(answers[0][0] < -2)}

    scores = {"f1,none": 0.5, "f1_stderr,none": 0.1, "acc,none": 0.5, "acc_stderr,none": 0.1}
    correct_stderrs({"results": {"task": scores}}, {"task": Task()}, {})
    assert scores["f1_stderr,none"] == "N/A"
    assert scores["acc_stderr,none"] == pytest.approx(np.std([0, 0.5, 1], ddof=1) / 3**0.5)


@pytest.mark.medium
@pytest.mark.parametrize("task", ["lmeff_ewok", "lmeff_ewok_context"])
def test_an_item_of_ewok_and_its_swapped_double_are_one_sample(own_model, ewok, tmp_path, task):
    """In the order of the files and in another one; the pipeline's files have them one after the other."""
    shuffled = tmp_path / "shuffled"
    for path in Path(ewok["ewok"]).iterdir():
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        write_lines(shuffled / path.name, [*lines[::2], *lines[1::2]])
    results = {}
    for name, folder in (("files", ewok["ewok"]), ("shuffled", str(shuffled))):
        output = tmp_path / name
        results[name] = evaluate_model(own_model, [task], output, paths={"ewok": folder})[task]
    pairs = pq.read_table(tmp_path / "files" / "pairs" / f"{task}.parquet").to_pandas()
    assert list(pairs["item"]) == list(pairs["pair"] // 2 * 2)  # an item and its double stand side by side in the files
    stderrs, usual = [], []
    for domain in EWOK_DOMAINS:
        leaf = f"{task}_{domain.replace('-', '_')}"
        scores = pairs[pairs.task == leaf]["score"].to_numpy()
        items = scores.reshape(-1, 2).mean(axis=1)
        stderrs.append(items.std(ddof=1) / np.sqrt(len(items)))
        usual.append(scores.std(ddof=1) / np.sqrt(len(scores)))
        for result in results.values():
            assert result["results"][leaf]["acc_stderr,none"] == pytest.approx(stderrs[-1])
    expected = np.sqrt(np.square(stderrs).sum()) / len(stderrs)
    assert not np.allclose(stderrs, usual)
    for result in results.values():
        assert result["groups"][task]["acc_stderr,none"] == pytest.approx(expected)
        assert result["results"][task]["acc_stderr,none"] == pytest.approx(expected)
        assert result["lmeff"]["num_pairs"] == 2 * result["lmeff"]["num_items"] == len(pairs)
        counts = {name: count["effective"] for name, count in result["n-samples"].items()}
        assert {name: 2 * number for name, number in result["lmeff"]["num_items_of"].items()} == counts


def test_pairs_of_their_own_are_samples_of_their_own(model_folder, mini_blimp, tmp_path):
    task = "lmeff_blimp_wh_island"
    result = evaluate_model(model_folder, [task], tmp_path, paths={"blimp": str(mini_blimp)})[task]
    pairs = pq.read_table(tmp_path / "pairs" / f"{task}.parquet").to_pandas()
    scores = pairs["score"]
    assert "item" not in pairs
    assert result["results"][task]["acc_stderr,none"] == pytest.approx(scores.std() / np.sqrt(len(scores)))
    assert "num_items" not in result["lmeff"]


def test_the_majority_baseline_stands_beside_smallbench(model_folder, tmp_path, capsys):
    labels = [1, 1, 1, 0, 1]
    records = [{"sentence": f"Anna sees {name}.", "label": label} for name, label in zip("abcde", labels, strict=True)]
    write_lines(tmp_path / "data" / "sst2.jsonl", records)
    others = {"rte": ("sentence1", "sentence2"), "mrpc": ("sentence1", "sentence2"), "boolq": ("passage", "question")}
    for name, fields in others.items():
        write_lines(tmp_path / "data" / f"{name}.jsonl", [{**dict.fromkeys(fields, "Anna."), "label": 0}] * 2)
    save_model(tmp_path / "model", max_position_embeddings=256)
    words = ["eval", str(tmp_path / "model"), "--path", f"smallbench={tmp_path / 'data'}"]
    words += ["--output", str(tmp_path / "out"), "--tasks"]
    assert main([*words, "lmeff_smallbench,lmeff_smallbench_sst2"]) == 0
    assert capsys.readouterr().out.count("for the most frequent label alone") == 2
    result = json.loads((tmp_path / "out" / "lmeff_smallbench.json").read_text())
    assert result["results"]["lmeff_smallbench_sst2"]["majority,none"] == 0.8
    assert result["results"]["lmeff_smallbench_rte"]["majority,none"] == 1.0
    assert result["groups"]["lmeff_smallbench"]["majority,none"] == pytest.approx((0.8 + 3) / 4)


def test_what_add_bos_token_does_in_stock_lm_eval(own_model):
    """As the pages say: nothing for whole sentences, and for whole texts a second BOS, for a tokenizer that adds none."""
    texts = ("Anna sees Boris.", "Elena hides.")
    sentences = [Instance("loglikelihood", {}, ("", text), 0, metadata=("task", n, 1)) for n, text in enumerate(texts)]
    text = Instance("loglikelihood_rolling", {}, texts[:1], 0, metadata=("task", 0, 1))
    found = {}
    for add_bos_token in (True, None):
        model = HFLM(pretrained=str(own_model), device="cpu", dtype="float32", add_bos_token=add_bos_token)
        whole = model.loglikelihood(sentences, disable_tqdm=True)
        found[add_bos_token] = [whole, model.loglikelihood_rolling([text], disable_tqdm=True)]
    assert found[True][0] == found[None][0]
    ours = load_model(own_model, "cpu", progress=False).loglikelihood_rolling([text], disable_tqdm=True)
    assert ours == pytest.approx(found[None][1], abs=1e-4)
    assert abs(found[True][1][0] - found[None][1][0]) > 0.1
