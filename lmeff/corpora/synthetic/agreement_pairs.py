"""Minimal pairs of word forms: determiners with nouns, irregular verbs, subjects with verbs, reflexives.

A builder draws words that the stories never combine and returns `(good, bad)` pairs in which every form that is wrong
once is right once, so that nothing is decided by how frequent or how long a word is. It returns nothing where the drawn
words have no combination that is held out.
"""

from collections.abc import Sequence

from lmeff.corpora.synthetic.clauses import (
    PREPOSITIONS,
    Speaker,
    be,
    finite,
    have,
    with_object_clause,
    with_subject_clause,
)
from lmeff.corpora.synthetic.heldout import ADJECTIVE_NOUN, DETERMINER_NOUN, SUBJECT_VERB, VERB_OBJECT, is_held_out
from lmeff.corpora.synthetic.lexicon import (
    ADJECTIVES,
    INTRANSITIVE,
    PERSON,
    REFLEXIVE,
    THING,
    TRANSITIVE,
    WHERE,
    Noun,
    Verb,
)
from lmeff.corpora.synthetic.participants import (
    BEASTS,
    NAMED,
    OBJECTS,
    PERSONS,
    Participant,
    other_number,
    transitive_verbs,
)

Pairs = list[tuple[str, str]]


def _noun(each: Participant) -> Noun:
    """Of one who has no name."""
    assert each.noun is not None
    return each.noun


ANIMATES = tuple({each.word: each for each in (*PERSONS, *BEASTS) if not each.plural}.values())
"""People and animals, each noun once, in the singular."""
_WITH_REFLEXIVE = tuple(each for each in ANIMATES if each.kind != PERSON or _noun(each).gender)
"""Those whose noun decides between `herself`, `himself` and `itself`."""
NOUNS = (*ANIMATES, *(each for each in OBJECTS if not each.plural))
REGULAR_NOUNS = tuple(each for each in NOUNS if not _noun(each).is_irregular and each.kind != PERSON)
IRREGULAR_NOUNS = tuple(each for each in NOUNS if _noun(each).is_irregular)


def held_out_verbs(subject: Participant, verbs: Sequence[Verb]) -> list[Verb]:
    """The verbs that no story says of the subject."""
    return [verb for verb in verbs if is_held_out(SUBJECT_VERB, subject.word, verb.base)]


def held_out_adjectives(noun: Participant) -> list[str]:
    """The adjectives that no story uses with the noun."""
    every = (each for group in ADJECTIVES[noun.kind] for each in group)
    return [each for each in every if is_held_out(ADJECTIVE_NOUN, each, noun.word)]


def another(speaker: Speaker, noun: Participant, options: Sequence[Participant]) -> Participant:
    """One of the options that is another word."""
    return speaker.pick([each for each in options if each.word != noun.word])


def both_numbers(one: str, many: str, singular: str, plural: str, rest: str = "") -> Pairs:
    """`the dog sleeps / *sleep` and `the dogs sleep / *sleeps`."""
    end = f" {rest}." if rest else "."
    return [
        (f"{one} {singular}{end}", f"{one} {plural}{end}"),
        (f"{many} {plural}{end}", f"{many} {singular}{end}"),
    ]


# -------------------------------------------------------------------- forms of words


def _determiner_and_noun(speaker: Speaker, noun: Participant, determiners: tuple[str, str], adjective: str) -> Pairs:
    name = speaker.pick(NAMED)
    sees = finite(speaker.pick(TRANSITIVE[PERSON, noun.kind]), name, speaker.chance(0.5))
    one, many = (" ".join([name.text, sees, each, *adjective.split()]) for each in determiners)
    return both_numbers(one, many, _noun(noun).singular, _noun(noun).plural, speaker.pick(WHERE))


def determiner_and_noun(speaker: Speaker) -> Pairs:
    """`Anna found this key / *keys near the lake.`"""
    noun = speaker.pick(REGULAR_NOUNS)
    determiners = speaker.pick((("this", "these"), ("that", "those")))
    if not is_held_out(DETERMINER_NOUN, determiners[0], noun.word):
        return []
    return _determiner_and_noun(speaker, noun, determiners, adjective="")


def determiner_and_irregular_noun(speaker: Speaker) -> Pairs:
    """`Anna saw those small mice / *mouse near the lake.`"""
    noun = speaker.pick(IRREGULAR_NOUNS)
    adjectives = held_out_adjectives(noun)
    if not adjectives:
        return []
    determiners = speaker.pick((("this", "these"), ("that", "those")))
    return _determiner_and_noun(speaker, noun, determiners, speaker.pick(adjectives))


def irregular_verb(speaker: Speaker) -> Pairs:
    """`Tom took / *taken the ball.` and `Tom has taken / *took the ball.`"""
    subject, thing = speaker.pick((*NAMED, *PERSONS)), speaker.pick(OBJECTS)
    verbs = [each for each in TRANSITIVE[PERSON, THING] if each.past != each.participle]
    verbs = [each for each in verbs if is_held_out(VERB_OBJECT, each.base, thing.word)]
    if not verbs:
        return []
    verb, rest = speaker.pick(verbs), f"{thing.text} {speaker.pick(WHERE)}"
    has = f"{subject.text} {have(subject, past=speaker.chance(0.4))}"
    return both_numbers(subject.text, has, verb.past, verb.participle, rest)


