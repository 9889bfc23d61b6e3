"""B14: `~` and variables everywhere, and inputs beside the recipe that names them."""

import json
from pathlib import Path

import pytest
import yaml

from lmeff import cli
from lmeff.cli.main import make_parser
from lmeff.corpora import prepare_text
from lmeff.errors import InputError
from lmeff.evaluation.tasks.sources import data_folder
from lmeff.formats.run_folder import RunFolder
from lmeff.recipe import read_recipe
from lmeff.recipe.reading import read_section
from lmeff.recipe.sections.finetune import FinetuneRecipe
from lmeff.runs.changes import recipe_changes

RECIPE = """\
name: tiny
corpus: {name: mine, paths: [words.jsonl]}
model: {hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2, num_attention_heads: 2}
batch: {tokens: 400, sequence_length: 50}
anchors: {tokens: [0, 4k]}
schedule: {warmup: 2 steps}
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """The working directory holds nothing of the recipes, which are in `exp`; a home and a variable."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TEXTS", str(tmp_path / "texts"))
    monkeypatch.delenv("NOWHERE", raising=False)


def write(path: str, text: str) -> str:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)
    return path


def write_words(path: str, word: str = "word") -> None:
    write(path, "".join(json.dumps({"text": f"{word} number {index}"}) + "\n" for index in range(300)))


def test_text_beside_the_recipe_is_found_from_another_folder():
    write_words("../exp/words.jsonl")
    recipe = read_recipe(write("../exp/r.yaml", RECIPE)).recipe
    assert recipe.corpus.paths == ["../exp/words.jsonl"]
    assert prepare_text(recipe.corpus, "data").manifest["splits"]["train"]["num_documents"] > 200


def test_beside_comes_before_the_working_directory_and_both_before_a_message():
    path = write("../exp/r.yaml", RECIPE)
    with pytest.raises(InputError) as caught:
        prepare_text(read_recipe(path).recipe.corpus, "data")
    assert str(caught.value) == (
        "corpus.paths: words.jsonl: no such file or folder; looked beside ../exp/r.yaml and in the working directory, "
        f"{Path.cwd()}"
    )
    write_words("words.jsonl")
    assert read_recipe(path).recipe.corpus.paths == ["words.jsonl"]
    write_words("../exp/words.jsonl")
    assert read_recipe(path).recipe.corpus.paths == ["../exp/words.jsonl"]


def test_an_input_is_looked_for_beside_the_file_in_which_it_stands():
    """That of a base beside the base; an override relative to the working directory."""
    write_words("../base/words.jsonl")
    write("../base/b.yaml", RECIPE)
    path = write("../exp/r.yaml", "extends: ../base/b.yaml\n")
    assert read_recipe(path).recipe.corpus.paths == ["../base/words.jsonl"]
    write_words("../exp/words.jsonl")
    assert read_recipe(path).recipe.corpus.paths == ["../base/words.jsonl"]
    assert read_recipe(path, ["corpus.paths=[words.jsonl]"]).recipe.corpus.paths == ["words.jsonl"]
    path = write("../exp/r.yaml", "extends: $TEXTS/../base/b.yaml\ncorpus: {paths: [words.jsonl]}\n")
    Path("../texts").mkdir()
    assert read_recipe(path).recipe.corpus.paths == ["../exp/words.jsonl"]


