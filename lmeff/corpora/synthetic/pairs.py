"""The minimal-pair suite in the file format and the field names of BLiMP (Warstadt et al. 2020)."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from lmeff.corpora.synthetic import agreement_pairs as forms
from lmeff.corpora.synthetic import structure_pairs as structure
from lmeff.corpora.synthetic.clauses import Speaker, capitalized

NUM_PAIRS = 300
"""Of each paradigm; a multiple of what any builder returns at once."""

Builder = Callable[[Speaker], list[tuple[str, str]]]
"""Draws words and returns (good, bad) pairs, or none if the words do not fit."""


@dataclass(frozen=True, slots=True)
class Paradigm:
    uid: str
    field: str
    """`morphology`, `syntax`, `semantics` or `syntax_semantics`."""
    linguistics_term: str
    """The phenomenon, under BLiMP's name for it."""
    build: Builder


PARADIGMS: dict[str, Paradigm] = {
    paradigm.uid: paradigm
    for paradigm in (
        Paradigm("determiner_noun", "morphology", "determiner_noun_agreement", forms.determiner_and_noun),
        Paradigm(
            "determiner_irregular_noun", "morphology", "determiner_noun_agreement", forms.determiner_and_irregular_noun
        ),
        Paradigm("irregular_verb_form", "morphology", "irregular_forms", forms.irregular_verb),
        Paradigm("verb_object", "syntax", "argument_structure", structure.verb_and_object),
        Paradigm("subject_verb", "morphology", "subject_verb_agreement", forms.subject_and_verb),
        Paradigm(
            "subject_verb_across_phrase", "morphology", "subject_verb_agreement", forms.subject_and_verb_across_phrase
        ),
        Paradigm(
            "subject_verb_across_clause", "morphology", "subject_verb_agreement", forms.subject_and_verb_across_clause
        ),
        Paradigm("reflexive_gender", "morphology", "anaphor_agreement", forms.reflexive_gender),
        Paradigm("reflexive_number", "morphology", "anaphor_agreement", forms.reflexive_number),
        Paradigm("reflexive_across_clause", "syntax_semantics", "binding", forms.reflexive_number_across_clause),
        Paradigm("npi_licensor", "semantics", "npi_licensing", structure.ever_after_negation),
        Paradigm("npi_scope", "syntax_semantics", "npi_licensing", structure.ever_under_negation),
        Paradigm("what_that_gap", "syntax", "filler_gap_dependency", structure.what_or_that),
        Paradigm("adjunct_gap", "syntax", "island_effects", structure.gap_in_adjunct),
    )
}

_ONE_PREFIX = {
    "determiner_noun",
    "determiner_irregular_noun",
    "irregular_verb_form",
    "subject_verb",
    "subject_verb_across_phrase",
    "subject_verb_across_clause",
    "reflexive_gender",
    "reflexive_number",
    "reflexive_across_clause",
}
"""The words before the one that differs already decide between the two."""

_LEXICALLY_IDENTICAL = {
    "determiner_noun",
    "determiner_irregular_noun",
    "reflexive_number",
    "reflexive_across_clause",
    "npi_scope",
    "adjunct_gap",
}
"""Both sentences have the same words, apart from their number."""


def minimal_pairs(uid: str) -> list[dict]:
    """The pairs of a paradigm as rows of a BLiMP file, always the same ones. Raises KeyError for an unknown uid."""
    paradigm = PARADIGMS[uid]
    speaker = Speaker(Random(f"pairs/{uid}").random)
    rows: list[dict] = []
    known: set[str] = set()
    while len(rows) < NUM_PAIRS:
        pairs = [(capitalized(good), capitalized(bad)) for good, bad in paradigm.build(speaker)]
        if known.isdisjoint(each for pair in pairs for each in pair):
            known.update(each for pair in pairs for each in pair)
            rows += [_row(paradigm, *pair, pair_id) for pair_id, pair in enumerate(pairs, len(rows))]
    return rows


def _row(paradigm: Paradigm, good: str, bad: str, pair_id: int) -> dict:
    row = {"sentence_good": good, "sentence_bad": bad}
    one_prefix = paradigm.uid in _ONE_PREFIX
    if one_prefix:
        good_words, bad_words = good[:-1].split(), bad[:-1].split()
        at = next(index for index, pair in enumerate(zip(good_words, bad_words, strict=True)) if pair[0] != pair[1])
        row["one_prefix_prefix"] = " ".join(good_words[:at])
        row["one_prefix_word_good"], row["one_prefix_word_bad"] = good_words[at], bad_words[at]
    return row | {
        "field": paradigm.field,
        "linguistics_term": paradigm.linguistics_term,
        "UID": paradigm.uid,
        "simple_LM_method": True,
        "one_prefix_method": one_prefix,
        "two_prefix_method": False,
        "lexically_identical": paradigm.uid in _LEXICALLY_IDENTICAL,
        "pairID": str(pair_id),
    }
