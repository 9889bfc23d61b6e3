"""Results whose contexts began otherwise are left out of a curve, and of a comparison of runs, and named."""

import json
from pathlib import Path

import pytest

from lmeff.analysis import read_runs, write_report
from lmeff.cli import main

GROUP = "lmeff_blimp"


def say(run: Path, **by_tokens: str | None) -> None:
    """Gives every anchor's result the `context_start` it was made with; None: an older version's, without the field."""
    for path in run.glob(f"results/*/{GROUP}.json"):
        start = by_tokens.get(f"at_{path.parent.name.rpartition('-')[2]}", by_tokens.get("others", "bos"))
        settings = {"limit": None, "precision": "float32", **({"context_start": start} if start else {})}
        result = json.loads(path.read_text())
        result["lmeff"] = {"data_sha256": "d", "weights_sha256": path.parent.name, "settings": settings}
        path.write_text(json.dumps(result))


def scored(run) -> list[str]:
    return [anchor.tokens_name for anchor in run.anchors if GROUP in anchor.results.tasks]


@pytest.mark.medium
def test_old_results_and_those_of_another_beginning_are_left_out_and_named(fake_run, tmp_path, capsys):
    path = fake_run(anchors=(0, 25, 50, 100), final=False)
    say(path, at_0=None, at_25M=None, at_50M="tokenizer")
    (run,) = read_runs([path])
    assert scored(run) == ["100M"]
    assert [anchor.tokens_name for anchor in run.anchors if len(anchor.pairs)] == ["100M"]
    old = (
        f"{GROUP}: anchors 0 and 25M are left out, scored by an older version, which does not say what contexts begin"
        " with, the others with context_start bos; score again to compare them"
    )
    other = (
        f"{GROUP}: anchor 50M is left out, scored with context_start tokenizer, the others with context_start bos;"
        " score again to compare them"
    )
    assert run.left_out == (old, other)
    assert main(["curves", str(path)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert {old, other} <= set(shown)
    assert main(["curves", str(path), "--json"]) == 0
    said = capsys.readouterr()
    assert old in said.err
    (found,) = json.loads(said.out)["runs"]
    assert [bool(anchor["results"]) for anchor in found["anchors"]] == [False, False, False, True]
    assert found["changes"] == []
    assert other in write_report(read_runs([path]), tmp_path / "page.html").read_text()


@pytest.mark.parametrize(("start", "made"), [(None, "by an older version"), ("tokenizer", "with context_start")])
def test_runs_are_compared_with_one_beginning(fake_run, start, made):
    first, second = (fake_run(name=name, anchors=(0, 25), final=False) for name in ("first", "second"))
    say(first, others=start)
    say(second, others="bos")
    runs = read_runs([first, second])
    assert [scored(run) for run in runs] == [[], ["0", "25M"]]
    assert [len(run.left_out) for run in runs] == [1, 0]
    assert f"anchors 0 and 25M are left out, scored {made}" in runs[0].left_out[0]
    assert scored(read_runs([first])[0]) == ["0", "25M"], "by itself it is whole"


def test_files_of_lm_evals_own_command_line_say_it_in_their_config(fake_run):
    """As `lmeff lm-eval run` writes them: no `lmeff`, and what the model says of itself in `config`."""
    path = fake_run(anchors=(0, 25, 50), final=False)
    say(path)
    for tokens, start in (("0", "tokenizer"), ("25M", "bos")):
        (file,) = path.glob(f"results/*-{tokens}/{GROUP}.json")
        result = json.loads(file.read_text())
        del result["lmeff"]
        result["config"] = {"model": "lmeff", "model_args": {}, "context_start": start}
        file.write_text(json.dumps(result))
    (run,) = read_runs([path])
    assert scored(run) == ["25M", "50M"]
    assert "anchor 0 is left out, scored with context_start tokenizer" in run.left_out[0]


def test_results_of_others_stay(fake_run):
    """They say nothing of themselves."""
    first, second = (fake_run(name=name, anchors=(0, 25), final=False) for name in ("first", "second"))
    say(second, others="bos")
    assert [scored(run) for run in read_runs([first, second])] == [["0", "25M"]] * 2
