"""What the page says in words: what was compared and which is best, warnings, costs and provenance, of planted cases."""

import csv
import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd
import pytest

from lmeff.analysis import read_runs
from lmeff.analysis.charts.study import Study
from lmeff.analysis.report.costs import cost_of, cost_table
from lmeff.analysis.report.provenance import facts_of, model_hashes, provenance_table
from lmeff.analysis.report.sections import PageContent
from lmeff.analysis.report.summary import summary
from lmeff.analysis.scores.paths import read_scored
from lmeff.formats.run_folder import RunFolder
from lmeff.plan import make_plan
from lmeff.recipe import read_recipe

pytestmark = pytest.mark.medium
Rows = Iterable[tuple[object, ...]]


@pytest.fixture
def page_of(tmp_path) -> Callable[..., PageContent]:
    """The content of the page of a table with these rows: corpus, size, seed, millions of tokens, task, acc."""

    def content(rows: Rows, **more: object) -> PageContent:
        path = tmp_path / "scores.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["corpus", "size", "seed", "milestone", "task", "acc", *more])
            writer.writerows((*row, *more.values()) for row in rows)
        return PageContent(Study(*read_scored([path], "tokens=milestone:M")), {}, None)

    return content


def page_of_runs(*folders: Path) -> PageContent:
    return PageContent(Study(read_runs(folders)), {}, None)


def words(content: PageContent) -> list[str]:
    return summary(content.study, content.views, len(content.missing))


def curves(ends: dict[tuple[str, int], list[float]], task: str = "blimp") -> list[tuple[object, ...]]:
    """Rows of curves by corpus and seed, at 10M, 20M, ..."""
    return [
        (corpus, "20m", seed, 10 * number, task, value)
        for (corpus, seed), values in ends.items()
        for number, value in enumerate(values, 1)
    ]


def test_the_best_of_several_seeds_has_an_interval_and_the_anchor_since_when_it_leads(page_of):
    rows = curves(
        {
            ("a", 0): [0.5, 0.6, 0.70],
            ("a", 1): [0.5, 0.6, 0.72],
            ("b", 0): [0.6, 0.55, 0.50],
            ("b", 1): [0.6, 0.55, 0.51],
            ("c", 0): [0.4, 0.58, 0.40],
            ("c", 1): [0.4, 0.58, 0.40],
        }
    )
    said = words(page_of(rows))
    assert said[0] == "6 runs of 3 recipes: 3 corpora (a, b, c); size 20m; 2 seeds (0, 1). Trained on up to 30M tokens."
    # Two seeds: 12.7062 times half of their difference on both sides.
    best, second = "71.0% (58.3% to 83.7%: 95% t interval over 2 seeds)", "50.5% (44.1% to 56.9%"
    assert said[1].startswith(f"Best in blimp at 30M tokens: a 20m with {best}; then b 20m with {second}")
    assert "overlap" not in said[1]
    assert said[2] == (
        "a 20m has led since 20M tokens (of the 3 anchors that all have); at the last but one not all 3 are in the order of"
        " the end."
    )
    assert said[3] == "No value is missing that other runs have."


def test_intervals_that_overlap_and_one_seed_are_said(page_of):
    rows = curves({("a", 0): [0.5, 0.7], ("a", 1): [0.5, 0.5], ("b", 0): [0.5, 0.58], ("b", 1): [0.5, 0.6]})
    assert "the two intervals overlap, so which of them is better is not settled" in words(page_of(rows))[1]
    alone = words(page_of(curves({("a", 0): [0.5, 0.7], ("b", 0): [0.6, 0.6]})))
    assert "a 20m with 70.0% (one seed: no interval over seeds); then b 20m with 60.0% (one seed" in alone[1]
    assert alone[2] == "a 20m leads at the last of the 2 anchors that all have; at the one before another does."


def test_an_order_that_came_before_and_went_is_not_denied(page_of):
    ends = {("a", 0): [0.7, 0.7, 0.7], ("b", 0): [0.6, 0.5, 0.6], ("c", 0): [0.5, 0.6, 0.5]}
    assert words(page_of(curves(ends)))[2] == (
        "a 20m has led since 10M tokens (of the 3 anchors that all have); at the last but one not all 3 are in the order of"
        " the end."
    )
    ends = {("a", 0): [0.7, 0.5, 0.7], ("b", 0): [0.6, 0.6, 0.6]}
    assert words(page_of(curves(ends)))[2] == (
        "a 20m leads at the last of the 3 anchors that all have; at the one before another does."
    )


