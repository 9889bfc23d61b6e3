"""The words of the generated corpus: nouns with number and gender, verbs with all their forms, adjectives, places."""

from dataclasses import dataclass

PERSON, ANIMAL, THING = "person", "animal", "thing"


@dataclass(frozen=True, slots=True)
class Noun:
    singular: str
    plural: str
    kind: str
    gender: str = ""
    """`f`, `m`, or empty for a noun that says nothing about gender."""

    @property
    def is_irregular(self) -> bool:
        return self.plural not in (f"{self.singular}s", f"{self.singular}es", f"{self.singular.removesuffix('y')}ies")


@dataclass(frozen=True, slots=True)
class Verb:
    base: str
    third: str
    past: str
    participle: str


def _verb(base: str, past: str = "", participle: str = "") -> Verb:
    """A verb with its irregular forms, or a regular one. `participle` defaults to `past`."""
    if base.endswith("y") and base[-2] not in "aeiou":
        stem, third = f"{base[:-1]}i", f"{base[:-1]}ies"
    else:
        stem, third = base.removesuffix("e"), f"{base}es" if base.endswith(("ss", "sh", "ch")) else f"{base}s"
    past = past or f"{stem}ed"
    return Verb(base, third, past, participle or past)


_REGULAR = """
blame carry chase clean cry dance dress dry follow greet help jump laugh lift like love need own play rest shout smile
thank trust visit wait walk want warm wash watch work
"""
_VERBS = (
    *map(_verb, _REGULAR.split()),
    _verb("break", "broke", "broken"),
    _verb("bring", "brought"),
    _verb("buy", "bought"),
    _verb("catch", "caught"),
    _verb("choose", "chose", "chosen"),
    _verb("draw", "drew", "drawn"),
    _verb("drop", "dropped"),
    _verb("feed", "fed"),
    _verb("find", "found"),
    _verb("forget", "forgot", "forgotten"),
    _verb("hear", "heard"),
    _verb("hide", "hid", "hidden"),
    _verb("hold", "held"),
    _verb("hug", "hugged"),
    _verb("hurt", "hurt"),
    _verb("keep", "kept"),
    _verb("lose", "lost"),
    _verb("run", "ran", "run"),
    _verb("see", "saw", "seen"),
    _verb("sell", "sold"),
    _verb("shake", "shook", "shaken"),
    _verb("sing", "sang", "sung"),
    _verb("sleep", "slept"),
    _verb("steal", "stole", "stolen"),
    _verb("swim", "swam", "swum"),
    _verb("take", "took", "taken"),
    _verb("throw", "threw", "thrown"),
)
VERBS = {verb.base: verb for verb in _VERBS}


def _verbs(bases: str) -> tuple[Verb, ...]:
    return tuple(VERBS[base] for base in bases.split())


NAMES = {
    "f": ("Anna", "Emma", "Lucy", "Rosa", "Nina", "Clara", "Maya", "Alice", "Ella", "Julia"),
    "m": ("Tom", "Ben", "Jack", "Max", "Peter", "Leo", "Adam", "Henry", "Oscar", "David"),
}

PEOPLE = (
    Noun("boy", "boys", PERSON, "m"),
    Noun("girl", "girls", PERSON, "f"),
    Noun("king", "kings", PERSON, "m"),
    Noun("queen", "queens", PERSON, "f"),
    Noun("man", "men", PERSON, "m"),
    Noun("woman", "women", PERSON, "f"),
    Noun("uncle", "uncles", PERSON, "m"),
    Noun("aunt", "aunts", PERSON, "f"),
    Noun("prince", "princes", PERSON, "m"),
    Noun("lady", "ladies", PERSON, "f"),
    Noun("child", "children", PERSON),
    Noun("farmer", "farmers", PERSON),
    Noun("teacher", "teachers", PERSON),
    Noun("doctor", "doctors", PERSON),
    Noun("baker", "bakers", PERSON),
    Noun("sailor", "sailors", PERSON),
    Noun("painter", "painters", PERSON),
    Noun("thief", "thieves", PERSON),
)

