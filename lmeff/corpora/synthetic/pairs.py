"""The minimal-pair suite in the file format and the field names of BLiMP (Warstadt et al. 2020)."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from lmeff.corpora.synthetic import agreement_pairs, structure_pairs
from lmeff.corpora.synthetic.clauses import Speaker, capitalized

NUM_PAIRS = 300
"""Of each paradigm; a multiple of what any builder returns at once."""


@dataclass(frozen=True, slots=True)
class Paradigm:
    uid: str
    field: str
    """`morphology`, `syntax`, `semantics` or `syntax_semantics`."""
    linguistics_term: str
    """The phenomenon, under BLiMP's name for it."""
    build: Callable[[Speaker], list[tuple[str, str]]]
    one_prefix: bool
    """The words before the one that differs already decide between the two."""
    lexically_identical: bool
    """Both sentences have the same words, apart from their number."""


def _paradigms() -> tuple[Paradigm, ...]:
    forms, structure = agreement_pairs, structure_pairs
    determiner, verb, anaphor = "determiner_noun_agreement", "subject_verb_agreement", "anaphor_agreement"
    return (
        Paradigm("determiner_noun", "morphology", determiner, forms.determiner_and_noun, True, True),
        Paradigm(
            "determiner_irregular_noun", "morphology", determiner, forms.determiner_and_irregular_noun, True, True
        ),
        Paradigm("irregular_verb_form", "morphology", "irregular_forms", forms.irregular_verb, True, False),
        Paradigm("verb_object", "syntax", "argument_structure", structure.verb_and_object, False, False),
        Paradigm("subject_verb", "morphology", verb, forms.subject_and_verb, True, False),
        Paradigm("subject_verb_across_phrase", "morphology", verb, forms.subject_and_verb_across_phrase, True, False),
        Paradigm("subject_verb_across_clause", "morphology", verb, forms.subject_and_verb_across_clause, True, False),
        Paradigm("reflexive_gender", "morphology", anaphor, forms.reflexive_gender, True, False),
        Paradigm("reflexive_number", "morphology", anaphor, forms.reflexive_number, True, True),
        Paradigm(
            "reflexive_across_clause", "syntax_semantics", "binding", forms.reflexive_number_across_clause, True, True
        ),
        Paradigm("npi_licensor", "semantics", "npi_licensing", structure.ever_after_negation, False, False),
        Paradigm("npi_scope", "syntax_semantics", "npi_licensing", structure.ever_under_negation, False, True),
        Paradigm("what_that_gap", "syntax", "filler_gap_dependency", structure.what_or_that, False, False),
        Paradigm("adjunct_gap", "syntax", "island_effects", structure.gap_in_adjunct, False, True),
    )


PARADIGMS: dict[str, Paradigm] = {paradigm.uid: paradigm for paradigm in _paradigms()}


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
    if paradigm.one_prefix:
        good_words, bad_words = good[:-1].split(), bad[:-1].split()
        at = next(index for index, pair in enumerate(zip(good_words, bad_words, strict=True)) if pair[0] != pair[1])
        row["one_prefix_prefix"] = " ".join(good_words[:at])
        row["one_prefix_word_good"], row["one_prefix_word_bad"] = good_words[at], bad_words[at]
    return row | {
        "field": paradigm.field,
        "linguistics_term": paradigm.linguistics_term,
        "UID": paradigm.uid,
        "simple_LM_method": True,
        "one_prefix_method": paradigm.one_prefix,
        "two_prefix_method": False,
        "lexically_identical": paradigm.lexically_identical,
        "pairID": str(pair_id),
    }
