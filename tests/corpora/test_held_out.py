"""A6: what belongs together is on one side; text and runs of older versions keep theirs."""

import gzip
import hashlib
import json
import random
from pathlib import Path

import numpy as np
import pyarrow
import pytest
import xxhash
from pyarrow import parquet

from lmeff.cli import main
from lmeff.corpora import TextCorpus, prepare_text
from lmeff.corpora.gather import Gathering
from lmeff.errors import InputError, TooLittleText
from lmeff.recipe import Recipe, read_recipe
from lmeff.recipe.sections.corpus import Corpus
from lmeff.tokens import find_tokens, prepare_run, prepare_tokenizer, prepare_tokens

WORDS = [f"w{index}" for index in range(500)]


def book(seed: int, num_characters: int) -> str:
    """A text of lines, none of which is in another book."""
    order, lines, size = random.Random(seed), [], 0
    while size < num_characters:
        lines.append(f"book {seed} line {len(lines)} " + " ".join(order.choices(WORDS, k=12)))
        size += len(lines[-1]) + 1
    return "\n".join(lines)


def write(path: Path, texts: list[str]) -> Corpus:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return Corpus(name="books", paths=[str(path)], dev_share=0.1)


def sides(corpus: TextCorpus) -> dict[str, list[str]]:
    return {side: list(corpus.documents(side)) for side in ("train", "dev")}


def line_sides(corpus: TextCorpus, texts: list[str]) -> list[set[str]]:
    """On which sides the lines of each text are: a slow look for every line."""
    found = {line: side for side, documents in sides(corpus).items() for text in documents for line in text.split("\n")}
    return [{found[line] for line in text.split("\n")} for text in texts]


def test_a_run_says_how_much_of_a_small_file_is_held_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small.txt").write_text(book(1, 17_000))
    words = ["corpus.name=mine", "corpus.paths=[small.txt]", "tokenizer.vocab_size=320"]
    said: list[str] = []
    recipe = read_recipe("quickstart", words).recipe
    corpus, _ = prepare_run(recipe, Path("run"), say=said.append)
    Path("run/revisions/seed-0-tokens-0").mkdir(parents=True)
    prepare_run(recipe, Path("run"), say=pytest.fail)  # it goes on, and has said it
    sizes = {side: split["num_bytes"] for side, split in corpus.manifest["splits"].items()}
    share = f"{100 * sizes['dev'] / (sizes['dev'] + sizes['train']):.1f}%"
    assert float(share[:-1]) > 10
    cut, held_out = said
    assert "corpus.separator says where documents of a file end" in cut
    assert held_out.startswith(f"held out: {share} of the text, where corpus.dev_share is 1.0%")


def test_no_book_is_held_out_in_part(tmp_path: Path) -> None:
    texts = [book(seed, 40_000) for seed in range(60)]
    corpus = prepare_text(write(tmp_path / "a.jsonl", texts), tmp_path / "data")
    found = line_sides(corpus, texts)
    assert all(len(one) == 1 for one in found)
    assert sorted(text for documents in sides(corpus).values() for text in documents) == sorted(texts)
    wanted = [text for text in texts if xxhash.xxh3_64_intdigest(text.encode()) / 2**64 < 0.1]
    assert sides(corpus)["dev"] == wanted
    assert corpus.manifest["cut"]["num_documents"] == 0


