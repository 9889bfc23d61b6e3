"""A complete run that is given a new last anchor: it becomes the run that had it from the start, or says why it cannot."""

import json
import shutil
import signal
from pathlib import Path

import prepared
import pytest
import yaml
from launching import curve, ended, finish, launch, read_lines, run_folder, start, state_of, weights, write_recipe

from lmeff.revisions import differences, list_revisions

pytestmark = pytest.mark.slow
CONSTANT = "schedule.name=constant"
SHORT, LONG = "anchors.tokens=[0,5k,20k]", "anchors.tokens=[0,5k,20k,30k]"
ACCEPT = "--accept-changes"
OLD_FINAL, NEW_FINAL = "seed-1-tokens-20k", "seed-1-tokens-30k"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("extension"))


def train(recipe: Path, name: str, *words: str) -> str:
    return finish(start(None, str(recipe), f"name={name}", *words))


def refusal(recipe: Path, name: str, *words: str) -> str:
    """The one line that is said; nothing in the run's folder changes."""
    run = run_folder(recipe, name)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    code, said = ended(start(None, str(recipe), f"name={name}", *words))
    assert code == 2, said
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    (line,) = said.splitlines()
    return line


def copy(recipe: Path, name: str, new: str) -> Path:
    """A run under another name."""
    run = run_folder(recipe, new)
    shutil.copytree(run_folder(recipe, name), run)
    (run / "recipe.yaml").write_text((run / "recipe.yaml").read_text().replace(f"name: {name}\n", f"name: {new}\n"))
    return run


def kept_files(run: Path) -> dict[Path, bytes]:
    """All but what says who holds the folder."""
    files = (path for path in run.rglob("*") if path.is_file() and not path.name.endswith(".lock"))
    return {path: path.read_bytes() for path in files}


def anchor(run: Path, name: str) -> dict:
    return json.loads((run / "revisions" / name / "anchor.json").read_text())


@pytest.fixture(scope="module")
def short(recipe: Path) -> Path:
    train(recipe, "short", CONSTANT, SHORT)
    return run_folder(recipe, "short")


@pytest.fixture(scope="module")
def whole(recipe: Path) -> Path:
    """A run that had the last anchor from the start."""
    train(recipe, "whole", CONSTANT, LONG)
    return run_folder(recipe, "whole")


def assert_extended(run: Path, whole: Path) -> None:
    """It is the other run to the last bit, and says so in every file."""
    assert weights(run) == weights(whole)
    assert curve(run) == curve(whole)
    assert all(differences(folder) == [] for folder in [*list_revisions(run), run / "revisions" / "seed-1"])
    final = anchor(run, "seed-1")
    assert (final["same_as"], final["step"], final["exact_tokens"]) == (NEW_FINAL, 59, 59 * 512)
    assert (anchor(run, OLD_FINAL)["same_as"], anchor(run, OLD_FINAL)["step"]) == (None, 40)
    state = state_of(run)
    assert (state["state"], state["step"], state["next_anchor"]) == ("complete", 59, None)
    assert yaml.safe_load((run / "recipe.yaml").read_text())["anchors"]["tokens"] == [0, 5000, 20_000, 30_000]
    assert json.loads((run / "plan.json").read_text())["num_steps"] == 59
    (change,) = json.loads((run / "revisions" / "seed-1" / "provenance.json").read_text())["accepted_changes"]
    assert change["step"] == 40
    assert change["changes"] == ["anchors.tokens was [0, 5000, 20000], is now [0, 5000, 20000, 30000]"]


def test_a_complete_run_trains_on(recipe: Path, short: Path, whole: Path) -> None:
    run = copy(recipe, "short", "longer")
    kept = (run / "revisions" / OLD_FINAL / "manifest.json").read_bytes()
    said = train(recipe, "longer", CONSTANT, LONG, ACCEPT)
    assert f"going on from {run}/checkpoints/step-40" in said
    assert_extended(run, whole)
    assert (run / "revisions" / OLD_FINAL / "manifest.json").read_bytes() == kept
    assert json.loads((run / "revisions" / OLD_FINAL / "provenance.json").read_text())["accepted_changes"] == []
    for revision in ("seed-1-tokens-5k", OLD_FINAL, NEW_FINAL):
        for name in ("weights.json", "similarity.json"):
            ours, theirs = (json.loads((one / "results" / revision / name).read_text()) for one in (run, whole))
            assert (ours["results"], ours["lmeff"]) == (theirs["results"], theirs["lmeff"])
            assert ours["compared_with"] == theirs["compared_with"]
    assert "complete at 30,208 tokens; nothing to do" in train(recipe, "longer", CONSTANT, LONG, ACCEPT)


