"""What a newcomer meets: names and paths that are not right, hints, help, examples of the pages, and how words are spelled."""

import contextlib
import io
import json
import re
import tokenize
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from lmeff.cli import main
from lmeff.hub.client import Unavailable, asking
from lmeff.recipe import read_recipe
from lmeff.recipe.reading import read_section
from lmeff.recipe.sections.finetune import FinetuneRecipe

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("recipes/**/*.md"), *ROOT.glob("lmeff/**/*.md"), *ROOT.glob("slurm/*.md")]
)
BRITISH = re.compile(
    r"licence|colour|favour|neighbour|behaviour|cancelled|labelled(?!by)|modelling"
    r"|(organ|normal|summar|token|recogn|initial)is(e|ation|ing)",
    re.IGNORECASE,
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(words: list[str], capsys: pytest.CaptureFixture, code: int = 2) -> str:
    """The one line that is said to wrong words."""
    assert main(words) == code
    said = capsys.readouterr()
    (line,) = (said.err if code else said.out).splitlines()
    return line


def examples() -> list[str]:
    """The YAML of the pages that begins with `extends`."""
    found = [text for page in PAGES for text in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)]
    return [text for text in found if text.startswith("extends:")]


def test_examples_of_the_pages_are_read_in_any_folder(here: Path) -> None:
    assert examples()
    for text in examples():
        (here / "mine.yaml").write_text(text)
        if set(yaml.safe_load(text)) <= {"extends", *FinetuneRecipe.model_fields}:
            read_section(FinetuneRecipe, "mine.yaml")
        else:
            read_recipe("mine.yaml")


@pytest.mark.medium
def test_a_path_that_cannot_be_written_is_one_line(
    here: Path, trained_model: Path, capsys: pytest.CaptureFixture
) -> None:
    (here / "afile").write_text("x")
    run = str(trained_model.parents[2])
    assert told(["init", "afile/x.yaml"], capsys).startswith("afile/")
    assert told(["init", "--slurm", "afile"], capsys).startswith("afile/")
    assert told(["init", "--slurm", "afile/x"], capsys).startswith("afile/x/")
    assert told(["report", run, "-o", "afile/x.html"], capsys) == "afile/x.html: afile is a file, not a folder"
    assert main(["report", run, "-o", "/proc/x.html"]) == 2
    said = capsys.readouterr().err
    assert said.splitlines()[-1] == "/proc/x.html: no such file or folder"
    assert "Traceback" not in said
    assert (here / "afile").read_text() == "x"


@pytest.mark.parametrize("stem", ["2024", "no", "1e3", "true", "2024-01-02", "mine"])
def test_a_recipe_of_any_name_works(stem: str, here: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["init", f"{stem}.yaml"]) == 0
    assert read_recipe(f"{stem}.yaml").recipe.name == stem
    assert stem != "mine" or "name: mine " in Path("mine.yaml").read_text()
    # Text of one's own, as its comment says it.
    text = Path(f"{stem}.yaml").read_text()
    text = (
        re.sub(r"  name: synthetic .*\n", "", text)
        .replace("  # name: my", "  name: my")
        .replace("  # paths:", "  paths:")
    )
    Path("own.yaml").write_text(text)
    assert read_recipe("own.yaml").recipe.corpus.name == "my_text"
    assert "replace the line above by these two" in text


def test_hints_are_names_that_were_meant(here: Path, capsys: pytest.CaptureFixture) -> None:
    (here / "recipe.yaml").write_text("extends: base/lama_180m\n")
    assert told(["train", "nope"], capsys) == "nope: no such file"
    assert told(["plan", "quickstart.yaml"], capsys).endswith("did you mean 'quickstart', which comes with lmeff?")
    assert "did you mean 'base/llama_180m', which comes" in told(["plan", "recipe.yaml"], capsys)
    (here / "quickstart2.yaml").write_text("")
    assert told(["plan", "quickstart.yaml"], capsys).endswith("did you mean 'quickstart', which comes with lmeff?")
    assert "`lmeff init FILE.yaml` writes one" in told(["plan", "quickstart2.yaml"], capsys)
    assert told(["corpora", "show", "synthetic", "--sample"], capsys, 0).startswith("synthetic: generated as it stands")
    assert main(["corpora"]) == 0
    assert "corpora show NAME` says more" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.medium
