"""`lmeff compare`: planted differences are found, what cannot be compared is refused, and what it prints goes into a paper."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from analysis.fake_runs import GROUP, LEAVES, SUBTASKS

from lmeff.analysis.comparison.compare import compare
from lmeff.analysis.comparison.output.export import comparison_json
from lmeff.analysis.comparison.output.paper import comparison_latex, comparison_markdown
from lmeff.analysis.comparison.output.text import print_comparison
from lmeff.cli import main
from lmeff.errors import InputError

ALIKE = f"{GROUP}_passive_1"
PLANTED = f"{GROUP}_wh_island"
NUM_PAIRS = 60
README = Path(__file__).parents[2] / "lmeff" / "analysis" / "README.md"


@pytest.fixture
def runs(fake_run):
    """`runs("base", seeds=(0, 1))` writes small runs and returns their folder, which is also that of the seeds."""

    def write(name: str, seeds: tuple[int, ...] = (0,), **options) -> Path:
        options = {"anchors": (25, 50), "num_pairs": NUM_PAIRS, "final": False} | options
        return [fake_run(name=name, seed=seed, **options).parent for seed in seeds][-1]

    return write


def pairs_of(run: Path, millions: int = 50) -> Path:
    (found,) = run.glob(f"results/seed-*-tokens-{millions}M/pairs/{GROUP}.parquet")
    return found


def change_pairs(run: Path, change) -> None:
    """Writes what `change` makes of the table of pairs at the last anchor."""
    path = pairs_of(run)
    change(pd.read_parquet(path)).to_parquet(path)


def with_scores(task: str, scores: np.ndarray):
    def change(pairs: pd.DataFrame) -> pd.DataFrame:
        pairs.loc[pairs["task"] == task, "score"] = scores
        return pairs

    return change


def say(run: Path, data: str = "d" * 64, **settings) -> None:
    """What the results of minimal pairs say of themselves."""
    for path in run.glob(f"results/*/{GROUP}.json"):
        result = json.loads(path.read_text())
        given = {"limit": None, "precision": "float32", "context_start": "bos"} | settings
        result["lmeff"] = {"data_sha256": data, "settings": given, "versions": {"torch": "2.8.0"}}
        path.write_text(json.dumps(result))


def row_of(comparison, task: str, metric: str = "acc"):
    (row,) = (row for row in comparison.rows if row.task == task and row.metric == metric)
    return row


# ---- what differs is found


def test_two_seeds_of_one_recipe_are_said_to_be_that_first(runs):
    base = runs("base", seeds=(0, 1))
    first, second = base / "seed-0", base / "seed-1"
    note = "A and B are seeds of one recipe: what differs here is what seeds do"
    comparison = compare(first, second)
    assert comparison.notes[0] == note
    text = print_comparison(comparison)
    assert text.count(note) == 1
    assert text.index(note) < text.index("paradigms differ over items")
    for path in second.glob("revisions/*/anchor.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"world_size": 2}))
    assert compare(first, second).notes[0] == "A and B are seeds of one recipe", "they differ in devices, too"
    other = runs("other", learning_rate="6e-4") / "seed-0"
    assert note not in compare(first, other).notes
    assert note not in compare(f"{first}@25M", f"{second}@50M").notes


def test_seeds_of_a_corpus_that_was_prepared_anew_differ_in_their_text(runs):
    folder = runs("base", seeds=(0, 1))
    for seed, text in ((0, "a" * 64), (1, "b" * 64)):
        for anchor in folder.glob(f"seed-{seed}/revisions/*"):
            (anchor / "provenance.json").write_text(json.dumps({"corpus": {"held_out_sha256": text}}))
    assert compare(folder / "seed-0", folder / "seed-1").notes[0] == "A and B are seeds of one recipe"


def test_a_planted_difference_is_found_and_nothing_else(runs):
    """B is right on 30 of 60 pairs of one paradigm that A gets wrong, A on 4 others; on one more pair A's tie is B's win."""
    a, b = runs("base") / "seed-0", runs("better") / "seed-0"
    change_pairs(a, with_scores(PLANTED, np.array([0.0] * 30 + [1.0] * 4 + [0.5] + [1.0] * 25)))
    change_pairs(b, with_scores(PLANTED, np.array([1.0] * 30 + [0.0] * 4 + [1.0] + [1.0] * 25)))
    comparison = compare(a, b)
    row = row_of(comparison, PLANTED)
    assert (row.a, row.b) == pytest.approx((29.5 / 60, 56 / 60))
    assert row.difference == pytest.approx(26.5 / 60)
    assert (row.num_a_better, row.num_b_better, row.num_pairs, row.num_items) == (4, 31, 60, 60)
    # 34 coins and one of half their weight: as far off are 30 heads with the small one, and 31 without it.
    heads = scipy.stats.binom(34, 0.5)
    assert row.items.p == pytest.approx(heads.sf(29) + heads.sf(30), rel=1e-9)
    assert row.items.low < row.difference < row.items.high
    assert row.items.p_holm == pytest.approx(67 * row.items.p)
    for other in comparison.of(GROUP, "paradigm"):
        if other is not row:
            assert (other.difference, other.items.p, other.items.p_holm, other.items.p_bh) == (0, 1, 1, 1)
    assert row_of(comparison, GROUP).difference == pytest.approx(26.5 / 60 / 67)
    island = row_of(comparison, f"{GROUP}_island_effects")
    assert (island.difference, island.num_paradigms) == (pytest.approx(26.5 / 60 / 8), 8)
    assert [row.task for row in comparison.rows if comparison.differs(row)] == [
        GROUP,
        f"{GROUP}_island_effects",
        PLANTED,
    ]
    assert any("the unweighted mean over paradigms is not what the results say" in note for note in comparison.notes)
    assert "1 of 67 paradigms differ over items after Holm's correction at 5%, 1 after" in print_comparison(comparison)


def test_paradigms_of_unequal_size_count_equally(runs):
    a, b = runs("base") / "seed-0", runs("better") / "seed-0"
    for run in (a, b):
        change_pairs(run, lambda pairs: pairs[(pairs["task"] != PLANTED) | (pairs["pair"] < 10)])
    change_pairs(a, with_scores(PLANTED, np.zeros(10)))
    change_pairs(b, with_scores(PLANTED, np.ones(10)))
    comparison = compare(a, b)
    assert row_of(comparison, GROUP).difference == pytest.approx(1 / 67)
    assert row_of(comparison, PLANTED).items.p == pytest.approx(2 / 2**10)
    assert row_of(comparison, GROUP).items.p == pytest.approx(2 / 2**10, abs=0.002)


def test_a_against_itself_is_exactly_nothing(runs):
    one, several = runs("base", seeds=(0, 1, 2)) / "seed-0", runs("base2", seeds=(0, 1, 2))
    for a, b in ((one, one), (several, several)):
        comparison = compare(a, b)
        for row in comparison.rows:
            assert row.difference == 0
            for estimate in (row.items, row.seeds):
                if estimate is not None:
                    assert (estimate.p, estimate.p_holm in (1, None)) == (1, True)
                    assert estimate.low <= 0 <= estimate.high
        assert not any(map(comparison.differs, comparison.rows))
        assert "A and B have the same weights" in "\n".join(comparison.notes)


def test_several_seeds_answer_a_question_of_their_own(runs):
    """Over seeds it is scipy's paired t test of the accuracies of the runs; over items of the means over seeds."""
    a, b = runs("base", seeds=(0, 1, 2)), runs("better", seeds=(0, 1, 2), quality=0.3)
    comparison = compare(a, b)
    scores = {
        side: [pd.read_parquet(pairs_of(folder / f"seed-{seed}")) for seed in range(3)]
        for side, folder in (("a", a), ("b", b))
    }
    by_seed = {
        side: [pairs.groupby("task")["score"].mean().mean() for pairs in of_side] for side, of_side in scores.items()
    }
    row = row_of(comparison, GROUP)
    expected = scipy.stats.ttest_rel(by_seed["b"], by_seed["a"])
    assert row.seeds.p == pytest.approx(expected.pvalue)
    assert (row.seeds.low, row.seeds.high) == pytest.approx(tuple(expected.confidence_interval()))
    assert row.seeds.p_smallest == 0.25
    assert row.difference == pytest.approx(np.mean(by_seed["b"]) - np.mean(by_seed["a"]))
    means = [np.mean([pairs["score"] for pairs in scores[side]], axis=0) for side in "ab"]
    assert (row.num_a_better, row.num_b_better) == ((means[0] > means[1]).sum(), (means[1] > means[0]).sum())
    assert not any("not what the results say" in note for note in comparison.notes)
    assert row.both.stderr == pytest.approx(np.hypot(row.items.stderr, row.seeds.stderr))
    assert comparison.question == "seeds"
    text = print_comparison(comparison)
    assert "3 and 3 seeds, compared seed by seed" in text
    ends = f"[{100 * row.both.low:+.2f}, {100 * row.both.high:+.2f}]"
    assert f"over seeds and items together, overall: {100 * row.difference:+.2f} {ends}, p " in text
    assert row.items.p < row.both.p < 0.01
    assert "cannot give less than p = 0.25" in text
    assert "over seeds: would models of other training runs differ, on these very items? (paired t interval;" in text


