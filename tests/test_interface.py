"""What scripts import from `lmeff` itself says what the commands say."""

import io
import json
import pkgutil
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from analysis.fake_runs import write_fake_run

import lmeff
from lmeff.cli import main
from lmeff.errors import InputError

NOTEBOOK = Path(__file__).resolve().parents[1] / "recipes" / "curves.ipynb"


@pytest.fixture(scope="module")
def outputs(tmp_path_factory) -> Path:
    """Four finished recipes, of one of which there are two seeds."""
    folder = tmp_path_factory.mktemp("interface") / "outputs"
    for name, seed, quality in (("a", 0, 0.0), ("a", 1, 0.1), ("b", 0, 0.3), ("c", 0, -0.2), ("d", 0, 0.5)):
        write_fake_run(folder, name, seed, quality=quality, anchors=(0, 25, 250), num_pairs=4)
    return folder


def said(capsys, *words: object) -> str:
    capsys.readouterr()
    assert main(list(map(str, words))) == 0
    return capsys.readouterr().out


@pytest.mark.medium
def test_importing_it_loads_nothing_heavy():
    code = (
        "import sys, lmeff; from lmeff import compare, curves, make_plan, plot, predict, read_recipe, read_runs;"
        "print(sorted({'torch', 'pandas', 'altair', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"


def test_its_names_are_seen_and_are_no_rooms():
    rooms = {module.name for module in pkgutil.iter_modules(lmeff.__path__)}
    assert not rooms & set(lmeff.__all__), "importing the room would hide the function"
    assert set(lmeff.__all__) <= set(dir(lmeff))
    with pytest.raises(AttributeError, match="no attribute 'curve'"):
        lmeff.curve  # noqa: B018


def test_a_plan_is_that_of_lmeff_plan(capsys):
    recipe = lmeff.read_recipe("quickstart", ["batch.tokens=8192"])
    plan = json.loads(said(capsys, "plan", "quickstart", "batch.tokens=8192", "--json"))
    for given in (recipe, recipe.recipe):
        made = lmeff.make_plan(given)
        assert json.loads(made.model_dump_json(exclude=made.left_out())) == plan


@pytest.mark.medium
def test_curves_are_those_of_lmeff_curves(outputs, capsys):
    written = pd.read_csv(io.StringIO(said(capsys, "curves", outputs, "--csv")))
    runs = lmeff.read_runs(outputs)
    assert len(runs) == 5
    table = lmeff.curves(runs)
    assert list(table.columns) == list(written.columns)
    assert len(table) == len(written) > 1000
    np.testing.assert_allclose(table["value"], written["value"], rtol=1e-12)
    np.testing.assert_allclose(table["seed_low"], written["seed_low"], rtol=1e-12)


@pytest.mark.medium
def test_folders_and_runs_may_stand_side_by_side(outputs):
    (run,) = lmeff.read_runs(outputs / "c")
    table = lmeff.curves([run], outputs / "b")
    assert table["run"].unique().tolist() == ["b", "c"]


@pytest.mark.medium
def test_a_comparison_is_that_of_lmeff_compare(outputs, capsys):
    written = json.loads(said(capsys, "compare", outputs / "a", outputs / "b", "--json"))
    comparison = lmeff.compare(outputs / "a", outputs / "b")
    table = comparison.table
    assert table["difference"].tolist() == [row["difference"] for row in written["rows"]]
    assert table["items.p_holm"].dropna().tolist() == [
        row["items"]["p_holm"] for row in written["rows"] if row["items"] and row["items"]["p_holm"] is not None
    ]
    assert list(comparison.notes) == written["notes"]
    assert not {"items", "seeds", "both"} & set(table.columns), "beside those of their parts they would be empty"
    assert str(comparison) == said(capsys, "compare", outputs / "a", outputs / "b")


@pytest.mark.medium
def test_a_prediction_is_that_of_lmeff_predict(outputs, capsys):
    text = said(capsys, "predict", outputs, "--target", "250M")
    document = json.loads(said(capsys, "predict", outputs, "--target", "250M", "--json"))
    prediction = lmeff.predict(outputs, target="250M")
    assert prediction.document == document
    assert str(prediction) == text
    assert prediction.sentence == document["sentence"]
    assert set(prediction.tables) == {name for name, rows in document.items() if isinstance(rows, list)} - {"notes"}
    assert prediction["errors"]["mae"].tolist() == [row["mae"] for row in document["errors"]]


@pytest.mark.medium
def test_a_plot_is_a_chart_with_the_figure_of_the_report(outputs, tmp_path, capsys):
    import altair as alt

    chart = lmeff.plot(outputs, figure="phenomena")
    assert isinstance(chart, alt.TopLevelMixin)
    chart.save(tmp_path / "chart.svg")  # numbers of clips go on counting
    said(capsys, "report", outputs, "-o", tmp_path / "figure.svg", "--figure", "phenomena")
    saved, written = (re.sub(r"clip\d+", "clip", (tmp_path / name).read_text()) for name in ("chart.svg", "figure.svg"))
    assert saved == written
    with pytest.raises(InputError, match="figure=nothing: of these runs there are main, phenomena"):
        lmeff.plot(outputs, figure="nothing")


def test_mistakes_are_told_in_words_of_python(outputs):
    with pytest.raises(InputError, match=r"^figure=nope: of these runs there are main, "):
        lmeff.plot(outputs, figure="nope")
    with pytest.raises(InputError, match=r"^target=99M: no run has this anchor"):
        lmeff.predict(outputs, target="99M")
    fixed = [f"{outputs / name / 'seed-0'}@seed-0-tokens-25M" for name in "ab"]
    with pytest.raises(InputError, match=r"^at=25M: both sides name a revision already"):
        lmeff.compare(*fixed, at="25M")
    table = outputs.parent / "x.csv"
    table.write_text("tokens,acc\n1,.5\n")
    with pytest.raises(InputError, match=r"^columns=valu=acc: no field 'valu'"):
        lmeff.curves(table, columns="valu=acc")
    with pytest.raises(InputError, match=r"^tasks: neither side has a result of 'nope'"):
        lmeff.compare(outputs / "a", outputs / "b", tasks=["nope"])


def test_nothing_and_no_folder_are_refused():
    with pytest.raises(InputError, match="no run folder was named"):
        lmeff.curves()
    with pytest.raises(InputError, match="no such folder"):
        lmeff.read_runs("nowhere")


@pytest.mark.medium
def test_the_notebook_runs(outputs, tmp_path, monkeypatch, capsys):
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code), "stored without outputs"
    script = tmp_path / "notebook.py"
    script.write_text("\n".join("".join(cell["source"]) for cell in code))
    monkeypatch.chdir(outputs.parent)
    names = runpy.run_path(str(script))
    assert names["plan"].num_steps > 0
    assert len(names["table"]) == len(lmeff.curves(outputs))
    assert names["scores"][names["last"]]["nominal_tokens"].tolist() == [250_000_000] * 5
    ends = names["scores"].query("run == 'a' and seed == 0 and metric == 'acc'")["value"].iloc[[0, -1]].tolist()
    assert names["comparison"].table["difference"].iloc[0] == pytest.approx(ends[1] - ends[0])
    assert set(names["agreement"]["statistic"]) == {"decision_accuracy"}
    assert names["prediction"].sentence in capsys.readouterr().out
