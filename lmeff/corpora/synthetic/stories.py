"""Short stories: a cast, an opening, a few scenes about the same people, animals and things, and an ending."""

from lmeff.corpora.synthetic.clauses import Speaker, be, capitalized
from lmeff.corpora.synthetic.lexicon import PLACES
from lmeff.corpora.synthetic.participants import BEASTS, NAMED, OBJECTS, PERSONS, with_article
from lmeff.corpora.synthetic.scenes import SCENES, Cast

NUM_SCENES = 4
_LATER = ("Then", "Later", "Soon", "A little later", "The next day")


def tell(speaker: Speaker) -> str:
    """A story as one paragraph."""
    groups = []
    for options in (NAMED, PERSONS, BEASTS, OBJECTS):
        first, second = speaker.two(options)
        while first.word == second.word:
            first, second = speaker.two(options)
        groups += [first, second]
    hero, friend, folk, crowd, beasts, herd, thing, gear = groups
    cast = Cast(hero, friend, folk, crowd, beasts, herd, thing, gear, speaker.pick(PLACES))
    scenes = list(SCENES)
    lines = _opening(speaker, cast)
    for _ in range(NUM_SCENES):
        start, *others = scenes.pop(int(speaker.random() * len(scenes)))(speaker, cast)
        if lines and start.startswith("The ") and speaker.chance(0.4):
            start = f"{speaker.pick(_LATER)} t{start[1:]}"
        lines += [start, *others]
    return " ".join([*lines, _ending(speaker, cast)])


def _opening(speaker: Speaker, cast: Cast) -> list[str]:
    """Half of the stories start in the middle of things."""
    hero, friend, beasts, place = cast.hero, cast.friend, cast.beasts, cast.place
    roll = speaker.random()
    if roll < 0.3:
        role = speaker.pick([each for each in PERSONS if each.gender == hero.gender and not each.plural])
        described = with_article(f"{speaker.trait(role)} {role.bare}")
        pets = f"{hero.possessive} {speaker.trait(beasts)} {beasts.bare}"
        return [
            f"{hero.text} {be(hero, speaker.past)} {described}.",
            f"{capitalized(hero.subject)} {speaker.now('lives', 'lived')} near the {place} with {pets}.",
        ]
    if roll < 0.5:
        day = speaker.pick(("One day", "One morning", "After school"))
        return [
            f"{day} {hero.text} and {friend.text} {speaker.now('go', 'went')} to the {place}.",
            f"They {speaker.now('meet', 'met')} {speaker.introduce(cast.folk)} and {speaker.introduce(beasts)} there.",
        ]
    return []


def _ending(speaker: Speaker, cast: Cast) -> str:
    hero, friend = cast.hero, cast.friend
    goes = speaker.now("goes", "went")
    return speaker.pick(
        (
            f"In the end {hero.text} and {friend.text} {speaker.now('go', 'went')} home.",
            f"At last they {speaker.now('are', 'were')} all happy.",
            f"It {speaker.now('is', 'was')} a good day near the {cast.place}.",
            f"Then {friend.text} {goes} home, and {hero.text} {goes} too.",
            f"In the end {hero.text} {goes} home with {hero.possessive} {cast.thing.bare}.",
        )
    )
