"""Losses of different kinds share no column and no axis: of next tokens, of masked ones, of both together."""

import json
from pathlib import Path

import pytest

from lmeff.analysis import curves_csv, curves_json, print_curves, read_runs, write_report
from lmeff.analysis.charts.main_figure import main_figure
from lmeff.analysis.charts.series import make_series
from lmeff.analysis.comparison.compare import compare
from lmeff.analysis.comparison.output.text import print_comparison


def trained_as(run: Path, family: str, objective: str, **keys: float) -> None:
    """Makes a causal run of `fake_run` one of another objective, as it stands on disk."""
    recipe = run / "recipe.yaml"
    said = ", ".join([f"name: {objective}", *(f"{key}: {value}" for key, value in keys.items())])
    recipe.write_text(recipe.read_text().replace("family: llama", f"family: {family}") + f"objective: {{{said}}}\n")
    for path in run.glob("revisions/*/anchor.json"):
        document = json.loads(path.read_text()) | {"loss_kind": objective}
        if objective != "hybrid":
            document |= {f"dev_{objective}_loss": document["dev_loss"] + 1}
            document |= dict.fromkeys(("dev_loss", "dev_perplexity", "dev_bits_per_byte"))
        path.write_text(json.dumps(document))
    log = run / "run.log.jsonl"
    lines = [json.loads(line) | {"loss_kind": objective} for line in log.read_text().splitlines()]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def runs(fake_run) -> dict[str, Path]:
    names = ("causal", "hybrid", "masked", "permuted")
    made = {name: fake_run(name=name, num_pairs=5, anchors=(0, 25, 50)) for name in names}
    trained_as(made["hybrid"], "llama", "hybrid")
    trained_as(made["masked"], "bert", "masked", final_mask_rate=0.15)
    trained_as(made["permuted"], "xlnet", "permutation")
    return made


def test_each_kind_has_columns_of_its_own(runs):
    headers = {}
    for name, run in runs.items():
        lines = print_curves(read_runs([run])).splitlines()
        headers[name] = next(line for line in lines if line.lstrip().startswith("tokens")).split("step")[1]
    assert [" ".join(header.split()) for header in headers.values()] == [
        "loss dev loss bits/byte lmeff_blimp",
        "hybrid loss dev loss bits/byte lmeff_blimp",
        "masked loss dev masked loss lmeff_blimp",
        "permutation loss dev permutation loss lmeff_blimp",
    ]


def test_metrics_of_the_table_say_what_is_predicted(runs):
    rows = [line.split(",") for line in curves_csv(read_runs(list(runs.values()))).splitlines()]
    metric = rows[0].index("metric")
    found = {name: {row[metric] for row in rows[1:] if row[0] == name and "loss" in row[metric]} for name in runs}
    assert found == {
        "causal": {"loss", "dev_loss"},
        "hybrid": {"hybrid_loss", "dev_loss"},
        "masked": {"masked_loss", "dev_masked_loss"},
        "permuted": {"permutation_loss", "dev_permutation_loss"},
    }


def test_json_has_them_under_their_own_names(runs):
    documents = {run["name"]: run["anchors"][-1] for run in curves_json(read_runs(list(runs.values())))["runs"]}
    assert documents["masked"]["loss"] is None
    assert documents["masked"]["dev_loss"] is None
    assert documents["masked"]["masked_loss"] == documents["causal"]["loss"]
    assert documents["masked"]["dev_masked_loss"] == documents["causal"]["dev_loss"] + 1
    assert documents["hybrid"]["loss"] is None
    assert documents["hybrid"]["dev_loss"] == documents["causal"]["dev_loss"]


