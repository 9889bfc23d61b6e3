"""Which results are published, and what is said beside them."""

import json
from pathlib import Path

import pytest
from analysis.fake_runs import say_which_tokens, write_fake_run
from huggingface_hub import ModelCard
from scipy.stats import binomtest

from lmeff.analysis.reading.results import read_results
from lmeff.publishing.cards import index_rows, refresh_card, scores_of
from lmeff.publishing.folder import read_run
from lmeff.revisions.card import main_card
from lmeff.revisions.card_scores import CardScore, eval_results, hub_entries, score_text

REVISION = "seed-1-tokens-20k"


def write_result(
    run: Path, task: str, metrics: dict[str, float], weights: str, revision: str = REVISION, **settings
) -> None:
    content = {
        "results": {task: {f"{metric},none": value for metric, value in metrics.items()}},
        "configs": {task: {}},
        "versions": {task: 1},
        "n-samples": {task: {"original": 100, "effective": settings.get("limit") or 100}},
        "higher_is_better": {task: dict.fromkeys(metrics, True)},
        "lmeff": {"weights_sha256": weights, "data_sha256": "d" * 64, "settings": settings},
    }
    path = run / "results" / revision / f"{task}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def test_a_card_has_the_scores_up_to_its_anchor_and_their_curve(tmp_path: Path) -> None:
    run = write_fake_run(tmp_path / "outputs", anchors=(0, 50, 100), num_pairs=2)
    say_which_tokens(run, tmp_path / "data", "0" * 64)
    folder = run / "revisions" / "seed-0-tokens-50M"
    refresh_card(run, folder)
    text = (folder / "README.md").read_text()
    (score,) = ModelCard(text).data.eval_results
    results = json.loads((run / "results" / folder.name / "lmeff_blimp.json").read_text())["results"]
    assert (score.dataset_name, score.metric_value) == ("lmeff_blimp", results["lmeff_blimp"]["acc,none"])
    rows = [line.split(" |")[0] for line in text.splitlines() if line.startswith("| ") and "[" in line]
    assert rows[:2] == ["| 0", "| **50M**"]
    assert "100M" not in text
    assert "![The learning curve up to here](.eval_results/curve.png)" in text
    picture = (folder / ".eval_results" / "curve.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 10_000


@pytest.mark.slow
def test_a_card_says_what_was_scored_and_how(run: Path) -> None:
    folder = run / "revisions" / REVISION
    weights = json.loads((folder / "anchor.json").read_text())["weights_sha256"]
    for path in (run / "results").rglob("*.json"):
        path.unlink()
    blimp = {"acc": 0.75, "ties": 0.01}
    write_result(run, "lmeff_blimp", blimp, weights, limit=None, precision="adaptive")
    write_result(run, "lmeff_wug", {"spearman": 0.5}, weights, limit=7, precision="float32")
    write_result(run, "stale", {"acc": 0.9}, "0" * 64, limit=None, precision="float32")
    refresh_card(run, folder)
    text = (folder / "README.md").read_text()
    card = ModelCard(text)
    shown = {(one.dataset_name, one.metric_name): one for one in card.data.eval_results}
    assert "0.9000" not in text, "made with other weights"
    assert set(shown) == {
        ("lmeff_blimp", "acc"),
        ("lmeff_blimp", "ties"),
        ("lmeff_wug, first 7 examples of each task", "spearman"),
    }
    assert "lmeff_wug (at 20k tokens): only the first 7 examples of each task were scored." in text
    assert "lmeff_blimp (at 20k tokens): in adaptive precision" in text
    entries = (folder / ".eval_results" / "lmeff.yaml").read_text()
    assert entries.count("value:") == 1
    assert "value: 75.0" in entries
    assert "acc, zero-shot, percent, adaptive precision" in entries
    assert not (folder / ".eval_results" / "stale.json").exists()
    write_result(run, "lmeff_blimp", blimp, weights, limit=7, precision="float32")
    (row,) = [row for row in index_rows(run, {REVISION: "branch"}) if row["branch"] == "branch"]
    assert (row["scores"], row["limits"]) == ({"lmeff_blimp": 0.75}, {"lmeff_blimp": 7})
    index = main_card(read_run(run)[0], "a/b", [row], picture=None, has_weights=False)
    assert "lmeff_blimp 0.7500 (first 7 examples of each task)" in index


@pytest.mark.medium
def test_cards_and_indexes_say_what_contexts_began_with_and_what_was_left_out(run: Path) -> None:
    """An older result at one anchor, and one of today at the next, which alone is shown."""
    for path in (run / "results").rglob("*.json"):
        path.unlink()
    ours = {"limit": None, "precision": "float32", "task_files_sha256": "t"}
    old, new = "seed-1-tokens-0", REVISION
    for revision, start in ((old, None), (new, "bos")):
        folder = run / "revisions" / revision
        weights = json.loads((folder / "anchor.json").read_text())["weights_sha256"]
        settings = ours | ({"context_start": start} if start else {})
        write_result(run, "lmeff_blimp", {"acc": 0.75}, weights, revision, **settings)
        if start is None:
            refresh_card(run, folder)
            text = (folder / "README.md").read_text()
            assert "lmeff_blimp: scored by an older version, which does not say what contexts began with." in text
            assert (folder / ".eval_results" / "lmeff_blimp.json").exists()
    for revision in (old, new):
        refresh_card(run, run / "revisions" / revision)
        text = (run / "revisions" / revision / "README.md").read_text()
        assert "lmeff_blimp: anchor 0 is left out, scored by an older version" in text
        assert (run / "revisions" / revision / ".eval_results" / "lmeff_blimp.json").exists() == (revision == new)
    assert "lmeff_blimp (at 20k tokens): contexts began with one `<s>` (context_start bos)." in text
    assert (
        "acc, zero-shot, percent, context_start bos"
        in (run / "revisions" / new / ".eval_results" / "lmeff.yaml").read_text()
    )
    rows = index_rows(run, {old: "old", new: "new"})
    assert [(row["scores"], row.get("context_starts")) for row in rows] == [
        ({}, None),
        ({"lmeff_blimp": 0.75}, {"lmeff_blimp": "bos"}),
    ]
    index = main_card(read_run(run)[0], "a/b", rows, picture=None, has_weights=False)
    assert "lmeff_blimp 0.7500 (context_start bos)" in index


def test_scores_of_another_beginning_stand_beside_the_others_in_metadata() -> None:
    scores = [CardScore("lmeff_ewok", "acc", 0.75, None, 100, context_start=start) for start in ("bos", "tokenizer")]
    assert [(one.dataset_name, one.dataset_args) for one in eval_results(scores)] == [
        ("lmeff_ewok", {"context_start": "bos"}),
        ("lmeff_ewok, context_start tokenizer", {"context_start": "tokenizer"}),
    ]


@pytest.mark.medium
def test_cards_and_indexes_say_which_scores_are_pseudo_log_likelihoods(run: Path) -> None:
    folder = run / "revisions" / REVISION
    weights = json.loads((folder / "anchor.json").read_text())["weights_sha256"]
    pseudo = {"scoring": "pseudo_log_likelihood", "scoring_variant": "original"}
    settings = {"limit": None, "precision": "float32", "context_start": "bos"}
    write_result(run, "lmeff_blimp", {"acc": 0.75}, weights, **settings, **pseudo)
    refresh_card(run, folder)
    said = "scored by pseudo-log-likelihood (original), not comparable with scores of causal models"
    assert f": {said}." in (folder / "README.md").read_text()
    assert said in " ".join((folder / ".eval_results" / "lmeff.yaml").read_text().split())
    rows = index_rows(run, {REVISION: "new"})
    assert rows[-1]["scorings"] == {"lmeff_blimp": "pseudo_log_likelihood (original)"}
    index = main_card(read_run(run)[0], "a/b", rows, picture=None, has_weights=False)
    assert "lmeff_blimp 0.7500 (context_start bos, scoring pseudo_log_likelihood (original))" in index


def test_intervals_of_a_card_are_over_items_where_several_pairs_were_made_from_one() -> None:
    (low, high) = binomtest(4, 4).proportion_ci(method="wilson")
    assert score_text(CardScore("lmeff_ewok", "acc", 1.0, 0.0, 8, num_items=4)) == f"1.0000 [{low:.4f}, {high:.4f}]"


def test_only_whole_accuracies_are_scores_on_data_sets_of_the_hub() -> None:
    scores = [
        CardScore("lmeff_blimp", "acc", 0.75, None, 67_000),
        CardScore("lmeff_blimp", "ties", 0.01, None, 67_000),
        CardScore("lmeff_blimp", "acc", 0.5, None, 67, limit=1),
    ]
    assert [(one.dataset_id, one.value) for one in hub_entries(scores, None, None)] == [("nyu-mll/blimp", 75.0)]
    assert [one.dataset_type for one in eval_results(scores)] == ["nyu-mll/blimp", "nyu-mll/blimp", "lmeff_blimp"]


def test_the_limit_of_fine_tuned_tasks_counts_for_their_group(tmp_path: Path) -> None:
    settings = {"finetune_rte": {"limit": 20, "precision": "float32"}}
    write_result(tmp_path, "finetune_glue", {"score": 0.5}, "0" * 64, **settings)
    results = read_results(tmp_path / "results" / REVISION)
    assert [score.limit for score in scores_of(results.tasks.items())] == [20]


@pytest.mark.medium
def test_a_card_gives_the_interval_over_examples_also_where_all_are_right(run: Path) -> None:
    folder = run / "revisions" / REVISION
    weights = json.loads((folder / "anchor.json").read_text())["weights_sha256"]
    for path in (run / "results").rglob("*.json"):
        path.unlink()
    write_result(run, "all_right", {"acc": 1.0, "acc_stderr": 0.0}, weights, limit=None)
    write_result(run, "some", {"acc": 0.75, "acc_stderr": (0.75 * 0.25 / 99) ** 0.5}, weights, limit=None)
    refresh_card(run, folder)
    text = (folder / "README.md").read_text()
    assert "±" not in text
    for right, shown in ((100, "1.0000"), (75, "0.7500")):
        low, high = binomtest(right, 100).proportion_ci(method="wilson")
        assert f"| {shown} [{low:.4f}, {high:.4f}] |" in text
    assert (
        "In brackets: the 95% interval over the examples of a task. It does not say how another seed would come out."
        in text
    )