def test_other_seeds_are_independent_runs_and_one_says_nothing_of_others(runs):
    a, b = runs("base", seeds=(0, 1)), runs("better", seeds=(2, 3, 4), quality=0.3)
    comparison = compare(a, b)
    row = row_of(comparison, GROUP)
    assert row.seeds.test == "Welch's t test"
    assert "two seeds on a side are too few to claim that training runs differ" in comparison.notes
    comparison = compare(a / "seed-0", b)
    assert row_of(comparison, GROUP).seeds is None
    assert "one model on a side: nothing here says whether another training run would differ" in comparison.notes


def test_pairs_of_one_item_are_one_sample(runs):
    a, b = runs("base") / "seed-0", runs("better", quality=0.3) / "seed-0"
    alone = row_of(compare(a, b), ALIKE)
    for run in (a, b):
        change_pairs(run, lambda pairs: pairs.assign(item=pairs["pair"] // 2))
    shared = row_of(compare(a, b), ALIKE)
    assert (shared.num_pairs, shared.num_items) == (NUM_PAIRS, NUM_PAIRS // 2)
    assert (alone.num_items, alone.difference) == (NUM_PAIRS, shared.difference)


# ---- what is not compared


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"data": "e" * 64}, "other data (A dddddddd, B eeeeeeee)"),
        ({"limit": 50}, "other limit (A none, B 50)"),
        ({"context_start": "tokenizer"}, "other context_start (A bos, B tokenizer)"),
        (
            {"scoring": "pseudo_log_likelihood"},
            "other scoring (A causal, B pseudo_log_likelihood)",
        ),
        ({"precision": "bfloat16"}, "other precision (A float32, B bfloat16)"),
        (
            {"data": "e" * 64, "limit": 50},
            "other data (A dddddddd, B eeeeeeee); other limit (A none, B 50)",
        ),
    ],
)
def test_other_data_and_settings_are_refused_in_one_line(runs, settings, said):
    a, b = runs("base") / "seed-0", runs("better") / "seed-0"
    say(a)
    say(b, **settings)
    with pytest.raises(InputError) as refused:
        compare(a, b)
    assert refused.value.mistakes == (f"not compared: {GROUP}: {said}",)


