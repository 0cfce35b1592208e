"""Where the numbers come from: checkpoints, settings and versions."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from harness.naming import display_names
from harness.records import JSON, CheckpointRecord, Evaluation
from harness.reporting.document import Document
from harness.reporting.paths import brief

LONGEST = 300  # characters of a setting: a system message may have pages


@dataclass(frozen=True)
class Source:
    """One way in which checkpoints were evaluated.

    Attributes:
        stage: "respond", "judge" or "benchmark".
        dataset: Label of the data.
        judge: Judge and rubric; "" where nothing was judged.
        checkpoints: Names.
        settings: Name and value.
        created: First and last time, UTC.
    """

    stage: str
    dataset: str
    judge: str
    checkpoints: list[str]
    settings: list[tuple[str, str]]
    created: str


@dataclass(frozen=True)
class Known:
    """A checkpoint as the run knows it."""

    name: str
    reference: str
    fingerprint: str
    step: str
    visible: bool


def sources_of(document: Document) -> list[Source]:
    """Every evaluation of the data shown, those alike together."""
    names = display_names([*document.recorded.checkpoints.values()])
    shown = {table.dataset for table in document.report.tables}
    own = _slugs(document)
    alike: dict[str, list[Evaluation]] = {}
    for evaluation in document.recorded.evaluations:
        if evaluation.dataset in shown and evaluation.checkpoint in own:
            what = [evaluation.stage, evaluation.dataset, evaluation.judge, evaluation.against, evaluation.settings]
            alike.setdefault(json.dumps(what, sort_keys=True), []).append(evaluation)
    return [_source(group, names, document.report.run) for group in alike.values()]


def _source(group: list[Evaluation], names: dict[str, str], run: str) -> Source:
    first = group[0]
    times = sorted(moment(evaluation.created) for evaluation in group)
    return Source(
        stage=first.stage,
        dataset=first.dataset,
        judge=first.judge or "",
        checkpoints=list(
            dict.fromkeys(names.get(evaluation.checkpoint, evaluation.checkpoint) for evaluation in group)
        ),
        settings=[*_settings(first, run)],
        created=times[0] if times[0] == times[-1] else f"{times[0]} to {times[-1]}",
    )


def _settings(evaluation: Evaluation, run: str) -> Iterator[tuple[str, str]]:
    for name, value in evaluation.settings.items():
        if value is not None:
            told = _brief(value, run)
            text = told if isinstance(told, str) else json.dumps(told, ensure_ascii=False)
            yield name, text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _brief(value: JSON, run: str) -> JSON:
    """With absolute paths shortened, wherever they stand."""
    if isinstance(value, dict):
        return {name: _brief(inner, run) for name, inner in value.items()}
    if isinstance(value, list):
        return [_brief(inner, run) for inner in value]
    return brief(value, run) if isinstance(value, str) else value


def checkpoints_of(document: Document) -> list[Known]:
    """Those whose numbers are shown."""
    own = _slugs(document)
    there = [c for slug, c in document.recorded.checkpoints.items() if slug in own]
    names = display_names(there)
    return [_known(checkpoint, names, document.report.run) for checkpoint in there]


def _slugs(document: Document) -> set[str]:
    """By the names that the tables have."""
    rows = [row.summary.checkpoint for table in document.report.tables for row in table.rows]
    recorded = document.recorded.checkpoints
    everywhere = display_names([*recorded.values()])
    return {slug for slug, c in recorded.items() if c.name in rows or everywhere[slug] in rows}


def _known(checkpoint: CheckpointRecord, names: dict[str, str], run: str) -> Known:
    return Known(
        name=names[checkpoint.slug],
        reference=brief(checkpoint.reference, run),
        fingerprint=checkpoint.fingerprint[:16],
        step="" if checkpoint.step is None else str(checkpoint.step),
        visible=checkpoint.visible,
    )


def moment(created: str) -> str:
    """A time to the minute, UTC."""
    return created[:16].replace("T", " ")
