"""A10, D20: byte order marks, Windows line ends, null, other fields and other encodings, the same in every reader."""

import codecs
import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from lmeff.corpora.catalogue import complete
from lmeff.corpora.cleaning.overlap import evaluation_texts
from lmeff.corpora.reading.records import Form, read_batches, texts_of
from lmeff.errors import InputError
from lmeff.evaluation.tasks.data import read_documents
from lmeff.measures.finetuning.data import load_task
from lmeff.measures.finetuning.tasks import Task
from lmeff.measures.generation.prompts import read_prompts
from lmeff.recipe import read_recipe
from lmeff.recipe.sections.corpus import Corpus
from lmeff.recipe.sections.finetune import FinetuneSettings


def lines(*records: dict) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def texts(path: Path) -> list[str]:
    return [text for batch in read_batches(path, Form()) for text in texts_of(batch, Form())]


def finetuned(path: Path) -> list[str]:
    names = {split: str(path) for split in ("train", "validation")}
    task = Task("mine", "own", ("text",), (), ("acc",), ("acc",), files=names)
    data = load_task(task, FinetuneSettings(), None, {})
    return sorted(example.first for example in data.validation["validation"])


READERS: dict[str, tuple[str, str, Callable[[Path], object]]] = {
    "text": ("a.txt", "Zoë runs.\n", texts),
    "gzip": ("a.txt.gz", "Zoë runs.\n", texts),
    "json lines": ("a.jsonl", lines({"text": "Zoë runs."}, {"text": "B."}), texts),
    "a list": ("a.json", '["Zoë runs.", "B."]', texts),
    "a list over lines": ("a.json", '["Zoë runs.",\n{"text": "B."}\n]\n', texts),
    "decontamination": ("a.jsonl", lines({"text": "Zoë runs."}), lambda path: list(evaluation_texts(path))),
    "a list, decontamination": ("b.json", '["Zoë runs.", "B."]', lambda path: list(evaluation_texts(path))),
    "pairs": (
        "a.jsonl",
        lines({"sentence_good": "Zoë runs.", "sentence_bad": "Zoë run."}),
        lambda path: read_documents(path, "pairs"),
    ),
    "smallbench": (
        "sst2.jsonl",
        lines({"sentence": "Zoë runs.", "label": 1}),
        lambda path: read_documents(path, "sst2"),
    ),
    "comps": (
        "comps_base.jsonl",
        lines({"prefix_acceptable": "Zoë", "prefix_unacceptable": "B", "property_phrase": "runs."}),
        lambda path: read_documents(path, "comps"),
    ),
    "fine-tuning": (
        "a.jsonl",
        lines(*({"text": f"Zoë runs {index}.", "label": index % 2} for index in range(20))),
        finetuned,
    ),
    "prompts": ("a.txt", "Zoë runs\n", read_prompts),
    "prompts with answers": ("a.jsonl", lines({"prompt": "Zoë", "expected": ["runs"]}), read_prompts),
    "recipe": (
        "r.yaml",
        "# Zoë\nname: x\ncorpus: {name: synthetic}\nmodel: {size: 20m}\nbatch: {tokens: 256}\nanchors: {tokens: [100k]}\n",
        lambda path: read_recipe(path).values,
    ),
    "description of a corpus": (
        "c.yaml",
        "# Zoë\npaths: [a.txt]\nclean: spaces\n",
        lambda path: complete(Corpus(name="mine", file=str(path))).model_dump(exclude={"file"}),
    ),
}


def read(name: str, folder: Path, change: Callable[[bytes], bytes]) -> object:
    file, content, reader = READERS[name]
    folder.mkdir(exist_ok=True)
    changed = change(content.encode())
    (folder / file).write_bytes(gzip.compress(changed) if file.endswith(".gz") else changed)
    return reader(folder / file)


@pytest.mark.parametrize("name", READERS)
def test_a_byte_order_mark_and_windows_line_ends_change_nothing(name, tmp_path):
    plain = read(name, tmp_path, lambda content: content)
    assert plain
    assert read(name, tmp_path, lambda content: codecs.BOM_UTF8 + content) == plain
    assert read(name, tmp_path, lambda content: content.replace(b"\n", b"\r\n")) == plain


@pytest.mark.parametrize("name", READERS)
def test_what_is_not_utf8_is_named_with_line_and_offset(name, tmp_path):
    """The place of the first byte that is not: in Latin-1 it is the third letter of `Zoë`, and here a line stands before it."""
    with pytest.raises(InputError) as caught:
        read(name, tmp_path, lambda content: b"\n" + content.decode().encode("latin-1"))
    message = str(caught.value)
    offset = 1 + READERS[name][1].encode("latin-1").index(b"\xeb")
    assert f"{READERS[name][0]}:2: is not UTF-8 text (byte 0xeb at offset {offset:,} of the file)" in message
    assert "\n" not in message


