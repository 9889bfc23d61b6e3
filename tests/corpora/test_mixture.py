"""Weights, budgets, epochs and filters: how much of each source is trained on, counted in the tokens themselves."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from lmeff.corpora import prepare_text
from lmeff.corpora.mixture import Mixture, Passes
from lmeff.errors import InputError
from lmeff.methods.curriculum.seen import DocumentsSeen
from lmeff.recipe.sections.batch import Batch
from lmeff.recipe.sections.corpus import Corpus
from lmeff.tokens import PermutationOrder, Tokens, prepare_tokenizer, prepare_tokens
from lmeff.tokens.summary import describe_prepared


def document(source: str, number: int) -> str:
    return f"{source} number {number} " + "and so on " * 3 + "."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for source, count in (("cats", 400), ("dogs", 100)):
        (tmp_path / f"{source}.jsonl").write_text(
            "".join(json.dumps({"text": document(source, number)}) + "\n" for number in range(count))
        )
    return tmp_path


def pets(folder: Path, cats: dict, dogs: dict, **settings: object) -> Corpus:
    sources = {
        "cats": {"paths": [str(folder / "cats.jsonl")]} | cats,
        "dogs": {"paths": [str(folder / "dogs.jsonl")]} | dogs,
    }
    return Corpus(name="pets", sources=sources, dev_share=0.05, **settings)


def prepared(folder: Path, cats: dict, dogs: dict, **settings: object) -> tuple[Tokens, list[str]]:
    """Tokens of a mixture, and the documents that its training stream holds."""
    corpus = prepare_text(pets(folder, cats, dogs, **settings), folder / "data")
    tokenizer = prepare_tokenizer(corpus, 270)
    tokens = prepare_tokens(corpus, tokenizer)
    decode = Tokenizer.from_file(str(tokenizer / "tokenizer.json")).decode
    ends = tokens.train_documents[:, 0].cumsum()
    assert ends[-1] == tokens.train.num_tokens
    starts = ends - tokens.train_documents[:, 0]
    return tokens, [decode(tokens.train.slice(start, end).tolist()) for start, end in zip(starts, ends, strict=True)]


def by_source(documents: list[str]) -> Counter[str]:
    return Counter(text.split()[0] for text in documents)


def test_everything_once_unless_said_otherwise(folder: Path) -> None:
    _, documents = prepared(folder, {}, {})
    assert len(documents) == len(set(documents))
    assert by_source(documents)["cats"] > 350


def test_epochs_of_one_source(folder: Path) -> None:
    _, once = prepared(folder, {}, {})
    tokens, documents = prepared(folder, {}, {"epochs": 2.5})
    counts, single = by_source(documents), by_source(once)
    assert counts["cats"] == single["cats"]
    assert counts["dogs"] == pytest.approx(2.5 * single["dogs"], abs=1)
    times = Counter(text for text in documents if text.startswith("dogs"))
    assert set(times.values()) == {2, 3}
    # Repeated text takes no room.
    assert len(list(tokens.folder.glob("train-*.bin"))) == 2
    # And is no other text.
    different = {text: place for place, text in reversed(list(enumerate(documents)))}
    assert tokens.first_readings.tolist() == [different[text] for text in documents]
    batch = Batch(tokens=64, sequence_length=16)
    order = PermutationOrder(tokens.train.num_tokens // 16, 0, batch.clock)
    seen = DocumentsSeen(order, tokens, batch)
    assert len(different) - 1 <= seen.after(tokens.train.num_tokens // 64) <= len(different) < len(documents)
    sizes = Counter({name: sum(len(text) for text in documents if text.startswith(name)) for name in ("cats", "dogs")})
    corpus = prepare_text(pets(folder, {}, {"epochs": 2.5}), folder / "data")
    (line,) = [line for line in describe_prepared(corpus, tokens, None) if line.startswith("  of train: ")]
    shares = (f"{name} {size / sizes.total():.1%}" for name, size in sizes.items())
    assert line == "  of train: " + ", ".join(shares)


@pytest.mark.medium
def test_weights_make_the_largest_mixture_that_has_them(folder: Path) -> None:
    _, once = prepared(folder, {}, {})
    _, documents = prepared(folder, {"weight": 1}, {"weight": 1})
    counts = by_source(documents)
    assert counts["dogs"] == by_source(once)["dogs"]
    assert counts["cats"] == pytest.approx(counts["dogs"], abs=1)
    _, documents = prepared(folder, {"weight": 3}, {"weight": 3, "epochs": 3})
    assert by_source(documents)["dogs"] == 3 * by_source(once)["dogs"]


def test_a_budget_in_words(folder: Path) -> None:
    """Held-out text included; a source that has less is read again, if it may be."""
    cats, dogs = {"weight": 0.25}, {"weight": 0.75}
    with pytest.raises(
        InputError, match=r"corpus\.sources\.dogs: has 1,300 words of the 1,500 that corpus\.budget wants"
    ):
        prepared(folder, cats, dogs, budget="2k words")
    _, documents = prepared(folder, cats, dogs | {"epochs": 2}, budget="2k words")
    words = Counter()
    for text in documents:
        words[text.split()[0]] += len(text.split())
    # Some of it is held out.
    assert 400 < words["cats"] <= 500
    assert 1_400 < words["dogs"] <= 1_500


def test_a_budget_in_tokens(folder: Path) -> None:
    tokens, documents = prepared(folder, {"weight": 0.5}, {"weight": 0.5}, budget="2k tokens")
    longest = int(tokens.train_documents[:, 0].max())
    assert 2_000 - 2 * longest < tokens.train.num_tokens <= 2_000
    assert abs(by_source(documents)["cats"] - by_source(documents)["dogs"]) <= 3
    with pytest.raises(InputError, match=r"corpus\.sources\.cats: has [\d,]+ tokens of training text"):
        prepared(folder, {"weight": 0.5}, {"weight": 0.5}, budget="50k tokens")


def test_passes_by_arithmetic() -> None:
    sizes = {"a": np.ones(30, int), "b": np.ones(10, int)}
    whole = Mixture(epochs={"a": 1.0, "b": 1.0})
    assert whole.passes(sizes, {}, {}) == {"a": Passes(1), "b": Passes(1)}
    assert Mixture({"a": 0.6, "b": 0.4}, {"a": 1.0, "b": 2.0}).passes(sizes, {}, {}) == {
        "a": Passes(1),
        "b": Passes(2),
    }
    budget = Mixture({"a": 0.5, "b": 0.5}, {"a": 1.0, "b": 4.0}, 50, "tokens")
    assert budget.passes(sizes, {}, {}) == {"a": Passes(0, 25), "b": Passes(2, 5)}


def test_a_source_of_weight_0_is_left_out(folder: Path) -> None:
    for settings in ({}, {"budget": "1k words"}, {"budget": "1k tokens"}):
        _, documents = prepared(folder, {"weight": 1}, {"weight": 0}, **settings)
        assert by_source(documents).keys() == {"cats"}


def test_documents_that_are_too_long_for_a_budget(folder: Path) -> None:
    """A file of plain text is one document; a mixture without it would be another one."""
    (folder / "book.txt").write_text("word " * 3_000)
    for unit in ("words", "tokens"):
        with pytest.raises(InputError, match=r"corpus\.sources\.dogs: .* too long"):
            prepared(folder, {"weight": 0.9}, {"weight": 0.1, "paths": [str(folder / "book.txt")]}, budget=f"4k {unit}")


def test_a_budget_over_several_files_needs_sources(folder: Path) -> None:
    paths = [str(folder / "cats.jsonl"), str(folder / "dogs.jsonl")]
    with pytest.raises(InputError, match=r"corpus\.budget: of several files it would take the first ones alone"):
        prepare_text(Corpus(name="pets", paths=paths, budget="1k words"), folder / "data")


def test_which_source_comes_first_matters(folder: Path) -> None:
    """Of equal documents that of the first stays; a corpus with the other order is another one."""
    cats = (folder / "cats.jsonl").read_text().splitlines(keepends=True)
    (folder / "cows.jsonl").write_text("".join(cats[:50]) + json.dumps({"text": document("cows", 1)}) + "\n")
    paths = {"a": folder / "cats.jsonl", "b": folder / "cows.jsonl"}
    for order in (("a", "b"), ("b", "a")):
        sources = {name: {"paths": [str(paths[name])]} for name in order}
        corpus = prepare_text(
            Corpus(name="pets", sources=sources, deduplicate="exact", dev_share=0.05), folder / "data"
        )
        assert corpus.manifest["splits"]["train"]["shards"][0]["source"] == order[0]
        assert corpus.manifest["left_out"]["train"] == {order[1]: {"duplicate": 50}}


def test_a_part_of_a_corpus_may_lack_what_a_pattern_is_for(folder: Path, capsys: pytest.CaptureFixture) -> None:
    prepared = prepare_text(Corpus(name="pets", paths=[str(folder)], domains=["ca*", "bird*"]), folder / "data")
    assert prepared.manifest["splits"]["train"]["domains"].keys() == {"cats"}
    assert f"corpus.domains: no file of {folder} is bird*; the others are read" in capsys.readouterr().err


def test_a_mistake_in_clean_or_domains_is_said(folder: Path) -> None:
    cats = {"paths": [str(folder / "cats.jsonl")]}
    with pytest.raises(InputError, match=r"corpus\.sources\.a\.clean: none of childs is the stem of a file"):
        prepare_text(Corpus(name="pets", sources={"a": cats | {"clean": {"childs": "childes"}}}), folder / "data")
    with pytest.raises(InputError, match=r"corpus\.domains: 'cow' is no file of"):
        prepare_text(Corpus(name="pets", paths=[str(folder)], domains=["cow"]), folder / "data")
    with pytest.raises(InputError, match=r"corpus\.domains: 'cow\*' is no file of"):
        prepare_text(Corpus(name="pets", paths=[str(folder)], domains=["cow*"]), folder / "data")
    with pytest.raises(InputError, match=r"corpus\.domains: 'birds' is no file of"):
        prepare_text(Corpus(name="pets", paths=[str(folder)], domains=["ca*", "birds"]), folder / "data")
    corpus = prepare_text(Corpus(name="pets", sources={"a": cats | {"clean": {"cats": "spaces"}}}), folder / "data")
    assert corpus.manifest["cleaning"].keys() == {"a"}, "cleaned by the file's name, counted under the source's"


def test_a_weight_that_is_missing_or_a_source_without_text(folder: Path) -> None:
    with pytest.raises(InputError, match=r"corpus\.sources\.dogs\.weight: missing"):
        prepared(folder, {"weight": 1}, {})
    with pytest.raises(InputError, match=r"corpus\.sources\.dogs: there is no text in it"):
        prepared(folder, {}, {"min_words": 100})


GERMAN = "Der Hund lief über die Straße und bellte laut, weil niemand zu Hause war und er Hunger hatte. " * 2
REPEATED = "\n".join(["Buy the best shoes here today for you and for me."] * 30)


@pytest.mark.medium
def test_filters_by_language_repetition_and_likeness(tmp_path: Path, shared_data: Path) -> None:
    lines = (shared_data / "leaner" / "train" / "wiki.jsonl").read_text().splitlines()
    long = next(text for line in lines if 300 < len((text := json.loads(line)["text"].strip()).split()) < 500)
    near = " ".join(["Yesterday", *long.split()])
    texts = [long, GERMAN, REPEATED, near, long.replace(" ", "\t"), "The dog ran over the street and barked at us all."]
    (tmp_path / "web.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    (tmp_path / "dev.txt").write_text("Nothing of that.")
    settings = {"name": "mine", "paths": [str(tmp_path / "web.jsonl")], "dev_paths": [str(tmp_path / "dev.txt")]}
    corpus = prepare_text(Corpus(**settings, language="en", repetition=True, deduplicate="near"), tmp_path / "data")
    assert list(corpus.documents("train")) == [long, texts[-1]]
    reasons = corpus.manifest["left_out"]["train"]["web"]
    assert reasons.pop("not in language en") == 1
    assert reasons.pop("near duplicate") == 1
    assert reasons.pop("duplicate") == 1
    ((rule, count),) = reasons.items()
    assert rule.startswith("repetition: ")
    assert count == 1
    with pytest.raises(InputError, match=r"corpus\.language: 'xx' is none of"):
        prepare_text(Corpus(**settings, language="xx"), tmp_path / "data")


def test_sentences_that_share_words_in_a_row(tmp_path: Path) -> None:
    (tmp_path / "blimp.jsonl").write_text(
        json.dumps({"sentence_good": "The cats that the old lady saw have left.", "UID": "x"}) + "\n"
    )
    (tmp_path / "t.txt").write_text("It rained. Today the cats that the old lady saw ran away. He left.")
    (tmp_path / "dev.txt").write_text("Nothing of that.")
    settings = {"name": "mine", "paths": [str(tmp_path / "t.txt")], "dev_paths": [str(tmp_path / "dev.txt")]}
    settings |= {"decontaminate": [str(tmp_path / "blimp.jsonl")]}
    whole = prepare_text(Corpus(**settings), tmp_path / "data")
    assert "old lady" in next(whole.documents("train"))
    shared = prepare_text(Corpus(**settings, decontaminate_words=5), tmp_path / "data")
    assert list(shared.documents("train")) == ["It rained. He left."]
    assert shared.manifest["decontaminated"] == {
        "num_sentences": 1,
        "examples": ["Today the cats that the old lady saw ran away."],
    }


@pytest.mark.medium
def test_a_very_long_file_is_read_in_pieces(tmp_path: Path) -> None:
    """So that memory does not grow with it; nothing is lost at the cuts."""
    lines = [f"Line {number} of a long file, which no empty line parts." for number in range(400_000)]
    (tmp_path / "long.train").write_text("\n".join(lines))
    (tmp_path / "dev.txt").write_text("Nothing of that.")
    corpus = prepare_text(
        Corpus(name="long", paths=[str(tmp_path / "long.train")], dev_paths=[str(tmp_path / "dev.txt")]),
        tmp_path / "data",
    )
    pieces = list(corpus.documents("train"))
    assert 10 < len(pieces) < 25
    assert "\n".join(pieces) == "\n".join(lines)