def test_few_books_are_held_out_whole_and_the_share_is_said(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Of five books one is, though that is a fifth of the text."""
    texts = [book(seed, 40_000) for seed in range(5)]
    write(tmp_path / "a.jsonl", texts)
    corpus = prepare_text(recipe_of(tmp_path, "data", 0.01).corpus, tmp_path / "data")
    assert all(len(one) == 1 for one in line_sides(corpus, texts))
    assert len(sides(corpus)["dev"]) == 1
    assert main(["prepare", str(tmp_path / "r.yaml")]) == 0
    said = capsys.readouterr().out
    assert "held out: 20.0% of the text, where corpus.dev_share is 1.0%, since documents stay whole" in said
    assert "cut" not in said


def test_of_documents_that_are_all_held_out_one_is(tmp_path: Path) -> None:
    texts = [text for text in (book(seed, 20_000) for seed in range(40)) if position(text) < 0.3][:3]
    settings = write(tmp_path / "a.jsonl", texts).model_copy(update={"dev_share": 0.3})
    assert sides(prepare_text(settings, tmp_path / "data"))["dev"] == [min(texts, key=position)]


def position(text: str) -> float:
    return xxhash.xxh3_64_intdigest(text.encode()) / 2**64


def test_what_is_most_of_the_text_is_cut_and_said(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    texts = [book(0, 400_000), *(book(seed, 20_000) for seed in range(1, 11))]
    write(tmp_path / "a.jsonl", texts)
    corpus = prepare_text(recipe_of(tmp_path, "data", 0.1).corpus, tmp_path / "data")
    assert [len(one) for one in line_sides(corpus, texts)] == [2] + [1] * 10
    cut = corpus.manifest["cut"]
    assert cut["num_documents"] == 1
    rows = [
        json.loads(line)
        for path in sorted((corpus.folder / "text").glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]
    pieces = [row for row in rows if "document" in row]
    assert len({row["document"] for row in pieces}) == 1
    held_out = [text for text in sides(corpus)["dev"] if "book 0 line" in text]
    assert cut["num_held_out_pieces"] == len(held_out) > 0
    size = sum(map(len, sides(corpus)["dev"])) / sum(map(len, texts))
    assert 0.03 < size < 0.25
    assert main(["prepare", str(tmp_path / "r.yaml")]) == 0
    said = capsys.readouterr().out
    assert "cut, since each is too much of the text to be held out whole: documents 1, of which" in said


def test_files_of_plain_text(tmp_path: Path) -> None:
    """Twenty books stay whole; of three files each is too much to be held out, and nothing says where their documents end."""
    for count, is_whole in ((20, True), (3, False)):
        folder = tmp_path / str(count)
        folder.mkdir()
        texts = [book(seed, 200_000) for seed in range(count)]
        for index, text in enumerate(texts):
            (folder / f"{index}.txt").write_text(text)
        corpus = prepare_text(Corpus(name="files", paths=[str(folder)], dev_share=0.05), tmp_path / "data")
        assert all(len(one) == 1 for one in line_sides(corpus, texts)) == is_whole
        assert sides(corpus)["dev"]


def test_one_file_of_text_is_cut_since_it_must_be(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text(book(0, 400_000))
    corpus = prepare_text(Corpus(name="one", paths=[str(tmp_path / "one.txt")], dev_share=0.1), tmp_path / "data")
    sizes = {side: sum(map(len, texts)) for side, texts in sides(corpus).items()}
    assert 0.02 < sizes["dev"] / sum(sizes.values()) < 0.25
    assert corpus.manifest["cut"]["num_documents"] == 1


def test_given_held_out_text_is_never_cut(shared_data: Path, tmp_path: Path) -> None:
    """Leaner has 412 rows of held-out text, one of them a book; by the older rule they were 477."""
    validation = shared_data / "leaner" / "validation"
    rows = [json.loads(line) for path in sorted(validation.glob("*.jsonl")) for line in path.read_text().splitlines()]
    texts = [row["text"] if "text" in row else "\n".join([row["problem"], *row["hints"]]) for row in rows]
    settings = Corpus(
        name="leaner",
        paths=[str(shared_data / "leaner" / "train" / "wiki.jsonl")],
        dev_paths=[str(validation)],
        text=["{text}", "{problem}\n{hints}"],
    )
    corpus = prepare_text(settings, tmp_path / "data")
    assert list(corpus.documents("dev")) == [text.strip() for text in texts]
    assert corpus.manifest["splits"]["dev"]["num_documents"] == 412
    older = prepare_text(settings, tmp_path / "older", by_older_rule=True)
    assert older.manifest["splits"]["dev"]["num_documents"] == 477


# ---------------------------------------------------------------------- older versions


def older_fingerprint(settings: Corpus, domain: str, content: bytes) -> str:
    """What the version before called this text: spelled out here, since it must never change."""
    description = {
        "format": 1,
        "corpus": settings.name,
        "text": None,
        "separator": None,
        "train": [[domain, xxhash.xxh3_128_hexdigest(content)]],
        "dev": [],
        "dev_share": settings.dev_share,
    }
    return xxhash.xxh3_128_hexdigest(json.dumps(description, sort_keys=True).encode())


def test_text_of_an_older_version_keeps_its_split(tmp_path: Path) -> None:
    """It is found under the older name, and not touched; without it the new rule gives the text another name."""
    texts = [book(seed, 40_000) for seed in range(30)]
    settings = write(tmp_path / "a.jsonl", texts)
    fingerprint = older_fingerprint(settings, "a", (tmp_path / "a.jsonl").read_bytes())
    new = prepare_text(settings, tmp_path / "data")
    assert new.fingerprint != fingerprint
    older = prepare_text(settings, tmp_path / "older", by_older_rule=True)
    assert older.fingerprint == fingerprint
    assert older.folder.name == f"books-{fingerprint[:8]}"
    # What the version before wrote for this text, measured with it.
    assert fingerprint == "dec351d6059e51d564a1b6637db99189"
    digests = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        for path in (older.folder / "text").glob("*.jsonl")
    }
    assert digests == {"dev-00000.jsonl": "40c2db890701fc5e", "train-00000.jsonl": "77247a3257539a5a"}
    before = {path: path.read_bytes() for path in older.folder.rglob("*") if path.is_file()}
    again = prepare_text(settings, tmp_path / "older")
    assert again.fingerprint == fingerprint
    assert {path: path.read_bytes() for path in older.folder.rglob("*") if path.is_file()} == before
    # The older rule: every book is cut, and each piece is on a side of its own, as the version before did it.
    assert any(len(one) == 2 for one in line_sides(older, texts))
    assert older.manifest["splits"]["train"]["num_documents"] + older.manifest["splits"]["dev"]["num_documents"] > 30
    assert max(map(len, sides(older)["dev"])) <= 16_000


def test_text_of_an_older_version_with_hidden_files_is_found(tmp_path: Path) -> None:
    """Older versions read them; a run on such text goes on, and new text is without."""
    folder = tmp_path / "texts"
    folder.mkdir()
    for name, word in (("a.txt", "seen"), ("._a.txt", "hidden")):
        (folder / name).write_text("\n\n".join(f"{word} {index}" for index in range(200)))
    settings = Corpus(name="mine", paths=[str(folder)], separator="\n\n", dev_share=0.1)
    assert not any("hidden" in text for text in prepare_text(settings, tmp_path / "data").documents("train"))
    prepare_text(settings, tmp_path / "older", by_older_rule=True)
    assert any("hidden" in text for text in prepare_text(settings, tmp_path / "older").documents("train"))


def recipe_of(tmp_path: Path, data: str, dev_share: float = 0.1) -> Recipe:
    path = tmp_path / "r.yaml"
    path.write_text(
        f"name: x\ncorpus: {{name: books, paths: ['{tmp_path}/a.jsonl'], dev_share: {dev_share}}}\n"
        "tokenizer: {vocab_size: 300}\nmodel: {size: 20m}\nbatch: {tokens: 256}\nanchors: {tokens: [100k]}\n"
        f"schedule: {{warmup: 0}}\npaths: {{data: '{tmp_path}/{data}'}}\n"
    )
    return read_recipe(path).recipe


@pytest.mark.medium
@pytest.mark.parametrize("work", ["revision", "checkpoint"])
def test_a_run_of_an_older_version_gets_its_tokens_again(tmp_path: Path, work: str) -> None:
    """Also where its prepared text is gone: from what its revisions and checkpoints say."""
    settings = write(tmp_path / "a.jsonl", [book(seed, 40_000) for seed in range(8)])
    older = prepare_text(settings, tmp_path / "older", by_older_rule=True)
    tokens = prepare_tokens(older, prepare_tokenizer(older, 300))
    run = tmp_path / "run"
    if work == "revision":
        written, content = (
            run / "revisions" / "seed-0" / "provenance.json",
            {
                "corpus": {"fingerprint": older.fingerprint, "rules": older.manifest["rules"]},
                "tokens": {"fingerprint": tokens.fingerprint},
            },
        )
    else:
        written, content = run / "checkpoints" / "step-8" / "lmeff.json", {"tokens_fingerprint": tokens.fingerprint}
    written.parent.mkdir(parents=True)
    written.write_text(json.dumps(content))
    recipe = recipe_of(tmp_path, "data")
    _, again = prepare_run(recipe, run)
    assert again.fingerprint == tokens.fingerprint
    assert np.array_equal(again.dev_documents, tokens.dev_documents)
    _, new = prepare_run(recipe_of(tmp_path, "fresh"), tmp_path / "other")
    assert new.fingerprint != tokens.fingerprint
    if work == "revision":
        content["tokens"]["fingerprint"] = "0" * 32
        written.write_text(json.dumps(content))
        with pytest.raises(InputError, match=r"training tokens were 0000.*go on with --accept-changes"):
            prepare_run(recipe, run, accept_other=False)
        written.parent.rename(written.parent.with_name(".seed-0.abcdefgh.tmp"))  # it was never finished
        prepare_run(recipe, run, accept_other=False)


def test_tokens_in_hidden_folders_are_not_found(tmp_path: Path) -> None:
    corpus = prepare_text(write(tmp_path / "a.jsonl", [book(seed, 4_000) for seed in range(8)]), tmp_path / "data")
    tokens = prepare_tokens(corpus, prepare_tokenizer(corpus, 300))
    found = find_tokens(tmp_path / "data", tokens.fingerprint, tokens.tokenizer_folder)
    assert found.folder == tokens.folder
    tokens.folder.rename(tokens.folder.with_name(f".{tokens.folder.name}.unfinished"))
    assert find_tokens(tmp_path / "data", tokens.fingerprint, tokens.tokenizer_folder) is None
    corpus.folder.rename(corpus.folder.with_name(".old"))
    assert find_tokens(tmp_path / "data", tokens.fingerprint, tokens.tokenizer_folder) is None


# ---------------------------------------------------------------------- how much text there is


def write_as(folder: Path, form: str, texts: list[str]) -> None:
    """The texts as files of one kind; the last part of its name says how they are packed."""
    folder.mkdir()
    if form == "parquet":
        for index, half in enumerate((texts[::2], texts[1::2])):
            # Other columns are not text, and a column that repeats is small on disk.
            table = {"text": half, "more": ["x" * 100_000 + str(len(text)) for text in half]}
            parquet.write_table(pyarrow.table(table), folder / f"{index}.parquet", compression="zstd")
        return
    kind, _, packed = form.partition(".")
    for index, text in enumerate(texts):
        content = (text if kind == "txt" else json.dumps({"more": "x" * 100_000, "text": text})).encode()
        if packed == "gz":
            content = gzip.compress(content)
        elif packed == "zst":
            content = pyarrow.compress(content, codec="zstd", asbytes=True)
        (folder / f"{index}.{form}").write_bytes(content)


FORMS = ("txt", "txt.gz", "txt.zst", "jsonl", "jsonl.gz", "jsonl.zst", "parquet")


@pytest.mark.medium
@pytest.mark.parametrize("form", FORMS)
def test_how_text_is_packed_does_not_decide_what_is_cut(tmp_path: Path, form: str) -> None:
    """Twenty books, each a twentieth of the text, stay whole however small their files are."""
    texts = [book(seed, 68_000) for seed in range(20)]
    write_as(tmp_path / "books", form, texts)
    settings = Corpus(name="books", paths=[str(tmp_path / "books")], dev_share=0.1)
    corpus = prepare_text(settings, tmp_path / "data")
    assert corpus.manifest["cut"]["num_documents"] == 0
    assert sorted(sides(corpus)["dev"]) == sorted(text for text in texts if position(text) < 0.1)
    assert sorted(text for found in sides(corpus).values() for text in found) == sorted(texts)


@pytest.mark.parametrize("form", FORMS)
def test_what_is_most_of_the_text_is_cut_however_it_is_packed(tmp_path: Path, form: str) -> None:
    """Of a file of plain text a tenth is too much, of a row a half; what else stands in a file is not text."""
    texts = [book(0, 400_000), *(book(seed, 20_000) for seed in range(1, 11))]
    write_as(tmp_path / "books", form, texts)
    settings = Corpus(name="books", paths=[str(tmp_path / "books")], dev_share=0.1)
    corpus = prepare_text(settings, tmp_path / "data")
    assert corpus.manifest["cut"]["num_documents"] == 1
    assert [len(one) for one in line_sides(corpus, texts)] == [2] + [1] * 10


def test_characters_count_and_not_their_bytes(tmp_path: Path) -> None:
    """Of Russian, two bytes a letter, a file of 15% is more than a tenth as it is of English."""
    texts = [book(0, 60_000), *(book(seed, 34_000) for seed in range(1, 11))]
    letters = dict(zip("0123456789bekloinw", "абвгдежзийклмнопрс", strict=True))
    texts = [text.translate(str.maketrans(letters)) for text in texts]
    write_as(tmp_path / "books", "txt", texts)
    settings = Corpus(name="books", paths=[str(tmp_path / "books")], dev_share=0.1)
    assert prepare_text(settings, tmp_path / "data").manifest["cut"]["num_documents"] == 1


def test_text_beyond_a_budget_is_no_part_of_the_whole(tmp_path: Path) -> None:
    """A book that is most of what the budget takes is cut, though more text stands in the file."""
    texts = [book(0, 100_000), *(book(seed, 20_000) for seed in range(1, 30))]
    write(tmp_path / "a.jsonl", texts)
    words = sum(len(text.split()) for text in texts[:3])
    for budget, num_cut in ((f"{words} words", 1), (None, 0)):
        settings = Corpus(name="books", paths=[str(tmp_path / "a.jsonl")], dev_share=0.1, budget=budget)
        assert prepare_text(settings, tmp_path / "data").manifest["cut"]["num_documents"] == num_cut


def gathered(monkeypatch: pytest.MonkeyPatch, kill_at: int | None = None) -> list[int]:
    """Stage of every save from here on; the process "is killed" at one of them."""
    places: list[int] = []
    save = Gathering._save

    def saved(self: Gathering) -> None:
        save(self)
        places.append(self._place[0])
        if len(places) == kill_at:
            raise KeyboardInterrupt

    monkeypatch.setattr(Gathering, "_save", saved)
    return places


def test_text_is_read_once_unless_a_document_is_too_much_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [book(seed, 20_000) for seed in range(10)]
    places = gathered(monkeypatch)
    for more, num_reads in (([], 1), ([book(11, 400_000)], 2)):
        settings = write(tmp_path / "a.jsonl", texts + more)
        prepare_text(settings, tmp_path / "data")
        assert places == [1] * num_reads
        places.clear()


@pytest.mark.parametrize("kill_at", range(1, 5))
def test_killed_while_it_is_read_again_the_text_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill_at: int
) -> None:
    sources = {}
    for name, texts in (("a", [book(0, 400_000)]), ("b", [book(seed, 20_000) for seed in range(1, 11)])):
        write(tmp_path / f"{name}.jsonl", texts)
        sources[name] = {"paths": [str(tmp_path / f"{name}.jsonl")]}
    settings = Corpus(name="books", sources=sources, dev_share=0.1)
    wanted = prepare_text(settings, tmp_path / "data")
    assert wanted.manifest["cut"]["num_documents"] == 1
    with monkeypatch.context() as patch:
        gathered(patch, kill_at)
        with pytest.raises(KeyboardInterrupt):
            prepare_text(settings, tmp_path / "killed")
    found = prepare_text(settings, tmp_path / "killed")
    assert found.manifest == wanted.manifest


def test_a_book_that_will_be_cut_is_no_reason_to_say_that_a_source_has_too_little_text(tmp_path: Path) -> None:
    """Held out whole it leaves too little to be read three times, in pieces it does not."""
    large = next(text for seed in range(100, 400) if position(text := book(seed, 100_000)) < 0.1)
    small = [text for text in (book(seed, 5_000) for seed in range(20)) if position(text) > 0.1][:10]
    write(tmp_path / "a.jsonl", [large, *small])
    count = sum(len(text.split()) for text in [large, *small])
    sources = {
        "a": {"paths": [str(tmp_path / "a.jsonl")], "weight": 1, "epochs": 3},
    }
    settings = Corpus(name="books", sources=sources, dev_share=0.1, budget=f"{2 * count} words")
    corpus = prepare_text(settings, tmp_path / "data")
    assert corpus.manifest["cut"]["num_documents"] == 1
    with pytest.raises(TooLittleText, match=r"corpus\.sources\.a: has .* words"):
        prepare_text(settings.model_copy(update={"budget": f"{4 * count} words"}), tmp_path / "data")
    sources["a"]["epochs"] = 5
    settings = Corpus(name="books", sources=sources, dev_share=0.1, budget=f"{4 * count} words")
    assert prepare_text(settings, tmp_path / "data").manifest["cut"]["num_documents"] == 1


@pytest.mark.medium
@pytest.mark.parametrize("workers", ["1", "3"])
def test_the_number_of_processes_does_not_decide_what_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: str
) -> None:
    monkeypatch.setenv("LMEFF_WORKERS", workers)
    texts = [book(seed, 68_000) for seed in range(11)]
    write_as(tmp_path / "books", "txt.gz", texts)
    settings = Corpus(name="books", paths=[str(tmp_path / "books")], dev_share=0.1)
    corpus = prepare_text(settings, tmp_path / "data")
    assert sorted(sides(corpus)["dev"]) == sorted(text for text in texts if position(text) < 0.1)
