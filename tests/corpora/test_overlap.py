"""Sentences with an n-gram of evaluation data go, and everything else stays byte for byte."""

import gzip
import json
import re
from pathlib import Path

import pytest

from lmeff.corpora.cleaning.overlap import Overlap
from lmeff.errors import InputError

TEST = "The cats that I saw in the garden yesterday have left."
SHORT = "Who should Derek hug?"


@pytest.fixture
def overlap(tmp_path: Path) -> Overlap:
    path = tmp_path / "test.jsonl"
    path.write_text(json.dumps({"good": TEST, "choices": [{"text": SHORT}], "field": "He left.", "n": 1}) + "\n\n")
    return Overlap([path])


BEFORE = '  \u201cIt rained\u201d,  he said\tthat day.  "Why?" '


@pytest.mark.parametrize(
    "sentence",
    [
        TEST,
        "And THE CATS, that I saw: in the garden\u2014yesterday, they say!",
        "She said that cats that i saw in the garden yesterday.",
        SHORT,
        "WHO should Derek hug?!",
    ],
)
def test_a_sentence_with_an_ngram_goes(overlap: Overlap, sentence: str) -> None:
    after = "Nothing\u00a0else  happened.\n\n Fin ."
    assert overlap.split(f"{BEFORE}{sentence} {after}") == ((BEFORE + after).strip(), [sentence])


@pytest.mark.parametrize(
    "sentence",
    [
        "The cats that I saw in the house yesterday have left.",
        "I wonder who should Derek hug.",
        "Who should Derek hug today?",
        "He left.",
        "",
    ],
)
def test_other_sentences_stay(overlap: Overlap, sentence: str) -> None:
    text = f"{BEFORE}{sentence} End.\n"
    assert overlap.split(text) == (text, [])


def test_an_ngram_over_the_end_of_a_sentence_takes_both(overlap: Overlap) -> None:
    text = "One.\nThe cats that I saw.\nIn the garden yesterday it rained.\nTwo."
    assert overlap.split(text) == ("One.\nTwo.", ["The cats that I saw.", "In the garden yesterday it rained."])


def test_lines_and_paragraphs_still_end(overlap: Overlap) -> None:
    text = f'He said: "No." {TEST}\n\n{TEST}\n\nTwo. {SHORT} Three.\n{TEST}'
    assert overlap.split(text) == ('He said: "No."\n\nTwo. Three.', [TEST, TEST, SHORT, TEST])
    assert overlap.split(TEST) == ("", [TEST])


def test_plain_text_and_packed_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(f"{TEST}\n{SHORT}\n")
    with gzip.open(tmp_path / "b.jsonl.gz", "wt") as file:
        file.write(json.dumps(["One two three four five six seven eight nine."]))
    overlap = Overlap([tmp_path / "a.txt", tmp_path / "b.jsonl.gz"], num_words=5)
    assert overlap.split(f"{SHORT} X that I saw in the Y. Zero one two three. Two three four five six.") == (
        "Zero one two three.",
        [SHORT, "X that I saw in the Y.", "Two three four five six."],
    )
    assert Overlap([]).split(TEST) == (TEST, [])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"a": 1}\n{"a"', r"a\.jsonl:2: not readable as JSON \(.*\)"),
        ("a.jsonl", b"[" * 100_000, r"a\.jsonl:1: not readable as JSON \(nested too deeply\)"),
        ("a.txt", b"\xff\xfe", r"a\.txt:1: is not UTF-8 text \(byte 0xff at offset 0 of the file\); .*"),
        ("a.txt.gz", b"plain", r"a\.txt\.gz: cannot be read \(.*\)"),
        ("a.txt", b"Too short.", r"no sentence of 4 words or more in .*a\.txt"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        Overlap([tmp_path / name])
    assert re.fullmatch(rf"corpus\.decontaminate: (\S*/)?{message}", str(caught.value))


def test_ngrams_of_too_few_words(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="n-grams need 4 words or more, not 3"):
        Overlap([], num_words=3)


@pytest.mark.slow
def test_blimp(shared_data: Path) -> None:
    """All its sentences of 4 words or more are found alone, those of 8 within others too; simplified English has none."""
    files = sorted((shared_data / "blimp").glob("*.jsonl"))
    overlap = Overlap(files)
    lines = [line for path in files[::10] for line in path.read_text(encoding="utf-8").splitlines()]
    sentences = [json.loads(line)["sentence_good"] for line in lines]
    for sentence in sentences:
        alone = overlap.split(f"It was so. {sentence} Nobody knew.")
        assert alone == (("It was so. Nobody knew.", [sentence]) if len(sentence.split()) >= 4 else (alone[0], []))
        if len(sentence.split()) >= 8:
            assert overlap.split(f"He said {sentence[:-1]}, he did. So.") == (
                "So.",
                [f"He said {sentence[:-1]}, he did."],
            )
    text = (shared_data / "leaner" / "train" / "wiki.jsonl").read_text(encoding="utf-8")
    documents = [json.loads(line)["text"] for line in text.splitlines()]
    assert [overlap.split(document) for document in documents] == [(document, []) for document in documents]
