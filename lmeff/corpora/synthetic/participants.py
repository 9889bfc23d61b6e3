"""Who and what a story is about: a noun or a name with its number, gender and pronouns, and the words it may meet."""

from collections.abc import Iterable, Sequence
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

_PLURAL = ("they", "them", "themselves")
_SINGULAR = {"f": ("she", "her", "herself"), "m": ("he", "him", "himself"), "": ("it", "it", "itself")}


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
    reflexive: str = field(init=False)

    def __post_init__(self) -> None:
        forms = _PLURAL if self.plural else _SINGULAR[self.gender]
        for name, form in zip(("subject", "object", "reflexive"), forms, strict=True):
            object.__setattr__(self, name, form)

    @property
    def bare(self) -> str:
        """The text without its article."""
        return self.text.removeprefix("the ")


def _genders(noun: Noun) -> Sequence[str]:
    return noun.gender or ("f", "m") if noun.kind == PERSON else ("",)


def _both_numbers(nouns: Iterable[Noun]) -> tuple[Participant, ...]:
    """Each noun in the singular and then in the plural; twice where it may mean a woman or a man."""
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


def _usable_by(subject: Participant, verbs: Iterable[Verb]) -> tuple[Verb, ...]:
    return tuple(verb for verb in verbs if not is_held_out(SUBJECT_VERB, subject.word, verb.base))


@cache
def intransitive_verbs(subject: Participant) -> tuple[Verb, ...]:
    """Verbs without object that the stories may say of the subject."""
    return _usable_by(subject, INTRANSITIVE[subject.kind])


@cache
def reflexive_verbs(subject: Participant) -> tuple[Verb, ...]:
    return _usable_by(subject, REFLEXIVE[subject.kind])


@cache
def transitive_verbs(subject: Participant, thing: Participant) -> tuple[Verb, ...]:
    """Verbs that the stories may use between the two."""
    verbs = _usable_by(subject, TRANSITIVE[subject.kind, thing.kind])
    if thing.kind != THING:
        return verbs
    return tuple(verb for verb in verbs if not is_held_out(VERB_OBJECT, verb.base, thing.word))


@cache
def deeds(subject: Participant, thing: Participant) -> tuple[Verb, ...]:
    """The transitive verbs among them that name something done at some moment."""
    return tuple(verb for verb in transitive_verbs(subject, thing) if verb in DEEDS)


@cache
def meetings(subject: Participant, other: Participant) -> tuple[Verb, ...]:
    """The same for what is done to a person or an animal."""
    return tuple(verb for verb in transitive_verbs(subject, other) if verb in MEETINGS)


@cache
def traits(participant: Participant) -> tuple[tuple[str, str], ...]:
    """Pairs of adjectives that the stories may use with the participant and that do not contradict each other."""
    groups = [
        [each for each in group if not is_held_out(ADJECTIVE_NOUN, each, participant.word)]
        for group in ADJECTIVES[participant.kind]
    ]
    return tuple(pair for first, second in permutations(groups, 2) for pair in product(first, second))


@cache
def demonstratives(participant: Participant) -> tuple[str, ...]:
    """`this` and `that`, or `these` and `those`, as far as the stories may use them with the noun. May be empty."""
    forms = {"this": ("this", "these"), "that": ("that", "those")}
    return tuple(
        forms[lemma][participant.plural] for lemma in forms if not is_held_out(DETERMINER_NOUN, lemma, participant.word)
    )