def test_equal_ends_have_no_best_and_one_that_is_alone_at_the_end_is_not_compared(page_of):
    equal = words(page_of(curves({("a", 0): [0.5, 0.7], ("b", 0): [0.6, 0.7]})))
    assert equal[1] == "Best in blimp at 20M tokens, equal in the digits shown: a 20m, b 20m with 70.0%."
    assert len(equal) == 3
    alone = words(page_of(curves({("a", 0): [0.5, 0.7], ("b", 0): [0.6]})))
    assert alone[1] == "a 20m alone has a value at 20M tokens, so no end can be compared in blimp."


def test_a_recipe_that_has_come_as_far_with_one_of_its_seeds_is_not_said_to_be_behind(page_of):
    ends = {("a", 0): [0.5, 0.7], ("a", 1): [0.5, 0.8], ("b", 0): [0.5, 0.6], ("b", 1): [0.5]}
    alone = "a 20m alone has a value of all its seeds at 20M tokens, so no end can be compared in blimp."
    assert words(page_of(curves(ends)))[1] == alone
    several = words(page_of(curves(ends | {("c", 0): [0.4, 0.5], ("c", 1): [0.4, 0.5]})))
    assert several[1].startswith(
        "Best in blimp at 20M tokens, of the 2 recipes that have a value of all their seeds there: a 20m with 75.0%"
    )


def test_scores_that_cannot_be_compared_have_no_best(fake_run):
    """Seeds of one recipe that were scored over other examples leave no recipe to compare."""
    folders = [fake_run(seed=seed, anchors=(0, 25), num_pairs=2 + seed) for seed in (0, 1)]
    said = words(page_of_runs(*folders))
    assert said[0].startswith("2 runs of 1 recipe: ")
    assert said[1:] == ["No value is missing that other runs have."]
    whole = fake_run(name="whole", anchors=(0, 25, 50), num_pairs=2)
    behind = fake_run(name="behind", anchors=(0, 25), num_pairs=2)
    other = fake_run(name="other", anchors=(0, 25, 50), num_pairs=3)
    assert words(page_of_runs(whole, behind, other))[1] == (
        "whole alone has a value at 50M tokens, so no end can be compared in lmeff_blimp (left out, not scored as the others"
        " were: other)."
    )


def test_less_is_better_of_losses_and_states_are_counted(fake_run):
    folders = [
        fake_run(name="worse", anchors=(0, 25, 50), scored=False),
        fake_run(name="better", anchors=(0, 25, 50), scored=False, quality=0.3),
        fake_run(name="broken", anchors=(0, 25), scored=False, state="failed"),
        fake_run(name="young", anchors=(0, 25), scored=False, state="running"),
    ]
    said = words(page_of_runs(*folders))
    assert said[1].startswith(
        "Best in bits per byte of held-out text at 50M tokens, of the 2 recipes that have a value there: better with"
    )
    assert said[2] == "better has led since 25M tokens (of the 2 anchors that all have)."
    assert said[3].endswith("1 run failed, 1 run is on the way.")


def test_a_single_run_has_no_summary_and_a_clean_one_no_warning(fake_run):
    content = page_of_runs(fake_run(num_pairs=2, anchors=(0, 100)))
    assert words(content) == []
    assert content.cautions == []


def test_missing_values_are_warned_of_by_run(page_of):
    rows = curves({("a", seed): [0.5, 0.6, 0.7 + seed / 100] for seed in range(3)})
    content = page_of([row for row in rows if row[2:4] != (1, 20)])
    assert content.cautions == [
        "Missing: 1 value that other runs have.",
        "Missing: a 20m, seed 1: blimp at 20M.",
    ]
    assert words(content)[-1] == "1 value is missing that other runs have."


def test_a_task_that_a_run_has_no_score_of_is_missing(page_of):
    ends = {("a", 0): [0.5, 0.7], ("b", 0): [0.6, 0.8], ("c", 0): [0.6, 0.9]}
    rows = curves(ends) + curves({("a", 0): [0.1, 0.2], ("b", 0): [0.1, 0.3]}, "wug")
    assert "Missing: c 20m has no score of wug at all." in page_of(rows).cautions


def test_a_score_that_does_not_move_names_its_runs(page_of):
    ends = {("a", 0): [0.5, 0.5, 0.5], ("b", 0): [0.5, 0.5, 0.5], ("c", 0): [0.4, 0.6, 0.5]}
    found = page_of(curves(ends)).cautions
    assert found == [
        "Does not move: blimp (acc) is 50.0% at all 3 anchors of a 20m, seed 0, b 20m, seed 0; such a score tells nothing of"
        " how a model learns."
    ]


