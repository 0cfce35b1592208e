"""What there is to review in a run: the items of a data set, and what checkpoints answered to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from finetune.instructions import Entry, read_entries
from harness.comparing.baseline import usual_baseline
from harness.comparing.picking import base_and_pick, validation_of
from harness.comparing.scores import EXPECTED, Family
from harness.comparing.select import families
from harness.errors import HarnessError, unknown_name
from harness.findings import JUDGED
from harness.naming import as_recorded, choose_checkpoints, display_names
from harness.records import CheckpointRecord, Evaluation, Response
from harness.review.sampling import FEWEST, Sample, categories_of, draw
from harness.store import Run, RunFile

SAMPLES = "samples"
Scale = tuple[float, float]


@dataclass(frozen=True)
class Wanted:
    """What is to be reviewed.

    Attributes:
        checkpoints: Names; the baseline and the pick when empty, where a judge can tell; else all.
        dataset: Beginning of the data set's name; the newest test set when None.
        judge: Beginning of the judge's name; the newest when None.
        n: Items to draw.
        seed: Of the draw.
    """

    checkpoints: Sequence[str] = ()
    dataset: str | None = None
    judge: str | None = None
    n: int = 50
    seed: int = 0


@dataclass(frozen=True)
class Answered:
    """A checkpoint's answer to an item: the text, and the key of its record."""

    key: str
    text: str


@dataclass(frozen=True)
class Material:
    """Answers of checkpoints to one data set.

    Attributes:
        dataset: Label.
        checkpoints: Whose, the baseline first.
        names: What tables call them, by slug.
        entries: What was asked, by item; of items that the run keeps no copy of nothing.
        items: All that one of them was asked, in the order of the data.
        answers: Of each checkpoint by slug, by item; those that failed are not there.
        family: What the judge said of them; None where nobody judged.
    """

    dataset: str
    checkpoints: Sequence[CheckpointRecord]
    names: Mapping[str, str]
    entries: Mapping[str, Entry]
    items: Sequence[str]
    answers: Mapping[str, Mapping[str, Answered]]
    family: Family | None

    @property
    def scale(self) -> Scale | None:
        """The judge's, where it scores single answers."""
        return self.family.scale if self.family and self.family.kind == "judge" else None


def material_of(run: Run, wanted: Wanted) -> Material:
    """Everything that a review shows and draws from.

    Raises:
        HarnessError: If nothing was answered yet, or a name is unknown.
    """
    recorded = run.read()
    answered = [e for e in recorded.evaluations if e.stage == "respond" and e.role == "test"]
    if not answered:
        raise HarnessError(f"{run.folder} holds no answers to review yet; `ift-eval respond` or `ift-eval judge` first")
    dataset = _dataset(answered, wanted.dataset)
    newest = {e.checkpoint: e for e in answered if e.dataset == dataset}  # oldest first: the last one stays
    called = [name for text in wanted.checkpoints for name in as_recorded(recorded, text)]
    there = choose_checkpoints(recorded, called)
    silent = [c.name for c in there if c.slug not in newest]
    if called and silent:
        names = {recorded.checkpoints[slug].name for slug in newest}
        raise unknown_name(f"checkpoint with answers to {dataset}", silent[0], names)
    there = [c for c in there if c.slug in newest]
    family, validation = _families(run, recorded, there, dataset, wanted.judge)
    chosen = _base_first(there if wanted.checkpoints else _base_and_pick(there, family, validation))
    path = run.data_file(dataset)
    return Material(
        dataset=dataset,
        checkpoints=chosen,
        names=display_names(list(recorded.checkpoints.values())),
        entries={e.item_id: e for e in read_entries(path)} if path.exists() else {},
        items=list(dict.fromkeys(item for c in chosen for item in newest[c.slug].records)),
        answers={c.slug: _answers(run, newest[c.slug]) for c in chosen},
        family=family,
    )


def sample_of(run: Run, material: Material, *, n: int, seed: int) -> Sample:
    """The recorded sample of these items, so that what was labelled stays in it; else a new one, which is recorded.

    One with too many strata for two items of each would leave some of them out: n then needs a sample of its own.

    Raises:
        HarnessError: If the run cannot be read or written.
    """
    file = run.records(Sample, SAMPLES)
    pool = set(material.items)
    of_these = [s for s in file.read().values() if (s.dataset, s.seed) == (material.dataset, seed) and s.items >= pool]
    kept = next((s for s in of_these if len(s.strata) == 1 or n >= FEWEST * len(s.strata)), None)
    if kept:
        return kept
    metas = {item: material.entries[item].meta for item in material.items if item in material.entries}
    sample = draw(
        material.dataset,
        material.items,
        n=n,
        seed=seed,
        categories=categories_of(metas),
        scores=_mean_scores(material),
    )
    with file.writing(wait=10) as writer:
        writer.append(sample)
    return sample


def _dataset(answered: Sequence[Evaluation], wanted: str | None) -> str:
    if wanted is None:
        return answered[-1].dataset
    found = [e.dataset for e in answered if e.dataset.startswith(wanted)]
    if not found:
        raise unknown_name("data set with answers", wanted, {e.dataset.rpartition("-")[0] for e in answered})
    return found[-1]


def _families(
    run: Run, recorded: RunFile, checkpoints: Sequence[CheckpointRecord], dataset: str, judge: str | None
) -> tuple[Family | None, Family | None]:
    """What the newest judge, or the one named, said of the answers, and of those to validation items.

    Without any, strata do without.
    """
    judged = [e for e in recorded.evaluations if e.stage == "judge" and e.dataset == dataset]
    if not judged and judge is None:
        return None, None
    shown, _ = families(run, recorded, checkpoints, datasets={dataset}, judges=[judge] if judge else [])
    family = next((f for f in shown if f.kind in JUDGED and f.dataset == dataset), None)
    return family, validation_of(family, shown) if family else None


def _base_and_pick(
    there: Sequence[CheckpointRecord], family: Family | None, validation: Family | None
) -> list[CheckpointRecord]:
    """The two whose difference decides, as `compare` picks; more would be more than a person reads."""
    if family is None or len(there) <= 2 or all(s.checkpoint.slug == EXPECTED for s in family.scores):
        return list(there)
    two = {s.checkpoint.slug for s in base_and_pick(family, validation)}
    found = [c for c in there if c.slug in two]
    return found if len(found) == 2 else list(there)


def _base_first(chosen: Sequence[CheckpointRecord]) -> list[CheckpointRecord]:
    base = usual_baseline(chosen)
    return [base, *(c for c in chosen if c.slug != base.slug)]


def _answers(run: Run, evaluation: Evaluation) -> dict[str, Answered]:
    """The first answer to each item; where several were sampled, it stands for them."""
    responses = run.records(Response, "responses", evaluation.dataset, evaluation.checkpoint).read()
    found = {item: responses[keys[0]] for item, keys in evaluation.records.items() if keys and keys[0] in responses}
    return {item: Answered(r.key, r.text) for item, r in found.items() if r.text is not None}


def _mean_scores(material: Material) -> dict[str, float]:
    """The judge's, over the checkpoints that are compared."""
    if material.family is None:
        return {}
    slugs = {c.slug for c in material.checkpoints}
    of_item: dict[str, list[float]] = {}
    for scores in material.family.scores:
        if scores.checkpoint.slug in slugs and not scores.anchor:
            for item, value in scores.values.items():
                of_item.setdefault(item, []).append(value)
    return {item: fmean(values) for item, values in of_item.items()}