def test_a_folder_of_seeds_is_not_a_run_and_says_which_is(here: Path, trained_model: Path, capsys) -> None:
    seeds = here / "outputs" / "quick"
    seeds.mkdir(parents=True)
    (seeds / "seed-0").symlink_to(trained_model.parents[1])
    for words in (
        ["eval", "--tasks", "lmeff_synthetic"],
        ["publish"],
        ["verify"],
        ["generate"],
        ["weights"],
        ["perplexity"],
    ):
        line = told([words[0], "outputs/quick", *words[1:]], capsys)
        assert line.endswith("; did you mean outputs/quick/seed-0?"), line
        assert told([words[0], "outputs/none", *words[1:]], capsys) == "outputs/none: no such folder"


@pytest.mark.medium
def test_help_is_a_verb_and_options_may_stand_between_paths(here: Path, trained_model: Path, capsys) -> None:
    for words, said in ((["help"], "lmeff VERB ..."), (["help", "plan"], "usage: lmeff plan")):
        with pytest.raises(SystemExit) as left:
            main(words)
        assert left.value.code == 0
        assert said in capsys.readouterr().out
    for verb in ("plan", "prepare", "tokenizer", "probe", "train"):
        with contextlib.suppress(SystemExit):
            main(["help", verb])
        assert "or the name of one that comes with lmeff" in " ".join(capsys.readouterr().out.split())
    run = str(trained_model.parents[2])
    assert main(["curves", run, "--csv", run]) == 0
    assert capsys.readouterr().out
    for words in (
        ["curves", run, "--csv", "none"],
        ["report", run, "-o", "x.html", "none"],
        ["report", "--out", "x.html", "none"],
    ):
        assert told(words, capsys) == "none: no such folder"


def test_a_recipe_without_its_track_is_told_with_its_line(here: Path, capsys: pytest.CaptureFixture) -> None:
    (here / "mine.yaml").write_text("extends: quickstart\nname: mine\ncorpus:\n  name: babylm3\n")
    wanted = "mine.yaml:4: corpus.track: must be one of 10M, 100M; or give the text as corpus.paths"
    for verb in ("plan", "train"):
        assert told([verb, "mine.yaml"], capsys) == wanted
    (here / "mine.yaml").write_text("extends: quickstart\nname: mine\ncorpus:\n  name: nowhere\n")
    assert told(["plan", "mine.yaml"], capsys).startswith("mine.yaml:4: corpus.paths: corpus 'nowhere' has no text")
    (here / "mine.yaml").write_text("extends: leaner_small\nname: mine\ncorpus:\n  name: wikitext-2\n")
    wanted = "corpus.track: corpus 'wikitext-2' has no tracks; leave it out, or say track: null"
    for verb in ("plan", "train", "prepare"):
        assert told([verb, "mine.yaml"], capsys).endswith(wanted)
    for name in ("leaner_small", "60m_babylm3", "20m_tinystories", "wikitext_small", "180m_hybrid"):
        assert main(["plan", name]) == 0