def test_a_score_that_all_runs_share_tells_none_apart(page_of):
    ends = {("a", 0): [0.4, 0.5], ("b", 0): [0.3, 0.5], ("c", 0): [0.2, 0.5]}
    assert page_of(curves(ends)).cautions == [
        "Tells no runs apart: blimp (acc) is 50.0% at the last anchors of all 3 runs that have it."
    ]
    ends["c", 0][1] = 0.51
    assert page_of(curves(ends)).cautions == []


def test_tokens_per_step_that_differ_are_said_with_the_runs(page_of, fake_run):
    path = Path(page_of(curves({("a", 0): [0.4, 0.5], ("b", 0): [0.3, 0.6]})).study.runs[0].folder)
    table = pd.read_csv(path)
    table["batch_tokens"] = table["corpus"].map({"a": 16_384, "b": 65_536})
    table.to_csv(path, index=False)
    content = PageContent(Study(*read_scored([path], "tokens=milestone:M")), {}, None)
    assert content.cautions == [
        "Tokens per step differ: 16,384 of a 20m; 65,536 of b 20m. At equal tokens they have taken other numbers of steps."
    ]
    folders = [fake_run(name=name, anchors=(0, 100), scored=False) for name in ("one", "other")]
    change_json(folders[1] / "plan.json", batch_tokens=1024)
    assert page_of_runs(*folders).cautions == [
        "Tokens per step differ: 1,024 of other; 131,072 of one. At equal tokens they have taken other numbers of steps."
    ]


def change_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_anchors_inside_the_warm_up_are_named_and_the_start_is_none(fake_run):
    folder = fake_run(anchors=(0, 25, 50), scored=False)  # steps 0, 191, 382; warm-up 300
    assert page_of_runs(folder).cautions == [
        "Inside the warm-up: 25M of 180m_hybrid, whose learning rate rises for 300 steps (39.3M tokens); how fast models"
        " learn before shows the schedule, too."
    ]
    change_json(folder / "plan.json", warmup_steps=191)
    assert page_of_runs(folder).cautions == [], "at its last step it has risen"


def test_the_warm_up_of_a_part_is_its_own(fake_run):
    folder = fake_run(anchors=(0, 25, 50), scored=False)
    at = {"deviation": 0, "step": 191, "exact_tokens": 191 * 131_072, "nominal_tokens": 25_000_000, "name": "25M"}
    shared = {"schedule": "cosine", "first_step": 0, "decay_steps": 0, "branch_steps": []}
    part = {**shared, "name": "25M", "last_step": 191, "anchors": [at], "warmup_steps": 20}
    change_json(folder / "plan.json", parts=[part], mode="restart")
    content = page_of_runs(folder)
    assert content.cautions == []
    assert cost_table(content.views).words == [
        "180m_hybrid is trained in parts (restart); all of them take 2.4e+18 FLOPs, as planned."
    ]


def test_a_branch_has_no_warm_up_behind_that_of_the_trunk(fake_run):
    folder = fake_run(anchors=(0, 25, 50), scored=False)  # steps 0, 191, 382
    words = ["anchors.mode=anneal", "anchors.tokens=[0,25M,50M]", "schedule.name=wsd", "schedule.warmup=150 steps"]
    plan = make_plan(read_recipe("180m_hybrid", words).recipe).model_dump(mode="json")
    assert [(part["first_step"], part["warmup_steps"]) for part in plan["parts"]] == [(0, 150), (153, 150), (306, 150)]
    change_json(folder / "plan.json", parts=plan["parts"], mode="anneal", warmup_steps=150)
    assert page_of_runs(folder).cautions == []