def test_utf16_is_called_that(tmp_path):
    with pytest.raises(InputError, match=r"a\.jsonl:1: .*byte 0xff at offset 0 .*looks like UTF-16: save it as UTF-8"):
        read("pairs", tmp_path, lambda content: content.decode().encode("utf-16"))


def test_null_is_no_text_in_json_lines_as_in_a_table(tmp_path):
    values = ["One.", None, "Two."]
    parquet.write_table(pyarrow.table({"text": values}), tmp_path / "a.parquet")
    (tmp_path / "a.jsonl").write_text(lines(*({"text": value} for value in values)))
    (tmp_path / "a.json").write_text(json.dumps(values))
    for name in ("a.parquet", "a.jsonl", "a.json"):
        assert texts(tmp_path / name) == ["One.", "Two."], name
    parquet.write_table(pyarrow.table({"text": pyarrow.nulls(3)}), tmp_path / "a.parquet")
    assert texts(tmp_path / "a.parquet") == []
    # Of several templates the first that has all its fields is taken, where others are null as where they are missing.
    form = Form(("{text}", "{problem}\n{hints}"))
    for record in ({"text": None, "problem": "1 + 1", "hints": ["2"]}, {"problem": "1 + 1", "hints": ["2"]}):
        (tmp_path / "a.jsonl").write_text(lines(record))
        (batch,) = read_batches(tmp_path / "a.jsonl", form)
        assert list(texts_of(batch, form)) == ["1 + 1\n2"]


def test_null_is_no_answer_and_no_group_of_a_prompt_and_no_sentence(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(lines({"prompt": "Zoë", "expected": None, "group": None}))
    assert [(prompt.expected, prompt.group) for prompt in read_prompts(path)] == [((), None)]
    path.write_text(lines({"sentence_good": None, "sentence_bad": "B."}))
    with pytest.raises(InputError, match="line 1: sentence_good is missing or holds no text"):
        read_documents(path, "pairs")
    path.write_text(lines({"text": None, "label": 0}, {"text": "B.", "label": 1}))
    with pytest.raises(InputError, match="line 1: field 'text' is null"):
        finetuned(path)


def test_other_fields_are_not_read(tmp_path):
    """Whatever they hold: every reader looks at its own fields alone."""
    for name, (file, content, reader) in READERS.items():
        if file.endswith(".jsonl") and name != "decontamination":
            plain = read(name, tmp_path, lambda content: content)
            more = lines(*(json.loads(line) | {"id": 3, "more": {"a": [1]}} for line in content.splitlines()))
            (tmp_path / file).write_text(more, encoding="utf-8")
            assert reader(tmp_path / file) == plain, name


def test_nested_too_deeply_is_a_line_in_every_reader(tmp_path):
    for name, (file, _, reader) in READERS.items():
        if file.endswith(".jsonl"):
            (tmp_path / file).write_text("[" * 100_000)
            with pytest.raises(InputError, match="nested too deeply"):
                reader(tmp_path / file)
            assert name


@pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
def test_json_is_read_for_decontamination_as_text_of_a_corpus_is(name, tmp_path):
    """A list, on one line or printed over many, of records or texts; and records, one a line."""
    records = [{"text": "Zoë runs."}, {"text": "B."}]
    contents = (json.dumps(records), json.dumps(records, indent=2), '["Zoë runs.",\n "B."\n]', lines(*records))
    for content in contents:
        data = content.encode()
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        assert texts(tmp_path / name) == list(evaluation_texts(tmp_path / name)) == ["Zoë runs.", "B."], content
    # Lists, one a line, are no text of a corpus; as evaluation data every text in them counts.
    data = b'["Zo\xc3\xab runs."]\n["B."]\n'
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert list(evaluation_texts(tmp_path / name)) == ["Zoë runs.", "B."]
    with pytest.raises(InputError, match=r"a\.json(\.gz)?:1: a line must be a JSON object, this is a list"):
        texts(tmp_path / name)


def test_every_reader_says_the_same_of_what_is_not_json(tmp_path):
    """The place is that of the first character that cannot be: here the end of the second line, which has 9."""
    for name, (file, content, reader) in READERS.items():
        if file.endswith(".jsonl"):
            first = content.splitlines(keepends=True)[0]
            (tmp_path / file).write_text(f'{first}{{"text": \n')
            with pytest.raises(InputError) as caught:
                reader(tmp_path / file)
            assert "not readable as JSON (Expecting value at character 9)" in str(caught.value), name
            assert re.search(r"\.jsonl(:|, line )2: ", str(caught.value)), name
    (tmp_path / "a.json").write_text('[\n"Zoë runs.",\n"B.\n]\n')
    messages = []
    for reader in (texts, lambda path: list(evaluation_texts(path))):
        with pytest.raises(InputError, match=r"a\.json: not readable as JSON \(.* at line 3, character 4\)") as caught:
            reader(tmp_path / "a.json")
        messages.append(str(caught.value))
    assert messages[1] == f"corpus.decontaminate: {messages[0]}"
