"""BabyLM's further suites and folders of pairs: each against what a plain forward pass computes, and its mistakes."""

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from evaluation.evaluating import evaluate_model
from evaluation.small_models import NAMES, altered, save_model, write_pairs
from evaluation.suites import ENTITY_SPLITS, ewok_item, swapped, write_full_eval, write_lines
from scipy.stats import spearmanr
from transformers import AutoModelForCausalLM, AutoTokenizer

from lmeff.cli import main
from lmeff.errors import InputError
from lmeff.evaluation.harness import Evaluation
from lmeff.evaluation.scoring import choice_score, process_forms, spearman
from lmeff.evaluation.tasks.checks import check_tasks, own_leaves
from lmeff.evaluation.tasks.data import documents
from lmeff.evaluation.tasks.names import tasks_folder
from lmeff.evaluation.tasks.sources import COMPS, EWOK_DOMAINS

SUITES = (
    "lmeff_blimp_filtered",
    "lmeff_supplement",
    "lmeff_ewok",
    "lmeff_ewok_context",
    "lmeff_entity_tracking",
    "lmeff_comps",
    "lmeff_wug_past",
    "lmeff_wug_adj",
)


@pytest.fixture(scope="module")
def full_eval(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("evaluation_data") / "full_eval"
    write_full_eval(folder)
    return folder


@pytest.fixture(scope="module")
def scored(model_folder, full_eval, tmp_path_factory):
    """All suites at once, from the pipeline's own folder."""
    output = tmp_path_factory.mktemp("suites")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LMEFF_EVAL_DATA", str(full_eval))
        check_tasks(SUITES, None, {})
        return output, evaluate_model(model_folder, SUITES, output)


@pytest.fixture(scope="module")
def log_probability(model_folder):
    """`(context, continuation) -> nats` by a plain forward pass over both, from the continuation's first token."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(model_folder), AutoTokenizer.from_pretrained(model_folder)

    def compute(context: str, continuation: str) -> float:
        context = context.rstrip()
        ids = tokenizer(context + continuation)["input_ids"]
        start = len(tokenizer(context)["input_ids"]) if context else 1
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0].double()
        return logits.log_softmax(-1)[range(start - 1, len(ids) - 1), ids[start:]].sum().item()

    return compute


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def mean(values) -> float:
    values = list(values)
    return sum(values) / len(values)


@pytest.mark.medium
def test_filtered_blimp_and_the_supplement_are_means_over_files(scored, full_eval, log_probability):
    _, results = scored
    for task, folder in (("lmeff_blimp_filtered", "blimp_filtered"), ("lmeff_supplement", "supplement_filtered")):
        by_file = []
        for path in (full_eval / folder).iterdir():
            pairs = [(pair["sentence_good"], pair["sentence_bad"]) for pair in lines(path)]
            by_file.append(mean(choice_score([log_probability("", text) for text in pair]) for pair in pairs))
        assert results[task]["groups"][task]["acc,none"] == pytest.approx(mean(by_file), abs=1e-9)
        assert 0 < mean(by_file) < 1


@pytest.mark.medium
def test_ewok_compares_targets_after_a_context_and_contexts_before_a_target(scored, full_eval, log_probability):
    output, results = scored
    targets, contexts = {}, {}
    for domain in EWOK_DOMAINS:
        items = lines(full_eval / "ewok_filtered" / f"{domain}.jsonl")
        first = [log_probability(item["Context1"], " " + item["Target1"]) for item in items]
        other_target = [log_probability(item["Context1"], " " + item["Target2"]) for item in items]
        other_context = [log_probability(item["Context2"], " " + item["Target1"]) for item in items]
        targets[domain] = mean(map(choice_score, zip(first, other_target, strict=True)))
        contexts[domain] = mean(map(choice_score, zip(first, other_context, strict=True)))
    for task, expected in (("lmeff_ewok", targets), ("lmeff_ewok_context", contexts)):
        assert results[task]["groups"][task]["acc,none"] == pytest.approx(mean(expected.values()), abs=1e-9)
        leaf = f"{task}_{EWOK_DOMAINS[3].replace('-', '_')}"
        assert results[task]["results"][leaf]["acc,none"] == pytest.approx(expected[EWOK_DOMAINS[3]], abs=1e-9)
        assert results[task]["lmeff"]["num_pairs"] == pq.read_table(output / "pairs" / f"{task}.parquet").num_rows
    assert targets != contexts


@pytest.mark.medium
def test_comps_scores_the_property_alone(scored, full_eval, log_probability):
    output, results = scored
    by_part, rows = [], []
    for file in COMPS.values():
        values = [
            [
                log_probability(item[f"prefix_{kind}"], " " + item["property_phrase"])
                for kind in ("acceptable", "unacceptable")
            ]
            for item in lines(full_eval / "comps" / f"{file}.jsonl")
        ]
        by_part.append(mean(map(choice_score, values)))
        rows += values
    assert results["lmeff_comps"]["groups"]["lmeff_comps"]["acc,none"] == pytest.approx(mean(by_part), abs=1e-9)
    pairs = pq.read_table(output / "pairs" / "lmeff_comps.parquet").to_pandas()
    assert pairs[["good", "bad"]].to_numpy().tolist() == [pytest.approx(row, abs=1e-4) for row in rows]


@pytest.mark.medium
def test_entity_tracking_is_a_choice_of_five_by_split_and_operations(scored, full_eval, log_probability):
    output, results = scored
    by_split = []
    for split in ENTITY_SPLITS:
        items = lines(full_eval / "entity_tracking" / f"{split}.jsonl")
        by_num = [
            mean(
                choice_score([log_probability(item["input_prefix"], f" {option}") for option in item["options"]])
                for item in items
                if item["numops"] == num
            )
            for num in range(6)
        ]
        task = f"lmeff_entity_tracking_{split}"
        assert results["lmeff_entity_tracking"]["groups"][task]["acc,none"] == pytest.approx(mean(by_num), abs=1e-9)
        by_split.append(mean(by_num))
    whole = results["lmeff_entity_tracking"]["groups"]["lmeff_entity_tracking"]["acc,none"]
    assert whole == pytest.approx(mean(by_split), abs=1e-9)
    assert not (output / "pairs" / "lmeff_entity_tracking.parquet").exists()


@pytest.mark.medium
def test_wug_correlates_with_people_over_all_examples(scored, full_eval, log_probability):
    _, results = scored
    for task, name in (("lmeff_wug_past", "wug_past_tense"), ("lmeff_wug_adj", "wug_adj_nominalization")):
        items = lines(full_eval / name / f"{name}.jsonl")
        forms = [[log_probability("", form) for form in item["sentences"].split("\t")] for item in items]
        shares = [
            torch.tensor(pair, dtype=torch.float64).softmax(0)[0].item() for pair in forms
        ]  # as the pipeline computes it
        expected = spearmanr(shares, [float(item["ratio"]) for item in items]).statistic
        assert results[task]["results"][task]["spearman,none"] == pytest.approx(expected, abs=1e-9)
        assert expected not in (0, 1, -1)


def test_ties_are_shared_and_what_cannot_be_correlated_is_no_correlation():
    assert choice_score((-1.0, -2.0, -3.0)) == 1
    assert choice_score((-1.0, -1.0, -1.0, -4.0)) == pytest.approx(1 / 3)
    assert choice_score((-1.0, -0.5, -0.5)) == 0
    assert choice_score((-1.0, -0.5, -0.5), right=2) == 0.5
    with pytest.raises(ValueError, match="not finite"):
        choice_score((-1.0, -2.0, math.nan))
    assert spearman([(0.0, 0.1), (0.0, 0.9)]) == 0
    assert spearman([(50.0, 0.1), (60.0, 0.9)]) == pytest.approx(1)
    with pytest.raises(ValueError, match="lmeff_wug_past, pair 3"):
        process_forms({"task": "lmeff_wug_past", "pair": 3, "human_share": 0.5}, [(math.nan, False), (-1.0, False)])


def test_a_model_that_cannot_choose_and_one_that_computes_nan(model_folder, tmp_path):
    options = {"options": [f"{name}." for name in ("Anna",) * 5]}
    records = [{"numops": num, "input_prefix": "Anna sees ", **options} for num in range(6)]
    write_lines(tmp_path / "data" / "regular.jsonl", records)
    paths = {"entity_tracking": str(tmp_path / "data")}
    task = "lmeff_entity_tracking_regular"
    result = evaluate_model(model_folder, [task], tmp_path / "out", paths=paths)[task]["results"][task]
    assert (result["acc,none"], result["ties,none"]) == (pytest.approx(0.2), 1.0)
    (tmp_path / "model").mkdir()
    broken = altered(model_folder, tmp_path / "model", lambda model: model.lm_head.weight.fill_(math.nan))
    with pytest.raises(ValueError, match=r"lmeff_entity_tracking_regular_0_ops, document 0: .*nan"):
        evaluate_model(broken, [task], tmp_path / "out", paths=paths)


def test_any_folder_of_pairs_is_a_group_with_a_task_for_each_file(model_folder, tmp_path, monkeypatch):
    pairs = [(f"{one} sees {other}.", f"{other} hears {one}.") for one in NAMES for other in NAMES if one < other]
    for name, chosen in (("Who-is-it", pairs[:4]), ("other", pairs[4:7])):
        write_pairs(tmp_path / "mine" / f"{name}.jsonl", chosen)
    paths = {"pairs": str(tmp_path / "mine")}
    check_tasks(["lmeff_pairs"], None, paths)
    result = evaluate_model(model_folder, ["lmeff_pairs"], tmp_path / "out", paths=paths)["lmeff_pairs"]
    leaves = ["lmeff_pairs::Who-is-it", "lmeff_pairs::other"]
    assert result["group_subtasks"]["lmeff_pairs"] == leaves
    accuracies = [result["results"][leaf]["acc,none"] for leaf in leaves]
    assert result["groups"]["lmeff_pairs"]["acc,none"] == pytest.approx(mean(accuracies))
    rows = pq.read_table(tmp_path / "out" / "pairs" / "lmeff_pairs.parquet").to_pandas()
    assert rows.groupby("task")["score"].agg(["mean", "size"]).to_numpy().tolist() == [
        [pytest.approx(accuracy), size] for accuracy, size in zip(accuracies, (4, 3), strict=True)
    ]
    write_pairs(tmp_path / "mine" / "third.jsonl", pairs[:2])
    assert "lmeff_pairs" not in Evaluation(model_folder, ("lmeff_pairs",), tmp_path / "out", paths).cached()
    shutil.copytree(tmp_path / "mine", tmp_path / "data" / "pairs")
    monkeypatch.setenv("LMEFF_EVAL_DATA", str(tmp_path / "data"))
    assert [leaf.uid for leaf in own_leaves(["lmeff_pairs"], {})] == ["Who-is-it", "other", "third"]


@pytest.mark.medium
def test_a_result_is_computed_again_when_what_is_right_has_changed(model_folder, full_eval, tmp_path):
    data = shutil.copytree(full_eval / "wug_past_tense", tmp_path / "wug")
    evaluation = Evaluation(model_folder, ("lmeff_wug_past",), tmp_path / "out", {"wug_past": str(data)})
    evaluation.score()
    first = evaluation.finish()["lmeff_wug_past"]
    assert evaluation.cached() == {"lmeff_wug_past": first}
    assert first["lmeff"]["data"] == {"wug_past": "local"}
    path = data / "wug_past_tense.jsonl"
    records = lines(path)
    write_lines(path, [{**record, "ratio": 1 - float(record["ratio"])} for record in records])
    assert evaluation.cached() == {}
    write_lines(path, records)
    assert evaluation.cached() == {"lmeff_wug_past": first}


def message(tasks, paths) -> str:
    with pytest.raises(InputError) as caught:
        check_tasks(tasks, None, paths)
    return str(caught.value)


@pytest.mark.medium
def test_what_is_missing_is_told_in_a_line_that_says_what_it_should_be(full_eval, tmp_path, monkeypatch):
    monkeypatch.delenv("LMEFF_EVAL_DATA", raising=False)
    text = message(["lmeff_comps", "lmeff_wug_adj"], {"wug_adj": str(tmp_path / "no")})
    first, second = text.splitlines()
    assert first.startswith("COMPS must be local: set evaluation.paths.comps to a folder with comps_base.jsonl")
    assert "prefix_acceptable" in first
    assert "https://osf.io/ryjfm" in first
    assert second.startswith(f"{tmp_path / 'no'}: no such folder (evaluation.paths.wug_adj; it should hold")
    assert "no *.jsonl" in message(["lmeff_pairs"], {"pairs": str(full_eval)})
    fast = tmp_path / "entity_tracking_fast"
    fast.mkdir()
    shutil.copy(full_eval / "entity_tracking" / "regular.jsonl", fast)
    monkeypatch.setenv("LMEFF_EVAL_DATA", str(tmp_path))
    check_tasks(["lmeff_entity_tracking_regular"], None, {})
    assert f"{fast}: lacks ambiref.jsonl, move_contents.jsonl of entity tracking" in message(
        ["lmeff_entity_tracking"], {}
    )
    ewok = shutil.copytree(full_eval / "ewok_filtered", tmp_path / "ewok")
    write_lines(ewok / "agent-properties.jsonl", [{"Context1": "A."}])
    text = message(["lmeff_ewok", "lmeff_ewok_context"], {})
    assert text == f"{ewok / 'agent-properties.jsonl'}, line 1: Target1 is missing or holds no text\n" + (
        f"{ewok / 'agent-properties.jsonl'}, line 1: Context2 is missing or holds no text"
    )
    (ewok / "agent-properties.jsonl").unlink()
    assert f"{ewok}: lacks agent-properties.jsonl of EWoK (published: ewok-core/ewok-core-1.0" in message(
        ["lmeff_ewok"], {}
    )


@pytest.mark.parametrize(
    ("source", "uid", "record", "expected"),
    [
        ("wug_past", "wug_past_tense", {"sentences": "One only.", "ratio": 1}, "sentences must be two"),
        ("wug_past", "wug_past_tense", {"sentences": "One.\tTwo.", "ratio": "much"}, "ratio is missing or no number"),
        ("entity_tracking", "regular_0_ops", {"input_prefix": "A", "options": ["b"], "numops": 0}, "options must be"),
        ("comps", "base", {"prefix_acceptable": "A"}, "prefix_unacceptable is missing"),
    ],
)
def test_damaged_lines_are_named(source, uid, record, expected, tmp_path):
    file = {"wug_past": "wug_past_tense", "entity_tracking": "regular", "comps": "comps_base"}[source]
    write_lines(tmp_path / f"{file}.jsonl", [record])
    with pytest.raises(InputError, match=f"line 1: {expected}"):
        documents(source, uid, {source: str(tmp_path)})


def test_ewok_of_the_hub_is_taken_in_both_directions(tmp_path, monkeypatch):
    """A dataset folder in place of the Hub's: `datasets` reads both in the same way."""
    items = [
        {**ewok_item("Anna", "Boris", "sees"), "Domain": domain} for domain in ("agent-properties", "social-relations")
    ]
    write_lines(tmp_path / "ewok-core" / "ewok-core-1.0" / "data" / "test.jsonl", items)
    monkeypatch.delenv("LMEFF_EVAL_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    found = documents("ewok", "agent-properties", {})
    assert [one["context"] for one in found] == [items[0]["Context1"], swapped(items[0])["Context1"]]
    assert [one["choices"][0].strip() for one in found] == [items[0]["Target1"], items[0]["Target2"]]


@pytest.mark.slow
def test_stock_lm_eval_told_to_add_bos_gives_the_same_from_the_pipelines_folder(
    own_model, full_eval, tmp_path, clean_environment, monkeypatch
):
    """With a folder of pairs and SmallBench in the same call: the one is expanded, the other finds the model's tokenizer. The
    tokenizer adds no BOS by itself; `add_bos_token=True` is what the page of the tasks says."""
    data = shutil.copytree(full_eval, tmp_path / "data")
    pairs = [("Anna sees Boris.", "Boris hears Anna."), ("Farid calls Elena.", "Elena hides Anna.")]
    write_pairs(data / "pairs" / "mine.jsonl", pairs)
    records = [{"sentence": f"{name} likes the doctors.", "label": index % 2} for index, name in enumerate(NAMES)]
    write_lines(data / "smallbench" / "sst2.jsonl", records)
    others = ["lmeff_pairs", "lmeff_smallbench_sst2"]
    suites = ["lmeff_ewok", "lmeff_ewok_context", "lmeff_entity_tracking", "lmeff_comps", "lmeff_wug_past"]
    tasks = [*suites, *others]
    command = [
        Path(sys.executable).with_name("lm_eval"),
        "run",
        "--model",
        "hf",
        "--device",
        "cpu",
        "--tasks",
        ",".join(tasks),
    ]
    arguments = f"pretrained={own_model},dtype=float32,add_bos_token=True"
    command += ["--model_args", arguments, "--include_path", tasks_folder()]
    command += ["--batch_size", "16", "--output_path", tmp_path / "out.json", "--log_samples"]
    environment = {**clean_environment, "LMEFF_EVAL_DATA": str(data)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (written,) = tmp_path.glob("out*.json")
    stock = json.loads(written.read_text())["results"]
    monkeypatch.setenv("LMEFF_EVAL_DATA", str(data))
    ours = evaluate_model(own_model, tasks, tmp_path / "ours")
    for task in tasks:
        for name, scores in ours[task]["results"].items():
            shared = [
                key for key in ("acc,none", "acc_sum,none", "majority,none", "spearman,none") if key in stock[name]
            ]
            assert shared or name in ours[task]["groups"], name
            for key in shared:
                assert stock[name][key] == pytest.approx(scores[key], abs=1e-9)
    assert "lmeff_pairs::mine" in stock


@pytest.mark.medium
def test_a_folder_of_babylm_checkpoints_is_scored_in_the_order_of_words_and_drawn(tmp_path, monkeypatch, capsys):
    for index, name in enumerate(("chck_100M", "chck_9M", "main", "chck_10M")):
        save_model(tmp_path / "babygpt" / name, hidden_size=16 + 8 * index)
    (tmp_path / "babygpt" / "logs").mkdir()
    write_pairs(
        tmp_path / "mine" / "one.jsonl", [("Anna sees Boris.", "Boris hears Anna."), ("Farid calls.", "Elena hides.")]
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LMEFF_EVAL_DATA", str(tmp_path / "data"))
    shutil.copytree(tmp_path / "mine", tmp_path / "data" / "pairs")
    assert main(["eval", "babygpt", "--tasks", "lmeff_pairs"]) == 0
    rows = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith(("chck_", "main "))]
    assert rows == ["chck_9M", "chck_10M", "chck_100M", "main"]
    assert main(["curves", "outputs/eval"]) == 0
    shown = capsys.readouterr().out
    assert [line.split()[0] for line in shown.splitlines() if " [" in line] == ["9M", "10M", "100M"]
    assert "words" in shown.split("\n\n")[1].splitlines()[0]
    assert "from 9M to 100M words" in shown
    assert main(["report", "outputs/eval", "-o", "page.html"]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "Training words" in page
    assert "Training tokens" not in page
    assert main(["eval", "babygpt", "--tasks", "lmeff_pairs", "--revisions", "chck_3M"]) == 2
    assert "has no 'chck_3M'; it has chck_9M, chck_10M, chck_100M, main" in capsys.readouterr().err