def test_what_chooses_alike_is_no_difference(runs):
    a, b = runs("base") / "seed-0", runs("better") / "seed-0"
    say(a, batch_size=1, model_files_sha256="a")
    say(b, batch_size=64, model_files_sha256="b", precision="adaptive")
    assert row_of(compare(a, b), GROUP).difference == 0


def test_one_seed_that_was_scored_otherwise_is_named(runs):
    a, b = runs("base"), runs("better", seeds=(0, 1))
    for run in (a / "seed-0", b / "seed-0"):
        say(run)
    say(b / "seed-1", limit=20)
    with pytest.raises(InputError, match=r"other limit \(A and B, seed 0 none, B, seed 1 20\)"):
        compare(a, b)


def test_other_numbers_of_examples_tell_where_results_do_not(runs):
    a, b = runs("base") / "seed-0", runs("better", num_pairs=30) / "seed-0"
    with pytest.raises(InputError, match=r"other numbers of examples \(A 4,020, B 2,010\)$"):
        compare(a, b)


def test_other_pairs_with_the_same_number_are_refused(runs):
    a, b = runs("base") / "seed-0", runs("better") / "seed-0"
    change_pairs(b, lambda pairs: pairs.assign(pair=pairs["pair"] + 1))
    with pytest.raises(InputError, match="B scored other pairs than A"):
        compare(a, b)


