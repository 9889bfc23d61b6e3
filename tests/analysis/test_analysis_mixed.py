"""Points of a curve that were not measured alike are named."""

import json
from pathlib import Path

import pytest

from lmeff.analysis import mixed_notes, print_curves, read_runs, write_report
from lmeff.analysis.statistics.changes import change, changes
from lmeff.cli import main
from lmeff.errors import InputError

SETTINGS = {"limit": None, "precision": "float32", "batch_size": 8, "model_files_sha256": "a"}


def say(run: Path, **by_tokens: dict) -> None:
    """Gives every anchor's result what it was made with, some of them other settings or data."""
    for path in run.glob("results/*/lmeff_blimp.json"):
        tokens = path.parent.name.rpartition("-")[2]
        other = by_tokens.get(f"at_{tokens}", {})
        data = other.pop("data", "d")
        result = json.loads(path.read_text())
        result["lmeff"] = {"data_sha256": data, "weights_sha256": tokens, "settings": SETTINGS | other}
        path.write_text(json.dumps(result))


def test_a_curve_of_like_points_has_no_note(fake_run):
    run = fake_run(anchors=(0, 25, 50))
    assert mixed_notes(read_runs([run])[0]) == [], "results of others say nothing about themselves"
    say(run, at_25M={"batch_size": "auto", "model_files_sha256": "b"})
    assert mixed_notes(read_runs([run])[0]) == []


@pytest.mark.medium
def test_points_made_with_other_data_or_settings_are_named(fake_run, tmp_path, capsys):
    run = fake_run(anchors=(0, 25, 50, 100, 250))
    say(run, at_25M={"limit": 5, "data": "e"}, at_50M={"precision": "bfloat16"})
    note = (
        "lmeff_blimp: anchors 25M and 50M were scored with other data and settings (limit, precision) than the others"
    )
    assert mixed_notes(read_runs([run])[0]) == [note]
    assert main(["curves", str(run)]) == 0
    assert note in capsys.readouterr().out.splitlines()
    assert main(["curves", str(run), "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["runs"]
    assert said.err == f"180m_hybrid, seed 0: {note}\n"
    assert note in write_report(read_runs([run]), tmp_path / "page.html").read_text()


def test_a_point_of_the_same_choices_is_no_other_one(fake_run):
    run = fake_run(anchors=(0, 25, 50))
    say(run, at_25M={"precision": "adaptive"}, at_50M={"exact": True})
    assert mixed_notes(read_runs([run])[0]) == []


def test_of_two_points_the_first_is_the_other_one(fake_run):
    run = fake_run(anchors=(0, 25), final=False)
    say(run, at_0={"data": "e"})
    assert mixed_notes(read_runs([run])[0]) == ["lmeff_blimp: anchor 0 was scored with other data than the others"]


def test_an_anchor_of_several_weights_is_named(fake_run):
    run = fake_run(anchors=(0, 25, 50))
    say(run)
    (path,) = run.glob("results/*-25M/lmeff_blimp.json")
    result = json.loads(path.read_text().replace("lmeff_blimp", "others"))
    path.with_name("others.json").write_text(json.dumps(result))
    assert mixed_notes(read_runs([run])[0]) == []
    result["lmeff"]["weights_sha256"] = "replaced"
    path.with_name("others.json").write_text(json.dumps(result))
    note = "anchor 25M: lmeff_blimp; others were scored with different weights"
    assert mixed_notes(read_runs([run])[0]) == [note]


@pytest.mark.medium
def test_pairs_of_other_data_are_not_compared(fake_run):
    path = fake_run(anchors=(0, 25, 50, 100), final=False)
    say(path, at_0={"data": "e"}, at_50M={"data": "e"})
    (run,) = read_runs([path])
    assert [(each.first_tokens, each.last_tokens) for each in changes(run)] == [("25M", "100M")]
    assert change(run, "lmeff_blimp", "0", "50M").last_tokens == "50M"
    with pytest.raises(InputError, match="other data of lmeff_blimp"):
        change(run, "lmeff_blimp", "0", "100M")
    say(path, at_0={"data": "e"}, at_25M={"data": "e"}, at_50M={"data": "e"})
    assert changes(read_runs([path])[0]) == []


@pytest.mark.medium
def test_pairs_that_were_scored_another_way_are_not_compared(fake_run, tmp_path):
    path = fake_run(anchors=(0, 25, 50), final=False)
    pseudo = {"scoring": "pseudo_log_likelihood", "scoring_variant": "within_word_l2r"}
    say(path, at_25M=dict(pseudo), at_50M=dict(pseudo))
    (run,) = read_runs([path])
    assert [(each.first_tokens, each.last_tokens) for each in changes(run)] == [("25M", "50M")]
    assert mixed_notes(run) == ["lmeff_blimp: anchor 0 was scored with other settings (scoring) than the others"]
    with pytest.raises(InputError, match=r"other settings of lmeff_blimp \(scoring\)"):
        change(run, "lmeff_blimp", "0", "50M")
    said = "scored by pseudo-log-likelihood (within_word_l2r), not comparable with scores of causal models"
    assert f"lmeff_blimp: {said}" in print_curves([run]).splitlines()
    assert f" lmeff_blimp: {said}." in write_report([run], tmp_path / "page.html").read_text()


def test_files_of_lm_evals_own_command_line_say_how_they_were_scored(fake_run):
    path = fake_run(anchors=(0, 25, 50), final=False)
    for file in path.glob("results/*/lmeff_blimp.json"):
        way = {} if file.parent.name.endswith("-0") else {"scoring": "pseudo_log_likelihood"}
        file.write_text(json.dumps(json.loads(file.read_text()) | {"config": {"context_start": "bos", **way}}))
    (run,) = read_runs([path])
    assert [result.scoring for result in run.results_of("lmeff_blimp")] == [
        "causal",
        *["pseudo_log_likelihood"] * 2,
    ]
    assert [each.first_tokens for each in changes(run)] == ["25M"]
    assert mixed_notes(run) == ["lmeff_blimp: anchor 0 was scored with other settings (scoring) than the others"]
