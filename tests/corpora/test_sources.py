"""Reading text: forms, compression, order, and what cannot be read."""

import gzip
import json
from pathlib import Path

import pyarrow
import pytest
import zstandard
from pyarrow import parquet

from lmeff.corpora.reading import Form, read_batches, texts_of
from lmeff.corpora.record_text import check_templates
from lmeff.corpora.sources import domain, find_files
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