def test_every_input_and_folder_of_a_recipe(tmp_path):
    for name in ("blimp", "tasks"):
        (tmp_path / "exp" / name).mkdir(parents=True)
    for name in ("a.txt", "dev.txt", "c.yaml", "one.jsonl"):
        write(f"../exp/{name}", "x")
    path = write(
        "../exp/r.yaml",
        "extends: base.yaml\n"
        "paths: {outputs: $TEXTS/out, data: ~/data}\n"
        "corpus:\n"
        "  file: c.yaml\n"
        "  paths: null\n"
        "  dev_paths: [dev.txt, '${TEXTS}/dev*.txt']\n"
        "  decontaminate: [~/blimp, blimp]\n"
        "  sources: {one: {paths: ['o*.jsonl']}}\n"
        "evaluation: {paths: {blimp: blimp}, include_path: tasks}\n",
    )
    write("../exp/base.yaml", RECIPE)
    recipe = read_recipe(path).recipe
    assert (recipe.paths.outputs, recipe.paths.data) == (f"{tmp_path}/texts/out", f"{tmp_path}/home/data")
    assert recipe.corpus.file == "../exp/c.yaml"
    assert recipe.corpus.dev_paths == ["../exp/dev.txt", f"{tmp_path}/texts/dev*.txt"]
    assert recipe.corpus.decontaminate == [f"{tmp_path}/home/blimp", "../exp/blimp"]
    assert recipe.corpus.sources["one"].paths == ["../exp/o*.jsonl"]
    assert recipe.evaluation.paths == {"blimp": "../exp/blimp"}
    assert recipe.evaluation.include_path == "../exp/tasks"
    # Places to write to are in the working directory, also where such a folder is beside the recipe.
    (tmp_path / "exp" / "outputs").mkdir()
    assert read_recipe("../exp/base.yaml").recipe.paths.outputs == "outputs"


def test_a_variable_that_is_not_set_is_a_mistake_with_its_line():
    path = write("../exp/r.yaml", RECIPE.replace("words.jsonl", "$NOWHERE/words.jsonl"))
    with pytest.raises(InputError) as caught:
        read_recipe(path, ["paths.data=${NOWHERE}x"])
    assert caught.value.mistakes == (
        "../exp/r.yaml:2: corpus.paths.0: $NOWHERE/words.jsonl: the variable NOWHERE is not set in the environment",
        "command line: paths.data=${NOWHERE}x: ${NOWHERE}x: the variable NOWHERE is not set in the environment",
    )
    write("../exp/$NOWHERE/words.jsonl", "{}")  # a name with a dollar is a name
    assert read_recipe(path).recipe.corpus.paths == ["../exp/$NOWHERE/words.jsonl"]


def test_the_description_of_a_corpus_names_text_beside_itself():
    write_words("../corpora/mine/words.jsonl")
    write("../corpora/mine.yaml", "paths: [mine/words.jsonl]\n")
    path = write("../exp/r.yaml", RECIPE.replace("paths: [words.jsonl]", "file: ../corpora/mine.yaml"))
    assert prepare_text(read_recipe(path).recipe.corpus, "data").manifest["splits"]["train"]["num_documents"] > 200


def test_files_of_a_recipe_for_fine_tuning():
    write_words("../exp/train.jsonl")
    path = write(
        "../exp/f.yaml", "tasks: {mine: {files: {train: train.jsonl, validation: ~/v.jsonl}, columns: [text]}}\n"
    )
    files = read_section(FinetuneRecipe, path).tasks["mine"].files
    assert (files.train, files.validation) == ("../exp/train.jsonl", f"{Path.home()}/v.jsonl")


def test_options_of_the_command_line(capsys, tmp_path):
    write("../home/r.yaml", RECIPE)
    assert cli.main(["plan", "~/r.yaml"]) == 0
    assert "lmeff train would stop here: corpus.paths: words.jsonl: no such file" in capsys.readouterr().err
    assert cli.main(["plan", "$NOWHERE/r.yaml"]) == 2
    assert capsys.readouterr().err.strip() == "$NOWHERE/r.yaml: the variable NOWHERE is not set in the environment"
    write_words("../home/text.jsonl")
    assert cli.main(["corpora", "show", "mine", "--sample", "--paths", "~/text.jsonl"]) == 0
    assert f"{tmp_path}/home/text.jsonl: 300 of 300 documents" in capsys.readouterr().out


