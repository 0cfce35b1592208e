"""What people said, kept in the run: `labels.jsonl`, one label a line, nothing ever rewritten."""

import json
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, ValidationError, model_validator

from harness.errors import HarnessError
from harness.records import Line, now
from harness.store import RecordFile, Run, record_key
from harness.validation.labels import label_of

FILE = "labels"
WAIT = 10.0  # seconds for another rater who writes a label at this moment


class PersonLabel(Line):
    """What one person said of one answer, or of two answers to one item.

    Attributes:
        item_id: The entry that was answered.
        checkpoint: Fingerprint of who answered; of a label made elsewhere its name or slug.
        name: What the checkpoint was called then.
        dataset: Label of the data set; "" where nobody said.
        rater: Who said it.
        scale: Lowest and highest score; None: the judge's. Of two answers 0 and 1.
        score: On its scale. Of two answers 1 where the checkpoint's is better, 0 where the other one is, 0.5 where
            neither is. None: taken back.
        other: Fingerprint of the other checkpoint; "" where one answer was scored.
        other_name: What that was called.
        responses: Keys of the answers that were shown, the checkpoint's first; none where nobody knows.
        note: What the person wrote beside it.
        probability: With which the item was drawn; None where it was not drawn at random.
        sample: Key of the sample it was drawn in; "" where there is none.
        drawn: How many items were drawn then.
        seed: Of that sample.
        created: When, UTC.
    """

    item_id: str
    checkpoint: str
    name: str = ""
    dataset: str = ""
    rater: str = ""
    scale: tuple[float, float] | None = None
    score: float | None
    other: str = ""
    other_name: str = ""
    responses: tuple[str, ...] = ()
    note: str = ""
    probability: float | None = None
    sample: str = ""
    drawn: int = 0
    seed: int = 0
    created: str = Field(default_factory=now)

    @model_validator(mode="after")
    def _on_its_scale(self) -> "PersonLabel":
        if self.score is not None and self.scale and not self.scale[0] <= self.score <= self.scale[1]:
            raise ValueError(f"the score {self.score:g} is not on its scale, {self.scale[0]:g} to {self.scale[1]:g}")
        return self


def label_key(dataset: str, item: str, rater: str, checkpoint: str, other: str = "") -> str:
    """Key of a label: two answers are the same pair whichever is named first."""
    pair = sorted([checkpoint, other]) if other else [checkpoint]
    return record_key(label=dataset, item=item, rater=rater, checkpoints=pair)


def labels_path(run: Run) -> Path:
    """Where the labels of a run are."""
    return run.folder / f"{FILE}.jsonl"


def keep_label(run: Run, label: PersonLabel) -> None:
    """Write a label; it is on the disk when this returns.

    Raises:
        HarnessError: If the run cannot be written, or another process does not let go of the file.
    """
    _end_last_line(labels_path(run))
    with RecordFile(labels_path(run), PersonLabel).writing(wait=WAIT) as writer:
        writer.append(label)


def kept_labels(run: Run) -> list[PersonLabel]:
    """The labels of a run that count: the last of each key, without those taken back.

    Lines that somebody added by hand (item_id, checkpoint, score, and if wanted rater, scale, dataset) count too.

    Raises:
        HarnessError: If a line other than a torn last one cannot be read.
    """
    path = labels_path(run)
    found: dict[str, PersonLabel] = {}
    for number, line in enumerate(_lines(path), 1):
        if line.strip():
            label = _read(line, f"{path}, line {number}")
            found[label.key] = label
    return [label for label in found.values() if label.score is not None]


def rater_name(text: str) -> str:
    """A name that is the same whenever it is typed: without spaces around it, in one Unicode form.

    Raises:
        HarnessError: If nothing is left, or it holds what cannot be seen.
    """
    name = unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode()).strip()
    if not name or not name.isprintable():
        raise HarnessError(f"--rater: wanted a name that can be read, found {text!r}; say who you are: --rater ann")
    return name


def _lines(path: Path) -> Sequence[bytes]:
    """Whole lines, and a last one without an end if it can be read: a hand-made file may end so."""
    try:
        *whole, last = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise HarnessError(f"cannot read {path}: {error.strerror}") from None
    return [*whole, last] if _is_json(last) else whole


def _is_json(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _end_last_line(path: Path) -> None:
    """Give a whole last line its end, or the store would take it for one that a crash tore."""
    if path.exists() and not (content := path.read_bytes()).endswith(b"\n") and _is_json(content.rpartition(b"\n")[2]):
        try:
            with path.open("ab") as file:
                file.write(b"\n")
        except OSError as error:
            raise HarnessError(f"cannot write {path}: {error.strerror}") from None


def _read(line: bytes, place: str) -> PersonLabel:
    try:
        raw = json.loads(line)
    except ValueError:
        raise HarnessError(f"{place} is not JSON; mend or delete the line, nothing was changed") from None
    if not isinstance(raw, dict) or "key" not in raw:
        return _by_hand(raw, place)
    try:
        return PersonLabel.model_validate(raw)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        what = f"{where}: {problem['msg']}" if where else problem["msg"].removeprefix("Value error, ")
        raise HarnessError(f"{place}: not a label ({what}); mend or delete the line, nothing was changed") from None


def _by_hand(raw: object, place: str) -> PersonLabel:
    """A line that no review wrote: of one answer, and drawn nobody knows how.

    Raises:
        HarnessError: If it is no label.
    """
    label = label_of(raw, place)
    return PersonLabel(
        key=label_key(label.dataset, label.item_id, label.rater, label.checkpoint),
        item_id=label.item_id,
        checkpoint=label.checkpoint,
        dataset=label.dataset,
        rater=label.rater,
        scale=label.scale,
        score=label.score,
    )
