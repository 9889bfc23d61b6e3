"""Runs side by side whose numbers cannot be compared: named, and losses kept apart."""

import json
from pathlib import Path

import pytest

from lmeff.analysis import print_curves, read_runs, write_report
from lmeff.analysis.charts.main_figure import main_figure
from lmeff.analysis.charts.series import make_series
from lmeff.cli import main


def say(run: Path, task: str = "lmeff_blimp", num_examples: int | None = None, **about) -> None:
    """What the results of a task say of themselves."""
    for path in run.glob(f"results/*/{task}.json"):
        result = json.loads(path.read_text())
        if about:
            result["lmeff"] = {"data_sha256": about.get("data", "d" * 64), "settings": {"limit": None} | about}
        if num_examples:
            per_task = {"original": 200, "effective": num_examples // 67}
            result["n-samples"] = dict.fromkeys(result["n-samples"], per_task)
        path.write_text(json.dumps(result))


def prepared(
    run: Path, tokenizer: str, fingerprint: str, held_out: str | None = None, num_dev: int | None = None
) -> None:
    for path in run.glob("revisions/*/anchor.json"):
        corpus = {"fingerprint": fingerprint} | ({"held_out_sha256": held_out} if held_out else {})
        splits = {"splits": {"dev": {"num_tokens": num_dev}}} if num_dev else {}
        document = {"corpus": corpus, "tokens": {"tokenizer_sha256": tokenizer} | splits}
        (path.parent / "provenance.json").write_text(json.dumps(document))


@pytest.fixture
def two(fake_run):
    return [fake_run(name=name, num_pairs=5, anchors=(0, 25, 50)) for name in ("first", "second")]


def panels(paths) -> list[tuple[str, set[str]]]:
    """Axis title and the runs of each panel of the main figure."""
    figure = main_figure(make_series(read_runs(paths)))
    found = []
    for panel in figure["concat"]:
        rows = figure["datasets"][panel["data"]["name"]]
        titles = {layer["encoding"]["y"].get("title") for layer in panel["layer"] if "y" in layer["encoding"]}
        found.append(((titles - {None}).pop(), {row["series"] for row in rows}))
    return found


def test_runs_that_were_measured_alike_share_axes_and_have_no_note(two):
    for run in two:
        prepared(run, "t", "c")
        say(run, precision="float32")
    assert "not comparable" not in print_curves(read_runs(two))
    assert panels(two) == [
        ("Loss, nats per token", {"first", "second"}),
        ("Correct, %", {"first", "second"}),
    ]


@pytest.mark.medium
def test_another_number_of_pairs_is_said_everywhere(two, tmp_path, capsys):
    """One with 50 examples a task beside one with all of them."""
    say(two[0], num_examples=67 * 200, data="a" * 64)
    say(two[1], num_examples=67 * 50, data="b" * 64, limit=50)
    note = (
        "lmeff_blimp: first over 13,400 pairs, data aaaaaaaa, limit none; second over 3,350 pairs, data bbbbbbbb, limit 50: "
        "not scored alike, so the scores cannot be compared"
    )
    assert f"not comparable: {note}" in print_curves(read_runs(two)).splitlines()
    assert main(["curves", *map(str, two), "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["notes"] == [note]
    assert said.err == f"not comparable: {note}\n"
    page = write_report(read_runs(two), tmp_path / "page.html").read_text()
    assert f"<strong>Not comparable</strong>: {note}." in page
    assert "not scored alike, so not comparable" in page


def test_results_that_say_nothing_of_themselves_still_have_a_number_of_examples(two):
    say(two[1], num_examples=67 * 3)
    assert "first over 335 pairs; second over 201 pairs: not scored alike" in print_curves(read_runs(two))


@pytest.mark.parametrize("is_ours", [True, False])
def test_scores_of_another_way_are_no_scores_of_a_causal_model(two, is_ours):
    """In files of lm-eval's own command line only the model says how it scored."""
    pseudo = {"scoring": "pseudo_log_likelihood", "scoring_variant": "within_word_l2r"}
    if is_ours:
        say(two[0], precision="float32")
        say(two[1], precision="float32", **pseudo)
    else:
        for run, way in zip(two, ({}, pseudo), strict=True):
            for path in run.glob("results/*/lmeff_blimp.json"):
                config = {"context_start": "bos", **way}
                path.write_text(json.dumps(json.loads(path.read_text()) | {"config": config}))
    variant = "" if is_ours else " (within_word_l2r)"
    assert (
        f"not comparable: lmeff_blimp: first over 335 pairs, scoring causal; second over 335 pairs, scoring "
        f"pseudo_log_likelihood{variant}: not scored alike" in print_curves(read_runs(two))
    )


def test_traits_of_families_are_no_other_settings(two):
    """Of fine-tuning: how a family is pooled, and what its dropout is drawn by."""
    say(two[0], seed=1)
    say(two[1], seed=1, pooling="tried", segments=2, micro_batch_size=8)
    assert "not comparable" not in print_curves(read_runs(two))


def test_within_one_run_too(fake_run):
    run = fake_run(num_pairs=5, anchors=(0, 25, 50))
    path = run / "results" / "seed-0-tokens-25M" / "lmeff_blimp.json"
    result = json.loads(path.read_text())
    result["n-samples"] = {task: {"original": 5, "effective": 2} for task in result["n-samples"]}
    path.write_text(json.dumps(result))
    assert "lmeff_blimp: anchor 25M was scored over 134 examples, the others over 335" in print_curves(read_runs([run]))


def test_seeds_of_one_recipe_that_were_scored_unlike_are_named_by_seed(fake_run):
    runs = [fake_run(seed=seed, num_pairs=5, anchors=(0, 25)) for seed in (0, 1)]
    say(runs[0], precision="float32")
    say(runs[1], precision="bfloat16")
    text = print_curves(read_runs(runs))
    assert (
        "not comparable: lmeff_blimp: 180m_hybrid, seed 0 over 335 pairs, precision float32; 180m_hybrid, seed 1 over 335 "
        "pairs, precision bfloat16: not scored alike, so the scores cannot be compared" in text
    )


@pytest.mark.medium
def test_losses_of_other_tokenizers_are_kept_apart_and_bits_per_byte_drawn_together(two, tmp_path):
    prepared(two[0], "t" * 64, "c", num_dev=90_000)
    prepared(two[1], "u" * 64, "c", num_dev=100_000)
    recipe = two[1] / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("50257", "8192"))
    assert panels(two) == [
        ("Bits per byte", {"first", "second"}),
        ("Loss, nats per token", {"first"}),
        ("Loss, nats per token", {"second"}),
        ("Correct, %", {"first", "second"}),
    ]
    note = (
        "not comparable: first (50,257 entries) and second (8,192 entries) have other tokenizers: a token is another amount of "
        "text, and losses and perplexities per token cannot be compared; bits per byte can"
    )
    assert note in print_curves(read_runs(two)).splitlines()
    assert "have other tokenizers" in write_report(read_runs(two), tmp_path / "page.html").read_text()


@pytest.mark.medium
@pytest.mark.parametrize("num_dev", [100_001, None])
def test_bits_per_byte_of_samples_that_other_tokenizers_take_are_not_said_to_be_comparable(two, num_dev):
    """100,000 tokens of more text, or of nobody knows how much, are other documents."""
    prepared(two[0], "t" * 64, "c", num_dev=90_000)
    prepared(two[1], "u" * 64, "c", num_dev=num_dev)
    assert "Bits per byte" not in dict(panels(two))
    text = print_curves(read_runs(two))
    assert "have other tokenizers" in text
    assert "losses and perplexities per token cannot be compared; nor, as far as is known, can bits per byte" in text


def with_settings(run: Path, batch: str = "", evaluation: str = "") -> None:
    path = run / "recipe.yaml"
    text = path.read_text().replace("sequence_length: 256", f"sequence_length: 256{batch}")
    path.write_text(text.replace("tasks: [lmeff_blimp]", f"tasks: [lmeff_blimp]{evaluation}"))


@pytest.mark.medium
@pytest.mark.parametrize(
    ("batch", "evaluation", "said"),
    [
        (", document_mask: true", "", "dev_tokens 100,000, sequence_length 256, document_mask"),
        ("", ", dev_tokens: 5k", "dev_tokens 5,000, sequence_length 256"),
        (", sequence_length: 64", "", "dev_tokens 100,000, sequence_length 64"),
    ],
)
def test_losses_over_other_samples_or_windows_are_kept_apart(two, batch, evaluation, said):
    for run in two:
        prepared(run, "t", "c", num_dev=200_000)
    with_settings(two[1], batch, evaluation)
    assert panels(two)[:2] == [("Loss, nats per token", {"first"}), ("Loss, nats per token", {"second"})]
    assert (
        f"not comparable: first (dev_tokens 100,000, sequence_length 256) and second ({said}) took their held-out losses over "
        "other samples or windows: neither their losses nor their bits per byte can be compared"
    ) in print_curves(read_runs(two)).splitlines()


def test_more_tokens_than_there_are_make_no_difference(two):
    for run in two:
        prepared(run, "t", "c", num_dev=90_000)
    with_settings(two[1], evaluation=", dev_tokens: 1M")
    assert "not comparable" not in print_curves(read_runs(two))


@pytest.mark.medium
def test_losses_over_other_text_are_kept_apart_and_no_bits_per_byte_either(two):
    prepared(two[0], "t", "c")
    prepared(two[1], "t", "other")
    assert panels(two) == [
        ("Loss, nats per token", {"first"}),
        ("Loss, nats per token", {"second"}),
        ("Correct, %", {"first", "second"}),
    ]
    assert "first and second have other held-out texts: neither their losses nor" in print_curves(read_runs(two))


@pytest.mark.medium
def test_other_training_text_with_the_same_held_out_text_shares_the_axis(two):
    prepared(two[0], "t", "c", held_out="same")
    prepared(two[1], "t", "other", held_out="same")
    assert panels(two)[0] == ("Loss, nats per token", {"first", "second"})
    assert "not comparable" not in print_curves(read_runs(two))


def test_old_runs_without_provenance_are_judged_by_their_recipes(two):
    recipe = two[1] / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("hybrid_3.7B", "wikipedia"))
    assert "have other held-out texts" in print_curves(read_runs(two))


def write_measure(run: Path, task: str, metrics: dict, settings: dict, **more) -> None:
    for folder in run.glob("results/*"):
        content = {
            "results": {task: {f"{name},none": value for name, value in metrics.items()}},
            "configs": {}, "versions": {}, "higher_is_better": {}, "n-samples": {task: {"original": 9, "effective": 9}},
            "lmeff": {"data_sha256": "d", "settings": settings}, **more,
        }  # fmt: skip
        (folder / f"{task}.json").write_text(json.dumps(content))


def test_precisions_that_choose_alike_are_no_difference(two):
    say(two[0], precision="float32", exact=True)
    say(two[1], precision="adaptive", exact=False)
    assert "not comparable" not in print_curves(read_runs(two))
    say(two[1], precision="bfloat16", exact=False)
    assert "first over 335 pairs, precision float32; second over 335 pairs, precision bfloat16" in print_curves(
        read_runs(two)
    )


def test_fine_tuning_with_other_settings_is_named(two):
    for run, epochs in zip(two, (3, 10), strict=True):
        settings = {"finetune_rte": {"epochs": epochs, "config_sha256": run.parent.name}}
        write_measure(run, "finetune_glue", {"score": 0.6}, settings)
    text = print_curves(read_runs(two))
    assert (
        "finetune_glue: first over 9 examples, finetune_rte.epochs 3; second over 9 examples, finetune_rte.epochs 10: "
        "not scored alike" in text
    )


def test_weights_of_other_shapes_are_named(two):
    for run in two:
        write_measure(run, "weights", {"norm": 3.0}, {}, measures="weights")
    assert "weights:" not in print_curves(read_runs(two))
    recipe = two[1] / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("size: 180m", "size: 60m"))
    assert "weights: first and second are models of other shapes" in print_curves(read_runs(two))
