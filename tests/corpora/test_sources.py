"""Reading text: forms, compression, order, and what cannot be read."""

import datetime
import gzip
import json
from pathlib import Path

import pyarrow
import pytest
import zstandard
from pyarrow import parquet

from lmeff.corpora.reading.record_text import check_templates
from lmeff.corpora.reading.records import Form, read_batches, texts_of
from lmeff.corpora.reading.sources import domain, find_files
from lmeff.errors import InputError


def texts(files: list[Path], templates: tuple[str, ...] = ("{text}",), separator: str | None = None) -> list[str]:
    form = Form(templates, separator)
    return [text for file in files for batch in read_batches(file, form) for text in texts_of(batch, form)]


def test_every_form_gives_the_same_documents(tmp_path: Path) -> None:
    lines = "".join(json.dumps({"text": text}) + "\n" for text in ("One.", "Two é."))
    (tmp_path / "a.jsonl").write_text(lines, encoding="utf-8")
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "c.jsonl.zst").write_bytes(zstandard.compress(lines.encode()))
    (tmp_path / "d.txt").write_text("  One.\n", encoding="utf-8")
    files = find_files([str(tmp_path)], "corpus.paths")
    assert [file.name for file in files] == ["a.jsonl", "b.jsonl.gz", "c.jsonl.zst", "d.txt"]
    assert texts(files) == ["One.", "Two é."] * 3 + ["One."]
    assert [domain(file) for file in files] == ["a", "b", "c", "d"]


def test_folders_globs_and_files_name_each_file_once_in_a_fixed_order(tmp_path: Path) -> None:
    for name in ("z.txt", "deep/a.txt", "deep/skip.bin"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    patterns = [str(tmp_path / "z.txt"), str(tmp_path / "**" / "*.txt"), str(tmp_path)]
    found = find_files(patterns, "corpus.paths")
    assert [file.relative_to(tmp_path).as_posix() for file in found] == ["deep/a.txt", "z.txt"]
    assert find_files(patterns[::-1], "corpus.paths") == found


def test_a_file_of_several_frames_is_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "a.txt.zst").write_bytes(zstandard.compress(b"One. ") + zstandard.compress(b"Two."))
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"One. ") + gzip.compress(b"Two."))
    assert texts(find_files([str(tmp_path)], "corpus.paths")) == ["One. Two."] * 2


def test_one_file_under_two_names_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("x")
    monkeypatch.chdir(tmp_path)
    assert len(find_files([".", str(tmp_path), "a.txt"], "corpus.paths")) == 1


def test_separator_and_templates(tmp_path: Path) -> None:
    story = tmp_path / "s.txt"
    story.write_text("first\n<|endoftext|>\nsecond\n\nstill second<|endoftext|>")
    assert texts([story], separator="<|endoftext|>") == ["first", "second\n\nstill second"]
    maths = tmp_path / "m.jsonl"
    maths.write_text('{"problem": "1 + 1 {x}", "hints": ["= 2", "done"]}\n\n{"text": "plain"}\n')
    assert texts([maths], ("{text}", "{problem}\n{hints}")) == ["1 + 1 {x}\n= 2\ndone", "plain"]