def test_no_two_kinds_share_an_axis(runs):
    figure = main_figure(make_series(read_runs(list(runs.values()))))
    drawn = {}
    for panel in figure["concat"]:
        titles = {layer["encoding"]["y"].get("title") for layer in panel["layer"] if "y" in layer["encoding"]}
        lines = {}
        for layer in panel["layer"]:
            name = layer.get("data", panel["data"]).get("name")
            if "color" in layer["encoding"]:
                lines[name] = {row["series"] for row in figure["datasets"][name]}
        drawn[(titles - {None}).pop()] = set().union(*lines.values())
    assert "Bits per byte" not in drawn, "causal and hybrid have one tokenizer, so that their losses say it"
    kinds = {title: names for title, names in drawn.items() if "nats" in title}
    assert kinds == {
        "Loss, nats per token": {"causal", "hybrid"},
        "Loss, nats per masked token": {"masked"},
        "Loss, nats per predicted token": {"permuted"},
        "Loss, nats per position": {"hybrid"},
    }


def test_the_hybrids_training_loss_is_not_beside_causal_ones(runs):
    figure = main_figure(make_series(read_runs([runs["causal"], runs["hybrid"]])))
    (shared,) = (panel for panel in figure["concat"] if panel["title"]["text"] == "Loss")
    thin = {layer["data"]["name"] for layer in shared["layer"] if "data" in layer}
    assert {row["series"] for name in thin for row in figure["datasets"][name]} == {"causal"}


def test_hybrids_share_an_axis_where_they_mix_the_same(fake_run):
    masked_rows = {"most": 0.9375, "half": 0.5, "also_half": 0.5}
    runs = [fake_run(name=name, num_pairs=5, anchors=(0, 25, 50)) for name in masked_rows]
    for run, share in zip(runs, masked_rows.values(), strict=True):
        trained_as(run, "llama", "hybrid", masked_rows=share)
    figure = main_figure(make_series(read_runs(runs)))
    panels = [panel for panel in figure["concat"] if panel["title"]["text"] == "Training loss, hybrid"]
    drawn = [{row["series"] for row in figure["datasets"][panel["data"]["name"]]} for panel in panels]
    assert drawn == [{"most"}, {"half", "also_half"}]
    subtitles = [" ".join(panel["title"]["subtitle"]) for panel in panels]
    assert subtitles[0] == "most alone, of masked and of causal rows together"


def test_it_is_said_that_they_cannot_be_compared(runs):
    text = print_curves(read_runs([runs["causal"], runs["masked"]]))
    assert (
        "not comparable: causal (next tokens) and masked (masked tokens) are trained to predict other"
        " things: their losses cannot be compared" in text
    )
    assert "to predict other things" not in print_curves(read_runs([runs["causal"], runs["hybrid"]]))


def test_other_masks_are_another_loss(fake_run):
    """A token is easier to tell where fewer are masked. At which rate training began is no matter."""
    made = [fake_run(name=name, num_pairs=5, anchors=(0, 25)) for name in ("few", "more", "most")]
    for run, first, last in zip(made, (0.15, 0.3, 0.4), (0.15, 0.15, 0.4), strict=True):
        trained_as(run, "bert", "masked", mask_rate=first, final_mask_rate=last)
    figure = main_figure(make_series(read_runs(made)))
    subtitles = [panel["title"]["subtitle"] for panel in figure["concat"] if panel["title"]["text"] == "Loss"]
    assert [" ".join(lines).split(" alone")[0] for lines in subtitles] == ["few, more", "most"]
    assert "most (masked tokens (final_mask_rate 0.4))" in print_curves(read_runs(made))


@pytest.mark.medium
def test_the_report_names_each_kind(runs, tmp_path):
    page = write_report(read_runs([runs["causal"], runs["masked"]]), tmp_path / "report.html").read_text()
    for header in ("Held-out loss", "Held-out masked loss", "Masked loss", "Training loss"):
        assert f'<th scope="col">{header}</th>' in page, header


def test_a_comparison_calls_a_loss_what_the_charts_call_it(fake_run):
    runs = [fake_run(name=name, num_pairs=5, anchors=(0, 25, 50)) for name in ("a", "b")]
    for run in runs:
        trained_as(run, "xlnet", "permutation")
    text = print_comparison(compare(*(run.parent for run in runs)))
    assert "loss, nats per predicted token" in text
