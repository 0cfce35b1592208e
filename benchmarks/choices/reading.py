"""Which of the lettered choices a reply names: read as a strict reader would, and never guessed."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

_THOUGHT = re.compile(r"<(think|thinking|reasoning)>.*?</\1>", re.DOTALL | re.IGNORECASE)
_THOUGHT_OPEN = re.compile(r"<(?:think|thinking|reasoning)>", re.IGNORECASE)
_THOUGHT_CLOSE = re.compile(r"</(?:think|thinking|reasoning)>", re.IGNORECASE)

# "Answer: B" as simple-evals reads it, "the answer is B", "best option: B", and the box that mathematicians draw.
_MARKER = re.compile(
    r"(?:\banswer|\b(?:correct|right|best|my|final)[ \t]+(?:option|choice))[*_`\"' \t]*"
    r"(?::|=|\bis\b(?:[*_ \t]*:)?)[*_`]*|\\boxed\s*\{",
    re.IGNORECASE,
)
_BEFORE = r"[\s*_$(\[{`\"'“‘\\]*(?:(?:text|textbf|mathrm|mathbf)\{)?(?:(?:option|choice|letter)\s+)?[*_$(\[{`\"'“‘]*"
# What may not follow a label: the rest of a word (A's, C-section), a number (1.5, 50%).
_AFTER = r"(?![\w'’%]|-\w|[.,]\d)"
_ARTICLES = frozenset("AI")  # labels that are English words as well
_REASON = re.compile(r"\s+(?:because|since|is)\b", re.IGNORECASE)
_REFUSED = re.compile(r"\s+(?:is|was)(?:n['’]t|\s+(?:not|wrong|incorrect))\b", re.IGNORECASE)
_NEGATION = re.compile(
    r"\b(?:not|none|neither|nor|never|wrong|incorrect|cannot|except|unlike|instead|rather)\b|n['’]t\b", re.IGNORECASE
)


@dataclass(frozen=True)
class Offer:
    """What there is to choose from.

    Attributes:
        labels: Of the choices, in order: "A", "B", ...
        texts: The choices themselves, where known; "" or nothing where not.
    """

    labels: Sequence[str]
    texts: Sequence[str] = field(default=())

    def text(self, label: str) -> str:
        """The choice of a label; "" when unknown."""
        place = list(self.labels).index(label)
        return _fold(self.texts[place]) if place < len(self.texts) else ""


def read_choice(reply: str, offer: Offer) -> str | None:
    r"""The label that a reply chooses, or None where it does not say, or says more than one.

    In this order: what stands after the last "Answer:" or its like, as in simple-evals (`common.py`,
    `ANSWER_PATTERN_MULTICHOICE`: `(?i)Answer[ \t]*:[ \t]*\$?([A-D])\$?`, there the first), and if that is no
    choice, none was made; a label that the reply begins with; the only choice that is named anywhere, by
    its label or in its own words. A lone "A" before a word is the article. What was thought in `<think>` tags
    does not count, and a thought that was cut off is no answer.

    Args:
        reply: As the model wrote it.
        offer: The choices.
    """
    said = unicodedata.normalize("NFKC", _spoken(reply)).strip()
    markers = list(_MARKER.finditer(said))
    if markers:
        rest = said[markers[-1].end() :]
        return _first_label(rest, offer) or _named(_first_line(rest), offer)
    if _lists_several(said, offer):
        return None
    return _first_label(said, offer) or _named(said, offer)


def _spoken(reply: str) -> str:
    """The reply without what was thought."""
    said = _THOUGHT.sub("", reply)
    closed = _THOUGHT_CLOSE.split(said)[-1]  # a template may have opened the thought before the reply
    return _THOUGHT_OPEN.split(closed)[0] if _THOUGHT_OPEN.search(closed) else closed


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip(" \t*_`")), "")


def _any_of(offer: Offer) -> str:
    return "|".join(sorted(map(re.escape, offer.labels), key=len, reverse=True))


def _first_label(text: str, offer: Offer) -> str | None:
    """The label that a text begins with, if no other is named beside it."""
    found = re.match(rf"{_BEFORE}({_any_of(offer)}){_AFTER}", text, re.IGNORECASE)
    if not found:
        return None
    label, line = _as_offered(found[1], offer), text[found.end() :].split("\n", 1)[0]
    if not _means_label(label, line, offer) or _lower_word(found[1], line) or _REFUSED.match(line):
        return None
    beside = re.match(rf"[\s*)]*(?:,|/|&|\+|and\b|or\b)[\s*(]*(?:{_any_of(offer)}){_AFTER}", line, re.IGNORECASE)
    others = {_as_offered(m[1], offer) for m in re.finditer(rf"(?<!\w)({_any_of(offer)})[.):](?!\w)", line)}
    return None if beside or others - {label} else label


def _as_offered(label: str, offer: Offer) -> str:
    return next(own for own in offer.labels if own.casefold() == label.casefold())


def _means_label(label: str, after: str, offer: Offer) -> bool:
    """Whether this is a label and no article or pronoun, by what follows it on the line."""
    if label not in _ARTICLES or not re.match(r"\s+\w", after) or _REASON.match(after):
        return True
    own = offer.text(label)
    return bool(own) and _fold(after).startswith(own)


def _lower_word(written: str, after: str) -> bool:
    """Whether a small letter goes on as a sentence does ("b and then"), so that it is no label."""
    return written.islower() and bool(re.match(r"\s+[a-z]", after)) and not _REASON.match(after)


def _lists_several(said: str, offer: Offer) -> bool:
    """Whether lines begin with different labels: the choices over again."""
    starts = re.findall(rf"(?m)^[\s*_>(-]*({_any_of(offer)})[.):](?!\w)", said)
    return len(set(starts)) > 1


def _named(said: str, offer: Offer) -> str | None:
    """The only choice that a text names, by its label or in its own words."""
    whole = _fold(said)
    equal = [label for label in offer.labels if offer.text(label) and offer.text(label) == whole]
    if equal:
        return equal[0] if len(equal) == 1 else None
    if _NEGATION.search(said):
        return None
    by_text, rest = _by_text(said, offer)
    named = by_text | set(_by_label(rest, offer))
    return named.pop() if len(named) == 1 else None


def _fold(text: str) -> str:
    """Without case, markdown, quotes and a full stop: what must be equal for two texts to be the same choice."""
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return plain.strip(" \t\n\"'`*_.!“”‘’")


def _by_text(said: str, offer: Offer) -> tuple[set[str], str]:
    """The labels of the choices that stand in a text word by word, the longer ones first, and what is left of it."""
    left, found = " ".join(said.casefold().split()), set()
    texts = {label: offer.text(label) for label in offer.labels}
    for text in sorted({text for text in texts.values() if len(text) > 1 or text.isdigit()}, key=len, reverse=True):
        words = re.compile(rf"(?<!\w)(?<!\d[.,]){re.escape(text)}(?!\w|[.,]\d)", re.IGNORECASE)
        if words.search(left):
            found |= {label for label, own in texts.items() if own == text}
            left, said = words.sub(" ", left), words.sub(" ", said)
    return found, said


def _by_label(said: str, offer: Offer) -> Iterator[str]:
    """The labels that something marks as such: brackets, bold, a line of its own, a word like "option" before it."""
    label = rf"(?P<label>{_any_of(offer)})"
    chosen = (
        r"\b(?:options?|choices?|letter|pick|choose|chose|select|selected|say|go with|think|believe|guess|be|is|was)\b"
        r"(?:\s+(?:it(?:'s| is)|that|option|choice|letter|the))*"
    )
    cues = (
        rf"\({label}\)",
        rf"\*\*\(?{label}\)?[.:)]?\*\*",
        rf"(?m)^[\W_]*{label}[\W_]*$",
        rf"(?m)^[\s>*-]*{label}[.)]\s",
        rf"(?i:{chosen})[\s*_\"'(:]*{label}{_AFTER}",
        rf"(?<!\w){label}\s+is\s+(?:the\s+)?(?i:correct|right|best)\b",
        rf":\s*{label}{_AFTER}",
    )
    for cue in cues:
        for match in re.finditer(cue, said):
            rest = said[match.end("label") :].split("\n", 1)[0]
            if _means_label(match["label"], rest, offer):
                yield match["label"]
