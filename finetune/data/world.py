"""The little world of the demo: things, and what is true of them.

The instruction set, the text the tiny base model is pretrained on and the quiz all speak of the things
below, so that one short list decides what is true. Written for this project. A thing has a colour (if it
is a part of nature that has a usual one) or a material (if it is made), never both.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

# category: thing[/plural]:colour or material:place. A plural is written out where adding s or es is wrong;
# "-" stands where the world has no clear answer, and then nothing asks for one.
_THINGS = """
mammal: fox:red:forest wolf/wolves:grey:forest bear:-:forest lion:yellow:grassland pig:pink:farm
mammal: sheep/sheep:white:farm cow:-:farm horse:-:stable goat:-:farm mouse/mice:grey:field
mammal: elephant:grey:grassland monkey:brown:jungle camel:brown:desert deer/deer:brown:forest rabbit:-:burrow
mammal: whale:-:ocean dolphin:grey:ocean tiger:orange:jungle cat:-:house dog:-:house donkey:grey:farm
mammal: mole:-:tunnel bat:black:cave otter:brown:river beaver:brown:river giraffe:yellow:grassland
mammal: zebra:-:grassland hippopotamus:grey:river squirrel:-:forest seal:grey:ocean
bird: crow:black:field swan:white:lake parrot:green:jungle canary/canaries:yellow:cage flamingo:pink:lake
bird: raven:black:forest eagle:brown:mountain owl:brown:forest duck:-:pond goose/geese:white:farm hen:-:farm
bird: pigeon:grey:city dove:white:- gull:white:coast sparrow:brown:garden peacock:blue:- turkey:-:farm
fish: shark:grey:ocean salmon/salmon:silver:river goldfish/goldfish:orange:- sardine:silver:ocean eel:-:river
fish: herring:silver:ocean trout/trout:-:river carp/carp:-:pond
insect: bee:-:hive ant:black:anthill fly/flies:black:- wasp:-:- beetle:black:- ladybird:red:garden
insect: butterfly/butterflies:-:meadow moth:grey:- cricket:-:meadow grasshopper:green:meadow flea:-:-
reptile: snake:-:desert lizard:-:desert crocodile:green:river turtle:green:ocean tortoise:-:- gecko:green:-
amphibian: frog:green:pond toad:brown:garden newt:-:pond salamander:-:-
fruit: apple:-:orchard banana:yellow:- cherry/cherries:red:orchard plum:purple:orchard pear:green:orchard
fruit: lemon:yellow:orchard lime:green:- peach:orange:orchard apricot:orange:orchard strawberry/strawberries:red:-
fruit: raspberry/raspberries:red:- blueberry/blueberries:blue:- blackberry/blackberries:black:- grape:-:vineyard
fruit: mango/mangoes:orange:- coconut:brown:beach fig:-:- melon:-:- pineapple:yellow:- date:brown:-
fruit: cranberry/cranberries:red:-
vegetable: carrot:orange:garden pea:green:garden bean:green:garden cabbage:green:garden lettuce:green:garden
vegetable: radish:red:garden potato/potatoes:brown:field beet:purple:- pumpkin:orange:- cucumber:green:-
vegetable: leek:green:- turnip:white:- cauliflower:white:- parsnip:white:- aubergine:purple:- artichoke:green:-
flower: rose:-:garden daisy/daisies:white:meadow sunflower:yellow:field daffodil:yellow:garden
flower: lily/lilies:white:- poppy/poppies:red:field buttercup:yellow:meadow bluebell:blue:forest
flower: snowdrop:white:- dandelion:yellow:meadow cornflower:blue:field marigold:orange:garden tulip:-:garden
tree: oak:-:forest pine:-:forest birch:-:forest maple:-:park willow:-:park palm:-:beach fir:-:forest
tree: elm:-:park ash:-:forest beech:-:forest cedar:-:- poplar:-:-
jewel: ruby/rubies:red:- emerald:green:- sapphire:blue:- pearl:white:- amethyst:purple:- topaz:yellow:- garnet:red:-
tool: hammer:metal:workshop saw:metal:workshop axe:metal:workshop drill:metal:workshop wrench:metal:workshop
tool: chisel:metal:workshop screwdriver:metal:workshop shovel:metal:shed rake:metal:shed ladder:-:shed
tool: broom:wood:cupboard anvil:metal:forge crowbar:metal:- needle:metal:- trowel:metal:shed hoe:metal:shed
utensil: spoon:metal:kitchen fork:metal:kitchen knife/knives:metal:kitchen ladle:metal:kitchen whisk:metal:kitchen
utensil: spatula:-:kitchen grater:metal:kitchen sieve:metal:kitchen pan:metal:kitchen kettle:metal:kitchen
container: bottle:glass:cellar jar:glass:pantry box:paper:attic barrel:wood:cellar sack:cloth:- vase:clay:-
container: crate:wood:- mug:clay:kitchen jug:clay:kitchen envelope:paper:office bucket:metal:-
garment: shirt:cloth:wardrobe coat:wool:wardrobe sock:wool:drawer scarf/scarves:wool:wardrobe dress:cloth:wardrobe
garment: skirt:cloth:wardrobe mitten:wool:drawer sweater:wool:wardrobe belt:leather:- apron:cloth:kitchen cap:cloth:-
garment: blouse:cloth:wardrobe cloak:cloth:- jumper:wool:- glove:leather:drawer
furniture: chair:wood:kitchen table:wood:kitchen bed:wood:bedroom desk:wood:office shelf/shelves:wood:library
furniture: bench:wood:park stool:wood:kitchen sofa:leather:lounge armchair:leather:lounge bookcase:wood:library
furniture: cradle:wood:bedroom dresser:wood:bedroom
vehicle: car:metal:garage bus:metal:street train:metal:station ship:metal:harbour canoe:wood:river tram:metal:street
vehicle: plane:metal:airport helicopter:metal:airport tractor:metal:farm cart:wood:farm ferry/ferries:metal:harbour
vehicle: taxi:metal:street raft:wood:river bicycle:metal:street rocket:metal:- lorry/lorries:metal:-
instrument: violin:wood:- drum:-:- flute:metal:- trumpet:metal:- piano:wood:lounge guitar:wood:- harp:wood:-
instrument: bell:metal:tower cello:wood:- organ:-:church trombone:metal:- clarinet:wood:- banjo:wood:- tuba:metal:-
building: castle:stone:hill church:stone:village palace:stone:city temple:stone:- cottage:stone:village hut:wood:-
building: cabin:wood:forest barn:wood:farm fortress:stone:hill lighthouse:stone:coast skyscraper:glass:city
toy: doll:cloth:nursery kite:paper:- puppet:wood:- marble:glass:- ball:rubber:- balloon:rubber:- puzzle:paper:nursery
"""

_ANIMALS = ("mammal", "bird", "fish", "insect", "reptile", "amphibian")
_NATURE = frozenset((*_ANIMALS, "fruit", "vegetable", "flower", "tree", "jewel"))

_SOUNDS = """
wolf:howl lion:roar pig:oink sheep:baa cow:moo horse:neigh mouse:squeak elephant:trumpet monkey:chatter
cat:meow dog:bark donkey:bray crow:caw owl:hoot duck:quack goose:honk hen:cluck pigeon:coo eagle:screech
sparrow:chirp turkey:gobble bee:buzz snake:hiss frog:croak bear:growl
"""

_ON = frozenset(("farm", "mountain", "coast", "hill", "beach", "street"))
_AT = frozenset(("airport", "station"))


@dataclass(frozen=True)
class Thing:
    """One thing of the world. What is not clear, or not there, is None; `sound` is an animal's cry."""

    name: str
    plural: str
    category: str
    colour: str | None
    material: str | None
    place: str | None
    sound: str | None

    @property
    def is_animal(self) -> bool:
        """Whether it is a mammal, bird, fish, insect, reptile or amphibian."""
        return self.category in _ANIMALS

    @property
    def a(self) -> str:
        """The name after its article: "a fox", "an owl"."""
        return f"{article(self.name)} {self.name}"


