"""Cleaners change what they say they change, and nothing else."""

import json
from pathlib import Path

import pytest

from lmeff.cli import main
from lmeff.corpora import prepare_text
from lmeff.corpora.cleaning.rules import CLEANERS, Cleaning
from lmeff.errors import InputError
from lmeff.recipe.sections.corpus import Corpus


@pytest.mark.parametrize(
    ("cleaner", "before", "after"),
    [
        ("childes", "*MOT:\tyou  want &-um the <the> dog [*] ?\n*CHI:\tdoggie@f .", "you want the the dog?\ndoggie."),
        ("switchboard", "A:\tUh, first, um.\nB: Yes.\nNOTE: stays", "Uh, first, um.\nYes.\nNOTE: stays"),
        ("bnc_spoken", "Well , I\u00a0 went .\n\n\n\nYes !", "Well, I went.\n\nYes!"),
        ("open_subtitles", "12\n00:01:02,000 --> 00:01:04,000\n<i>Hello</i>\nSubtitles by X\n- Go .", "Hello\n- Go."),
        ("simple_wiki", "= = = April = = =\nApril[1] is a month .", "April\nApril is a month."),
        ("wikipedia", "== Life ==\nShe wrote x = y [citation needed].", "Life\nShe wrote x = y."),
        (
            "wikitext",
            " = Valkyria = \nA 10 @-@ year plan , that 's ( good ) .",
            "Valkyria\nA 10-year plan, that's (good).",
        ),
        ("qed", "(Music)\nHELLO. lT lS MY l. WHO?\nA Normal Line.", "(Music)\nHello. It is my I. Who?\nA Normal Line."),
        ("cbt", "`` I do n't -LRB- know -RRB- , '' he said .", '" I don\'t (know), " he said.'),
        (
            "gutenberg",
            "x\n*** START OF THE PROJECT GUTENBERG EBOOK A ***\nIt was _so_.\n[Illustration: b]\nEnd",
            "It was so.\n\nEnd",
        ),
        ("tinystories", "It\u00e2\u20ac\u2122s fine", "It\u2019s fine"),
        ("web", "We use cookies on this site\nNews.\nNews.\nClick here to read", "News."),
        ("children_stories", "Once  upon a time .", "Once upon a time."),
        ("none", " as  it is ", "as  it is"),
    ],
)
def test_cleaners(cleaner: str, before: str, after: str) -> None:
    assert Cleaning(cleaner)(before, "any") == after
    assert Cleaning(cleaner)(after, "any") == after, "clean text stays as it is"


PROSE = (
    'Anna said: "No, I won\'t (not today)." The U.S. has 1,000.5 of them; see http://a.b/c?d=e!\n\nShe left... X = 3'
)


@pytest.mark.parametrize("cleaner", sorted(CLEANERS))
def test_ordinary_prose_stays(cleaner: str) -> None:
    text = PROSE.replace(" see http://a.b/c?d=e!", "") if cleaner == "open_subtitles" else PROSE
    assert Cleaning(cleaner)(text, "any") == text


def test_cleaned_by_domain_counted_and_part_of_the_fingerprint(tmp_path: Path) -> None:
    """Documents stay apart, and what was changed stands in the manifest."""
    source = tmp_path / "text"
    source.mkdir()
    (source / "childes.txt").write_text("*MOT:\tgo [*] on .")
    (source / "wiki.jsonl").write_text(
        "".join(json.dumps({"text": f"== T{i} ==\nline {i} ."}) + "\n" for i in range(3))
    )
    (tmp_path / "dev.txt").write_text("held out .")
    options = {"name": "mine", "paths": [str(source)], "dev_paths": [str(tmp_path / "dev.txt")]}
    plain = prepare_text(Corpus(**options), tmp_path / "data")
    corpus = prepare_text(Corpus(**options, clean={"childes": "childes", "wiki": "simple_wiki"}), tmp_path / "data")
    assert corpus.fingerprint != plain.fingerprint
    assert sorted(corpus.documents("train")) == ["T0\nline 0.", "T1\nline 1.", "T2\nline 2.", "go on."]
    assert list(corpus.documents("dev")) == ["held out ."], "a domain that nobody named stays as it is"
    assert corpus.manifest["cleaning"]["wiki"]["wiki_headings"] == {"documents": 3, "characters": 18}
    assert corpus.manifest["cleaning"]["childes"]["speaker_labels"] == {"documents": 1, "characters": 6}
    assert plain.manifest["cleaning"] == {}
    with pytest.raises(InputError, match=r"corpus\.clean: 'childs' is none of .*; did you mean 'childes'"):
        prepare_text(Corpus(**options, clean="childs"), tmp_path / "data")


STORY = "Once upon a time there was a {name} who had {count} friends."


