"""What `lmeff.run` says to wrong input: one line each, exit code 2, `state.json` saying the same, nothing half-written."""

import fcntl
import json
from pathlib import Path

import pytest

from lmeff import run

RECIPE = """
name: bad
corpus: {{name: stories, paths: ['{folder}/text.jsonl'], dev_paths: ['{folder}/dev.txt'], epochs: 2}}
tokenizer: {{vocab_size: 300}}
model: {{hidden_size: 32, intermediate_size: 64, num_hidden_layers: 1, num_attention_heads: 2}}
batch: {{tokens: 256, sequence_length: 32}}
anchors: {{tokens: [0, 1k]}}
schedule: {{warmup: 1 steps}}
paths: {{outputs: '{folder}/outputs', data: '{folder}/data'}}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    lines = [json.dumps({"text": f"Number {index} is a number, and so is number {index + 1}."}) for index in range(200)]
    (tmp_path / "text.jsonl").write_text("\n".join(lines))
    (tmp_path / "dev.txt").write_text("Number 900 is a number too.")
    path = tmp_path / "bad.yaml"
    path.write_text(RECIPE.format(folder=tmp_path))
    return path


CASES = [
    ("corpus.paths=[nowhere/*.jsonl]", "corpus.paths: nowhere/*.jsonl: no file matches"),
    ("corpus.dev_paths=[gone.txt]", "corpus.dev_paths: gone.txt: no such file or folder"),
    ("corpus.text=['{{body}}']", "text.jsonl:1: has none of the fields that corpus.text wants"),
    ("tokenizer.vocab_size=20000", "tokenizer.vocab_size: the training text allows"),
    ("anchors.tokens=[0,10M]", "set corpus.epochs="),
    ("batch.micro=3", "batch.micro: 3 does not divide the 8 sequences"),
    ("evaluation.tasks=[lmeff_blimb]", "lmeff_blimp"),
    ("evaluation.tasks=[lmeff_blimp] evaluation.paths.blimp=nowhere", "nowhere"),
    (
        "batch.sequence_length=128 batch.tokens=128 tokenizer.vocab_size=259 corpus.paths=[{folder}/dev.txt]"
        " corpus.dev_paths=[{folder}/text.jsonl]",
        "corpus: the training text has 30 tokens, fewer than one sequence of 128",
    ),
    ("model.num_attention_heads=5", "num_attention_heads"),
]


@pytest.mark.parametrize(("words", "said"), CASES)
def test_wrong_input_is_one_line(recipe: Path, capsys: pytest.CaptureFixture, words: str, said: str) -> None:
    folder = recipe.parent
    assert run.main([str(recipe), *words.format(folder=folder).split(" ")]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert said in lines[0]
    state = folder / "outputs" / "bad" / "seed-0" / "state.json"
    if "bad.yaml:" in lines[0] or "command line:" in lines[0]:  # not a recipe, so there is no run to say it of
        assert not state.exists()
    else:
        found = json.loads(state.read_text())
        assert (found["state"], found["error"], found["step"]) == ("failed", lines[0], 0)
    assert not list(folder.rglob("*.tmp"))
    assert not list(folder.rglob("revisions"))


def test_a_bad_json_line_is_named(recipe: Path, capsys: pytest.CaptureFixture) -> None:
    text = recipe.parent / "text.jsonl"
    text.write_text(text.read_text() + '\n{"text": \n')
    assert run.main([str(recipe)]) == 2
    assert f"{text}:201: not readable as JSON" in capsys.readouterr().err
    state = json.loads((recipe.parent / "outputs" / "bad" / "seed-0" / "state.json").read_text())
    assert state["state"] == "failed"
    assert not list((recipe.parent / "data").glob("stories-*"))


def test_a_mended_recipe_runs_in_the_same_folder(recipe: Path, capsys: pytest.CaptureFixture) -> None:
    """A run that failed before its first step has nothing to lose, so its recipe may change."""
    assert run.main([str(recipe), "tokenizer.vocab_size=20000"]) == 2
    assert run.main([str(recipe), "batch.micro=3"]) == 2
    assert "was" not in capsys.readouterr().err.splitlines()[-1]


def test_no_recipe_several_recipes_and_index(recipe: Path, capsys: pytest.CaptureFixture) -> None:
    for words, said in (
        (["seed=1"], "no recipe given"),
        ([str(recipe), str(recipe)], "2 recipes given; say with --index N which one to run, 0 to 1"),
        ([str(recipe), "--index", "1"], "--index 1: there is one recipe, 0"),
        ([str(recipe.parent / "none.yaml")], "none.yaml"),
    ):
        assert run.main(words) == 2
        assert said in capsys.readouterr().err
    other = recipe.parent / "other.yaml"
    other.write_text(recipe.read_text().replace("name: bad", "name: other"))
    assert run.main([str(recipe), str(other), "--index", "1", "batch.micro=3"]) == 2
    assert (recipe.parent / "outputs" / "other").exists()
    assert not (recipe.parent / "outputs" / "bad").exists()


def test_a_second_process_on_the_same_folder_is_refused(recipe: Path, capsys: pytest.CaptureFixture) -> None:
    folder = recipe.parent / "outputs" / "bad" / "seed-0"
    folder.mkdir(parents=True)
    with open(folder / ".lock", "w") as file:
        file.write("process 1 on elsewhere")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        assert run.main([str(recipe)]) == 2
    assert "is being worked on by process 1 on elsewhere" in capsys.readouterr().err
    assert not (folder / "state.json").exists()
