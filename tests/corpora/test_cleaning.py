"""Cleaners change what they say they change, and nothing else."""

import json
from pathlib import Path

import pytest

from lmeff.corpora import prepare_text
from lmeff.corpora.cleaning import CLEANERS, Cleaning
from lmeff.errors import InputError
from lmeff.recipe.schema import Corpus


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