def test_plan_says_what_a_run_would_stop_at_here(
    here: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_NAMESPACE", raising=False)
    recipe = ["quickstart", "name=mine", "corpus.name=mine", "corpus.paths=[nowhere.txt]", "publish.to=hub"]
    assert main(["plan", *recipe]) == 0
    notes = capsys.readouterr().err.splitlines()
    alone = ([*recipe, "publish.namespace=me"], [*recipe, "corpus.name=synthetic", "corpus.paths=null"])
    stops = [told(["train", *words], capsys) for words in alone]
    assert "nowhere.txt: no such file" in stops[0]
    assert sorted(notes) == sorted(f"lmeff train would stop here: {stop}" for stop in stops)


def notes_of_plan(words: list[str], capsys: pytest.CaptureFixture) -> list[str]:
    assert main(["plan", *words]) == 0
    return capsys.readouterr().err.splitlines()


def test_plan_says_nothing_of_what_is_complete_and_names_cases(here: Path, capsys: pytest.CaptureFixture) -> None:
    recipe, one_text = ["quickstart", "name=mine"], "corpus.paths=[nowhere.txt]"
    of_a_case = "lmeff train would stop here: corpus.paths: nowhere.txt: no such file"
    [line] = notes_of_plan([*recipe, "corpus.name=mine", one_text], capsys)
    assert line.startswith(of_a_case)
    assert "(case" not in line
    texts = "sweep: s\nrecipe: quickstart\nseeds: [0, 1]\naxes:\n  optimizer.learning_rate: [1e-3, 2e-3]\n  text:\n"
    texts += "    here: {corpus.name: synthetic}\n    away: {corpus.name: mine, corpus.paths: [nowhere.txt]}\n"
    Path("s.yaml").write_text(texts)
    [line] = notes_of_plan(["s.yaml"], capsys)
    assert line.startswith(of_a_case)
    assert line.endswith(" (case learning_rate-0.001_away and 1 more)")
    state = {"format": 1, "state": "complete", "step": 9, "tokens": 9, "next_anchor": None, "pid": 1, "host": "h"}
    state |= {"job": None, "error": None, "updated": "2026-11-26T00:00:00+00:00"}
    for name in ("mine", "s/learning_rate-0.001_away", "s/learning_rate-0.002_away"):
        for seed in (0, 1):
            folder = here / "outputs" / name / f"seed-{seed}"
            folder.mkdir(parents=True)
            (folder / "state.json").write_text(json.dumps(state))
    assert notes_of_plan([*recipe, "corpus.name=mine", one_text], capsys) == []
    assert notes_of_plan(["s.yaml"], capsys) == []


@pytest.mark.parametrize(
    "words",
    [
        ["distillation.teachers=[a/b@{commit}]"],
        ["curriculum={protocol: iterative, order: reference_loss, reference: a/b@{commit}}"],
        ["distillation.teachers=[[a/b@{commit}],[a/c@{commit}]]"],
    ],
)
def test_a_plan_with_teachers_needs_no_hub(
    words: list[str], here: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("lmeff.hub.availability._away", {})
    words = [word.replace("{commit}", "0" * 40) for word in words]
    assert main(["plan", "quickstart", *words]) == 0
    said = capsys.readouterr()
    assert "is not known: " in said.out
    notes = [line.partition("@")[0] for line in said.err.splitlines()]
    key = words[0].partition("=")[0].replace("curriculum", "curriculum.reference")
    names = ["a/b", "a/c"][: 1 + words[0].count("a/c")]
    assert notes == [f"lmeff train would stop here: {key}: {name}" for name in names]


@pytest.mark.medium
def test_how_to_repeat_a_run_names_its_processes(trained_model: Path) -> None:
    from lmeff.analysis import read_runs
    from lmeff.analysis.report.views import RunView

    (run,) = read_runs([trained_model.parents[2]])
    assert RunView(run, "x").commands[0] == "lmeff train recipe.yaml"
    for device, launcher in (("cpu", "cpu_ddp"), ("NVIDIA H100", "ddp")):
        document = run.anchors[-1].document.model_copy(update={"world_size": 2, "device": device})
        several = replace(run, anchors=[*run.anchors[:-1], replace(run.anchors[-1], document=document)])
        wanted = f"lmeff train recipe.yaml --launcher {launcher} --num-processes 2"
        assert RunView(several, "x").commands[0] == wanted


def test_no_network_is_said_in_words() -> None:
    with pytest.raises(Unavailable, match=r"^the Hub cannot be reached \(no network\?\)$"), asking():
        raise ConnectionError("[Errno -2] Name or service not known")
    with pytest.raises(Unavailable, match="Connection reset"), asking():
        raise ConnectionError("Connection reset by peer")


def texts(path: Path) -> list[str]:
    """Comments, docstrings and other text of a module, without the names in it; a page as a whole."""
    source = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return [source]
    wanted = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", -1)}
    found = [token.string for token in tokenize.generate_tokens(io.StringIO(source).readline) if token.type in wanted]
    return [re.sub(r"\{[^{}]*\}", "", text) for text in found]


@pytest.mark.medium
def test_words_are_spelled_in_american_english() -> None:
    files = [*PAGES, *ROOT.glob("lmeff/**/*.py"), *ROOT.glob("lmeff/**/*.in"), *ROOT.glob("lmeff/**/named/*.yaml")]
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in files
        for text in texts(path)
        for match in BRITISH.finditer(text)
        if text != '"licence"'  # a key of older descriptions, which is still read
    ]
    assert found == []