def test_what_one_side_lacks_is_said_beside_what_both_have(runs):
    a, b = runs("base") / "seed-0", runs("better") / "seed-0"
    write_result(b, "arc", "choices", {"acc": 0.5, "acc_stderr": 0.02})
    comparison = compare(a, b)
    assert comparison.not_compared == ("arc: no result of A",)
    assert "not compared: arc: no result of A" in print_comparison(comparison)
    with pytest.raises(InputError, match="not compared: arc: no result of A"):
        compare(a, b, tasks=["arc"])
    with pytest.raises(InputError, match="neither side has a result of 'lmeff_blump'; did you mean 'lmeff_blimp'"):
        compare(a, b, tasks=["lmeff_blump"])


def test_what_else_differs_stands_beside_the_numbers(runs):
    a, b = runs("base") / "seed-0", runs("better", learning_rate="6e-4") / "seed-0"
    say(a)
    say(b)
    plan = json.loads((b / "plan.json").read_text())
    (b / "plan.json").write_text(json.dumps(plan | {"batch_tokens": 65_536}))
    comparison = compare(a, b)
    assert "recipes differ in optimizer.learning_rate (3e-4 | 6e-4)" in comparison.notes
    assert re.search(r"^tokens per step +131,072 +65,536$", print_comparison(comparison), re.MULTILINE)
    assert not any("do not say with which data" in note for note in comparison.notes)


def test_what_was_kept_of_the_teachers_is_a_difference(runs):
    a, b = runs("base") / "seed-0", runs("better") / "seed-0"
    for side, cache in ((a, ""), (b, ", cache: {kind: top_k, k: 8}")):
        with open(side / "recipe.yaml", "a") as recipe:
            recipe.write(f"distillation: {{teachers: [outputs/big/model]{cache}}}\n")
    (note,) = (note for note in compare(a, b).notes if note.startswith("recipes differ"))
    assert "distillation.cache.kind (- | top_k), distillation.cache.k (- | 8)" in note


# ---- other results


def write_result(run: Path, task: str, kind: str, metrics: dict, num: int = 500, **about) -> None:
    for folder in run.glob("results/*"):
        content = {
            "results": {task: {f"{name},none": value for name, value in metrics.items()}},
            "configs": {}, "versions": {}, "higher_is_better": {},
            "n-samples": {task: {"original": num, "effective": num}},
            "counts": {task: {"num_tokens": about.pop("num_tokens", 1000)}},
            "kind": kind, "lmeff": {"data_sha256": "d", "settings": {}} | about,
        }  # fmt: skip
        (folder / f"{task}.json").write_text(json.dumps(content))


def test_choices_are_compared_as_independent_samples(runs):
    a, b = runs("base") / "seed-0", runs("better") / "seed-0"
    for run, accuracy in ((a, 0.60), (b, 0.70)):
        stderr = np.sqrt(accuracy * (1 - accuracy) / 499)
        write_result(run, "arc", "choices", {"acc": accuracy, "acc_stderr": stderr})
    row = row_of(compare(a, b, tasks=["arc"]), "arc")
    assert (row.difference, row.num_pairs) == (pytest.approx(0.1), 500)
    assert row.items.p == pytest.approx(2 * scipy.stats.norm.sf(0.1 / np.sqrt((0.24 + 0.21) / 499)))
    assert "as items were not recorded" in row.items.interval


