"""From a corpus section to two text files, named after everything that decides them."""

import json
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from lmeff.corpora import named_corpora, prepare_text
from lmeff.errors import InputError
from lmeff.recipe.sections.corpus import Corpus


def corpus_of(folder: Path, **settings) -> Corpus:
    return Corpus(name="mine", paths=[str(folder)], **settings)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    folder = tmp_path / "text"
    folder.mkdir()
    lines = [json.dumps({"text": f"This is story number {index}."}) for index in range(300)]
    (folder / "stories.jsonl").write_text("\n".join(lines))
    return folder


def test_train_and_dev_are_disjoint_and_complete(text: Path, tmp_path: Path) -> None:
    corpus = prepare_text(corpus_of(text, dev_share=0.1), tmp_path / "data")
    train, dev = set(corpus.documents("train")), set(corpus.documents("dev"))
    assert not train & dev
    assert train | dev == {f"This is story number {index}." for index in range(300)}
    splits = corpus.manifest["splits"]
    assert splits["dev"]["num_documents"] == len(dev) > 0
    assert splits["train"]["num_bytes"] == sum(len(line.encode()) for line in train)
    assert splits["train"]["domains"] == {"stories": splits["train"]["num_bytes"]}


def test_records_are_the_documents_with_their_domains(text: Path, tmp_path: Path) -> None:
    (text / "tales.txt").write_text("Once upon a time.")
    corpus = prepare_text(corpus_of(text, dev_share=0.1), tmp_path / "data")
    records = [*corpus.records("train"), *corpus.records("dev")]
    assert [record.text for record in records] == [*corpus.documents("train"), *corpus.documents("dev")]
    assert [record.domain for record in records if record.text == "Once upon a time."] == ["tales"]
    assert {record.domain for record in records} == {"stories", "tales"}


def test_given_dev_paths_are_the_dev_text(text: Path, tmp_path: Path) -> None:
    held_out = tmp_path / "dev.txt"
    held_out.write_text("Held out.")
    corpus = prepare_text(corpus_of(text, dev_paths=[str(held_out)]), tmp_path / "data")
    assert list(corpus.documents("dev")) == ["Held out."]
    assert corpus.manifest["splits"]["train"]["num_documents"] == 300
    with pytest.raises(InputError, match="must not be trained on"):
        prepare_text(corpus_of(text, dev_paths=[str(text / "stories.jsonl")]), tmp_path / "data")
    held_out.write_bytes((text / "stories.jsonl").read_bytes())
    with pytest.raises(InputError, match="must not be trained on"):
        prepare_text(corpus_of(text, dev_paths=[str(held_out)]), tmp_path / "data")


def test_the_folder_follows_text_and_rules(text: Path, tmp_path: Path) -> None:
    first = prepare_text(corpus_of(text), tmp_path / "data")
    again = prepare_text(corpus_of(text), tmp_path / "data")
    assert again.folder == first.folder
    assert prepare_text(corpus_of(text, dev_share=0.2), tmp_path / "data").folder != first.folder
    path = text / "stories.jsonl"
    path.write_text(path.read_text().replace("number 7.", "number X."))
    assert prepare_text(corpus_of(text), tmp_path / "data").folder != first.folder


def test_many_processes_prepare_once(text: Path, tmp_path: Path) -> None:
    with ProcessPoolExecutor(4) as pool:
        corpora = list(pool.map(prepare_text, [corpus_of(text)] * 4, [tmp_path / "data"] * 4))
    assert len({corpus.folder for corpus in corpora}) == 1
    assert len(list((tmp_path / "data").glob("mine-*"))) == 1
    assert not list((tmp_path / "data").rglob("*.tmp"))


@pytest.mark.parametrize("content", ["", "\n\n", '{"text": "  "}\n'])
def test_empty_text_is_an_error_and_leaves_nothing(tmp_path: Path, content: str) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_text(content)
    dev = tmp_path / "dev.txt"
    dev.write_text("Held out.")
    with pytest.raises(InputError, match=r"corpus\.paths: there is no text"):
        prepare_text(Corpus(name="mine", paths=[str(path)], dev_paths=[str(dev)]), tmp_path / "data")
    assert not list((tmp_path / "data").glob("mine-*"))


def test_empty_text_without_dev_paths_is_called_empty(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(InputError, match=r"corpus\.paths: there is no text"):
        prepare_text(Corpus(name="mine", paths=[str(tmp_path / "empty.jsonl")]), tmp_path / "data")


def test_short_text_gives_up_its_smallest_piece(tmp_path: Path) -> None:
    (tmp_path / "two.jsonl").write_text('{"text": "First."}\n{"text": "Second."}\n')
    corpus = prepare_text(Corpus(name="mine", paths=[str(tmp_path / "two.jsonl")]), tmp_path / "data")
    sides = [list(corpus.documents(side)) for side in ("train", "dev")]
    assert sorted(sides) == [["First."], ["Second."]]


def test_a_long_held_out_book_stays_one_document(text: Path, tmp_path: Path) -> None:
    book = tmp_path / "book.txt"
    book.write_text("\n\n".join(f"Paragraph {index} of a long book about nothing." for index in range(2_000)))
    corpus = prepare_text(corpus_of(text, dev_paths=[str(book)]), tmp_path / "data")
    assert list(corpus.documents("dev")) == [book.read_text()]
    assert corpus.manifest["cut"]["num_documents"] == 0


def test_a_folder_that_cannot_be_is_named(text: Path, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(InputError, match=r"paths\.data: .*data"):
        prepare_text(corpus_of(text), tmp_path / "data")


def test_one_short_document_cannot_be_split(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("Just this.")
    with pytest.raises(InputError, match=r"corpus\.dev_paths"):
        prepare_text(Corpus(name="mine", paths=[str(tmp_path / "one.txt")]), tmp_path / "data")


def test_named_corpora_say_what_they_need(tmp_path: Path) -> None:
    assert {"synthetic", "leaner", "tinystories", "babylm3", "hybrid_3.7B"} <= set(named_corpora())
    with pytest.raises(InputError, match=r"corpus\.track: must be one of 10M, 100M; or give the text as corpus\.paths"):
        prepare_text(Corpus(name="babylm3"), tmp_path)
    with pytest.raises(InputError, match="has no text"):
        prepare_text(Corpus(name="unheard_of"), tmp_path)


def test_a_corpus_of_ones_own_is_a_file_outside_the_package(text: Path, tmp_path: Path) -> None:
    description = tmp_path / "mine.yaml"
    description.write_text(f"title: My stories\nlicence: CC0-1.0\npaths: ['{text}']\ntext: ['{{text}}!']\n")
    corpus = prepare_text(Corpus(name="mine", file=str(description)), tmp_path / "data")
    assert all(line.endswith(".!") for line in corpus.documents("train"))
    description.write_text("path: [x]\n")
    with pytest.raises(InputError, match="unknown key 'path'"):
        prepare_text(Corpus(name="mine", file=str(description)), tmp_path / "data")
