"""Which language text is in, and which text repeats itself."""

import json
import random
from pathlib import Path

import pytest

from lmeff.corpora.cleaning.quality import check_language, language_share, repetition
from lmeff.errors import InputError

ENGLISH = (
    "The committee will meet again on Thursday to talk about the new plan for the middle of the town. "
    "Everyone who lives nearby is welcome to come and ask questions, and there will be tea and cake at the end."
)
GERMAN = (
    "Der Ausschuss trifft sich am Donnerstag wieder, um den neuen Plan f\u00fcr die Innenstadt zu besprechen. "
    "Alle Anwohner sind eingeladen, Fragen zu stellen, und zum Schluss gibt es noch Tee und Kuchen f\u00fcr alle."
)
FRENCH = (
    "Le comit\u00e9 se r\u00e9unira de nouveau jeudi pour discuter de la nouvelle proposition pour le centre-ville. "
    "Tous les riverains sont invit\u00e9s \u00e0 poser des questions, avec du th\u00e9 et des g\u00e2teaux \u00e0 la fin."
)
SPANISH = (
    "El comit\u00e9 volver\u00e1 a reunirse el jueves para hablar de la nueva propuesta para el centro de la ciudad. "
    "Todos los vecinos est\u00e1n invitados a hacer preguntas, y al final habr\u00e1 te y pasteles para todos ellos."
)
CODE = (
    "def main(argv=None):\n    parser = argparse.ArgumentParser()\n    parser.add_argument('--path', type=str)\n"
    "    args = parser.parse_args(argv)\n    return run(args.path)\nfor (int i = 0; i < n; ++i) { sum += a[i]; }\n"
)


@pytest.mark.parametrize(
    ("text", "language"), [(ENGLISH, "en"), (GERMAN, "de"), (FRENCH, "fr"), (SPANISH, "es"), (CODE, None)]
)
def test_one_language(text: str, language: str | None) -> None:
    for wanted in ("en", "de", "fr", "es"):
        assert language_share(text, wanted) == (wanted == language)
        assert language_share(" \n" + text.replace(" ", "\n"), wanted) == (wanted == language), "a word a line"


def test_share_of_words() -> None:
    mixed = "\n\n".join([ENGLISH] * 3 + [GERMAN])
    english, german = (len(text.split()) for text in (ENGLISH, GERMAN))
    assert language_share(mixed) == pytest.approx(3 * english / (3 * english + german), abs=0.06)
    assert language_share(mixed) + language_share(mixed, "de") == pytest.approx(1)
    assert language_share(ENGLISH.replace(".", "").replace(",", "") * 100) == 1, "no sentence ever ends"
    assert [language_share(text) for text in ("", " \n", "1 + 1 = 2.", "x" * 1000)][:3] == [0, 0, 0]


def test_unknown_language() -> None:
    check_language("en")
    with pytest.raises(
        InputError, match=r"^corpus\.language: 'english' is none of the 1\d\d known ones: .*, en, .*zu.*$"
    ):
        check_language("english")


def test_real_english(shared_data: Path) -> None:
    for name, least in (("wiki", 0.99), ("conversation_100m", 0.99)):
        lines = (shared_data / "leaner" / "train" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        shares = [language_share(json.loads(line)["text"][:1000]) for line in lines[:100]]
        assert sum(shares) / len(shares) > least


def _invented(seed: int, num_words: int) -> str:
    numbers = random.Random(seed)
    return " ".join(f"w{numbers.randrange(100_000, 1_000_000)}" for _ in range(num_words))


def _with_copies(size: int, share: float) -> str:
    """Invented words with 20 copies of an n-gram, of which all (2 to 4 words) or all but the first are `share` of the text."""
    repeated = 20 * (8 * size - 1) if size < 5 else 19 * 7 * size
    other, ngram = _invented(1, round(repeated / share / 8) - 20 * size).split(), _invented(2, size)
    return " ".join(f"{' '.join(other[at::20])} {ngram}" for at in range(20))


LINES = [_invented(seed, 8) for seed in range(20)]
REPEATING = {
    "duplicate paragraphs": "\n\n".join(["Yes.", "No."] * 6 + LINES),
    "characters in duplicate paragraphs": "\n\n".join([_invented(1, 40)] * 2 + LINES[:10]),
    "duplicate lines": "\n".join(["Yes.", " No."] * 6 + LINES),
    "characters in duplicate lines": "\n".join([_invented(1, 40)] * 2 + LINES[:10]),
} | {f"top {size}-gram": _with_copies(size, share) for size, share in ((2, 0.21), (3, 0.19), (4, 0.165))}
REPEATING |= {f"duplicate {size}-grams": _with_copies(size, 0.205 - size / 100) for size in range(5, 11)}


@pytest.mark.parametrize("rule", REPEATING)
def test_repetition(rule: str) -> None:
    assert repetition(REPEATING[rule]) == rule


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no " * 49,
        "\n\n".join(["Yes.", "No."] * 2 + LINES),
        "\n".join(["Yes.", "No."] * 3 + LINES),
        _with_copies(2, 0.19),
        _with_copies(3, 0.17),
        _with_copies(4, 0.155),
        _with_copies(5, 0.145),
        _with_copies(10, 0.095),
        f"{_invented(1, 60)} https://{'x' * 2000}",
    ],
)
def test_no_repetition(text: str) -> None:
    assert repetition(text) is None


@pytest.mark.slow
def test_real_text_repeats_itself_little(shared_data: Path) -> None:
    texts = [
        record.get("text") or record["problem"]
        for path in sorted((shared_data / "leaner" / "train").glob("*.jsonl"))
        for record in map(json.loads, path.read_text(encoding="utf-8").splitlines())
    ]
    dropped = sum(repetition(text) is not None for text in texts)
    assert 0 < dropped / len(texts) < 0.03
