"""Who and what a story is about: a noun or a name with its number, gender and pronouns, and the words it may meet."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from itertools import permutations, product

from lmeff.corpora.synthetic.heldout import ADJECTIVE_NOUN, DETERMINER_NOUN, SUBJECT_VERB, VERB_OBJECT, is_held_out
from lmeff.corpora.synthetic.lexicon import (
    ADJECTIVES,
    ANIMALS,
    DEEDS,
    INTRANSITIVE,
    MEETINGS,
    NAMES,
    PEOPLE,
    PERSON,
    REFLEXIVE,
    THING,
    THINGS,
    TRANSITIVE,
    Noun,
    Verb,
)

_PLURAL = ("they", "them", "their", "themselves")
_SINGULAR = {
    "f": ("she", "her", "her", "herself"),
    "m": ("he", "him", "his", "himself"),
    "": ("it", "it", "its", "itself"),
}


def with_article(noun_phrase: str) -> str:
    """`a dog`, `an old dog`."""
    return f"an {noun_phrase}" if noun_phrase[0] in "aeiou" else f"a {noun_phrase}"


@dataclass(frozen=True, slots=True, eq=False)
class Participant:
    word: str
    """The name, or the singular of the noun: what held-out combinations are made of."""
    text: str
    """`Anna`, `the dog`, `the dogs`."""
    kind: str
    plural: bool
    gender: str = ""
    """`f` or `m` for a person, also where the noun does not say it."""
    noun: Noun | None = None
    """None for a name."""
    subject: str = field(init=False)
    """`she`, `it`, `they`."""
    object: str = field(init=False)
    possessive: str = field(init=False)
    reflexive: str = field(init=False)

    def __post_init__(self) -> None:
        forms = _PLURAL if self.plural else _SINGULAR[self.gender]
        for name, form in zip(("subject", "object", "possessive", "reflexive"), forms, strict=True):
            object.__setattr__(self, name, form)

    @property
    def bare(self) -> str:
        """The text without its article."""
        return self.text.removeprefix("the ")


def _genders(noun: Noun) -> tuple[str, ...]:
    return (noun.gender or "f", noun.gender or "m") if noun.kind == PERSON else ("",)


def _both_numbers(nouns: Iterable[Noun]) -> tuple[Participant, ...]:
    """Each noun in the singular and then in the plural; people twice, since some nouns mean women and men."""
    return tuple(
        Participant(noun.singular, f"the {form}", noun.kind, plural, gender, noun)
        for noun in nouns
        for gender in _genders(noun)
        for plural, form in ((False, noun.singular), (True, noun.plural))
    )


NAMED = tuple(Participant(name, name, PERSON, False, gender) for gender, names in NAMES.items() for name in names)
PERSONS = _both_numbers(PEOPLE)
BEASTS = _both_numbers(ANIMALS)
OBJECTS = _both_numbers(THINGS)


def other_number(participant: Participant) -> Participant:
    """The same noun in the other number: `the dogs` for `the dog`."""
    return _OTHER_NUMBER[participant]


_OTHER_NUMBER = {
    each: other
    for group in (PERSONS, BEASTS, OBJECTS)
    for pair in zip(group[::2], group[1::2], strict=True)
    for each, other in (pair, pair[::-1])
}


def may_do(participant: Participant, verb: Verb) -> bool:
    """Whether the stories may say the verb of the participant."""
    return not is_held_out(SUBJECT_VERB, participant.word, verb.base)


def may_be(participant: Participant, adjective: str) -> bool:
    """Whether the stories may say the adjective of the participant."""
    return not is_held_out(ADJECTIVE_NOUN, adjective, participant.word)


def _usable(verbs: Iterable[Verb], subject: Participant, neighbor: Participant | None) -> tuple[Verb, ...]:
    """The verbs that the stories may say of the subject, with the neighbor between it and its verb.

    "The dog near the boy sleeps" contains "the boy sleeps", and must not where that is held out.
    """
    who = [subject, neighbor] if neighbor else [subject]
    return tuple(verb for verb in verbs if all(may_do(each, verb) for each in who))


@cache
def intransitive_verbs(subject: Participant, neighbor: Participant | None = None) -> tuple[Verb, ...]:
    """Verbs without an object."""
    return _usable(INTRANSITIVE[subject.kind], subject, neighbor)


@cache
def reflexive_verbs(subject: Participant, neighbor: Participant | None = None) -> tuple[Verb, ...]:
    """Verbs with a reflexive as their object."""
    return _usable(REFLEXIVE[subject.kind], subject, neighbor)


@cache
def transitive_verbs(subject: Participant, other: Participant, neighbor: Participant | None = None) -> tuple[Verb, ...]:
    """Verbs with the other as their object."""
    verbs = _usable(TRANSITIVE[subject.kind, other.kind], subject, neighbor)
    if other.kind != THING:
        return verbs
    return tuple(verb for verb in verbs if not is_held_out(VERB_OBJECT, verb.base, other.word))


@cache
def deeds(subject: Participant, thing: Participant, neighbor: Participant | None = None) -> tuple[Verb, ...]:
    """The transitive verbs among them that name something done to a thing at some moment."""
    return tuple(verb for verb in transitive_verbs(subject, thing, neighbor) if verb in DEEDS)


@cache
def meetings(subject: Participant, other: Participant) -> tuple[Verb, ...]:
    """The same for what is done to a person or an animal."""
    return tuple(verb for verb in transitive_verbs(subject, other) if verb in MEETINGS)


@cache
def traits(participant: Participant) -> tuple[tuple[str, str], ...]:
    """Pairs of adjectives that the stories may use with the participant and that do not contradict each other."""
    groups = [[each for each in group if may_be(participant, each)] for group in ADJECTIVES[participant.kind]]
    return tuple(pair for first, second in permutations(groups, 2) for pair in product(first, second))


@cache
def demonstratives(participant: Participant) -> tuple[str, ...]:
    """`this` and `that`, or `these` and `those`, as far as the stories may use them with the noun. May be empty."""
    forms = {"this": ("this", "these"), "that": ("that", "those")}
    return tuple(
        forms[lemma][participant.plural] for lemma in forms if not is_held_out(DETERMINER_NOUN, lemma, participant.word)
    )
