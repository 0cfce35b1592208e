"""Answers made elsewhere: a file of them becomes responses, to be judged like any other.

Two layouts are known by name: the book's, an entry with `model_response` beside the expected `output`; and
AlpacaEval's, where `output` is the answer and `generator` says whose. Others are recognised where their columns can
only be one thing; see `harness.elsewhere.columns`.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from finetune.instructions import DataSet, Entry
from harness.checkpoints import slug_of
from harness.elsewhere.fields import AnswerFields
from harness.elsewhere.pairing import items_of, pair_with
from harness.elsewhere.rows import AnswerRow, by_generator, read_rows
from harness.records import CheckpointRecord, Evaluation, Response, Role
from harness.respond import keep_data
from harness.screen import visible
from harness.store import Run, record_key


@dataclass(frozen=True)
class Answers:
    """Who answered, what was asked, and the answers by item.

    Attributes:
        checkpoint: Who answered.
        data: All that was asked, of all who are in the file.
        texts: The answers; an item that is not in it has none.
    """

    checkpoint: CheckpointRecord
    data: DataSet
    texts: dict[str, str]

    @property
    def missing(self) -> int:
        """How many of the items to judge have no answer."""
        return sum(entry.item_id not in self.texts for entry in self.data.evaluated)


def read_answers(
    path: Path, *, data: DataSet | None = None, limit: int | None = None, fields: AnswerFields | None = None
) -> list[Answers]:
    """Read a file of answers.

    Args:
        path: JSON, JSONL, CSV, TSV or Parquet. An answer that is null is missing; an empty one, such as the empty
            cell of a table, is an answer.
        data: The entries that were answered, with their expected answers. Rows are matched by id, else by the
            same question. Without it, the entries are those in the file.
        limit: The first so many items are to be judged; with `data` its own limit counts.
        fields: Which columns are which, where that is not recognised.

    Returns:
        The answers of each generator, in order of first appearance; all on the same data set.

    Raises:
        FinetuneError: If the file cannot be read, or a question in it is none.
        HarnessError: If it holds no answers, or it is not clear what they answer.
    """
    rows, found = read_rows(path, fields or AnswerFields(), with_data=data is not None)
    groups = by_generator(rows)
    if data is None:
        entries, ids = items_of(groups, found)
        data = DataSet("answers", tuple(entries), limit)
    else:
        ids = {generator: [e.item_id for e in pair_with(data, made, found)] for generator, made in groups.items()}
    digest = _digest_of(path, rows)
    made = []
    for generator, own in groups.items():
        texts = {i: row.answer for i, row in zip(ids[generator], own, strict=True) if row.answer is not None}
        # A generator of several keeps its fingerprint when others are added to the file.
        fingerprint = digest if len(groups) == 1 else _digest_of_texts(generator, texts)
        made.append(Answers(_checkpoint(generator or path.stem, path, fingerprint), data, texts))
    return made


def _checkpoint(name: str, path: Path, fingerprint: str) -> CheckpointRecord:
    slug = slug_of(name, fingerprint)
    shown = visible(name)  # tables print names as they are, and a file's may drive the terminal
    return CheckpointRecord(name=shown, slug=slug, reference=str(path), fingerprint=fingerprint, visible=False)


def _digest_of(path: Path, rows: list[AnswerRow]) -> str:
    """Hash of the file; of its rows where they come from a folder or the hub."""
    content = path.read_bytes() if path.is_file() else repr([(row.asked, row.answer) for row in rows]).encode()
    return hashlib.sha256(content).hexdigest()[:16]


def _digest_of_texts(generator: str | None, texts: Mapping[str, str]) -> str:
    return record_key(generator=generator, texts=dict(texts))


def record_answers(run: Run, answers: Answers, *, role: Role = "test") -> Evaluation:
    """Keep answers made elsewhere as responses, and list them in the run."""
    record = run.known(answers.checkpoint)
    file = run.records(Response, "responses", answers.data.label, record.slug)
    keep_data(run, answers.data)
    responses = [_response(entry, answers) for entry in answers.data.entries if entry.item_id in answers.texts]
    there = file.read()
    with file.writing() as writer:
        writer.append(*(r for r in responses if r.key not in there))
    keys = {r.item_id: [r.key] for r in responses}
    evaluation = Evaluation(
        stage="respond",
        checkpoint=record.slug,
        dataset=answers.data.label,
        role=role,
        settings={"answers": "made elsewhere", "limit": answers.data.limit},
        records={e.item_id: keys.get(e.item_id, []) for e in answers.data.evaluated},
    )
    run.add(record, evaluation)
    return evaluation


def _response(entry: Entry, answers: Answers) -> Response:
    text = answers.texts[entry.item_id]
    return Response(
        key=record_key(checkpoint=answers.checkpoint.fingerprint, item=entry.item_id, text=text),
        item_id=entry.item_id,
        checkpoint=answers.checkpoint.fingerprint,
        prompt=entry.question,
        text=text,
    )