def test_evaluation_data_of_the_command_line_and_the_environment(tmp_path, monkeypatch):
    """A shell leaves `~` in `--path blimp=~/blimp` as it is."""
    (tmp_path / "home" / "eval" / "blimp").mkdir(parents=True)
    assert data_folder("blimp", {"blimp": "~/eval/blimp"}) == tmp_path / "home" / "eval" / "blimp"
    monkeypatch.setenv("LMEFF_EVAL_DATA", "$HOME/eval")
    assert data_folder("blimp", {}) == tmp_path / "home" / "eval" / "blimp"
    monkeypatch.setenv("LMEFF_EVAL_DATA", "$NOWHERE/eval")
    with pytest.raises(InputError, match=r"LMEFF_EVAL_DATA: .*the variable NOWHERE is not set"):
        data_folder("blimp", {})
    path = write("../exp/r.yaml", RECIPE + "evaluation: {paths: {blimp: gone}, include_path: none}\n")
    recipe = read_recipe(path).recipe
    with pytest.raises(InputError) as caught:
        data_folder("blimp", recipe.evaluation.paths)
    assert str(caught.value).endswith(f"looked beside {path} and in the working directory, {Path.cwd()}")


def test_the_copy_in_a_run_folder_names_the_same_text():
    write_words("../exp/words.jsonl")
    first = read_recipe(write("../exp/r.yaml", RECIPE))
    copy = write("outputs/tiny/seed-0/recipe.yaml", first.to_yaml())
    again = read_recipe(copy)
    assert again.recipe == first.recipe
    assert yaml.safe_load(Path(copy).read_text())["corpus"]["paths"] == ["../exp/words.jsonl"]
    assert prepare_text(again.recipe.corpus, "data").folder == prepare_text(first.recipe.corpus, "data").folder


def test_a_run_goes_on_from_another_place_and_with_moved_text(monkeypatch, tmp_path):
    """Where text lies is no setting: what it is stands in its fingerprint."""
    write_words("../exp/words.jsonl")
    run = RunFolder(tmp_path / "work" / "outputs" / "tiny" / "seed-0")
    run.revision("seed-0-tokens-0").mkdir(parents=True)
    run.recipe_yaml.write_text(read_recipe(write("../exp/r.yaml", RECIPE)).to_yaml())
    monkeypatch.chdir(tmp_path / "home" if (tmp_path / "home").exists() else tmp_path)
    assert recipe_changes(run, read_recipe("exp/r.yaml")) == []
    (tmp_path / "exp").rename(tmp_path / "moved")
    moved = read_recipe("moved/r.yaml")
    assert moved.recipe.corpus.paths == ["moved/words.jsonl"]
    assert recipe_changes(run, moved) == []
    changed = recipe_changes(run, read_recipe("moved/r.yaml", ["corpus.paths=[moved/other.jsonl]"]))
    assert list(map(str, changed)) == ["corpus.paths was ['../exp/words.jsonl'], is now ['moved/other.jsonl']"]


def test_every_option_that_is_a_path_is_expanded(tmp_path):
    """Of every verb, by what its help calls it."""
    import argparse
    import re

    (verbs,) = (one for one in make_parser()._actions if isinstance(one, argparse._SubParsersAction))
    found = set()
    for name, parser in verbs.choices.items():
        for action in parser._actions:
            shown = action.metavar or ""
            if not re.search(r"PATH|DIR|FILE|RECIPE|RUN|WHAT", shown) or action.nargs == 0:
                continue
            found.add(action.dest)
            prefix = "blimp=" if shown == "NAME=DIR" else ""
            said = action.type(f"{prefix}$TEXTS/a") if action.type else f"{prefix}$TEXTS/a"
            assert (said[1] if prefix else said) == f"{tmp_path}/texts/a", (
                f"{name} {action.option_strings or action.dest}"
            )
    assert {"recipe", "launcher", "slurm", "file", "figures", "output", "what", "path", "text", "beside"} <= found


def test_of_two_inputs_with_one_name_the_choice_is_told(capsys, monkeypatch):
    monkeypatch.setenv("LMEFF_TOLD_INPUTS", "")
    path = write("../exp/r.yaml", RECIPE)
    write_words("../exp/words.jsonl")
    read_recipe(path)
    assert capsys.readouterr().err == ""
    write_words("words.jsonl", "other")
    read_recipe(path)
    read_recipe(path)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"{path}: words.jsonl: ../exp/words.jsonl is read, and not that of the working directory"
