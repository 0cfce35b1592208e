"""Judge cards and panels from what is recorded; a card is kept beside the verdicts it tells of."""

from collections.abc import Iterator, Mapping, Sequence

from harness.cards.card import HumanAgreement, JudgeCard
from harness.cards.making import card_of
from harness.cards.panel import Panel
from harness.cards.rows import CardRow
from harness.cards.sitting import panel_of
from harness.comparing.scores import Family, judge_folder
from harness.errors import HarnessError
from harness.findings import JUDGED
from harness.opinions.agreement import agreement_with_labels
from harness.records import CheckpointRecord, Judged, Preference, Verdict
from harness.store import Run
from harness.validation.kept import agreement_with_people


def card_for(run: Run, family: Family, names: Mapping[str, str], known: Mapping[str, CheckpointRecord]) -> JudgeCard:
    """The card of the judge of a table.

    Args:
        run: Which may know how far the judge agrees with people.
        family: What the judge said of the checkpoints shown.
        names: What tables call them, by slug.
        known: All checkpoints of the run, by slug: their bases may be among them.
    """
    judge, _, rubric = family.name.removeprefix("judge ").partition("+")
    by_fingerprint = {c.fingerprint: names.get(c.slug, c.name) for c in known.values()}
    rows = [row for s in family.scores for row in _rows(s.judged, names[s.checkpoint.slug], by_fingerprint)]
    said = [one for s in family.scores for one in s.judged]
    scale = next((one.scale for one in said if isinstance(one, Verdict)), (0.0, 1.0))
    return card_of(
        next((one.judge for one in said), judge),
        scale,
        rows,
        rubric=rubric,
        form=next((one.form for one in said), ""),
        agreement=_agreement(run, family),
        bases={names[s.checkpoint.slug]: _called(s.checkpoint, known) for s in family.scores},
    )


def _agreement(run: Run, family: Family) -> HumanAgreement | None:
    """With the labels that `validate` was given, or with those of a review: whichever are more."""
    known = [agreement_with_people(run, family.name.removeprefix("judge ")), agreement_with_labels(run, family)]
    return max((one for one in known if one), key=lambda one: one.n, default=None)


def _rows(judged: Sequence[Judged], name: str, by_fingerprint: Mapping[str, str]) -> Iterator[CardRow]:
    for one in judged:
        about: dict[str, object] = {}
        if isinstance(one, Verdict):
            about = {"answer": one.response, "length": one.length}
        elif isinstance(one, Preference):
            about = {
                "answer": "~".join(one.responses),
                "length": one.lengths[0],
                "other": by_fingerprint.get(one.other, one.other),
                "other_length": one.lengths[1],
                "order": one.order,
            }
        yield CardRow(
            checkpoint=name,
            item=one.item_id,
            score=one.score,
            written=one.written,
            unscored=one.unscored,
            detail=one.detail,
            repeat=one.repeat,
            asked_again=one.calls > 1,
            prompt_tokens=one.prompt_tokens,
            output_tokens=one.output_tokens,
            seconds=one.seconds,
            **about,  # type: ignore[arg-type]
        )


def _called(checkpoint: CheckpointRecord, known: Mapping[str, CheckpointRecord]) -> list[str]:
    """What else a checkpoint, and what it was trained from, are called."""
    bases = [c for c in known.values() if c.fingerprint == checkpoint.base_fingerprint]
    return [checkpoint.reference, *(text for base in bases for text in (base.name, base.reference))]


def keep_card(run: Run, family: Family, card: JudgeCard) -> None:
    """Write a card beside the verdicts.

    Raises:
        HarnessError: If the run cannot be written.
    """
    folder = run.folder / "verdicts" / family.dataset / judge_folder(family.name.removeprefix("judge "))
    try:
        partial = folder / ".card.json.partial"
        partial.write_text(card.model_dump_json(indent=1), "utf-8")
        partial.replace(folder / "card.json")
    except OSError as error:
        raise HarnessError(f"cannot write {folder / 'card.json'}: {error.strerror}") from None


def panel_for(shown: Sequence[Family], names: Mapping[str, str]) -> Panel | None:
    """Several judges of the same checkpoints on the same items; None where there is one."""
    judged = [family for family in shown if family.kind in JUDGED]
    alike = [f for f in judged if (f.kind, f.dataset) == (judged[0].kind, judged[0].dataset)]
    if len(alike) < 2:
        return None
    everywhere = set.intersection(*({s.checkpoint.slug for s in f.scores if not s.anchor} for f in alike))
    if not everywhere:
        return None
    whole = [family.name.removeprefix("judge ") for family in alike]
    short = [name.partition("+")[0] for name in whole]
    called = [own if short.count(own) == 1 else name for own, name in zip(short, whole, strict=True)]
    scores = {
        name: {names[s.checkpoint.slug]: s.values for s in family.scores if s.checkpoint.slug in everywhere}
        for name, family in zip(called, alike, strict=True)
    }
    scales = {name: family.scale or (0.0, 100.0) for name, family in zip(called, alike, strict=True)}
    return panel_of(scores, scales)