def test_ties_are_warned_of_where_they_are_many(fake_run):
    folder = fake_run(num_pairs=10, anchors=(0, 100, 250))
    content = page_of_runs(folder)
    assert not [line for line in content.cautions if line.startswith("Ties")]
    path = folder / "results/seed-0-tokens-100M/pairs/lmeff_blimp.parquet"
    pairs = pd.read_parquet(path)
    pairs.loc[: len(pairs) // 10 - 1, "score"] = 0.5
    pairs.to_parquet(path)
    share = (pairs["score"] == 0.5).mean()
    assert share > 0.09
    assert [line for line in page_of_runs(folder).cautions if line.startswith("Ties")] == [
        f"Ties: 180m_hybrid gives both sentences of {share:.1%} of the pairs of lmeff_blimp the same probability at 100M; each"
        " counts one half."
    ]


def test_losses_that_are_not_finite_and_skipped_steps_are_warned_of(fake_run):
    """A line of skipped steps has no loss either, whether that was finite or not, so it is told as skipped alone."""
    folder = fake_run(anchors=(0, 100), scored=False)
    lines = (folder / "run.log.jsonl").read_text().splitlines()
    record = json.loads(lines[-1])
    skipped = {**record, "step": record["step"] + 1, "loss": None, "num_skipped_steps": 3}
    broken = skipped | {"step": record["step"] + 2, "tokens": 123_400_000}
    log = folder / "run.log.jsonl"
    log.write_text("\n".join([*lines, json.dumps(skipped)]))
    of_skipped = "Not finite: 180m_hybrid skipped 3 steps, where loss or gradient was no finite number."
    assert page_of_runs(folder).cautions == [of_skipped]
    log.write_text("\n".join([*lines, json.dumps(skipped), json.dumps(broken), '{"step": 9']))
    assert page_of_runs(folder).cautions == [
        "Not finite: 180m_hybrid has no finite training loss in 1 line of its log, first at 123.4M tokens.",
        of_skipped,
    ]


def test_limits_are_warned_of(fake_run):
    folder = fake_run(num_pairs=2, anchors=(0, 100))
    path = folder / "results/seed-0-tokens-100M/lmeff_blimp.json"
    change_json(path, lmeff={"weights_sha256": "1", "data_sha256": "2", "settings": {"limit": 50}})
    assert [line for line in page_of_runs(folder).cautions if line.startswith("Limit")] == [
        "Limit: lmeff_blimp of 180m_hybrid was scored over the first 50 examples of each task only."
    ]


def test_fine_tuned_models_with_one_answer_are_constant_predictors(fake_run):
    folder = fake_run(num_pairs=2, anchors=(0, 100))
    results = folder / "results/seed-0-tokens-100M"
    tuned = {"finetune_rte": {"alias": "finetune_rte", "acc,none": 0.5}}
    document = {"results": tuned, "kind": "finetuning", "n-samples": {"finetune_rte": {"effective": 4}}}
    whole = json.loads((results / "lmeff_blimp.json").read_text())
    (results / "finetune_rte.json").write_text(json.dumps({**whole, "groups": {}, "group_subtasks": {}, **document}))
    (results / "predictions").mkdir()
    answers = pd.DataFrame({"split": "validation", "seed": [0, 0, 1, 1], "prediction": [1.0, 1.0, 0.0, 0.0]})
    answers.to_parquet(results / "predictions/finetune_rte.parquet")
    line = (
        "Constant predictions: fine-tuned from 180m_hybrid at 100M, finetune_rte gives every example one answer, as a"
        " predictor does that reads no text."
    )
    assert line in page_of_runs(folder).cautions
    answers.assign(prediction=[1.0, 0.0, 0.0, 0.0]).to_parquet(results / "predictions/finetune_rte.parquet")
    assert line not in page_of_runs(folder).cautions


def test_costs_are_those_of_the_last_anchor(fake_run):
    folders = [fake_run(name=name, anchors=(0, 100), scored=False) for name in ("one", "other")]
    for revision in ("seed-0-tokens-100M", "seed-0"):
        change_json(folders[1] / "revisions" / revision / "anchor.json", world_size=2, flops_teachers=1e17)
    content = page_of_runs(*folders)
    steps = 763  # of 131,072 tokens, up to 100M; 0.8 s and 1.5e14 FLOPs each
    one, other = (cost_of(view.run) for view in content.views)
    assert (one.flops, one.train_seconds, one.flops_teachers) == (steps * 1.5e14, steps * 0.8, None)
    assert one.tokens_per_second == pytest.approx(131_072 / 0.8)
    assert other.device_seconds == 2 * steps * 0.8
    table = cost_table(content.views)
    assert table.columns == ["Up to", "FLOPs", "of teachers", "Training", "Device", "Tokens a second"]
    assert table.rows[1][1] == ["100M tokens", "1.14e+17", "1e+17", "10 min 10 s", "2 x NVIDIA H200", "164k"]
    assert table.words == ["All 2 runs together: 3.29e+17 FLOPs and 30 min 31 s of device time."]


def test_each_sum_of_costs_is_of_the_runs_that_say_it(fake_run, tmp_path):
    ours = [fake_run(name=name, anchors=(0, 100), scored=False) for name in ("one", "other")]
    path = tmp_path / "scores.csv"
    path.write_text("corpus,tokens,seed,acc,flops\nweb,100,0,0.5,1e18\nweb,200,0,0.6,2e18\n")

    def said(*paths: Path) -> list[str]:
        return cost_table(PageContent(Study(*read_scored(paths)), {}, None).views).words

    assert said(path, *ours) == ["Together: 2.23e+18 FLOPs (3 of 3 runs) and 20 min 21 s of device time (2 of 3 runs)."]
    assert said(path, ours[0]) == ["All 2 runs together: 2.11e+18 FLOPs."]
    change_json(ours[1] / "plan.json", mode="anneal")
    assert said(path, *ours) == [
        "Together: 2.11e+18 FLOPs (2 of 3 runs).",
        "other is trained in parts (anneal); all of them take 2.4e+18 FLOPs, as planned.",
    ]


def test_costs_that_no_file_says_are_not_there(page_of):
    table = cost_table(page_of(curves({("a", 0): [0.5, 0.6]})).views)
    assert (table.columns, table.rows, table.words) == ([], [], [])


PROVENANCE = {
    "format": 1, "lmeff": "0.9", "commit": "f" * 40, "python": "3.11.7", "platform": "Linux",
    "packages": {"torch": "2.9", "transformers": "5.1", "lm-eval": "0.4.13", "deepspeed": None},
    "corpus": {"fingerprint": "c" * 32, "held_out_sha256": "d" * 64},
    "tokens": {"fingerprint": "e" * 32, "tokenizer_sha256": "a" * 64},
}  # fmt: skip


def test_provenance_is_what_the_files_say(fake_run):
    folders = [fake_run(name=name, anchors=(0, 100), scored=False) for name in ("one", "other")]
    for folder, lmeff in zip(folders, ("0.9", "1.0"), strict=True):
        path = folder / "revisions/seed-0-tokens-100M/provenance.json"
        path.write_text(json.dumps(PROVENANCE | {"lmeff": lmeff}))
    content = page_of_runs(*folders)
    facts = {fact.what: fact.value for fact in facts_of(content.views[0].run)}
    assert facts["lmeff"] == f"0.9, commit {'f' * 12}"
    assert (facts["torch"], facts["transformers"], facts["lm-eval"]) == ("2.9", "5.1", "0.4.13")
    assert "deepspeed" not in facts
    assert facts["Recipe"] == hashlib.sha256((folders[0] / "recipe.yaml").read_bytes()).hexdigest()
    assert (facts["Text"], facts["Tokenizer"], facts["Last model"]) == ("c" * 32, "a" * 64, "ab" * 32)
    assert facts["Trained"] == "2026-11-22 14:40 UTC"
    assert facts["Machine"] == "NVIDIA H200, node1"
    assert model_hashes(content.views[0].run) == [("seed-0-tokens-0", "ab" * 32), ("seed-0-tokens-100M", "ab" * 32)]
    table = provenance_table(content.views)
    assert table.columns == ["lmeff", "Recipe"]
    assert [row[0].value for _, row in table.rows] == [f"{version}, commit {'f' * 12}" for version in ("0.9", "1.0")]
    assert {fact.what for fact in table.shared} >= {"torch", "Tokenizer", "Last model"}


def test_a_run_in_parts_was_trained_from_its_first_line_to_its_last(fake_run):
    folder = fake_run(anchors=(0, 100), scored=False)
    record = json.loads((folder / "run.log.jsonl").read_text().splitlines()[0])
    (folder / "run.log.jsonl").unlink()
    change_json(folder / "plan.json", mode="restart")
    for part, hours in (("25M", ("09", "10")), ("100M", ("11", "12", "13"))):
        path = RunFolder(folder).part(part).log_jsonl
        path.parent.mkdir(parents=True)
        lines = [json.dumps(record | {"step": step, "time": f"2026-11-22T{at}:00:00"}) for step, at in enumerate(hours)]
        path.write_text("\n".join(lines))
    facts = {fact.what: fact.value for fact in facts_of(page_of_runs(folder).views[0].run)}
    assert facts["Trained"] == "2026-11-22 09:00 to 2026-11-22 13:00 UTC"


def test_the_provenance_of_a_table_is_its_file(page_of):
    content = page_of(curves({("a", 0): [0.5, 0.6], ("b", 0): [0.5, 0.6]}))
    table = provenance_table(content.views)
    sha256 = hashlib.sha256(content.study.runs[0].folder.read_bytes()).hexdigest()
    assert [(fact.what, fact.value) for fact in table.shared] == [
        ("Table", "scores.csv"),
        ("sha256 of the table", sha256),
    ]
    assert table.rows == []
