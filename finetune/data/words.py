"""Words of the demo's world that are not things: opposites, verbs, comparatives, numbers, units.

Like `world`, written for this project, and the only place that says what is right.
"""


def _pairs(text: str) -> dict[str, str]:
    return dict(entry.split(":") for entry in text.split())


ANTONYMS = _pairs("""
    big:small hot:cold fast:slow old:young high:low long:short wide:narrow thick:thin heavy:light hard:soft
    wet:dry full:empty open:closed clean:dirty loud:quiet rich:poor strong:weak happy:sad brave:cowardly
    early:late near:far deep:shallow sharp:blunt smooth:rough tight:loose bright:dim true:false
    good:bad kind:cruel polite:rude sweet:sour cheap:expensive easy:difficult alive:dead awake:asleep
    safe:dangerous simple:complicated public:private first:last male:female inside:outside above:below
    up:down left:right in:out on:off before:after always:never everything:nothing everybody:nobody day:night
    summer:winter north:south east:west love:hate laugh:cry win:lose buy:sell push:pull arrive:leave begin:end
    remember:forget give:take accept:refuse attack:defend increase:decrease float:sink friend:enemy
    question:answer war:peace truth:lie front:back top:bottom entrance:exit success:failure ancient:modern
    generous:selfish lazy:busy guilty:innocent visible:hidden temporary:permanent shy:bold victory:defeat
    noisy:silent giant:tiny calm:angry wise:foolish
""")
"""Word to opposite; no word stands in two pairs."""

PAST = _pairs("""
    go:went see:saw eat:ate drink:drank run:ran sing:sang swim:swam write:wrote read:read give:gave take:took
    come:came make:made say:said tell:told think:thought buy:bought bring:brought catch:caught teach:taught
    find:found hold:held keep:kept sleep:slept leave:left lose:lost meet:met pay:paid sell:sold send:sent
    sit:sat stand:stood win:won speak:spoke break:broke choose:chose drive:drove ride:rode rise:rose fly:flew
    grow:grew know:knew throw:threw draw:drew wear:wore tear:tore forget:forgot get:got begin:began ring:rang
    build:built spend:spent feel:felt hear:heard fall:fell hide:hid bite:bit shake:shook steal:stole freeze:froze
    walk:walked talk:talked jump:jumped play:played look:looked ask:asked help:helped work:worked call:called
    open:opened close:closed climb:climbed cook:cooked wash:washed push:pushed pull:pulled dance:danced
    like:liked live:lived move:moved smile:smiled arrive:arrived paint:painted want:wanted wait:waited start:started
    visit:visited shout:shouted plant:planted count:counted carry:carried cry:cried study:studied hurry:hurried
    stop:stopped plan:planned hop:hopped clap:clapped listen:listened learn:learned clean:cleaned finish:finished
""")
"""Verb to past tense."""

COMPARATIVES = _pairs("""
    big:bigger small:smaller hot:hotter cold:colder fast:faster slow:slower old:older young:younger high:higher
    low:lower long:longer short:shorter wide:wider thick:thicker thin:thinner heavy:heavier light:lighter
    hard:harder soft:softer wet:wetter dry:drier clean:cleaner dirty:dirtier loud:louder quiet:quieter rich:richer
    poor:poorer strong:stronger weak:weaker happy:happier sad:sadder brave:braver early:earlier late:later
    near:nearer far:farther deep:deeper sharp:sharper smooth:smoother rough:rougher tight:tighter loose:looser
    bright:brighter good:better bad:worse kind:kinder sweet:sweeter cheap:cheaper easy:easier safe:safer
    simple:simpler lazy:lazier busy:busier calm:calmer angry:angrier wise:wiser noisy:noisier tiny:tinier
    tall:taller nice:nicer large:larger fat:fatter warm:warmer cool:cooler dark:darker ugly:uglier
""")
"""Adjective to comparative."""

UNITS = _pairs("""
    mm:millimetre cm:centimetre m:metre km:kilometre mg:milligram g:gram kg:kilogram ml:millilitre cl:centilitre
    l:litre s:second min:minute h:hour ft:foot in:inch lb:pound oz:ounce V:volt W:watt kW:kilowatt
    Hz:hertz J:joule N:newton A:ampere Pa:pascal K:kelvin t:tonne ha:hectare dB:decibel
""")
"""Abbreviation to unit."""

MEASURES = _pairs("""
    millimetre:length centimetre:length metre:length kilometre:length foot:length inch:length mile:length yard:length
    milligram:weight gram:weight kilogram:weight pound:weight ounce:weight tonne:weight millilitre:volume
    centilitre:volume litre:volume gallon:volume pint:volume second:time minute:time hour:time day:time week:time
    month:time year:time century:time decade:time hectare:area acre:area volt:voltage watt:power kilowatt:power
    hertz:frequency joule:energy newton:force pascal:pressure kelvin:temperature
    degree:temperature knot:speed
""")
"""Unit to what it measures."""

CONVERSIONS: tuple[tuple[str, str, int], ...] = (
    ("minutes", "hours", 60),
    ("seconds", "minutes", 60),
    ("hours", "days", 24),
    ("days", "weeks", 7),
    ("months", "years", 12),
    ("years", "decades", 10),
    ("years", "centuries", 100),
    ("millimetres", "centimetres", 10),
    ("centimetres", "metres", 100),
    ("metres", "kilometres", 1000),
    ("grams", "kilograms", 1000),
    ("inches", "feet", 12),
    ("feet", "yards", 3),
)
"""(small unit, large unit, how many of the small there are in one of the large)."""

_ONES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_TEENS = ("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


def number_word(number: int) -> str:
    """0 to 100 in words: "thirty-seven".

    Raises:
        ValueError: a number outside of that.
    """
    if not 0 <= number <= 100:
        raise ValueError(f"number words go from 0 to 100, not {number}")
    if number < 20:
        return (_ONES + _TEENS)[number]
    if number == 100:
        return "one hundred"
    tens, ones = divmod(number, 10)
    return _TENS[tens - 2] + (f"-{_ONES[ones]}" if ones else "")


def every_word() -> list[str]:
    """Every word of these tables, and those that number words are made of, each once."""
    tables = (ANTONYMS, PAST, COMPARATIVES, UNITS, MEASURES)
    listed = [word for table in tables for pair in table.items() for word in pair]
    return sorted({*listed, *_ONES, *_TEENS, *_TENS})
