"""Where a run's text lies is no setting; what stands in it is one."""

import json
import shutil
import signal
from pathlib import Path

import pytest
from launching import ended, finish, run_folder, start, state_of, weights, write_recipe

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run `job`, its text in another place, and other text of the same name."""
    path = write_recipe(tmp_path_factory.mktemp("moved"))
    finish(start(None, str(path)))
    for name in ("same", "other"):
        (path.parent / name).mkdir()
    shutil.copy(path.parent / "stories.jsonl", path.parent / "same")
    lines = [json.dumps({"text": f"Number {one} is a number, and so is number {one + 1}."}) for one in range(400)]
    (path.parent / "other" / "stories.jsonl").write_text("\n".join(lines))
    return path


def at(recipe: Path, place: str) -> str:
    return f"corpus.paths=[{recipe.parent / place / 'stories.jsonl'}]"


def refused(recipe: Path, name: str, *words: str) -> str:
    """The one line that is said; the run and the prepared text stay as they are."""
    folders = (run_folder(recipe, name), recipe.parent / "data")
    before = {path: path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}
    code, said = ended(start(None, str(recipe), f"name={name}", *words))
    assert code == 2, said
    assert before == {path: path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}
    (line,) = said.splitlines()
    return line


def test_a_complete_run_is_that_of_its_text(recipe: Path) -> None:
    said = finish(start(None, str(recipe), at(recipe, "same")))
    assert "complete at 20,480 tokens; nothing to do" in said
    line = refused(recipe, "job", at(recipe, "other"))
    assert line.startswith(f"{run_folder(recipe)}: complete at 20,480 tokens, and cannot go on: ")
    assert "(asked for: corpus.paths was " in line
    assert "give the run that you want another name" in line
    assert "corpus.paths was " in refused(recipe, "job", at(recipe, "other"), "--accept-changes")
    assert "no such file" in refused(recipe, "job", at(recipe, "nowhere"))


def test_an_interrupted_run_goes_on_with_its_text_alone(recipe: Path) -> None:
    fault = "kill_at_write:18:*/run.log.jsonl"
    code, said = ended(start(None, str(recipe), "name=cut", faults=[fault]))
    assert code == -signal.SIGKILL, said
    line = refused(recipe, "cut", at(recipe, "other"))  # before a token of the other text is prepared
    assert "corpus.paths was " in line
    assert "or go on with --accept-changes" in line
    said = finish(start(None, str(recipe), "name=cut", at(recipe, "same")))
    assert "going on from" in said
    assert weights(run_folder(recipe, "cut")) == weights(run_folder(recipe))
    assert state_of(run_folder(recipe, "cut"))["state"] == "complete"
