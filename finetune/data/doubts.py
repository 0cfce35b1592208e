"""Answers that lie too near each other to stand side by side as one right and one wrong.

A gull is white, but who says grey is not wrong. Wrong choices and false claims keep away from such pairs,
so that a question has exactly one right answer for a person too, and not only by the tables.
"""

from functools import cache

_NEAR = """
    white grey silver
    grey black brown
    grey blue
    red orange
    red pink purple
    red brown
    orange yellow brown
    yellow green
    yellow white
    green blue
    blue purple
    purple pink
    wool cloth leather
    cloth paper leather
    wood metal
    wood paper
    clay glass stone
    tool utensil container
    toy instrument garment
    furniture container
    mammal amphibian reptile
    fruit vegetable
    flower vegetable tree
    fruit tree
    growl roar howl bark
    chirp screech caw
    baa neigh bray moo
    cluck gobble quack honk
    big giant high long wide thick
    small tiny low short narrow thin
    loud noisy
    quiet silent calm asleep
    up above high top north
    down below low bottom south
    in inside on
    out outside off
    before early first front begin up
    after late last back end down
    good kind generous polite safe right true wise clean happy
    bad cruel selfish rude dangerous false foolish dirty sad angry cowardly
    slow lazy
    fast busy
    cheap poor
    expensive rich
    win victory success
    lose defeat failure
    give buy sell push
    take accept
    refuse hate
    begin entrance arrive
    end exit leave dead
    hard difficult strong heavy
    easy simple soft light weak
    hard complicated difficult
    brave bold
    shy cowardly
    public open visible
    hidden private closed
    true truth
    false lie
    old ancient
    modern young
    summer hot day
    winter cold night
    light bright
    dark dim
    laugh love friend happy
    cry hate enemy sad
    attack push war
    defend pull peace
    buy take
    full everything
    empty nothing
    loose free
    deep low
    inside hidden
    asleep dead
    awake alive
"""


@cache
def _pairs() -> frozenset[frozenset[str]]:
    groups = [line.split() for line in _NEAR.strip().splitlines()]
    return frozenset(frozenset((one, other)) for group in groups for one in group for other in group)


def too_near(one: str, other: str) -> bool:
    """Whether two answers are the same, or so near that both could be called right."""
    return one == other or frozenset((one, other)) in _pairs()
