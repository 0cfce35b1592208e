"""Answers made elsewhere: a JSON or JSONL file of them becomes responses, to be judged like any other.

Two layouts are known: the book's, an entry with `model_response` beside the expected `output`; and
AlpacaEval's, where `output` is the answer and `generator` says whose.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from finetune.instructions import DataSet, Entry, read_entries
from harness.checkpoints import slug_of
from harness.errors import HarnessError
from harness.records import CheckpointRecord, Evaluation, Response, Role
from harness.respond import keep_data
from harness.store import Run, record_key


@dataclass(frozen=True)
class Answers:
    """Who answered, what was asked, and the answers by item."""

    checkpoint: CheckpointRecord
    data: DataSet
    texts: dict[str, str]


def read_answers(path: Path, *, data: DataSet | None = None, limit: int | None = None) -> Answers:
    """Read a file of answers.

    Args:
        path: JSON list or JSONL.
        data: Entries with the expected answers; needed when the file has none of its own. Matched by id,
            else by the same instruction and input.
        limit: The first so many items are to be judged.

    Raises:
        FinetuneError: If the file is no list of entries.
        HarnessError: If an entry has no answer, or there is nothing to compare it with.
    """
    raw = read_entries(path, unhashed=("model_response", "generator"))
    if not raw:
        raise HarnessError(f"{path} holds no answers; wanted at least one")
    generator = _generator(raw, path)
    digest = _fingerprint(path, raw)
    name = generator or path.stem
    slug = slug_of(name, digest)
    record = CheckpointRecord(name=name, slug=slug, reference=str(path), fingerprint=digest, visible=False)
    pairs = [*_pairs(raw, path, data)]
    answered = DataSet("answers", tuple(entry for entry, _ in pairs), limit)
    return Answers(record, data or answered, {entry.item_id: text for entry, text in pairs})


def _fingerprint(path: Path, raw: Sequence[Entry]) -> str:
    """Hash of the file; of the entries where they come from a folder or the hub."""
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return DataSet("answers", tuple(raw)).digest


def _generator(raw: Sequence[Entry], path: Path) -> str | None:
    """Whose answers these are, where the file says so.

    Raises:
        HarnessError: If it says several names: one checkpoint's numbers would be made of the answers of many.
    """
    names = list(dict.fromkeys(str(e.meta.get("generator") or "") for e in raw))
    if len(names) > 1:
        several = ", ".join(repr(n) for n in names[:3]) + (", ..." if len(names) > 3 else "")
        raise HarnessError(f"{path}: wanted the answers of one generator, found {several}; give each a file of its own")
    return names[0] or None


def _pairs(raw: Sequence[Entry], path: Path, data: DataSet | None) -> Iterator[tuple[Entry, str]]:
    by_id = {e.item_id: e for e in data.entries} if data else {}
    by_question: dict[str, list[Entry]] = {}  # real data asks some questions twice: the n-th answer is to the n-th
    for asked in data.entries if data else ():
        by_question.setdefault(asked.prompt_hash, []).append(asked)
    for index, entry in enumerate(raw):
        where = f"{path}: entry {index}"
        own, expected = _split(entry, where)
        same = by_question.get(entry.prompt_hash, [])
        match = by_id.get(entry.item_id) or next(iter(same), None)
        if match in same:
            same.remove(match)
        if data and match is None:
            raise HarnessError(f"{where}: wanted an entry of {data.name} with the same id or question, found none left")
        if match is None and expected is None:
            raise HarnessError(f"{where}: no expected answer to judge against; give the entries with --data")
        yield match or _as_asked(entry, expected or ""), own


def _split(entry: Entry, where: str) -> tuple[str, str | None]:
    """The answer, and the expected one where the file has it."""
    if "model_response" in entry.meta:
        answer, expected = entry.meta["model_response"], entry.output
    elif "generator" in entry.meta:
        answer, expected = entry.output, None
    else:
        found = ", ".join(["instruction", "output", *entry.meta])
        raise HarnessError(f"{where}: wanted model_response, or output with generator; found {found}")
    if not isinstance(answer, str):
        raise HarnessError(f"{where}: model_response: wanted text, found {type(answer).__name__}")
    return answer, expected


def _as_asked(entry: Entry, expected: str) -> Entry:
    """The entry without the answer; its id was made without it too, so files of the same entries pair."""
    rest = {key: value for key, value in entry.meta.items() if key not in ("model_response", "generator")}
    return entry.model_copy(update={"meta": rest}).with_output(expected)


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
