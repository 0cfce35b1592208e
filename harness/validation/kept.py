"""How far a judge says what people say, kept in the run for its judge card."""

from pathlib import Path

from pydantic import ValidationError

from finetune.atomic import whole_file
from harness.cards.card import HumanAgreement
from harness.comparing.scores import judge_folder
from harness.errors import HarnessError
from harness.store import Run
from harness.validation.results import People

FOLDER = "validation"


def keep_people(run: Run, judge: str, people: People) -> Path:
    """Keep what labels said of a judge and rubric, in place of what earlier labels did; where it is."""
    path = _path(run, judge)
    with whole_file(path) as partial:
        partial.write_text(people.model_dump_json(indent=1), encoding="utf-8")
    return path


def agreement_with_people(run: Run, judge: str) -> HumanAgreement | None:
    """What the judge card says of people: the rank correlation; None where nobody compared, or it is not defined.

    Raises:
        HarnessError: If what was kept cannot be read.
    """
    path = _path(run, judge)
    if not path.exists():
        return None
    try:
        people = People.model_validate_json(path.read_bytes())
    except ValidationError as error:
        problem = error.errors()[0]["msg"]
        raise HarnessError(f"{path} is damaged ({problem}); delete it, `ift-eval validate --labels` makes it") from None
    found = people.spearman
    if found.value is None or found.low is None or found.high is None:
        return None
    return HumanAgreement(measure="Spearman's r", estimate=found.value, low=found.low, high=found.high, n=people.n)


def _path(run: Run, judge: str) -> Path:
    return run.folder / FOLDER / f"{judge_folder(judge)}.people.json"