# -------------------------------------------------------------------- subject and verb


def _agreeing_verbs(speaker: Speaker, one: Participant) -> tuple[str, str, str, bool] | None:
    """The verb for one and for many, the rest of the predicate, and whether it is in the past."""
    many = other_number(one)
    roll = speaker.random()
    if roll < 0.25:
        adjectives, past = held_out_adjectives(one), speaker.chance(0.5)
        return (be(one, past), be(many, past), speaker.pick(adjectives), past) if adjectives else None
    verbs = held_out_verbs(one, INTRANSITIVE[one.kind])
    if not verbs:
        return None
    verb, where = speaker.pick(verbs), speaker.pick(WHERE)
    return ("has", "have", f"{verb.participle} {where}", False) if roll < 0.5 else (verb.third, verb.base, where, False)


def _near_others(speaker: Speaker, one: Participant, other: Participant, past: bool) -> tuple[str, str]:
    """`the dog near the boys` and `the dogs near the boy`."""
    preposition = speaker.pick(PREPOSITIONS)
    return (
        f"{one.text} {preposition} {other_number(other).text}",
        f"{other_number(one).text} {preposition} {other.text}",
    )


def _in_clause(speaker: Speaker, one: Participant, other: Participant, past: bool) -> tuple[str, str]:
    """`the dog that the boys like` and `the dogs that the boy likes`, or `the boy who likes the dogs` and its like."""
    past = past or speaker.chance(0.5)
    pairs = ((one, other_number(other)), (other_number(one), other))
    if speaker.chance(0.6):
        verb = speaker.pick(transitive_verbs(one, other))
        singular, plural = (with_subject_clause(head, verb, inner, past) for head, inner in pairs)
    else:
        verb = speaker.pick(transitive_verbs(other, one))
        singular, plural = (with_object_clause(head, verb, inner, past) for head, inner in pairs)
    return singular, plural


def subject_and_verb(speaker: Speaker) -> Pairs:
    """`The dogs sleep / *sleeps near the lake.`"""
    one = speaker.pick(ANIMATES)
    forms = _agreeing_verbs(speaker, one)
    return both_numbers(one.text, other_number(one).text, *forms[:3]) if forms else []


def subject_and_verb_across_phrase(speaker: Speaker) -> Pairs:
    """`The dogs near the boy sleep / *sleeps near the lake.`"""
    one = speaker.pick(ANIMATES)
    forms = _agreeing_verbs(speaker, one)
    if not forms:
        return []
    return both_numbers(*_near_others(speaker, one, another(speaker, one, ANIMATES), forms[3]), *forms[:3])


def subject_and_verb_across_clause(speaker: Speaker) -> Pairs:
    """`The dogs that the boy likes sleep / *sleeps near the lake.`"""
    one = speaker.pick(ANIMATES)
    forms = _agreeing_verbs(speaker, one)
    if not forms:
        return []
    return both_numbers(*_in_clause(speaker, one, another(speaker, one, ANIMATES), forms[3]), *forms[:3])


# -------------------------------------------------------------------- reflexives


def reflexive_gender(speaker: Speaker) -> Pairs:
    """`Anna sees herself / *himself near the lake.` and the same for a man."""
    pairs = []
    for gender, right, wrong in (("f", "herself", "himself"), ("m", "himself", "herself")):
        who = speaker.pick([each for each in (*NAMED, *_WITH_REFLEXIVE) if each.gender == gender])
        verbs = held_out_verbs(who, REFLEXIVE[PERSON])
        if not verbs:
            return []
        start, rest = f"{who.text} {finite(speaker.pick(verbs), who, speaker.chance(0.5))}", speaker.pick(WHERE)
        pairs.append((f"{start} {right} {rest}.", f"{start} {wrong} {rest}."))
    return pairs


def _reflexive_number(speaker: Speaker, one: Participant, subjects: tuple[str, str], past: bool) -> Pairs:
    verbs = held_out_verbs(one, REFLEXIVE[one.kind])
    if not verbs:
        return []
    verb, many = speaker.pick(verbs), other_number(one)
    singular, plural = (f"{text} {finite(verb, who, past)}" for text, who in zip(subjects, (one, many), strict=True))
    return both_numbers(singular, plural, one.reflexive, many.reflexive, speaker.pick(WHERE))


def reflexive_number(speaker: Speaker) -> Pairs:
    """`The girls see themselves / *herself near the lake.`"""
    one = speaker.pick(_WITH_REFLEXIVE)
    return _reflexive_number(speaker, one, (one.text, other_number(one).text), past=speaker.chance(0.5))


def reflexive_number_across_clause(speaker: Speaker) -> Pairs:
    """`The girl who likes the ladies sees herself / *themselves near the lake.`"""
    one = speaker.pick(_WITH_REFLEXIVE)
    other = another(speaker, one, [each for each in _WITH_REFLEXIVE if each.reflexive == one.reflexive])
    past = speaker.chance(0.5)
    return _reflexive_number(speaker, one, _in_clause(speaker, one, other, past), past)