def test_versions_of_lm_eval_matter_for_its_own_tasks(runs):
    a, b = runs("base") / "seed-0", runs("better") / "seed-0"
    for run, version in ((a, "0.4.9"), (b, "0.4.13")):
        write_result(run, "arc", "choices", {"acc": 0.5}, versions={"lm_eval": version})
        write_result(run, "lmeff_ewok", "choices", {"acc": 0.5}, versions={"lm_eval": version})
    comparison = compare(a, b)
    assert comparison.not_compared == ("arc: a task of lm-eval, scored with other versions of it (A 0.4.9, B 0.4.13)",)
    assert row_of(comparison, "lmeff_ewok").difference == 0
    assert "scored with other versions of lm_eval (A 0.4.9, B 0.4.13)" in comparison.notes


def test_perplexity_of_one_text_in_other_tokens_is_compared_by_bytes(runs):
    a, b = runs("base") / "seed-0", runs("better") / "seed-0"
    metrics = {"loss": 3.0, "loss_stderr": 0.1, "bits_per_byte": 1.2, "bits_per_byte_stderr": 0.03, "perplexity": 20}
    for run in (a, b):
        write_result(run, "perplexity", "perplexity", metrics, text_sha256="t")
    found = [row.metric for row in compare(a, b).rows if row.task == "perplexity"]
    assert found == ["bits_per_byte", "loss"]
    write_result(b, "perplexity", "perplexity", metrics, text_sha256="t", data_sha256="other tokens")
    comparison = compare(a, b, tasks=["perplexity"])
    assert [row.metric for row in comparison.rows] == ["bits_per_byte"]
    assert comparison.rows[0].items.high == pytest.approx(1.959964 * np.hypot(0.03, 0.03))
    write_result(b, "perplexity", "perplexity", metrics, text_sha256="u", data_sha256="other text")
    with pytest.raises(InputError, match="perplexity: other data"):
        compare(a, b, tasks=["perplexity"])


def test_held_out_losses_need_one_text_and_one_tokenizer(runs):
    a, b = runs("base") / "seed-0", runs("better", quality=0.2) / "seed-0"
    loss, bits = (row_of(compare(a, b), "dev", metric) for metric in ("dev_loss", "dev_bits_per_byte"))
    for row, key in ((loss, "dev_loss"), (bits, "dev_bits_per_byte")):
        values = [json.loads(next(run.glob("revisions/*50M/anchor.json")).read_text())[key] for run in (a, b)]
        assert row.difference == pytest.approx(values[1] - values[0])
        assert row.difference < 0
    exported = comparison_json(compare(a, b))["rows"]
    assert {row["differs"] for row in exported if row["level"] == "loss"} == {None}, "nothing says so, nor the opposite"
    assert {row["differs"] for row in exported if row["level"] == "overall"} <= {True, False}
    recipe = b / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("50257", "8192"))
    comparison = compare(a, b)
    assert not [row for row in comparison.rows if row.level == "loss"]
    assert "held-out loss: other tokenizers: a token is another amount of text" in comparison.not_compared
    assert any(line.startswith("held-out bits per byte: evaluation.dev_tokens") for line in comparison.not_compared)
    recipe.write_text(recipe.read_text().replace("hybrid_3.7B", "wikipedia"))
    assert any(line.startswith("held-out loss: of other held-out texts") for line in compare(a, b).not_compared)


def test_losses_of_other_kinds_are_not_compared(runs):
    a, b = runs("base") / "seed-0", runs("better") / "seed-0"
    masked = {"dev_loss": None, "dev_perplexity": None, "dev_bits_per_byte": None, "loss_kind": "masked"}

    def make_masked(run: Path, loss: float, rate: float) -> None:
        for path in run.glob("revisions/*/anchor.json"):
            path.write_text(json.dumps(json.loads(path.read_text()) | masked | {"dev_masked_loss": loss}))
        text = (run / "recipe.yaml").read_text().partition("objective:")[0]
        (run / "recipe.yaml").write_text(f"{text}objective: {{name: masked, mask_rate: {rate}}}\n")

    make_masked(b, 2.5, 0.15)
    assert "held-out loss: of other kinds (A of the next token, B of masked tokens)" in compare(a, b).not_compared
    make_masked(a, 2.75, 0.15)
    (row,) = (row for row in compare(a, b).rows if row.level == "loss")
    assert (row.metric, row.difference) == ("dev_masked_loss", -0.25)
    make_masked(a, 2.75, 0.3)
    assert "held-out loss: other settings of the objective decide what is predicted" in compare(a, b).not_compared


