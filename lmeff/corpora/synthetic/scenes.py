"""Scenes: a few sentences about the cast of a story, each scene with a part of the grammar that the pairs test."""

from dataclasses import dataclass

from lmeff.corpora.synthetic.clauses import Speaker, be, capitalized, finite, have, relative_pronoun, sentence
from lmeff.corpora.synthetic.participants import (
    Participant,
    deeds,
    intransitive_verbs,
    meetings,
    other_number,
    transitive_verbs,
)


@dataclass(frozen=True, slots=True)
class Cast:
    """Who and what a story is about."""

    hero: Participant
    friend: Participant
    folk: Participant
    """One person or several; `crowd` are others."""
    crowd: Participant
    beasts: Participant
    herd: Participant
    thing: Participant
    gear: Participant
    place: str


def arriving(speaker: Speaker, cast: Cast) -> list[str]:
    """Whom one meets somewhere, and what they do."""
    hero, herd, place = cast.hero, cast.herd, cast.place
    roll = speaker.random()
    if roll < 0.4:
        line = f"{hero.text} {speaker.now('looks', 'looked')} at {cast.beasts.text} and {cast.folk.text}."
    elif roll < 0.7:
        line = f"There {be(herd, speaker.past)} {speaker.introduce(herd)} near the {place}."
    else:
        guests = f"{speaker.introduce(cast.crowd)} with {speaker.introduce(herd)}"
        line = f"Near the {place} {hero.text} {speaker.now('meets', 'met')} {guests}."
    return [line, *watching(speaker, cast)]


def watching(speaker: Speaker, cast: Cast) -> list[str]:
    """What people and animals do: agreement, with other nouns in between."""
    folk, crowd, beasts, herd = cast.folk, cast.crowd, cast.beasts, cast.herd
    lines = []
    for head, other in speaker.two(((folk, beasts), (beasts, crowd), (crowd, herd), (herd, folk), (beasts, herd))):
        who, neighbor = speaker.subject(head, other)
        lines.append(f"{who} {speaker.predicate(head, cast.gear, neighbor)}")
    if speaker.chance(0.25):
        return [sentence(f"{lines[0]}, {speaker.pick(('and', 'but', 'while'))} {lines[1]}")]
    return [sentence(speaker.framed(line)) for line in lines]


def liking(speaker: Speaker, cast: Cast) -> list[str]:
    """Pronouns that point back to whom they mean."""
    pairs = [(cast.hero, cast.beasts), (cast.folk, cast.herd), (cast.beasts, cast.friend)]
    if cast.hero.gender != cast.friend.gender:
        pairs.append((cast.hero, cast.friend))
    one, other = speaker.pick(pairs)
    verb = finite(speaker.pick(transitive_verbs(other, one)), other, speaker.past)
    if speaker.chance(0.5):
        lines = [sentence(f"{one.text} {speaker.acts(one)} because {other.text} {verb} {one.object}")]
    else:
        lines = [sentence(f"when {other.text} {verb} {one.text}, {one.subject} {speaker.acts(one)}")]
    if speaker.chance(0.6):
        lines.append(sentence(f"{speaker.pick(('then', 'now', 'soon'))} {one.subject} {speaker.acts(one)}"))
    return lines


def showing(speaker: Speaker, cast: Cast) -> list[str]:
    """What one points at."""
    hero, friend, thing, gear = cast.hero, cast.friend, cast.thing, cast.gear
    shown = speaker.pick((thing, thing, cast.folk, cast.beasts, cast.herd))
    verb = finite(speaker.pick(transitive_verbs(hero, shown)), hero, speaker.past)
    lines = [sentence(speaker.framed(f"{hero.text} {verb} {speaker.point_at(shown)}"))]
    verb = finite(speaker.pick(transitive_verbs(friend, gear)), friend, speaker.past)
    if speaker.chance(0.5):
        remark = capitalized(f"{speaker.point_at(gear, described=0)} {be(gear, past=False)} {speaker.trait(gear)}")
        lines.append(f'"{remark}," {speaker.now("says", "said")} {friend.text}.')
        lines.append(sentence(f"{friend.subject} {speaker.pick(('also', 'often'))} {verb} {gear.object}"))
    else:
        lines.append(sentence(f"{speaker.beside(thing, gear)} {speaker.feels(thing)}"))
        lines.append(f"{friend.text} {verb} {speaker.mention(gear, friend)}.")
    return lines


def knowing(speaker: Speaker, cast: Cast) -> list[str]:
    """Who knows what, and who knows that: clauses with and without a gap."""
    hero, friend, folk, crowd, thing, gear = cast.hero, cast.friend, cast.folk, cast.crowd, cast.thing, cast.gear
    lines = []
    if speaker.chance(0.4):
        lines.append(f"{friend.text} {speaker.does(friend, thing)}.")
    groups = (
        (hero, friend, thing),
        (friend, folk, gear),
        (folk, hero, gear),
        (hero, folk, thing),
        (crowd, folk, thing),
    )
    for knower, finder, found in speaker.two(groups):
        know, knew = speaker.pick((("know", "knew"), ("remember", "remembered"), ("learn", "learned")))
        knows = speaker.now(know if knower.plural else f"{know}s", knew)
        who, neighbor = speaker.subject(finder, cast.beasts, plain=0.6)
        verb = speaker.pick(transitive_verbs(finder, found, neighbor)).past
        if speaker.chance(0.5):
            lines.append(sentence(f"{knower.text} {knows} what {who} {verb}"))
        else:
            lines.append(sentence(f"{knower.text} {knows} that {who} {verb} {speaker.mention(found, finder)}"))
    return lines