def test_by_several_processes(recipe: Path, short: Path) -> None:
    """They all see the same, whichever of them is first; the refusal is one line."""
    run = copy(recipe, "short", "together")
    words = (str(recipe), "name=together")
    process = start("cpu_ddp", *words, LONG, ACCEPT, popen=prepared.Popen)
    said, _ = process.communicate(timeout=300)
    assert process.returncode != 0
    assert (
        said.count("cannot go on: schedule.name: its steps had the learning rates of 'constant', not of 'cosine'") == 1
    )
    launch("cpu_ddp", *words, CONSTANT, LONG, ACCEPT)
    assert (anchor(run, "seed-1")["same_as"], anchor(run, "seed-1")["world_size"]) == (NEW_FINAL, 2)
    assert anchor(run, OLD_FINAL)["world_size"] == 1
    assert [anchor(run, name)["engine"] for name in (OLD_FINAL, "seed-1")] == ["plain", "ddp"]
    assert state_of(run)["state"] == "complete"


def test_without_leave_it_is_refused(recipe: Path, short: Path) -> None:
    assert "or go on with --accept-changes" in refusal(recipe, "short", CONSTANT, LONG)


WRITES = [
    ("*/.recipe.yaml.*", 2),
    ("*/.state.json.*", 2),
    ("*/.plan.json.*", 2),
    ("*/run.log.jsonl", 10),
    ("*/revisions/.seed-1-tokens-30k.*", 3),
    ("*/revisions/seed-1", 1),
    ("*/revisions/.seed-1.????????.tmp", 5),
    ("*/revisions/.seed-1.????????.tmp", 6),
]
"""Killed before this write to such a path: from the first one of the longer run to the last one of its final model."""


def test_killed_at_any_write(recipe: Path, short: Path, whole: Path) -> None:
    """At the beginning, between the old final model and the new one, and at the end; what is read is whole at any time."""
    old, new = weights(short)["seed-1"], weights(whole)["seed-1"]
    seen = set()
    for number, (pattern, write) in enumerate(WRITES):
        name = f"killed_{number}"
        run = copy(recipe, "short", name)
        words = (str(recipe), f"name={name}", CONSTANT, LONG, ACCEPT)
        faults = ["without_exchange", f"kill_at_write:{write}:{pattern}"]
        code, said = ended(start(None, *words, faults=faults))
        assert code == -signal.SIGKILL, said
        final = run / "revisions" / "seed-1"
        assert state_of(run)["state"] != "complete" or weights(run)["seed-1"] == old, "it says what is there"
        if final.exists():
            assert differences(final) == []
            assert anchor(run, "seed-1")["weights_sha256"] in (old, new)
        seen.add(anchor(run, "seed-1")["weights_sha256"] if final.exists() else None)
        assert all(differences(folder) == [] for folder in list_revisions(run))
        assert {folder.name for folder in list_revisions(run)} >= {"seed-1-tokens-0", "seed-1-tokens-5k", OLD_FINAL}
        code, said = ended(start(None, *words))
        assert code == 0, said
        assert_extended(run, whole)
        assert not list((run / "revisions").glob(".*"))
    assert seen == {old, new, None}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            (),
            "schedule.name: 'cosine' ends with the run, at step 40, so in a longer one every step after the warm-up has",
        ),
        (("schedule.name=linear",), "schedule.name: 'linear' ends with the run, at step 40"),
        (
            ("schedule.name=wsd",),
            "schedule.name: its last 8 steps were the decay of 'wsd', which a longer run has later",
        ),
        ((CONSTANT, "schedule.warmup=0.1"), "schedule.warmup: it was 4 steps, and would be 6"),
        (
            (CONSTANT, "checkpoints.every_steps=null"),
            "checkpoints/step-40 is not there, so there is nothing to go on from",
        ),
    ],
)
def test_what_cannot_go_on_is_refused(recipe: Path, words: tuple[str, ...], said: str) -> None:
    """A longer run would have had other learning rates, or nothing is left to go on from."""
    name = f"refused_{'_'.join(word.partition('=')[2].replace('.', '') for word in words) or 'cosine'}"
    train(recipe, name, *words, SHORT)
    line = refusal(recipe, name, *words, LONG, ACCEPT)
    assert said in line
    assert line.startswith(f"{run_folder(recipe, name)}: complete at 20,480 tokens, and cannot go on: ")
    assert line.endswith("give the run that you want another name (name=...)")