@pytest.mark.parametrize(
    ("content", "line", "said"),
    [
        (b'{"text": "a"}\n{"text": \n', 2, "not readable as JSON"),
        (b'{"text": "a"}\n["b"]\n', 2, "must be a JSON object"),
        (b'{"body": "a"}\n', 1, "it has body"),
        (b'{"text": "a"}\n{"text": "\\ud83d"}\n', 2, "half of a character"),
        (b"[" * 100_000, 1, "nested too deeply"),
    ],
)
def test_a_bad_line_is_named_by_file_and_line(tmp_path: Path, content: bytes, line: int, said: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        texts([path])
    assert str(error.value).startswith(f"{path}:{line}: ")
    assert said in str(error.value)


def test_what_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    words = " ".join(map(str, range(20_000))).encode()
    (tmp_path / "cut.txt.gz").write_bytes(gzip.compress(words)[:5_000])
    (tmp_path / "cut.txt.zst").write_bytes(zstandard.compress(words)[:5_000])
    (tmp_path / "odd.txt.zst").write_bytes(b"not zstandard")
    for name, said in (
        ("latin.txt", "not UTF-8"),
        ("cut.txt.gz", "cannot be read"),
        ("cut.txt.zst", "cannot be read"),
        ("odd.txt.zst", "cannot be read"),
    ):
        with pytest.raises(InputError, match=said) as error:
            texts([tmp_path / name])
        assert name in str(error.value)


def test_all_missing_paths_are_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.bin").write_text("x")
    with pytest.raises(InputError) as error:
        find_files(
            [str(tmp_path / "none.txt"), str(tmp_path / "*.jsonl"), str(tmp_path / "empty"), str(tmp_path / "x.bin")],
            "corpus.paths",
        )
    assert len(error.value.mistakes) == 4
    assert all(line.startswith("corpus.paths: ") for line in error.value.mistakes)


@pytest.mark.parametrize("template", ["no field", "{text", "{}", "{a.b}", "{text:d}", "{text!q}"])
def test_a_template_must_name_fields(template: str) -> None:
    with pytest.raises(InputError, match=r"corpus\.text"):
        check_templates([template])


def test_a_table(tmp_path: Path) -> None:
    """Missing values are empty documents; bytes are not text."""
    path = tmp_path / "t.parquet"
    parquet.write_table(pyarrow.table({"text": ["One.", None, "Two."], "id": [1, 2, 3]}), path)
    assert texts([path]) == ["One.", "Two."]
    with pytest.raises(InputError, match="has none of the columns"):
        texts([path], ("{body}",))
    parquet.write_table(pyarrow.table({"text": [b"One."]}), path)
    with pytest.raises(InputError, match="column 'text' holds bytes, not text"):
        texts([path])
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        texts([path])


NO_TEXT = {
    "an object (role, content)": {"role": "user", "content": "Hi."},
    "a list with an object (role, content)": [{"role": "user", "content": "Hi."}],
    "a list with a list": [["Hi.", "Good day."]],
    "a number (3)": 3,
    "a number (0)": 0,
    "a number (2.5)": 2.5,
    "a list with a number (1)": ["a", 1],
    "true or false": False,
    "an object (empty)": {},
}


@pytest.mark.parametrize("said", NO_TEXT)
@pytest.mark.parametrize("template", ["{text}", "{text} and {id}", "{*}"])
def test_what_is_no_text_never_becomes_a_string(tmp_path: Path, said: str, template: str) -> None:
    path = tmp_path / "a.jsonl"
    good, bad = {"text": "Fine.", "id": "x"}, {"text": NO_TEXT[said], "id": "x"}
    path.write_text(f"{json.dumps(good)}\n\n{json.dumps(bad)}\n")
    with pytest.raises(InputError) as error:
        texts([path], (template,))
    assert str(error.value).startswith(f"{path}:3: 'text' holds {said}, not text; ")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2], "int64"),
        ([1.5, None], "double"),
        ([True], "bool"),
        ([datetime.date(2024, 1, 1)], "date32[day]"),
        ([datetime.datetime(2024, 1, 1)], "timestamp[us]"),
        ([{"role": "user"}], "struct<role: string>"),
        ([[{"role": "user"}]], "list<element: struct<role: string>>"),
        ([b"One."], "bytes"),
    ],
)
def test_a_column_that_is_no_text(tmp_path: Path, values: list, kind: str) -> None:
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"text": values, "body": ["a"] * len(values)}), path)
    with pytest.raises(InputError) as error:
        texts([path])
    assert str(error.value).startswith(f"{path}: column 'text' holds {kind}, not text, from row 1 on; ")
    assert texts([path], ("{body}",)) == ["a"] * len(values)