def article(word: str) -> str:
    """Which article stands before `word`: "an" before a vowel letter, else "a"."""
    return "an" if word[0] in "aeiou" else "a"


def where(place: str) -> str:
    """A place with its preposition: "in the forest", "on the farm"."""
    return f"{'on' if place in _ON else 'at' if place in _AT else 'in'} the {place}"


def regular_plural(noun: str) -> str:
    """The plural by rule: "es" after s, x, z, ch and sh, else "s"."""
    return noun + ("es" if noun.endswith(("s", "x", "z", "ch", "sh")) else "s")


def _read(line: str, sounds: dict[str, str]) -> Iterator[Thing]:
    category, _, rest = line.partition(": ")
    for entry in rest.split():
        names, quality, place = (None if part == "-" else part for part in entry.split(":"))
        assert names
        name, _, plural = names.partition("/")
        colour, material = (quality, None) if category in _NATURE else (None, quality)
        yield Thing(name, plural or regular_plural(name), category, colour, material, place, sounds.get(name))


@cache
def things() -> tuple[Thing, ...]:
    """Every thing, in the order of the table."""
    sounds = dict(pair.split(":") for pair in _SOUNDS.split())
    return tuple(thing for line in _THINGS.strip().splitlines() for thing in _read(line, sounds))


@cache
def categories() -> tuple[str, ...]:
    """The kinds of thing, in the order of the table."""
    return tuple(dict.fromkeys(thing.category for thing in things()))


@cache
def colours() -> tuple[str, ...]:
    """Every colour that some thing has, sorted."""
    return tuple(sorted({thing.colour for thing in things() if thing.colour}))


@cache
def materials() -> tuple[str, ...]:
    """Every material that some thing is made of, sorted."""
    return tuple(sorted({thing.material for thing in things() if thing.material}))


@cache
def places() -> tuple[str, ...]:
    """Every place where some thing is found, sorted."""
    return tuple(sorted({thing.place for thing in things() if thing.place}))