@pytest.mark.parametrize(
    "words",
    [
        ("evaluation.tasks=[lmeff_blimb]",),
        ("evaluation.tasks=[lmeff_blimp]", "evaluation.paths.blimp=nowhere"),
        ("publish.to=hub",),
        ("corpus.epochs=1",),
        ("corpus.paths=[{folder}/nowhere/stories.jsonl]",),
    ],
)
def test_wrong_input_leaves_a_complete_run_complete(
    recipe: Path, short: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tasks, their data, the Hub's names, too little text and missing text: all are found before the run is one no more."""
    monkeypatch.chdir(recipe.parent)
    before = kept_files(short)
    words = tuple(word.format(folder=recipe.parent) for word in words)
    words = (str(recipe), "name=short", CONSTANT, LONG, ACCEPT, *words)
    code, said = ended(start(None, *words, folder=recipe.parent, variables={"HF_NAMESPACE": ""}))
    assert code == 2, said
    assert "Traceback" not in said
    assert kept_files(short) == before
    assert "nothing to do" in train(recipe, "short", CONSTANT, SHORT)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("optimizer.learning_rate=1e-3", "optimizer.learning_rate: its steps were trained with another value"),
        ("training.max_grad_norm=0.5", "training.max_grad_norm: its steps were trained with another value"),
        ("corpus.dev_share=0.2", "corpus.dev_share: its steps were trained with another value"),
        ("corpus.paths=[{folder}/other/stories.jsonl]", "corpus.paths: its steps were trained with another value"),
    ],
)
def test_what_decides_the_weights_stays_in_a_longer_run(recipe: Path, short: Path, word: str, said: str) -> None:
    (recipe.parent / "other").mkdir(exist_ok=True)
    other = (recipe.parent / "stories.jsonl").read_text().replace("boats", "boots")
    (recipe.parent / "other" / "stories.jsonl").write_text(other)
    line = refusal(recipe, "short", CONSTANT, LONG, word.format(folder=recipe.parent), ACCEPT)
    assert f"cannot go on: {said}" in line


def test_so_does_the_text_itself(recipe: Path, short: Path) -> None:
    stories = recipe.parent / "stories.jsonl"
    before = stories.read_text()
    stories.write_text(before.replace("boats", "boots"))
    try:
        line = refusal(recipe, "short", CONSTANT, LONG, ACCEPT)
    finally:
        stories.write_text(before)
    assert "cannot go on: corpus: its steps were trained on other text than is there now" in line


def test_restarts_that_are_there_keep_their_schedule(recipe: Path) -> None:
    train(recipe, "rates", "anchors.mode=restart", "anchors.tokens=[5k]")
    words = ("anchors.mode=restart", "anchors.tokens=[5k,10k]", "schedule.name=linear", ACCEPT)
    assert "schedule.name: its steps were trained with another value" in refusal(recipe, "rates", *words)


def test_what_decides_no_weights_may_change(recipe: Path, short: Path, whole: Path) -> None:
    run = copy(recipe, "short", "free")
    words = ("corpus.epochs=6", "checkpoints.keep=3", "evaluation.weights=false", "training.report_to=[tensorboard]")
    train(recipe, "free", CONSTANT, LONG, *words, ACCEPT)
    assert weights(run) == weights(whole)
    assert curve(run) == curve(whole)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((LONG,), "schedule.name: its steps had the learning rates of 'constant', not of 'cosine'"),
        (
            (CONSTANT, "anchors.tokens=[0,5k,10k,20k,30k]"),
            "10k is step 20, and it is at step 40 already",
        ),
        ((CONSTANT, SHORT, "optimizer.learning_rate=1e-3"), "nothing is left to train; add an anchor above 20,480"),
        ((CONSTANT, "anchors.tokens=[0,5k]"), "nothing is left to train; add an anchor above 20,480"),
        (
            (CONSTANT, LONG, "anchors.until=converged", "anchors.max_tokens=60k"),
            "with anchors.until its final model is no anchor, and would be lost",
        ),
    ],
)
def test_other_changes_of_a_complete_run(recipe: Path, short: Path, words: tuple[str, ...], said: str) -> None:
    """None of them is taken in silence for 'nothing to do'."""
    assert said in refusal(recipe, "short", *words, ACCEPT)


