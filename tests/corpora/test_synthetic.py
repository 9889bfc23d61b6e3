"""The generated corpus: stories that repeat themselves exactly, and minimal pairs that no story gives away."""

import json
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from hashlib import sha256
from itertools import pairwise, product
from math import log

import pytest

from lmeff.corpora.synthetic import (
    GENERATOR_VERSION,
    PARADIGMS,
    generate_dev_documents,
    generate_documents,
    minimal_pairs,
)
from lmeff.corpora.synthetic.heldout import ADJECTIVE_NOUN, DETERMINER_NOUN, SUBJECT_VERB, VERB_OBJECT, is_held_out
from lmeff.corpora.synthetic.lexicon import ADJECTIVES, ANIMALS, NAMES, PEOPLE, THINGS, VERBS

ALL_PARADIGMS = pytest.mark.parametrize("uid", PARADIGMS)
NOUNS = (*PEOPLE, *ANIMALS, *THINGS)


@pytest.fixture(scope="module")
def stories() -> list[str]:
    """As many as the default recipe trains on."""
    return list(generate_documents(20_000))


@pytest.fixture(scope="module")
def text(stories: list[str]) -> str:
    """Enough of them for slow patterns."""
    return "\n".join(stories[:5000])


@pytest.fixture(scope="module")
def word_counts(stories: list[str]) -> Counter[str]:
    return Counter(_words("\n".join(stories)))


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


# ---------------------------------------------------------------- the same everywhere

_DIGEST_SCRIPT = """
import hashlib, json
from lmeff.corpora.synthetic import PARADIGMS, generate_dev_documents, generate_documents, minimal_pairs
parts = [*generate_documents(200, seed=3), *generate_dev_documents(200, seed=3)]
parts += [json.dumps(minimal_pairs(uid)) for uid in PARADIGMS]
print(hashlib.sha256("\\n".join(parts).encode()).hexdigest())
"""


