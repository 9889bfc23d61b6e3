"""The verbs on a finished run: eval, curves, report, status, verify, and what they say to wrong input."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lmeff.cli import main
from lmeff.cli.help import GROUPS


@pytest.fixture
def run(trained_model: Path, tmp_path: Path) -> Path:
    """A copy of a finished run, to do things to."""
    return Path(shutil.copytree(trained_model.parents[1], tmp_path / "run"))


@pytest.mark.medium
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


@pytest.mark.medium
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


@pytest.mark.medium
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


@pytest.mark.medium
def test_status_and_verify(run: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["status", str(run)]) == 0
    header, row = (line.split() for line in capsys.readouterr().out.splitlines())
    assert header[:5] == ["run", "state", "done", "tokens", "loss"]
    assert row[:4] == [str(run), "complete", "100%", "201k"]
    assert main(["verify", str(run)]) == 0
    said = capsys.readouterr().out
    assert "2 revisions are what their manifests say" in said
    assert "nothing of this run is on the Hub, so nothing was compared with it" in said
    assert main(["verify", str(run), "--local", "--no-reload"]) == 0
    assert "Hub" not in capsys.readouterr().out
    (run / "revisions" / "seed-0" / "config.json").write_text("{}")
    (run / "revisions" / "seed-0-tokens-200k" / "manifest.json").unlink()
    assert main(["verify", str(run), "--local"]) == 1
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
    assert "license: CDLA" in capsys.readouterr().out
    assert main(["tasks"]) == 0
    folder = Path(capsys.readouterr().out.strip())
    assert (folder / "README.md").exists()
    assert main(["tasks", "--list"]) == 0
    assert "lmeff_blimp_wh_island" in capsys.readouterr().out.splitlines()
    words = ["corpus.synthetic.num_documents=300", "tokenizer.vocab_size=500", f"paths.data={tmp_path}"]
    assert main(["prepare", "recipes/quickstart.yaml", *words]) == 0
    assert "train: 300 documents" in capsys.readouterr().out


def test_help_shows_verbs_in_groups_with_training_first(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as error:
        main(["--help"])
    assert error.value.code == 0
    said = capsys.readouterr().out
    titles = [line.removesuffix(":") for line in said.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert titles == ["options", *GROUPS]
    assert next(iter(GROUPS)) == "train"
    assert re.search(r"^train:\n  train +run a recipe", said, re.MULTILINE)


@pytest.mark.medium
def test_help_imports_nothing_that_reads_recipes() -> None:
    code = "import sys; from lmeff.cli.main import make_parser; make_parser().format_help(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "lmeff.cli.corpora" in done.stdout.split()
    assert not {"lmeff.recipe", "pydantic", "numpy", "yaml"} & set(done.stdout.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["plann"], "did you mean 'plan'?"),
        (["evaluate"], "did you mean 'eval'?"),
        (["run"], "did you mean 'train'?"),
        (["xyz"], "'xyz' is no verb (lmeff --help)"),
        (["mine.yaml"], "a verb is missing; did you mean: lmeff train mine.yaml?"),
        (["quickstart"], "a verb is missing; did you mean: lmeff train quickstart?"),
        (["train"], "the following arguments are required: RECIPE (lmeff train --help)"),
        (["plan"], "the following arguments are required: RECIPE (lmeff plan --help)"),
        (["probe"], "the following arguments are required: what, RECIPE (lmeff probe --help)"),
        (["help", "plann"], "did you mean 'plan'?"),
        (["eval", "none", "--tasks", "lmeff_blimp"], "none: no such folder"),
        (["publish", "none"], "none: no such folder"),
        (["curves", "--csv", "none"], "none: no such folder"),
        (["report", "none", "-o"], "expected one argument"),
        (
            ["plan", "leaner_small", "corpus.track=5M"],
            "command line: corpus.track=5M: corpus.track: '5M' is not one of 10M, 100M",
        ),
        (["eval"], "lmeff eval: the following arguments are required: WHAT (lmeff eval --help)"),
        (["eval", "x", "--taks", "y"], "unrecognized arguments: --taks y; did you mean --tasks?"),
        (["train", "quickstart", "--launcher", "zero4"], "did you mean 'zero3'?"),
        (["plan", "quickstrat"], "did you mean 'quickstart', which comes with lmeff?"),
        (["init", "recipe.txt"], "recipe.txt: a recipe's name ends in .yaml"),
        (["init", "--slurm", "my jobs"], "--slurm my jobs: its name goes into shell scripts"),
    ],
)
def test_words_that_are_not_known_are_one_line_that_helps(words, said, capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        code = main(words)
    except SystemExit as error:
        code = error.code
    (line,) = capsys.readouterr().err.splitlines()
    assert code == 2
    assert said in line


def test_overrides_may_stand_behind_options(capsys: pytest.CaptureFixture) -> None:
    assert main(["plan", "quickstart", "--json", "seed=3"]) == 0
    assert json.loads(capsys.readouterr().out)["seed"] == 3


def test_a_name_means_the_file_of_that_name_first(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["plan", "quickstart"]) == 0
    assert capsys.readouterr().out.startswith("quickstart, seed 0")
    (tmp_path / "quickstart").mkdir()
    assert main(["plan", "quickstart"]) == 0
    capsys.readouterr()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "own.yaml").write_text("extends: quickstart\nname: own\n")
    assert main(["plan", "sub/own.yaml", "seed=2"]) == 0
    assert capsys.readouterr().out.startswith("own, seed 2")
    (tmp_path / "quickstart.yaml").write_text("extends: sub/own.yaml\nname: mine\n")
    assert main(["plan", "quickstart"]) == 0
    assert capsys.readouterr().out.startswith("mine, seed 0")
    (tmp_path / "wrong.yaml").write_text("extends: base/llama_181m.yaml\nname: wrong\n")
    assert main(["plan", "wrong.yaml"]) == 2
    assert "wrong.yaml:1: extends: base/llama_181m.yaml: no such file" in capsys.readouterr().err


@pytest.mark.medium
def test_revisions_that_there_are_are_all_named(run: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["eval", str(run), "--tasks", "lmeff_synthetic", "--revisions", "seed-9"]) == 2
    assert "it has seed-0-tokens-200k, seed-0\n" in capsys.readouterr().err


@pytest.mark.medium
@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("./none", "pretrained=./none: no such folder"),
        ("none", "pretrained=none: no such folder; a model of the Hub is NAMESPACE/REPO"),
        ("none/such/folder", "pretrained=none/such/folder: no such folder"),
        ("RUN", "has no config.json; a run's models are in it, such as "),
    ],
)
def test_lm_eval_with_a_wrong_path_is_one_line(run: Path, capsys: pytest.CaptureFixture, model: str, said: str) -> None:
    model = model.replace("RUN", str(run))
    for words in (["--model_args", f"dtype=float32,pretrained={model}"], [f"--model_args=pretrained={model}"]):
        assert main(["lm-eval", "run", "--model", "lmeff", *words, "--tasks", "lmeff_synthetic"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line


@pytest.mark.medium
def test_lm_eval_with_a_wrong_task_ends_with_one_line(run: Path, capsys: pytest.CaptureFixture) -> None:
    words = [
        "--model_args",
        f"pretrained={run / 'revisions' / 'seed-0'}",
        "--tasks",
        "lmeff_sinthetic",
        "--device",
        "cpu",
    ]
    assert main(["lm-eval", "run", "--model", "lmeff", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("lm-eval: no evaluation task 'lmeff_sinthetic'; did you mean 'lmeff_synthetic'?")
    assert line.endswith("`lmeff tasks --list` names our tasks")


@pytest.mark.medium
def test_generate_shows_some_texts_and_says_where_all_are(run: Path, capsys: pytest.CaptureFixture) -> None:
    output = run.parent / "texts"
    words = ["--samples", "1", "--max-new-tokens", "4", "--output", str(output)]
    assert main(["generate", str(run), *words]) == 0
    *_, title, first, second, third, place = capsys.readouterr().out.splitlines()
    texts = output / "seed-0-tokens-200k" / "generations.jsonl"
    records = [json.loads(line) for line in texts.read_text().splitlines()]
    assert title == "seed-0-tokens-200k writes, for example:"
    assert len({first, second, third}) == 3
    assert first.strip().startswith(records[0]["prompt"])
    assert place == f"all {len(records)} texts: {texts}"
