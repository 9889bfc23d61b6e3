"""The verbs on a finished run: eval, curves, report, status, verify, and what they say to wrong input."""

import json
import re
import shutil
from pathlib import Path

import pytest

from lmeff.cli import main


@pytest.fixture
def run(trained_model: Path, tmp_path: Path) -> Path:
    """A copy of a finished run, to do things to."""
    return Path(shutil.copytree(trained_model.parents[1], tmp_path / "run"))


def test_eval_scores_the_revisions_and_curves_show_them(run: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["eval", str(run), "--tasks", "lmeff_synthetic", "--limit", "2"]) == 2
    assert "--output" in capsys.readouterr().err
    output = run.parent / "part"
    assert main(["eval", str(run), "--tasks", "lmeff_synthetic", "--limit", "2", "--output", str(output)]) == 0
    header, line, place = capsys.readouterr().out.splitlines()
    assert header.split() == ["revision", "task", "accuracy", "95%", "interval"]
    assert re.fullmatch(
        r"seed-0-tokens-200k  lmeff_synthetic +\d+\.\d\d%  \[\d+\.\d, \d+\.\d\] over 28 pairs( .*ties)?", line
    )
    assert place.startswith(f"results: {output / 'seed-0-tokens-200k'}; ")
    assert f"lmeff curves {output}" in place
    shutil.copytree(output, run / "results", dirs_exist_ok=True)
    assert main(["curves", str(run)]) == 0
    assert "lmeff_synthetic" in capsys.readouterr().out
    assert main(["curves", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["format"] == 1
    assert main(["report", str(run), "-o", str(run.parent / "page.html")]) == 0
    assert (run.parent / "page.png").read_bytes().startswith(b"\x89PNG")


def test_eval_of_a_model_folder_and_of_what_is_none(run: Path, capsys: pytest.CaptureFixture, monkeypatch) -> None:
    monkeypatch.chdir(run.parent)
    folder = run / "revisions" / "seed-0"
    assert main(["eval", str(folder), "--tasks", "lmeff_synthetic_reflexive_gender", "--limit", "3"]) == 0
    (results,) = (run.parent / "outputs" / "eval").glob("*seed-0/lmeff_synthetic_reflexive_gender.json")
    assert run.name in results.parent.name
    for words, said in (
        ([str(folder)], "--tasks: which?"),
        ([str(run.parent)], "neither a run with revisions nor a model folder"),
        (
            [str(run), "--tasks", "lmeff_synthetic", "--revisions", "seed-9"],
            "has no 'seed-9'; it has seed-0-tokens-200k",
        ),
        ([str(folder), "--tasks", "lmeff_sinthetic"], "did you mean 'lmeff_synthetic'"),
    ):
        assert main(["eval", *words]) == 2
        assert said in capsys.readouterr().err


def test_a_broken_model_is_named_and_the_others_go_on(run: Path, capsys: pytest.CaptureFixture) -> None:
    whole = run / "revisions" / "seed-0-tokens-200k"
    broken = Path(shutil.copytree(whole, run / "revisions" / "seed-0-tokens-1k"))
    anchor = json.loads((broken / "anchor.json").read_text()) | {
        "nominal_tokens": 1000,
        "exact_tokens": 2048,
        "step": 1,
    }
    (broken / "anchor.json").write_text(json.dumps(anchor))
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    words = ["--tasks", "lmeff_synthetic_reflexive_gender", "--limit", "3", "--output", str(run.parent / "out")]
    assert main(["eval", str(run), *words]) == 1
    captured = capsys.readouterr()
    assert "seed-0-tokens-1k: cannot be scored" in captured.out
    assert "seed-0-tokens-200k  lmeff_synthetic_reflexive_gender" in captured.out
    assert "1 of 2 models could not be scored: seed-0-tokens-1k" in captured.err


def test_status_and_verify(run: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["status", str(run)]) == 0
    assert "complete, step 98, 200,704 tokens" in capsys.readouterr().out
    assert main(["verify", str(run)]) == 0
    assert "2 revisions are what their manifests say" in capsys.readouterr().out
    (run / "revisions" / "seed-0" / "config.json").write_text("{}")
    (run / "revisions" / "seed-0-tokens-200k" / "manifest.json").unlink()
    assert main(["verify", str(run)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.rsplit(": ", 1)[1] for line in lines] == ["changed", "no such file"]


def test_wrong_words_are_one_line(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    for words in (
        ["plan", "none.yaml"],
        ["plan", "recipes/quickstart.yaml", "--mfu", "40", "--gpu", "h100"],
        ["plan", "recipes/quickstart.yaml", "--devices", "7"],
        ["curves", str(tmp_path)],
        ["report", str(tmp_path / "none")],
        ["verify", str(tmp_path)],
        ["corpora", "show", "none"],
    ):
        assert main(words) == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_corpora_tasks_and_prepare(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    assert main(["corpora"]) == 0
    assert "synthetic" in capsys.readouterr().out
    assert main(["corpora", "show", "tinystories"]) == 0
    assert "licence: CDLA" in capsys.readouterr().out
    assert main(["tasks"]) == 0
    folder = Path(capsys.readouterr().out.strip())
    assert (folder / "README.md").exists()
    assert main(["tasks", "--list"]) == 0
    assert "lmeff_blimp_wh_island" in capsys.readouterr().out.splitlines()
    words = ["corpus.synthetic.num_documents=300", "tokenizer.vocab_size=500", f"paths.data={tmp_path}"]
    assert main(["prepare", "recipes/quickstart.yaml", *words]) == 0
    assert "train: 300 documents" in capsys.readouterr().out