def asking(speaker: Speaker, cast: Cast) -> list[str]:
    """Questions, with and without a gap, and an answer."""
    doer, other = speaker.two((cast.hero, cast.friend, cast.folk, cast.crowd))
    thing, gear = cast.thing, cast.gear
    first, second = speaker.pick(deeds(doer, thing)), speaker.pick(deeds(other, gear))
    rest = f"{speaker.pick(('before', 'after'))} {other.text} {second.past} {speaker.mention(gear, other)}"
    roll = speaker.random()
    if roll < 0.4:
        question = f"What did {doer.text} {first.base} {rest}?"
    elif roll < 0.5:
        question = f"What did {doer.text} {first.base}?"
    elif roll < 0.7:
        question = f"Do you know what {doer.text} {first.past}?"
    elif roll < 0.9:
        question = f"Did {doer.text} {first.base} {thing.text} {rest}?"
    else:
        question = f"Where did {doer.text} {first.base} {thing.text}?"
    if speaker.chance(0.6):
        asker = cast.friend if doer is cast.hero else cast.hero
        question = f'"{question}" {speaker.now("asks", "asked")} {asker.text}.'
    answer = f"{doer.subject} {first.past} {speaker.mention(thing, doer)}" + (f" {rest}" if speaker.chance(0.3) else "")
    return [question, sentence(answer)]


def caring(speaker: Speaker, cast: Cast) -> list[str]:
    """What people and animals do to themselves, and to each other."""
    hero, friend, folk, crowd, beasts, herd = cast.hero, cast.friend, cast.folk, cast.crowd, cast.beasts, cast.herd
    pairs = (
        (hero, folk),
        (hero, beasts),
        (friend, crowd),
        (folk, beasts),
        (folk, crowd),
        (crowd, herd),
        (beasts, crowd),
        (herd, beasts),
    )
    lines = []
    for head, other in speaker.two(pairs):
        who, neighbor = speaker.subject(head, other, plain=0.5)
        line = f"{who} {speaker.treats_itself(head, neighbor)}"
        if speaker.chance(0.25):
            verb = finite(speaker.pick(meetings(other, head)), other, speaker.past)
            line += f", and {other.text} {verb} {head.object}"
        lines.append(sentence(speaker.framed(line)))
    return lines


def _whoever(speaker: Speaker, who: Participant, other: Participant) -> tuple[Participant, str, str]:
    """A subject, how it is named, and an adverb that it allows: `ever` only where a negation stands above it."""
    one, many = (other_number(who), who) if who.plural else (who, other_number(who))
    single = other_number(other) if other.plural else other
    met = f"{relative_pronoun(one)} {have(one, speaker.past)} {speaker.pick(meetings(one, other)).participle}"
    roll = speaker.random()
    if roll < 0.18:
        return one, f"no {one.bare}", "ever"
    if roll < 0.33:
        return one, f"no {one.bare} {met} {other.text}", "ever"
    if roll < 0.48:
        return one, f"{one.text} {met} no {single.bare}", speaker.pick(("often", "already"))
    if roll < 0.68:
        return many, f"few {many.bare}", "ever"
    if roll < 0.8:
        return one, f"every {one.bare}", "often"
    if roll < 0.93:
        return many, f"most {many.bare}", "often"
    return who, who.text, speaker.pick(("often", "already", "never"))


def ever(speaker: Speaker, cast: Cast) -> list[str]:
    """What nobody has ever done, and what many often have."""
    lines = []
    if speaker.chance(0.4):
        who = speaker.pick((cast.friend, cast.folk, cast.beasts))
        deed = f"{speaker.pick(intransitive_verbs(who)).participle} near the {cast.place}"
        question = f"{capitalized(have(who, speaker.past))} {who.text} ever {deed}?"
        lines.append(f'"{question}" {speaker.now("asks", "asked")} {cast.hero.text}.')
    groups = ((cast.folk, cast.herd), (cast.crowd, cast.beasts), (cast.beasts, cast.folk), (cast.herd, cast.crowd))
    for group in speaker.two(groups):
        who, start, adverb = _whoever(speaker, *group)
        neighbor = group[1]
        if speaker.chance(0.4):
            deed = f"{speaker.pick(deeds(who, cast.gear, neighbor)).participle} {cast.gear.text}"
        else:
            deed = speaker.pick(intransitive_verbs(who, neighbor)).participle
        line = f"{start} {have(who, speaker.past)} {adverb} {deed}"
        if speaker.chance(0.5):
            line += f" near the {cast.place}"
        lines.append(sentence(speaker.framed(line, share=0.7)))
    return lines


def lacking(speaker: Speaker, cast: Cast) -> list[str]:
    """Who has some things, and who has not any."""
    lines, shares = [], []
    people = speaker.two((cast.hero, cast.friend, cast.folk, cast.crowd))
    for who, thing in zip(people, (cast.thing, cast.gear), strict=True):
        things = thing if thing.plural else other_number(thing)
        negation, amount = speaker.pick((("", "some"), (" not", "any"), ("", "no")))
        verb = speaker.pick(deeds(who, things)).participle
        lines.append(f"{who.text} {have(who, speaker.past)}{negation} {verb} {amount} {things.bare}")
        shares.append(amount)
    return [sentence(f"{lines[0]}, {'but' if 'some' in shares and len(set(shares)) > 1 else 'and'} {lines[1]}")]


SCENES = (arriving, watching, liking, showing, knowing, asking, caring, caring, ever, lacking)