# ---- what A and B name


def test_runs_are_compared_at_the_last_anchor_that_both_have(runs):
    a, b = runs("base") / "seed-0", runs("longer", anchors=(25, 50, 100)) / "seed-0"
    comparison = compare(a, b)
    assert [side.members[0].tokens for side in (comparison.sides.a, comparison.sides.b)] == [50_000_000] * 2
    assert comparison.notes[0] == (
        "compared at 50M tokens, the last anchor that all have; they end at 50M and 100M (--at final compares the ends)"
    )
    tokens = {
        at: [side.members[0].tokens // 10**6 for side in (found.a, found.b)]
        for at in ("25M", "final")
        for found in [compare(a, b, at=at).sides]
    }
    assert tokens == {"25M": [25, 25], "final": [50, 100]}
    with pytest.raises(InputError, match=r"no anchor '100M'; it has 25M, 50M"):
        compare(a, b, at="100M")


def test_revisions_are_named_in_several_ways(runs):
    run = runs("base", final=True) / "seed-0"
    names = (f"{run}@25M", f"{run}@seed-0-tokens-25M", run / "revisions" / "seed-0-tokens-25M")
    for name in (*names, run / "results" / "seed-0-tokens-25M"):
        comparison = compare(name, run)
        assert (comparison.sides.a.label, comparison.sides.b.label) == ("base, 25M tokens", "base, 50M tokens")
    assert compare(names[0], run / "revisions" / "seed-0").sides.b.members[0].tokens == 50_000_000
    with pytest.raises(InputError, match="--at 25M: both sides name a revision already"):
        compare(names[0], names[1], at="25M")


def test_seeds_between_commas_with_stars_and_in_a_folder_are_the_same(runs):
    a, b = runs("base", seeds=(0, 1)), runs("better", seeds=(0, 1))
    found = [compare(word, b) for word in (a, f"{a}/seed-1,{a}/seed-0", f"{a}/seed-*")]
    assert [comparison.sides.a.seeds for comparison in found] == [(0, 1)] * 3
    assert found[0].rows == found[1].rows == found[2].rows


def other_model(folder: Path, run: Path, repository: str, revision: str) -> Path:
    """Results of `run` as those of a model that is no run of ours."""
    (source,) = run.glob("results/*50M")
    target = folder / f"{repository.rpartition('/')[2]}@{revision}"
    target.mkdir(parents=True)
    for path in (*source.glob("*.json"), *source.glob("pairs/*")):
        (target / path.relative_to(source)).parent.mkdir(exist_ok=True)
        (target / path.relative_to(source)).write_bytes(path.read_bytes())
    note = {"format": 1, "repository": repository, "revision": revision, "commit": None}
    (target / ".model.json").write_text(json.dumps(note))
    return target


def test_results_of_other_models_are_compared_with_runs(runs, tmp_path):
    run = runs("base", seeds=(0, 1), quality=0.2)
    folder = tmp_path / "eval"
    main_one = other_model(folder, run / "seed-0", "them/model", "main")
    comparison = compare(main_one, run / "seed-1")
    assert (comparison.sides.a.label, comparison.sides.b.label) == ("model", "base")
    assert comparison.sides.a.members[0].tokens is None
    assert row_of(comparison, GROUP).num_pairs == 67 * NUM_PAIRS
    others = [other_model(folder, run / f"seed-{seed}", f"them/model-{seed}", "main") for seed in (0, 1)]
    comparison = compare(",".join(map(str, others)), run)
    assert comparison.sides.a.seeds is None
    assert row_of(comparison, GROUP).seeds.test == "Welch's t test"
    assert any("they are taken as named" in note for note in comparison.notes)


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ("nowhere", "base/seed-0", "nowhere: no such folder"),
        (
            "them/model@main",
            "base/seed-0",
            "a model of the Hub is compared by its results: `lmeff eval them/model@main",
        ),
        (".", "base/seed-0", r"these are no seeds of one recipe, each once \(base, better\)"),
        ("base", "base/seed-0", "on both sides"),
        ("base/seed-9*", "base/seed-0", "no folder is called so"),
        ("base/seed-0@75M", "better", "no anchor '75M'; it has 25M, 50M"),
        ("base/seed-0/revisions", "better", "no run here"),
    ],
)
def test_what_names_no_models_is_said_in_one_line(runs, monkeypatch, capsys, a, b, said):
    monkeypatch.chdir(runs("base", seeds=(0, 1)).parent)
    runs("better")
    assert main(["compare", a, b]) == 2
    error = capsys.readouterr().err
    assert re.search(said, error)
    assert error.count("\n") == 1