def test_length_and_duplicates(tmp_path: Path) -> None:
    """The first of equal documents stays, over files; what is held out is not trained on; all of it is counted."""
    texts = {
        "a": ["too short", *(STORY.format(name="cat", count=i) for i in range(5)), "word " * 50],
        "b": [STORY.format(name="cat", count=3).replace(" ", "  "), STORY.format(name="dog", count=1)],
    }
    for name, documents in texts.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in documents))
    (tmp_path / "dev.jsonl").write_text(json.dumps({"text": STORY.format(name="dog", count=1)}) + "\n")
    options = {"name": "mine", "paths": [str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")]}
    options |= {"dev_paths": [str(tmp_path / "dev.jsonl")], "min_words": 5, "max_words": 20}
    plain = prepare_text(Corpus(**options), tmp_path / "data")
    corpus = prepare_text(Corpus(**options, deduplicate="exact"), tmp_path / "data")
    assert len(list(plain.documents("train"))) == 7
    assert list(corpus.documents("train")) == [STORY.format(name="cat", count=i) for i in range(5)]
    assert list(corpus.documents("dev")) == [STORY.format(name="dog", count=1)]
    assert corpus.manifest["left_out"] == {
        "train": {"a": {"too short": 1, "too long": 1}, "b": {"duplicate": 1, "held out": 1}},
        "dev": {},
    }
    assert corpus.fingerprint != plain.fingerprint


PUBLISHED = {
    "babylm3": {"childes.train": "*MOT:\thi there .", "simple_wiki.train": "= = = A = = =\nB is ."},
    "babylm": {"aochildes.train": "hi  there .", "qed.train": "SO IT GOES ON."},
    "tinystories": {"TinyStoriesV2-GPT4-train.txt": "One .\n<|endoftext|>\nTwo."},
    "wikitext-2": {"wiki.train.raw.txt": " = A = \n\n B @-@ c , d . "},
}


@pytest.mark.parametrize(
    ("name", "dev", "wanted"),
    [
        ("babylm3", "childes.dev", ["hi there.", "A\nB is."]),
        ("babylm", "aochildes.dev", ["hi there.", "So it goes on."]),
        ("tinystories", "TinyStoriesV2-GPT4-valid.txt", ["One.", "Two."]),
        ("wikitext-2", "wiki.valid.raw.txt", ["A\n\nB-c, d."]),
    ],
)
def test_named_corpora_laid_out_as_published(tmp_path: Path, name: str, dev: str, wanted: list[str]) -> None:
    for folder, files in (("train", PUBLISHED[name]), ("dev", {dev: "held out text of its own"})):
        (tmp_path / folder).mkdir()
        for file, text in files.items():
            (tmp_path / folder / file).write_text(text)
    corpus = Corpus(name=name, paths=[str(tmp_path / "train")], dev_paths=[str(tmp_path / "dev")])
    assert list(prepare_text(corpus, tmp_path / "data").documents("train")) == wanted


def test_a_sample_shows_what_changes(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "childes.train").write_text("*MOT:\tyou want it ?")
    assert main(["corpora", "show", "babylm3", "--sample", "--paths", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "1 of 1 documents stay" in said
    assert "speaker_labels: 1 documents, 6 characters less" in said
    assert "  - *MOT:\tyou want it ?\n  + you want it?\n" in said


def test_sentences_of_evaluation_data_are_taken_out(tmp_path: Path) -> None:
    """Out of training text alone, whatever their case and marks, and listed."""
    pairs = [
        {"sentence_good": "The cats that I saw have left.", "sentence_bad": "The cats that I saw has left.", "n": 1}
    ]
    (tmp_path / "blimp").mkdir()
    (tmp_path / "blimp" / "one.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    (tmp_path / "train.txt").write_text(
        'It rained. "The cats that I saw have left!" He left.\nThe cats that I saw, ran off.'
    )
    (tmp_path / "dev.txt").write_text("The cats that I saw have left.")
    options = {"name": "mine", "paths": [str(tmp_path / "train.txt")], "dev_paths": [str(tmp_path / "dev.txt")]}
    plain = prepare_text(Corpus(**options), tmp_path / "data")
    corpus = prepare_text(Corpus(**options, decontaminate=[str(tmp_path / "blimp")]), tmp_path / "data")
    assert list(corpus.documents("train")) == ["It rained. He left.\nThe cats that I saw, ran off."]
    assert list(corpus.documents("dev")) == ["The cats that I saw have left."]
    found = {"num_sentences": 1, "examples": ['"The cats that I saw have left!']}
    assert corpus.manifest["decontaminated"]["num_sentences"] == found["num_sentences"]
    assert corpus.manifest["decontaminated"]["examples"][0].startswith(found["examples"][0])
    assert corpus.fingerprint != plain.fingerprint
