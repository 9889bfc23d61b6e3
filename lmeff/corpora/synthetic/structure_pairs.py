"""Minimal pairs of sentence structure: objects, negative polarity, gaps, an island; built as in `agreement_pairs`."""

from lmeff.corpora.synthetic.agreement_pairs import ANIMATES, Pairs, another, held_out_verbs
from lmeff.corpora.synthetic.clauses import (
    Speaker,
    finite,
    have,
    relative_pronoun,
    with_object_clause,
    with_subject_clause,
)
from lmeff.corpora.synthetic.lexicon import ALWAYS_TRANSITIVE, DEEDS, INTRANSITIVE, NEAR, NEVER_TRANSITIVE, WHEN, WHERE
from lmeff.corpora.synthetic.participants import (
    BEASTS,
    NAMED,
    OBJECTS,
    PERSONS,
    meetings,
    other_number,
    transitive_verbs,
)

_PEOPLE = (*NAMED, *PERSONS)


def verb_and_object(speaker: Speaker) -> Pairs:
    """`Tom slept / *carried near the lake.` and `Tom carried / *slept the ball near the lake.`"""
    subject = speaker.pick(_PEOPLE)
    kinds = held_out_verbs(subject, NEVER_TRANSITIVE), held_out_verbs(subject, ALWAYS_TRANSITIVE)
    if not all(kinds):
        return []
    past = speaker.chance(0.5)
    alone, needy = (f"{subject.text} {finite(speaker.pick(verbs), subject, past)}" for verbs in kinds)
    where, thing = speaker.pick(NEAR), speaker.pick(OBJECTS).text
    return [
        (f"{alone} {where}.", f"{needy} {where}."),
        (f"{needy} {thing} {where}.", f"{alone} {thing} {where}."),
    ]


def ever_after_negation(speaker: Speaker) -> Pairs:
    """`At night no dog / *every dog has ever slept.`

    A licensor cannot be wrong here, so every one stands once against a word that is more frequent than itself in the
    stories and once against a word that is less frequent.
    """
    one = speaker.pick(ANIMATES)
    verbs = held_out_verbs(one, INTRANSITIVE[one.kind])
    if not verbs:
        return []
    if speaker.chance(0.5):
        who, right, rarer = one, "no", "every"
    else:
        who, right, rarer = other_number(one), "few", "most"
    wrongs = (rarer, speaker.pick(("the", "some")))
    rest = f"{who.bare} {have(who, past=speaker.chance(0.3))} ever {speaker.pick(verbs).participle}"
    starts = zip(speaker.two(WHEN), speaker.two(WHERE), wrongs, strict=True)
    return [(f"{when} {right} {rest} {where}.", f"{when} {wrong} {rest} {where}.") for when, where, wrong in starts]


def ever_under_negation(speaker: Speaker) -> Pairs:
    """`At night no boy who had seen the dog had ever slept / *the boy who had seen no dog had ever slept.`"""
    head = speaker.pick(ANIMATES)
    verbs = held_out_verbs(head, INTRANSITIVE[head.kind])
    if not verbs:
        return []
    other = another(speaker, head, ANIMATES)
    has = have(head, past=speaker.chance(0.4))
    met = f"{relative_pronoun(head)} {has} {speaker.pick(meetings(head, other)).participle}"
    when, slept = speaker.pick(WHEN), f"{has} ever {speaker.pick(verbs).participle}"
    return [
        (
            f"{when} no {head.bare} {met} the {other.bare} {slept}.",
            f"{when} the {head.bare} {met} no {other.bare} {slept}.",
        )
    ]


def what_or_that(speaker: Speaker) -> Pairs:
    """`Anna knows what / *that the boy near the dogs found.` and `Anna knows that / *what the boy found the key.`"""
    knower, finder = speaker.two(_PEOPLE)
    verbs = held_out_verbs(finder, ALWAYS_TRANSITIVE)
    if not verbs or knower.word == finder.word:
        return []
    who, roll = finder.text, speaker.random()
    if finder.noun and roll < 0.75:
        other = speaker.pick(BEASTS)
        if roll < 0.25:
            who = speaker.beside(finder, other)
        elif roll < 0.5:
            who = with_subject_clause(finder, speaker.pick(transitive_verbs(finder, other)), other, past=True)
        else:
            who = with_object_clause(finder, speaker.pick(transitive_verbs(other, finder)), other, past=True)
    know, knew = speaker.pick((("know", "knew"), ("remember", "remembered"), ("learn", "learned")))
    knows = knew if speaker.chance(0.5) else know if knower.plural else f"{know}s"
    start, found, thing = f"{knower.text} {knows}", f"{who} {speaker.pick(verbs).past}", speaker.pick(OBJECTS).text
    return [
        (f"{start} what {found}.", f"{start} that {found}."),
        (f"{start} that {found} {thing}.", f"{start} what {found} {thing}."),
    ]


def gap_in_adjunct(speaker: Speaker) -> Pairs:
    """`What did Anna carry before the boy found the key? / *What did Anna carry the key before the boy found?`"""
    doer = speaker.pick(_PEOPLE)
    verbs = held_out_verbs(doer, [each for each in ALWAYS_TRANSITIVE if each in DEEDS])
    if not verbs:
        return []
    carry = speaker.pick(verbs)
    found = speaker.pick([each for each in ALWAYS_TRANSITIVE if each in DEEDS and each is not carry]).past
    other, thing = another(speaker, doer, _PEOPLE).text, speaker.pick(OBJECTS).text
    start, when = f"what did {doer.text} {carry.base}", f"{speaker.pick(('before', 'after'))} {other} {found}"
    return [(f"{start} {when} {thing}?", f"{start} {thing} {when}?")]
