"""Clauses: noun phrases with distracting nouns inside, and predicates that agree with the head all the same."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from lmeff.corpora.synthetic.lexicon import PERSON, WHEN, WHERE, Verb
from lmeff.corpora.synthetic.participants import (
    Participant,
    deeds,
    demonstratives,
    intransitive_verbs,
    may_be,
    reflexive_verbs,
    traits,
    transitive_verbs,
    with_article,
)

T = TypeVar("T")
PREPOSITIONS = ("near", "behind", "beside")


def be(subject: Participant, past: bool) -> str:
    """`is`, `are`, `was` or `were`."""
    return ("were" if subject.plural else "was") if past else ("are" if subject.plural else "is")


def have(subject: Participant, past: bool) -> str:
    """`has`, `have` or `had`."""
    return "had" if past else ("have" if subject.plural else "has")


def finite(verb: Verb, subject: Participant, past: bool) -> str:
    """The form of the verb that agrees with its subject."""
    return verb.past if past else (verb.base if subject.plural else verb.third)


def relative_pronoun(head: Participant) -> str:
    return "who" if head.kind == PERSON else "that"


def with_subject_clause(head: Participant, verb: Verb, other: Participant, past: bool) -> str:
    """`the boy who likes the dogs`, `the wolf that saw Anna`: the head is the subject of its relative clause."""
    return f"{head.text} {relative_pronoun(head)} {finite(verb, head, past)} {other.text}"


def with_object_clause(head: Participant, verb: Verb, other: Participant, past: bool) -> str:
    """`the dogs that the boy likes`: the head is the object of its relative clause."""
    return f"{head.text} that {other.text} {finite(verb, other, past)}"


def capitalized(text: str) -> str:
    return text[0].upper() + text[1:]


def sentence(text: str) -> str:
    """The clause with a capital letter and a full stop."""
    return f"{capitalized(text)}."


class Speaker:
    """Says clauses in one tense, with choices from one stream of random numbers in [0, 1).

    Python promises that `random.Random.random` stays the same in every version, so every choice is made from it alone.
    """

    __slots__ = ("_traits", "past", "random")

    def __init__(self, random: Callable[[], float], past: bool = False) -> None:
        self.random = random
        self.past = past
        self._traits: dict[Participant, tuple[str, str]] = {}

    def pick(self, options: Sequence[T]) -> T:
        return options[int(self.random() * len(options))]

    def two(self, options: Sequence[T]) -> tuple[T, T]:
        """Two different options."""
        first = int(self.random() * len(options))
        second = int(self.random() * (len(options) - 1))
        return options[first], options[second + (second >= first)]

    def chance(self, probability: float) -> bool:
        return self.random() < probability

    def now(self, present: str, past: str) -> str:
        """The word of the story's tense."""
        return past if self.past else present

    # ---------------------------------------------------------------- noun phrases

    def trait(self, participant: Participant) -> str:
        """One of the two adjectives that the participant has all through the story."""
        if participant not in self._traits:
            self._traits[participant] = self.pick(traits(participant))
        return self.pick(self._traits[participant])

    def introduce(self, participant: Participant) -> str:
        """`a red cup`, `some keys`."""
        noun = f"{self.trait(participant)} {participant.bare}" if self.chance(0.5) else participant.bare
        return f"some {noun}" if participant.plural else with_article(noun)

    def point_at(self, participant: Participant, described: float = 0.4) -> str:
        """`this cup`, `those old keys`; `the cup` where stories may not point. `described`: share with an adjective."""
        determiner = self.pick(demonstratives(participant) or ("the",))
        if self.chance(described):
            return f"{determiner} {self.trait(participant)} {participant.bare}"
        return f"{determiner} {participant.bare}"

    def mention(self, participant: Participant, owner: Participant) -> str:
        """Any of these, or `the cup`, `the red cup`, `her cup`; for a noun."""
        roll = self.random()
        if roll < 0.25:
            return participant.text
        if roll < 0.35:
            return f"the {self.trait(participant)} {participant.bare}"
        if roll < 0.55:
            return f"{owner.possessive} {participant.bare}"
        return self.point_at(participant) if roll < 0.8 else self.introduce(participant)

    def beside(self, head: Participant, other: Participant) -> str:
        """`the dogs near the boy`."""
        return f"{head.text} {self.pick(PREPOSITIONS)} {other.text}"

    def subject(self, head: Participant, other: Participant, plain: float = 0.3) -> tuple[str, Participant | None]:
        """The head alone with probability `plain`, or with the other inside: near it, or in a relative clause.

        Returns the noun phrase, and the other if it is the last word of it.
        """
        if head.noun is None or self.chance(plain):
            return head.text, None
        roll = self.random()
        if roll < 0.4:
            return self.beside(head, other), other
        past = self.past or self.chance(0.5)
        if roll < 0.7:
            return with_subject_clause(head, self.pick(transitive_verbs(head, other)), other, past), other
        return with_object_clause(head, self.pick(transitive_verbs(other, head)), other, past), None

    # ---------------------------------------------------------------- predicates

    def framed(self, clause: str, share: float = 0.25) -> str:
        """The clause, in a share of all cases after the time at which it holds: `at night the dogs sleep`."""
        return f"{self.pick(WHEN)} {clause}" if self.chance(share) else clause

    def acts(self, subject: Participant, neighbor: Participant | None = None) -> str:
        """`sleeps near the river`."""
        verb = self.pick(intransitive_verbs(subject, neighbor))
        return f"{finite(verb, subject, self.past)} {self.pick(WHERE)}"

    def does(self, subject: Participant, thing: Participant, neighbor: Participant | None = None) -> str:
        """`finds the red key`."""
        verb = self.pick(transitive_verbs(subject, thing, neighbor))
        return f"{finite(verb, subject, self.past)} {self.mention(thing, subject)}"

    def feels(self, subject: Participant, neighbor: Participant | None = None) -> str:
        """`is hungry`."""
        trait = self.trait(subject)
        if neighbor and not may_be(neighbor, trait):
            return self.acts(subject, neighbor)
        return f"{be(subject, self.past)} {trait}"

    def has_acted(self, subject: Participant, neighbor: Participant | None = None) -> str:
        """`has slept near the river`."""
        verb = self.pick(intransitive_verbs(subject, neighbor))
        return f"{have(subject, self.past)} {verb.participle} {self.pick(WHERE)}"

    def has_done(self, subject: Participant, thing: Participant, neighbor: Participant | None = None) -> str:
        """`has found the red key`."""
        verb = self.pick(deeds(subject, thing, neighbor))
        return f"{have(subject, self.past)} {verb.participle} {self.mention(thing, subject)}"

    def treats_itself(self, subject: Participant, neighbor: Participant | None = None) -> str:
        """`washes herself near the lake`."""
        verb = finite(self.pick(reflexive_verbs(subject, neighbor)), subject, self.past)
        return f"{verb} {subject.reflexive}" + (f" {self.pick(WHERE)}" if self.chance(0.5) else "")

    def predicate(self, subject: Participant, thing: Participant, neighbor: Participant | None = None) -> str:
        """Any of these but the last, for a subject that is a noun."""
        roll = self.random()
        if roll < 0.35:
            return self.acts(subject, neighbor)
        if roll < 0.5:
            return self.does(subject, thing, neighbor)
        if roll < 0.75:
            return self.feels(subject, neighbor)
        return self.has_acted(subject, neighbor) if roll < 0.85 else self.has_done(subject, thing, neighbor)