def test_one_that_converged_is_left_alone(recipe: Path) -> None:
    words = (CONSTANT, "anchors.until=converged", "anchors.max_tokens=30k", "anchors.patient_after=5k")
    train(recipe, "until", *words, "anchors.tokens=[5k]")
    assert "with anchors.until" in refusal(recipe, "until", *words, "anchors.tokens=[5k,10k]", ACCEPT)
    assert "nothing to do" in train(recipe, "until", *words, "anchors.tokens=[5k]", ACCEPT)


def test_checkpoints_by_the_clock_have_one_of_the_end(recipe: Path, whole: Path) -> None:
    words = (CONSTANT, "checkpoints.every_steps=null", "checkpoints.every_minutes=60")
    train(recipe, "clock", *words, SHORT)
    assert [path.name for path in (run_folder(recipe, "clock") / "checkpoints").iterdir()] == ["step-40"]
    train(recipe, "clock", *words, LONG, ACCEPT)
    assert_extended(run_folder(recipe, "clock"), whole)


@pytest.mark.parametrize("words", [("anchors.mode=restart",), ("anchors.mode=anneal",)])
def test_runs_in_parts(recipe: Path, words: tuple[str, ...]) -> None:
    """The parts that are there stay as they are; the trunk grows, and a part is added."""
    mode = words[0].partition("=")[2]
    train(recipe, mode, *words, SHORT)
    train(recipe, f"{mode}_whole", *words, LONG)
    run, whole = run_folder(recipe, mode), run_folder(recipe, f"{mode}_whole")
    old_logs = {path: path.read_bytes() for path in run.glob("parts/*0k/run.log.jsonl")}
    train(recipe, mode, *words, LONG, ACCEPT)
    assert_extended(run, whole)
    for part in (path.name for path in (whole / "parts").iterdir()):
        assert curve(run / "parts" / part) == curve(whole / "parts" / part)
        assert state_of(run / "parts" / part)["step"] == state_of(whole / "parts" / part)["step"]
    assert [path.parent.name for path in old_logs] == ["20k"]
    assert all(path.read_bytes() == content for path, content in old_logs.items())


def test_parts_by_index(recipe: Path) -> None:
    """As a Slurm array does it: the parts that are there have nothing to do, and the run is complete with the last."""
    words = ("anchors.mode=anneal", "schedule.decay=0.3")
    train(recipe, "array", *words, SHORT)
    train(recipe, "array_whole", *words, LONG)
    run, whole = run_folder(recipe, "array"), run_folder(recipe, "array_whole")
    assert state_of(run)["state"] == "complete"
    assert "nothing to do" in train(recipe, "array", *words, LONG, ACCEPT, "--index", "1")
    assert state_of(run)["state"] == "complete", "nothing was begun"
    train(recipe, "array", *words, LONG, ACCEPT, "--index", "0")
    assert state_of(run)["state"] == "interrupted"
    assert state_of(run)["next_anchor"] == 30_000
    assert anchor(run, "seed-1")["same_as"] == OLD_FINAL
    train(recipe, "array", *words, LONG, ACCEPT, "--index", "3")
    assert_extended(run, whole)
    assert read_lines(run / "parts" / "trunk" / "run.log.jsonl")[-1]["step"] == 42


def test_an_anchor_in_between(recipe: Path) -> None:
    """A restart of its own can be added anywhere; a branch only where the trunk still has the checkpoint that it leaves."""
    between = "anchors.tokens=[0,5k,10k,20k]"
    train(recipe, "between", "anchors.mode=restart", SHORT)
    train(recipe, "between_whole", "anchors.mode=restart", between)
    train(recipe, "between", "anchors.mode=restart", between, ACCEPT)
    assert weights(run_folder(recipe, "between")) == weights(run_folder(recipe, "between_whole"))
    train(recipe, "twig", "anchors.mode=anneal", SHORT)
    said = refusal(recipe, "twig", "anchors.mode=anneal", between, ACCEPT)
    assert "parts/trunk/checkpoints/step-16 is not there, so there is nothing to go on from" in said
    warmer = ("anchors.mode=anneal", "schedule.warmup=0.1")
    train(recipe, "warmer", *warmer, SHORT)
    said = refusal(recipe, "warmer", *warmer, LONG, ACCEPT)
    assert "schedule.warmup: it was 4 steps, and would be 6" in said
