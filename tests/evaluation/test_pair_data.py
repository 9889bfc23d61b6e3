"""Mistakes in data and task names, each told in one line."""

import subprocess
import sys

import pytest
import yaml

from lmeff.errors import InputError
from lmeff.evaluation.tasks.checks import check_tasks
from lmeff.evaluation.tasks.data import documents, pair_files, read_documents
from lmeff.evaluation.tasks.sources import data_folder

GOOD = '{"sentence_good": "He runs.", "sentence_bad": "He run."}\n'


def message(function, *arguments) -> str:
    with pytest.raises(InputError) as caught:
        function(*arguments)
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (GOOD + '{"sentence_good": "He\n', "line 2: not readable as JSON"),
        (GOOD + "[1]\n", "line 2: must be an object with sentence_good and sentence_bad"),
        ('{"sentence_good": "He runs."}\n', "line 1: sentence_bad is missing"),
        ('{"sentence_good": "", "sentence_bad": "He run."}\n', "line 1: sentence_good is missing or holds no text"),
        ("\n", "holds no pairs"),
        (b"\xff\xfe", ":1: is not UTF-8 text (byte 0xff at offset 0"),
    ],
)
def test_a_damaged_file_is_named_with_its_line(tmp_path, content, expected):
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    text = message(read_documents, path, "blimp")
    assert text.startswith(str(path))
    assert expected in text
    assert "\n" not in text


def test_hidden_files_of_a_folder_are_no_pairs(tmp_path):
    """Such as those that macOS leaves on other disks."""
    (tmp_path / "mine.jsonl").write_text(GOOD)
    (tmp_path / "._mine.jsonl").write_bytes(b"\x00\x05\x16\x07")
    assert pair_files({"pairs": str(tmp_path)}) == ["mine"]


def test_a_changed_file_is_read_again(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text(GOOD)
    assert read_documents(path, "blimp") == ({"sentence_good": "He runs.", "sentence_bad": "He run."},)
    path.write_text(GOOD * 2)
    assert len(read_documents(path, "blimp")) == 2


def test_where_blimp_is_looked_for(tmp_path, mini_blimp, monkeypatch):
    monkeypatch.delenv("LMEFF_EVAL_DATA", raising=False)
    assert data_folder("blimp", {}) is None
    monkeypatch.setenv("LMEFF_EVAL_DATA", str(mini_blimp.parent))
    assert data_folder("blimp", {}) == mini_blimp
    assert documents("blimp", "wh_island", {})
    assert "evaluation.paths.blimp" in message(data_folder, "blimp", {"blimp": str(tmp_path / "nowhere")})
    monkeypatch.setenv("LMEFF_EVAL_DATA", str(tmp_path))
    assert "LMEFF_EVAL_DATA" in message(data_folder, "blimp", {})


@pytest.mark.medium
def test_without_the_hub_and_local_data_the_error_says_what_to_set(clean_environment, tmp_path):
    code = (
        "from lmeff.errors import InputError\nfrom lmeff.evaluation.tasks.data import documents\n"
        "try: documents('blimp', 'wh_island', {})\nexcept InputError as error: print(error)"
    )
    environment = {**clean_environment, "HF_HOME": str(tmp_path)}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert len(result.stdout.splitlines()) == 1
    assert "evaluation.paths.blimp" in result.stdout
    assert "LMEFF_EVAL_DATA" in result.stdout


def test_check_tasks_names_every_mistake(mini_blimp, tmp_path):
    check_tasks(["lmeff_blimp", "lmeff_synthetic"], None, {"blimp": str(mini_blimp)})
    text = message(check_tasks, ["lmeff_blmp", "lmeff_blimp"], None, {"blimp": str(tmp_path / "no"), "blmp": "x"})
    assert len(text.splitlines()) == 3
    assert "no evaluation task 'lmeff_blmp'; did you mean 'lmeff_blimp'?" in text
    assert "no data named 'blmp'; did you mean 'blimp'?" in text
    assert f"{tmp_path / 'no'}: no such folder" in text


def test_check_tasks_names_missing_and_damaged_files(mini_blimp, tmp_path):
    for path in mini_blimp.iterdir():
        if path.stem not in ("wh_island", "causative"):
            (tmp_path / path.name).write_text(path.read_text())
    paths = {"blimp": str(tmp_path)}
    text = message(check_tasks, ["lmeff_blimp"], None, paths)
    assert "wh_island.jsonl" in text
    assert "causative.jsonl" in text
    assert "passive_1.jsonl" not in text
    check_tasks(["lmeff_blimp_binding"], None, paths)
    (tmp_path / "passive_1.jsonl").write_text("{}\n")
    assert "passive_1.jsonl, line 1" in message(check_tasks, ["lmeff_blimp_passive_1"], None, paths)


@pytest.mark.slow
def test_check_tasks_takes_the_users_own_tasks(tmp_path):
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"task": "my_task", "dataset_path": "json"}))
    check_tasks(["my_task"], str(tmp_path), {"my_data": "anywhere"})
    assert "did you mean 'my_task'?" in message(check_tasks, ["lmeff_x", "my_tusk"], str(tmp_path), {})
    assert "no such folder" in message(check_tasks, ["my_task"], str(tmp_path / "no"), {})
