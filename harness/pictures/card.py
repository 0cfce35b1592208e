"""The judge card as text: short under every judged table, everything on request."""

from collections.abc import Iterator, Sequence
from textwrap import wrap

from harness.cards.card import HumanAgreement, JudgeCard, LengthTrend, Position, Repeats
from harness.screen import visible
from harness.stats.counts import sign_test_p

WIDTH = 79  # one less than a terminal has, for the space that stands before
_DETAILS = 2  # reasons for no score that are explained
_LONGEST = 230  # characters of an explanation
_REFERENCE = "token F1 x 100 against the expected answer"


def card_lines(card: JudgeCard, *, full: bool = False) -> list[str]:
    """The card in lines of at most 79 characters: who and how much, what it leans to, what to beware of.

    Args:
        card: What is known.
        full: All of it.
    """
    lines = _filled([*_head(card)])
    for reason, detail in [*card.details.items()][:_DETAILS]:
        lines += _filled([f"{reason}: {_one_line(detail)}"], indent=1)
    if card.by_rule:
        return lines
    lines += _filled([*_leanings(card), *_checked(card.agreement)], indent=1)
    if full:
        lines += [line for phrases in _more(card) for line in _filled(phrases, indent=1)]
    return [*lines, *(line for warning in card.warnings for line in _filled([f"beware: {warning}"], indent=1))]


def card_phrases(card: JudgeCard) -> list[list[str]]:
    """All of the card but its warnings, for who folds lines otherwise: a list of phrases for each paragraph."""
    explained = [[f"{reason}: {_one_line(detail)}"] for reason, detail in card.details.items()]
    if card.by_rule:
        return [[*_head(card)], *explained]
    return [[*_head(card)], *explained, [*_leanings(card), *_checked(card.agreement)], *_more(card)]


def _one_line(text: str) -> str:
    line = visible(" ".join(text.split()))
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def _head(card: JudgeCard) -> Iterator[str]:
    scored = ", ".join([f"{card.scored} of {card.n} scored", *(f"{n} {why}" for why, n in card.unscored.items())])
    if card.by_rule:
        yield f"judge card: no LLM; {_REFERENCE if card.judge == 'reference' else f'{card.judge} {card.rubric}'}"
        if card.unscored:
            yield scored
        return
    how = [form for form in (card.form, "weighted" if card.weighted else "") if form]
    asked = f"{card.rubric}{' (' + ', '.join(how) + ')' if how else ''}"
    yield f"judge card: {', '.join(filter(None, [card.judge, asked]))}"
    yield scored


def _leanings(card: JudgeCard) -> Iterator[str]:
    """What is wrong with the scores, if anything."""
    if card.length:
        yield _trend(card.length, card)
    if card.position and card.position.pairs:
        yield from _order(card.position)
    elif card.scored and not card.position:
        yield f"{_percent(card.at_low + card.at_high, card.scored)} at the ends of the scale"
    if card.repeats:
        yield _spread(card.repeats, card)


def _trend(trend: LengthTrend, card: JudgeCard) -> str:
    digits = _digits(card)
    what = "no trend with length shown" if trend.favours == "no trend shown" else f"favours {trend.favours}"
    return f"{what}: {trend.slope:+.{digits}f} a doubling ({trend.low:.{digits}f} to {trend.high:.{digits}f})"


def _order(position: Position) -> Iterator[str]:
    interval = ""
    if position.low is not None and position.high is not None:
        interval = f" ({100 * position.low:.0f} to {100 * position.high:.0f})"
    yield f"order changed the winner of {_share(position.flips, position.pairs, 'pairs')}{interval}"
    if position.flips:
        yield f"to the first place {position.to_first}, to the second {position.to_second} (p {_p(position.p)})"


def _spread(repeats: Repeats, card: JudgeCard) -> str:
    if card.position:
        return f"repeats: {_share(repeats.differ, repeats.subjects)} not the same every time"
    differ = f"{repeats.differ} of {repeats.subjects} differ"
    return f"repeats: SD {repeats.sd:.{_digits(card)}f} within an answer, {differ}"


def _checked(agreement: HumanAgreement | None) -> Iterator[str]:
    if agreement is None:
        yield "not checked by people"
        return
    yield (
        f"with people: {agreement.measure} {agreement.estimate:.2f} "
        f"({agreement.low:.2f} to {agreement.high:.2f}), {agreement.n} labels"
    )


def _more(card: JudgeCard) -> Iterator[list[str]]:
    """What else is known, a paragraph for each."""
    position = card.position
    if position:
        yield [
            f"tied in both orders {_share(position.ties, position.pairs)}",
            f"a winner in one order, a tie in the other {_share(position.half, position.pairs)}",
            f"incomplete {position.incomplete}",
        ]
        if decided := position.longer + position.shorter:
            p = _p(sign_test_p(position.longer, position.shorter))
            yield [f"the longer answer won {_share(position.longer, decided, 'decided pairs')} (p {p})"]
    elif card.scored:
        low, high = (f"{end:g}" for end in card.scale)
        yield [f"at {low}: {_share(card.at_low, card.scored)}", f"at {high}: {_share(card.at_high, card.scored)}"]
        if card.length is None:
            yield ["score against length: too few answers, or nothing varies"]
    if 0 < card.weighted < card.scored:
        yield [f"weighted by probabilities: {_share(card.weighted, card.scored)}"]
    if any(n for n, _ in card.failed.values()):
        yield [f"without a score: {', '.join(f'{name} {a} of {n}' for name, (a, n) in card.failed.items())}"]
    yield [f"asked again {_share(card.asked_again, card.n)}", *_spent(card)]


def _spent(card: JudgeCard) -> Iterator[str]:
    if card.prompt_tokens is not None or card.output_tokens is not None:
        said = ["?" if n is None else f"{n:,}" for n in (card.prompt_tokens, card.output_tokens)]
        yield f"{said[0]} tokens in, {said[1]} out"
    if card.n and card.seconds:
        yield f"{card.seconds / card.n:.2g} s a judgment"


def _digits(card: JudgeCard) -> int:
    """Decimals of a difference of scores."""
    return 1 if card.scale[1] - card.scale[0] > 20 else 2


def _share(part: int, whole: int, what: str = "") -> str:
    return f"{part} of {f'{whole} {what}'.strip()}, {_percent(part, whole)}" if whole else "0 of 0"


def _percent(part: int, whole: int) -> str:
    """Never 0 or 100 where it is not all or nothing."""
    share = 100 * part / whole
    if part and share < 0.5:
        return "<1 %"
    return ">99 %" if share > 99.5 and part < whole else f"{share:.0f} %"


def _p(p: float) -> str:
    return "<.001" if p < 0.001 else f"{p:.3f}".removeprefix("0")


def _filled(phrases: Sequence[str], *, indent: int = 0) -> list[str]:
    """Phrases side by side as far as there is room; one that is too long for a line is folded."""
    lines: list[str] = []
    line = ""
    for phrase in phrases:
        joined = f"{line} · {phrase}" if line else " " * indent + phrase
        if len(joined) <= WIDTH:
            line = joined
            continue
        lines += [line] if line else []
        # What follows the first line of the card stands below it, so that several cards can be told apart.
        start = " " * (1 if lines else indent)
        *before, line = wrap(phrase, WIDTH, initial_indent=start, subsequent_indent="   ") or [""]
        lines += before
    return [*lines, line] if line else lines