# ---- what is printed


@pytest.fixture
def comparison(runs):
    a, b = runs("base_100%", seeds=(0, 1, 2)), runs("bet|ter & co", seeds=(0, 1, 2), quality=0.5)
    return compare(a, b)


def test_latex_is_whole_and_escaped(comparison):
    text = comparison_latex(comparison)
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    for begin, end in ((r"\begin{table*}", r"\end{table*}"), (r"\begin{tabular}", r"\end{tabular}"), ("{", "}")):
        assert body.count(begin) == body.count(end) > 0
    assert len(re.findall(r"(?<!\\)\$", body)) % 2 == 0
    assert r"base\_100\%" in body
    assert r"bet\textbar{}ter \& co" in body
    assert not re.search(r"(?<!\\)[_#%]|<(?!0\.0001\$)", re.sub(r"\\label\{.*?\}", "", body))
    for table in body.split(r"\begin{tabular}")[1:]:
        columns = re.match(r"\{(l[r]+)\}", table)[1]
        rows = [line for line in table.split(r"\end{tabular}")[0].splitlines() if line.endswith(r"\\")]
        assert {len(re.split(r"(?<!\\)&", row)) for row in rows} == {len(columns)}
        assert [table.count(rule) for rule in (r"\toprule", r"\bottomrule")] == [1, 1]
    caption = re.search(r"\\caption\{(.*)\}", body)[1]
    for words in ("67 paradigms, 4,020 pairs", "a tie counts one half", "Holm 1979", "paired t test", "12 phenomena"):
        assert words in caption


def test_markdown_has_rows_of_one_width(comparison):
    text = comparison_markdown(comparison)
    for block in text.split("\n\n"):
        if block.startswith("|"):
            assert len({len(re.split(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1
    assert r"bet\|ter & co" in text
    assert r"base\_100%" in text


def test_json_has_everything_and_the_page_documents_its_keys(comparison, runs, capsys):
    found = json.loads(json.dumps(comparison_json(comparison), allow_nan=False))
    assert found["format"] == 1
    assert len(found["rows"]) == 1 + 12 + 67 + 2
    page = README.read_text()
    keys = [*found, *found["a"], *found["a"]["members"][0], *found["rows"][0], *found["rows"][0]["seeds"]]
    assert [key for key in dict.fromkeys(keys) if f"`{key}`" not in page] == []
    folders = [str(side.members[0].run.folder.parent) for side in (comparison.sides.a, comparison.sides.b)]
    assert main(["compare", *folders, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == found
    assert comparison.table["items.p"].iloc[0] == found["rows"][0]["items"]["p"]


@pytest.mark.parametrize(("option", "begin"), [("--latex", "% needs"), ("--markdown", "|  | A | B |"), ("-q", " ")])
def test_the_verb_prints_each_form(runs, capsys, option, begin):
    a, b = runs("base") / "seed-0", runs("better") / "seed-0"
    assert main(["compare", str(a), option, str(b), "--tasks", f"{GROUP}_binding,{ALIKE}"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(begin)
    assert "held-out" not in text


def test_a_phenomenon_and_a_paradigm_are_suites_of_their_own(runs):
    comparison = compare(runs("base") / "seed-0", runs("better") / "seed-0", tasks=[f"{GROUP}_binding", ALIKE])
    assert [(row.suite, row.level) for row in comparison.rows] == [
        (f"{GROUP}_binding", "overall"),
        *[(f"{GROUP}_binding", "paradigm")] * len(SUBTASKS[f"{GROUP}_binding"]),
        (ALIKE, "overall"),
    ]
    assert len(LEAVES) == 67
