"""The picture of a survey: what is in a data set, as text for a terminal."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from textwrap import shorten, wrap

from rich.console import Group, RenderableType
from rich.text import Text

from finetune.survey.lengths import Lengths, Spread
from finetune.survey.repeats import Repeats, Twins
from finetune.survey.survey import Counts, Sample, Survey

WIDTH = 80
_BAR = 40  # characters of the longest
_EIGHTHS = " ▏▎▍▌▋▊▉"
_SAMPLE = 2_000  # characters of an entry that are shown without --full
_TWINS = 3  # pairs of each kind that are shown without --full
_QUESTION = 66  # characters
_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def picture(found: Survey, *, full: bool = False, coloured: bool = False) -> Group:
    """Everything a survey found, from what there is to one entry as the model sees it.

    Args:
        found: The survey.
        full: With more examples, and the shown entry whole.
        coloured: Mark what is learnt by colour, else by ⟦ ⟧.
    """
    parts: list[RenderableType] = []
    for title, lines in (
        (f"{found.source}  {found.format}", _counts(found.counts)),
        ("token lengths", _lengths(found.lengths)),
        ("repeats", [*_repeats(found.repeats, found.similarity, full), *_limits(found)]),
        *((f"leakage  {name}", _leak(name, found, full)) for name in found.leaks),
        ("worth a look", _suspects(found, full)),
    ):
        body = [*lines]
        parts += [*([""] if parts else []), Text(visible(title), "bold"), *(Text(f" {line}") for line in body)]
    return Group(*parts, "", *_sample(found.sample, full, coloured))


def visible(text: str) -> str:
    """Text whose control characters are shown instead of obeyed, and half characters by their number."""
    return _HIDDEN.sub(lambda match: _symbol(ord(match[0])), text)


def _symbol(code: int) -> str:
    return chr(0x2400 + code) if code < 0x20 else f"\\u{code:04x}"


def bars(edges: Sequence[int], counts: Sequence[int]) -> Iterator[str]:
    """A histogram in lines of less than 80 characters; the last bin has no end."""
    highest = max(counts, default=0)
    ends = [f"–{edge - 1:,}" if edge - 1 > start else "" for start, edge in pairwise(edges)]
    labels = [f"{start:,}{end}" for start, end in zip(edges, [*ends, "–"], strict=False)]
    width = max(map(len, labels), default=0)
    for label, n in zip(labels, counts, strict=True):
        yield f"{label:>{width}}  {_bar(n, highest)} {n:,}" if n else f"{label:>{width}}"


def _bar(n: int, highest: int) -> str:
    whole, part = divmod(max(1, round(8 * _BAR * n / highest)), 8)
    return "█" * whole + _EIGHTHS[part].strip()


def _counts(counts: Counts) -> Iterator[str]:
    yield f"{counts.entries:,} entries, {counts.turns:,} turns, {counts.conversations:,} conversations"
    yield (
        f"{counts.with_input:,} with an input, {counts.with_system:,} with a system prompt, "
        f"{counts.with_answer:,} with an expected answer"
    )
    if counts.meta:
        yield from _folded("other fields: ", [f"{visible(name)} ({n:,})" for name, n in counts.meta.items()])


def _folded(head: str, words: Sequence[str]) -> Iterator[str]:
    """Comma-separated words in lines that fit."""
    line = head + words[0]
    for word in words[1:]:
        if len(line) + len(word) + 3 > WIDTH:
            yield line + ","
            line = " " + word
        else:
            line += f", {word}"
    yield line


def _lengths(lengths: Lengths) -> Iterator[str]:
    whole = f"{lengths.tokens:,} in {lengths.measured:,} entries"
    yield f"{_tokenizer(lengths.tokenizer)} tokens, style {lengths.style}: {whole}"
    if lengths.untrained:
        yield f"{lengths.untrained:,} entries with nothing to learn are not measured, and left out of a fine-tuning"
    if lengths.whole:
        yield f"{'':8}{'min':>8}{'median':>8}{'95 %':>8}{'max':>8}"
        for name in ("prompt", "answer", "whole"):
            spread: Spread | None = getattr(lengths, name)
            assert spread is not None, "all three or none"
            cells = (spread.min, spread.median, spread.p95, spread.max)
            yield f"{name:8}" + "".join(f"{cell:>8,.0f}" for cell in cells)
        yield from bars(lengths.edges, lengths.counts)
    yield from _too_long(lengths)
    yield from (visible(note) for note in lengths.notes)


def _tokenizer(name: str) -> str:
    """A tokenizer from a file is called by its folder."""
    path = Path(name)
    return visible(path.parent.name if path.name == "tokenizer.json" else name)


def _too_long(lengths: Lengths) -> Iterator[str]:
    if not lengths.too_long:
        yield f"all fit {lengths.max_length:,} tokens"
        return
    yield f"{lengths.too_long:,} are longer than {lengths.max_length:,} tokens; a fine-tuning would"
    yield f"  cut the end off {lengths.cut:,} and drop {lengths.dropped:,} whose answer does not begin before it,"
    yield f"  or drop all {lengths.too_long:,} with --too-long drop"


def _repeats(repeats: Repeats, similarity: float, full: bool) -> Iterator[str]:
    yield f"questions of an earlier entry: {repeats.same:,}, of them with its answer too: {repeats.same_answered:,}"
    yield f"questions with several, different answers: {repeats.contradictions:,}"
    for one in repeats.contradicting[: None if full else _TWINS]:
        yield f"  {_short(one.question)}"
        yield from (
            f"    {_listed([item_id])}: {_short(answer)}" for item_id, answer in zip(one.ids, one.answers, strict=True)
        )
    yield f"the same as an earlier one but for case and punctuation: {repeats.alike:,}"
    near = f"near pairs ({similarity:g} or more): {repeats.near:,}"
    yield f"{near}, with the same answer: {repeats.near_answered:,}"
    yield from _pairs(repeats.pairs, full)


def _limits(found: Survey) -> Iterator[str]:
    """How far near questions were looked for, here and across the splits, where that is not all the way."""
    if not found.complete:
        yield "too many questions are alike to compare all: there are more near ones"
    if found.reach:
        yield f"of the longest questions only the last {found.reach:,} characters were compared"


def _leak(name: str, found: Survey, full: bool) -> Iterator[str]:
    leak = found.leaks[name]
    yield f"{leak.entries:,} {name} entries against {found.splits.get('train', 0):,} training entries"
    yield f"the same question: {leak.same:,}"
    yield f"the same but for case and punctuation: {leak.alike:,}"
    yield f"near ({found.similarity:g} or more): {leak.near:,}, with the same answer: {leak.near_answered:,}"
    yield from _pairs(leak.pairs, full)


def _pairs(pairs: Sequence[Twins], full: bool) -> Iterator[str]:
    shown = Counter[str]()
    for twins in pairs:
        shown[twins.kind] += 1
        if full or shown[twins.kind] <= _TWINS:
            answers = "same answer" if twins.same_answer else "another answer"
            nearness = f"{twins.similarity:.2f}" if twins.kind == "near" else twins.kind
            yield f"  {nearness}, {answers}: {_listed(twins.ids)}"
            first, second = _side_by_side(*twins.questions)
            yield from (f"    {line}" for line in ([first] if first == second else [first, second]))


def _side_by_side(a: str, b: str) -> tuple[str, str]:
    """Two texts in a line each, cut so that the first place where they differ is seen."""
    a, b = " ".join(a.split()), " ".join(b.split())
    differs = next((n for n, pair in enumerate(zip(a, b, strict=False)) if len({*pair}) > 1), min(len(a), len(b)))
    start = min(differs - _QUESTION // 2, max(len(a), len(b)) - _QUESTION + 1)
    if a == b or start <= 1 or differs < _QUESTION - 20:
        return _short(a), _short(b)
    return _short(f"…{a[start:]}"), _short(f"…{b[start:]}")


def _suspects(found: Survey, full: bool) -> Iterator[str]:
    if not found.suspects:
        yield "nothing"
    for suspect in found.suspects:
        yield f"{suspect.count:,} x {suspect.name}: {_listed(suspect.ids, suspect.count)}"
        yield from (f"    {line}" for line in wrap(suspect.means, WIDTH - 6))
        for text, n in list(suspect.seen.items())[: None if full else _TWINS]:
            yield f"    {n:,} x {_short(text)}"


def _listed(ids: Sequence[str], total: int | None = None) -> str:
    """Ids, as many as fit a line."""
    words: list[str] = []
    for item_id in ids:
        word = shorten(visible(item_id), 24, placeholder="…") or "…"
        if words and sum(map(len, words)) + 2 * len(words) + len(word) > 40:
            break
        words.append(word)
    more = (len(ids) if total is None else total) > len(words)
    return ", ".join(words) + (", …" if more else "")


def _short(text: str) -> str:
    line = visible(" ".join(text.split()))
    return line if len(line) <= _QUESTION else line[: _QUESTION - 1] + "…"


def _sample(sample: Sample, full: bool, coloured: bool) -> Iterator[Text]:
    """One entry with what is learnt marked; line ends are seen."""
    mark = "coloured" if coloured else "in ⟦ ⟧"
    yield Text(f"entry {sample.number} as the model sees it", "bold")
    learnt = f"{sample.trained:,} of {sample.tokens:,} tokens are learnt, {mark}"
    yield Text(f" {visible(sample.item_id)}: {sample.left_out or learnt}")
    shown, left = Text(), None if full else _SAMPLE
    for text, trained in sample.runs:
        part = visible(text if left is None else text[:left]).replace("\n", "↵\n")
        if part:
            shown.append(part if coloured or not trained else f"⟦{part}⟧", "bold green underline" if trained else "")
        left = None if left is None else max(0, left - len(text))
    yield shown
    total = sum(len(text) for text, _ in sample.runs)
    if not full and total > _SAMPLE:
        yield Text(f" {total - _SAMPLE:,} more characters: --full")