ANIMALS = (
    Noun("dog", "dogs", ANIMAL),
    Noun("cat", "cats", ANIMAL),
    Noun("bird", "birds", ANIMAL),
    Noun("horse", "horses", ANIMAL),
    Noun("duck", "ducks", ANIMAL),
    Noun("bear", "bears", ANIMAL),
    Noun("rabbit", "rabbits", ANIMAL),
    Noun("fox", "foxes", ANIMAL),
    Noun("cow", "cows", ANIMAL),
    Noun("wolf", "wolves", ANIMAL),
    Noun("mouse", "mice", ANIMAL),
    Noun("goose", "geese", ANIMAL),
    Noun("calf", "calves", ANIMAL),
)

THINGS = (
    Noun("key", "keys", THING),
    Noun("cup", "cups", THING),
    Noun("hat", "hats", THING),
    Noun("book", "books", THING),
    Noun("ball", "balls", THING),
    Noun("box", "boxes", THING),
    Noun("lamp", "lamps", THING),
    Noun("coin", "coins", THING),
    Noun("ring", "rings", THING),
    Noun("bell", "bells", THING),
    Noun("drum", "drums", THING),
    Noun("stone", "stones", THING),
    Noun("plate", "plates", THING),
    Noun("basket", "baskets", THING),
    Noun("letter", "letters", THING),
    Noun("blanket", "blankets", THING),
    Noun("knife", "knives", THING),
    Noun("scarf", "scarves", THING),
    Noun("loaf", "loaves", THING),
    Noun("leaf", "leaves", THING),
)

ADJECTIVES = {
    PERSON: (
        ("happy", "sad", "proud"),
        ("tired", "hungry", "busy"),
        ("brave", "kind", "clever"),
        ("quiet", "shy", "loud"),
        ("tall", "strong", "rich", "poor"),
    ),
    ANIMAL: (
        ("happy", "sad", "quiet"),
        ("tired", "hungry", "thirsty"),
        ("brave", "clever", "gentle"),
        ("small", "big"),
        ("fast", "slow"),
        ("white", "black", "brown"),
    ),
    THING: (
        ("old", "new"),
        ("red", "blue", "green", "white", "black"),
        ("small", "big", "round"),
        ("heavy", "light"),
        ("clean", "lovely", "cheap"),
    ),
}
"""Groups of adjectives: two of one group would contradict or repeat each other."""

PLACES = ("river", "lake", "garden", "forest", "village", "market", "bridge", "tower", "barn", "school")
NEAR = tuple(f"near the {place}" for place in PLACES)
WHERE = (*NEAR, "in the garden", "in the forest", "in the village", "at the market")
WHEN = ("in the morning", "in the evening", "at night", "after lunch", "before dinner", "in summer", "in winter")

INTRANSITIVE = {
    PERSON: _verbs("sleep smile laugh wait rest cry swim run jump walk dance sing play work shout"),
    ANIMAL: _verbs("sleep wait rest swim run jump play hide walk"),
}
TRANSITIVE = {
    (PERSON, THING): _verbs(
        "find take carry hold bring buy want need throw break hide choose steal draw forget see clean drop "
        "like lift sell lose keep shake own"
    ),
    (PERSON, PERSON): _verbs("see help follow thank hug watch like love hear visit trust forget greet"),
    (PERSON, ANIMAL): _verbs("see help follow feed hug watch like love hear wash catch draw greet"),
    (ANIMAL, PERSON): _verbs("see follow watch like love hear trust greet"),
    (ANIMAL, ANIMAL): _verbs("see follow watch like chase hear greet"),
    (ANIMAL, THING): _verbs("find take carry see steal hide drop want lose shake"),
}
REFLEXIVE = {
    PERSON: _verbs("see hurt wash help blame trust draw hide dry warm dress"),
    ANIMAL: _verbs("see hurt wash hide dry warm clean"),
}

NEVER_TRANSITIVE = _verbs("sleep smile laugh wait cry dance")
"""Verbs that take no thing as their object: *Anna laughed the key."""
ALWAYS_TRANSITIVE = _verbs("find take carry hold bring want need throw like own")
"""Verbs that cannot stand without an object: *Anna found near the lake."""
MEETINGS = _verbs("see help follow thank hug watch hear visit feed wash catch chase greet")
"""What somebody does to a person or an animal at some moment."""
DEEDS = _verbs(
    "find take carry hold bring buy throw break hide choose steal draw forget see clean drop lift sell lose shake"
)
"""What somebody does to a thing at some moment, so that one deed can come before another."""