def test_columns_that_hold_text(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    for column in (
        pyarrow.array(["One.", "Two."], pyarrow.large_string()),
        pyarrow.array(["One.", "Two."]).dictionary_encode(),
        pyarrow.array([["One."], ["Two."]]),
    ):
        parquet.write_table(pyarrow.table({"text": column}), path)
        assert texts([path]) == ["One.", "Two."]


def test_hidden_files_of_a_folder_are_not_text(tmp_path: Path) -> None:
    for name in ("a.jsonl", "._a.jsonl", ".ipynb_checkpoints/a-checkpoint.jsonl", "deep/.cache/b.txt", "deep/c.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    for pattern in (str(tmp_path), f"{tmp_path}/**/*.*"):
        found = find_files([pattern], "corpus.paths")
        assert [file.relative_to(tmp_path).as_posix() for file in found] == ["a.jsonl", "deep/c.txt"]
    assert find_files([f"{tmp_path}/._a.jsonl"], "corpus.paths") == [tmp_path / "._a.jsonl"]
    hidden = tmp_path / ".texts"
    hidden.mkdir()
    (hidden / "a.txt").write_text("x")
    assert find_files([str(hidden)], "corpus.paths") == [hidden / "a.txt"]  # a folder that is named is meant


def test_a_data_set_saved_to_disk_says_how_to_read_it(tmp_path: Path) -> None:
    """With the real library, and its advice followed."""
    import datasets

    datasets.Dataset.from_dict({"text": ["One.", "Two."]}).save_to_disk(tmp_path / "saved")
    both = datasets.DatasetDict({"train": datasets.load_from_disk(tmp_path / "saved")})
    both.save_to_disk(tmp_path / "both")
    for named, saved in (("saved", "saved"), ("both", "both/train")):
        with pytest.raises(InputError) as error:
            find_files([str(tmp_path / named)], "corpus.paths")
        folder = tmp_path / saved
        assert str(error.value) == (
            f"corpus.paths: {folder}: is a data set of `datasets.save_to_disk`, which is not read; write it as Parquet:"
            f" datasets.load_from_disk('{folder}').to_parquet('{folder.name}.parquet')"
        )
        datasets.load_from_disk(str(folder)).to_parquet(str(tmp_path / f"{folder.name}.parquet"))
        assert texts([tmp_path / f"{folder.name}.parquet"]) == ["One.", "Two."]


def test_brackets_in_names(tmp_path: Path) -> None:
    (tmp_path / "wiki[1].txt").write_text("One.")
    (tmp_path / "part[2]").mkdir()
    (tmp_path / "part[2]" / "a.txt").write_text("Two.")
    assert find_files([f"{tmp_path}/wiki[1].txt"], "corpus.paths") == [tmp_path / "wiki[1].txt"]
    assert find_files([f"{tmp_path}/part[2]"], "corpus.paths") == [tmp_path / "part[2]" / "a.txt"]
    with pytest.raises(InputError) as error:
        find_files([f"{tmp_path}/part[2]/*.txt"], "corpus.paths")
    advised = str(error.value).rpartition(" ")[2]
    assert "to mean the brackets write" in str(error.value)
    assert find_files([advised], "corpus.paths") == [tmp_path / "part[2]" / "a.txt"]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.csv.gz"])
def test_a_table_of_another_kind_says_how_to_read_it(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("text\nOne.\n")
    for pattern in (name, "."):
        with pytest.raises(InputError, match=r"write it as Parquet, as by pandas\.read_csv\(.*\)\.to_parquet") as error:
            find_files([str(tmp_path / pattern)], "corpus.paths")
        assert name in str(error.value)


@pytest.mark.medium
def test_a_separator_or_a_beginning_that_never_comes(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_text("a line of text\n" * 1_200_000)
    with pytest.raises(InputError, match=r"no corpus\.separator '<end>' in 16 million characters"):
        texts([path], separator="<end>")
    with pytest.raises(InputError, match=r"corpus\.begins: '\^# ' matches no line"):
        list(read_batches(path, Form(begins="^# ")))


def test_a_list_of_conversations_and_a_mark_at_the_beginning(tmp_path: Path) -> None:
    (tmp_path / "talk.json").write_text('[\n  "Hello.",\n  {"text": "Good day."}\n]')
    (tmp_path / "mark.txt").write_bytes(b"\xef\xbb\xbfFirst.")
    assert texts([tmp_path / "talk.json"]) == ["Hello.", "Good day."]
    assert texts([tmp_path / "mark.txt"]) == ["First."]


def test_rows_put_together(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": f"Row {i}."}) + "\n" for i in range(5)))
    form = Form(join=2)
    joined = [text for batch in read_batches(path, form) for text in texts_of(batch, form)]
    assert joined == ["Row 0. Row 1.", "Row 2. Row 3.", "Row 4."]