@pytest.mark.medium
def test_same_text_in_every_process():
    parts = [*generate_documents(200, seed=3), *generate_dev_documents(200, seed=3)]
    parts += [json.dumps(minimal_pairs(uid)) for uid in PARADIGMS]
    expected = sha256("\n".join(parts).encode()).hexdigest()
    for hash_seed in ("0", "4711"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        run = subprocess.run(
            [sys.executable, "-c", _DIGEST_SCRIPT], env=environment, capture_output=True, text=True, check=True
        )
        assert run.stdout.strip() == expected


def test_story_depends_on_seed_and_index_alone():
    assert list(generate_documents(300))[:40] == list(generate_documents(40))
    assert list(generate_documents(40, seed=1)) != list(generate_documents(40))


@pytest.mark.medium
def test_dev_stories_are_other_stories(stories: list[str]):
    dev = set(generate_dev_documents(500))
    assert len(dev) == 500
    assert dev.isdisjoint(stories)


# ---------------------------------------------------------------- stories


@pytest.mark.medium
def test_stories_are_clean_prose(stories: list[str]):
    assert len(set(stories)) == len(stories)
    for story in stories[:2000]:
        assert re.fullmatch(r"""["A-Z][A-Za-z ,.?"]+\.""", story)
        assert story.count('"') % 2 == 0
        assert not re.search(r" {2}| [,.?]|\b[Aa] [aeiou]|\b[Aa]n [^aeiou]", story)
        for line in re.split(r"(?<=[.]) ", story):
            assert re.match(r'"?[A-Z]', line), line


@pytest.mark.medium
def test_stories_keep_to_their_grammar(text: str):
    """Patterns of wrong sentences, found by words alone, never occur."""
    singular = "|".join(noun.singular for noun in NOUNS)
    plural = "|".join(noun.plural for noun in NOUNS)
    any_noun = f"{singular}|{plural}"
    only_past = "|".join(verb.past for verb in VERBS.values() if verb.past not in (verb.participle, verb.base))
    only_participle = "|".join(
        verb.participle for verb in VERBS.values() if verb.participle not in (verb.past, verb.base)
    )
    adjectives = "|".join({each for groups in ADJECTIVES.values() for group in groups for each in group})
    third = "|".join(verb.third for verb in VERBS.values())
    wrong = (
        rf"\b(this|a|an|every) (({adjectives}) )?({plural})\b",
        rf"\b(these|few|many|most) (({adjectives}) )?({singular})\b",
        rf"\b(has|have|had) (not |ever |never |often |already )?({only_past})\b",
        rf"\b({any_noun}|{'|'.join(NAMES['f'] + NAMES['m'])}) ({only_participle})\b",
        rf"\b({'|'.join(NAMES['f'])}) \w+ (himself|itself|themselves)\b",
        rf"\b({'|'.join(NAMES['m'])}) \w+ (herself|itself|themselves)\b",
        rf"[.?] The ({singular}) (are|were|have) ",
        rf"[.?] The ({plural}) (is|was|has|{third}) ",
        rf"[.?] (The|Some|Every|Many|Most) ({any_noun}) (has|have|had) ever\b",
        rf"[.?] The ({any_noun}) (who|that) (has|have|had) \w+ no ({any_noun}) (has|have|had) ever\b",
        r"\bWhat did (\w+|the \w+) \w+ (the|this|that|these|those|a|an|some|his|her|its|their)\b",
        rf"\bthat (\w+|the \w+) ({'found|took|carried|held|brought|needed|threw|owned'})[.?]",
    )
    for pattern in wrong:
        found = re.search(pattern, text)
        assert not found, text[found.start() - 60 : found.end() + 40]


@pytest.mark.medium
def test_stories_use_every_word_but_no_held_out_combination(stories: list[str], word_counts: Counter[str]):
    words = _words("\n".join(stories))
    neighbors, one_between = set(pairwise(words)), set(zip(words, words[2:], strict=False))
    for noun in NOUNS:
        assert min(word_counts[noun.singular], word_counts[noun.plural]) > 400
        for this, these in (("this", "these"), ("that", "those")):
            if is_held_out(DETERMINER_NOUN, this, noun.singular):
                assert neighbors.isdisjoint({(this, noun.singular), (these, noun.plural)})
        for adjective in (each for group in ADJECTIVES[noun.kind] for each in group):
            described = {(adjective, noun.singular), (adjective, noun.plural)}
            assert neighbors.isdisjoint(described) == is_held_out(ADJECTIVE_NOUN, adjective, noun.singular)
    for verb, noun in product(VERBS.values(), THINGS):
        forms = {verb.base, verb.third, verb.past, verb.participle}
        if is_held_out(VERB_OBJECT, verb.base, noun.singular):
            assert one_between.isdisjoint(product(forms, (noun.singular, noun.plural)))
    subjects = {noun.singular: {noun.singular, noun.plural} for noun in (*PEOPLE, *ANIMALS)}
    subjects |= {name: {name.lower()} for names in NAMES.values() for name in names}
    for verb, subject in product(VERBS.values(), subjects):
        if is_held_out(SUBJECT_VERB, subject, verb.base):
            assert neighbors.isdisjoint(product(subjects[subject], {verb.base, verb.third, verb.past}))


# ---------------------------------------------------------------- minimal pairs

_BLIMP_FIELDS = {
    "sentence_good",
    "sentence_bad",
    "field",
    "linguistics_term",
    "UID",
    "simple_LM_method",
    "one_prefix_method",
    "two_prefix_method",
    "lexically_identical",
    "pairID",
}
_BLIMP_PREFIX_FIELDS = {"one_prefix_prefix", "one_prefix_word_good", "one_prefix_word_bad"}
_BLIMP_TERMS = {
    "anaphor_agreement",
    "argument_structure",
    "binding",
    "control_raising",
    "determiner_noun_agreement",
    "ellipsis",
    "filler_gap_dependency",
    "irregular_forms",
    "island_effects",
    "npi_licensing",
    "quantifiers",
    "subject_verb_agreement",
}


def test_enough_paradigms():
    assert len(PARADIGMS) >= 8
    assert len({paradigm.linguistics_term for paradigm in PARADIGMS.values()}) >= 8
    assert all(uid == paradigm.uid for uid, paradigm in PARADIGMS.items())


@ALL_PARADIGMS
def test_pairs_have_the_format_of_blimp(uid: str):
    rows = minimal_pairs(uid)
    assert len(rows) >= 250
    assert [row["pairID"] for row in rows] == [str(index) for index in range(len(rows))]
    for row in rows:
        fields = _BLIMP_FIELDS | (_BLIMP_PREFIX_FIELDS if row["one_prefix_method"] else set())
        assert set(row) == fields
        assert row["UID"] == uid
        assert row["field"] in {"morphology", "syntax", "semantics", "syntax_semantics"}
        assert row["linguistics_term"] in _BLIMP_TERMS
        if row["one_prefix_method"]:
            for which in ("good", "bad"):
                start = f"{row['one_prefix_prefix']} {row[f'one_prefix_word_{which}']}"
                assert re.match(re.escape(start) + r"\b", row[f"sentence_{which}"])


@ALL_PARADIGMS
def test_pairs_are_distinct_and_minimal(uid: str):
    rows = minimal_pairs(uid)
    sentences = [row[which] for row in rows for which in ("sentence_good", "sentence_bad")]
    assert len(set(sentences)) == len(sentences)
    for row in rows:
        good, bad = (_words(row[which]) for which in ("sentence_good", "sentence_bad"))
        assert len(good) == len(bad) >= 4
        assert re.fullmatch(r"[A-Z][A-Za-z ]+[.?]", row["sentence_good"])
        same_words, num_different = sorted(good) == sorted(bad), sum(a != b for a, b in zip(good, bad, strict=True))
        assert same_words or num_different == 1


@pytest.mark.medium
@ALL_PARADIGMS
def test_word_frequency_does_not_decide(uid: str, word_counts: Counter[str]):
    """A model of single words, trained on the stories, stays at chance."""
    rows = minimal_pairs(uid)
    score = 0.0
    for row in rows:
        good, bad = (_words(row[which]) for which in ("sentence_good", "sentence_bad"))
        difference = sum(log(word_counts[word]) for word in good) - sum(log(word_counts[word]) for word in bad)
        score += 0.5 if abs(difference) < 1e-9 else float(difference > 0)
    assert 0.4 <= score / len(rows) <= 0.6


def _leaks(stories: Iterable[str], sentences: Iterable[str]) -> set[str]:
    """Sentences of four words or more that stand in a story, even inside a longer sentence; capitals do not count."""
    by_start = defaultdict(list)
    for sentence in (each.rstrip(".?").lower() for each in sentences):
        by_start[" ".join(sentence.split()[:3])].append(sentence)
    word, leaks = re.compile(r"[a-z]+"), set()
    for story in (each.lower() for each in stories):
        spans = [match.span() for match in word.finditer(story)]
        for (begin, _), (_, end) in zip(spans, spans[2:], strict=False):
            if (start := story[begin:end]) in by_start:
                leaks.update(each for each in by_start[start] if story.startswith(each, begin))
    return leaks


@pytest.mark.medium
def test_no_test_sentence_in_the_stories(stories: list[str]):
    rows = [row for uid in PARADIGMS for row in minimal_pairs(uid)]
    sentences = [row[which] for row in rows for which in ("sentence_good", "sentence_bad")]
    assert not _leaks(stories, sentences)
    hidden = f'"Yes, {sentences[0].lower().rstrip(".")} again," says Tom.'
    assert _leaks([*stories[:10], hidden], sentences) == {sentences[0].lower().rstrip(".")}


def test_agreement_of_the_pairs():
    """Counted anew from the words: who is the subject, and is it one or many?"""
    number = {form: one for noun in NOUNS for form, one in ((noun.singular, True), (noun.plural, False))}
    third = {verb.third for verb in VERBS.values()} | {"is", "was", "has"}
    many = {verb.base for verb in VERBS.values()} | {"are", "were", "have"}
    for uid in ("subject_verb", "subject_verb_across_phrase", "subject_verb_across_clause"):
        for row in minimal_pairs(uid):
            head = number[row["one_prefix_prefix"].split()[1]]
            nouns_between = [word for word in row["one_prefix_prefix"].split()[2:] if word in number]
            assert len(nouns_between) == (uid != "subject_verb")
            assert all(number[noun] != head for noun in nouns_between)
            assert row["one_prefix_word_good"] in (third if head else many)
            assert row["one_prefix_word_bad"] in (many if head else third)


def test_reflexives_of_the_pairs():
    gender = {noun.singular: noun.gender for noun in PEOPLE} | {
        name: each for each, names in NAMES.items() for name in names
    }
    right = {"f": "herself", "m": "himself"}
    plurals = {noun.plural for noun in NOUNS}
    for uid in ("reflexive_gender", "reflexive_number", "reflexive_across_clause"):
        for row in minimal_pairs(uid):
            head = row["sentence_good"].removeprefix("The ").split()[0]
            expected = "themselves" if head in plurals else right[gender[head]] if head in gender else "itself"
            assert row["one_prefix_word_good"] == expected
            assert row["one_prefix_word_bad"] != expected
            if uid == "reflexive_gender":
                assert {row["one_prefix_word_good"], row["one_prefix_word_bad"]} == set(right.values())


def test_each_form_is_wrong_as_often_as_right():
    for uid in PARADIGMS:
        rows = minimal_pairs(uid)
        if rows[0]["one_prefix_method"]:
            good, bad = (Counter(row[f"one_prefix_word_{which}"] for row in rows) for which in ("good", "bad"))
            assert good == bad


def test_text_and_pairs_are_pinned_to_their_version() -> None:
    """Prepared text is found again by GENERATOR_VERSION: raise it whenever this digest changes."""
    pairs = (pair[key] for uid in PARADIGMS for pair in minimal_pairs(uid) for key in ("sentence_good", "sentence_bad"))
    text = "\n".join([*generate_documents(50), *generate_dev_documents(50), *pairs])
    pinned = {1: "4efcb495a07b459a7b44091cfcf069e77846a99c6d1f3f774cffcb3c3c03e33b"}
    assert sha256(text.encode()).hexdigest() == pinned[GENERATOR_VERSION]
