"""What is known of overlap: searches that a run keeps, training files beside checkpoints, and remembered entries."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from finetune.errors import FinetuneError
from harness.checkpoints import parse_reference
from harness.comparing.baseline import usual_baseline
from harness.comparing.scores import Family
from harness.errors import HarnessError
from harness.overlap.findings import Found, Overlap
from harness.overlap.kept import Search, keep_if_possible, kept
from harness.overlap.search import search
from harness.overlap.sought import items_in, listed_in, single
from harness.overlap.without import with_and_without
from harness.records import CheckpointRecord
from harness.store import Run

CHEAP = 8_000_000  # bytes of a training file that is searched without being asked: about a second
_BESIDE = Path("splits") / "train.json"  # where a fine-tuning of this program leaves what it trained on


def overlaps_known(
    run: Run, families: Sequence[Family], names: Mapping[str, str], *, baseline: str = ""
) -> list[Overlap]:
    """What is known of these tables' items in training data, without asking for any file.

    * What `ift-eval overlap` searched before, as the run keeps it.
    * Where a checkpoint of this program still has its training entries beside it: a search of these, once, if they are
      few enough to be searched in about a second.
    * Else what checkpoints remember: the test questions that were among their training entries.

    Args:
        run: The run.
        families: Tables; of those on validation items nothing is said.
        names: Of checkpoints, by slug.
        baseline: Slug of the checkpoint that differences are to; the usual one when "".
    """
    tested = [family for family in families if family.role == "test" and family.scores]
    there = _searched(run, tested)
    found = []
    for family in tested:
        own = [made for made in there if made.dataset == family.dataset]
        found += [overlap_of(made, family, names, baseline) for made in own]
        found += _remembered(family, [Path(s.path) for made in own for s in made.states], names, baseline)
    # A run and its checkpoints that were copied have searched the same file under two paths.
    alike = {(o.train, o.dataset, o.table, o.metric, o.entries, o.exact, o.near): o for o in found}
    order = {family.dataset: place for place, family in reversed([*enumerate(tested)])}
    return sorted(alike.values(), key=lambda one: (order[one.dataset], one.source, one.train))


def _searched(run: Run, families: Sequence[Family]) -> list[Search]:
    """The searches of these tables' data sets that the run keeps, with those of files beside checkpoints made now."""
    by_data: dict[str, list[Family]] = {}
    for family in families:
        by_data.setdefault(family.dataset, []).append(family)
    there = [made for made in kept(run) if made.dataset in by_data]
    for label, own in by_data.items():
        for path in dict.fromkeys(path for family in own for path in training_files(family)):
            before = [m for m in there if m.dataset == label and [s.path for s in m.states] == [str(path)]]
            if any(m.is_current and m.items >= len(listed_in(own)) for m in before) or path.stat().st_size > CHEAP:
                continue
            with suppress(FinetuneError, HarnessError, OSError):  # a file that is damaged by now
                (made,) = search({label: items_in(run, own)}, [str(path)])
                made = made.model_copy(update={"by_itself": True, "train": _shown(path)})
                keep_if_possible(run, made)
                there = [m for m in there if m not in before] + [made]
    return there


def _shown(path: Path) -> str:
    """As short as it tells the training: `alpaca/splits/train.json`."""
    return "/".join(path.parts[-3:])


def training_files(family: Family) -> list[Path]:
    """The training entries that lie beside checkpoints of this program, as far as they are still there."""
    found = (_beside(scores.checkpoint) for scores in single(family))
    return [*dict.fromkeys(path for path in found if path)]


def _beside(checkpoint: CheckpointRecord) -> Path | None:
    if not checkpoint.remembers:
        return None
    with suppress(HarnessError, OSError):
        reference = parse_reference(checkpoint.reference)
        path = Path(reference.target).resolve().parent / _BESIDE
        if reference.scheme == "path" and path.is_file():
            return path
    return None


def overlap_of(made: Search, family: Family, names: Mapping[str, str], baseline: str = "") -> Overlap:
    """A search beside a table: the scores with and without what was found, where anything was.

    Args:
        made: The search.
        family: A table on its data set.
        names: Of checkpoints, by slug.
        baseline: Slug of the checkpoint that differences are to; the usual one when "".
    """
    listed = {*listed_in([family])}
    found = [one for one in made.found if one.item_id in listed] if listed else made.found
    return Overlap(
        train=made.train,
        dataset=family.dataset,
        table=family.name,
        metric=family.metric,
        items=made.items,
        n=made.n,
        threshold=made.threshold,
        exact=sum(one.exact for one in found),
        near=sum(not one.exact for one in found),
        found=found,
        entries=made.entries,
        textless=made.textless,
        source="training file" if made.by_itself else "searched",
        note="; ".join(_notes(made, len(listed))),
        **_scores(family, found, names, baseline),
    )


def _notes(made: Search, listed: int) -> Iterator[str]:
    if not made.is_current:
        yield f"as {made.train} was on {made.created[:10]}; it has changed since, so search again"
    if listed > made.items:
        yield f"{made.items:,} of {listed:,} items were recorded when it was searched; search again for all"


def _scores(family: Family, found: Sequence[Found], names: Mapping[str, str], baseline: str) -> dict[str, object]:
    if not found:
        return {}
    own = [s.checkpoint for s in family.scores if not s.anchor] or [s.checkpoint for s in family.scores]
    base = baseline or usual_baseline(own).slug
    scores = with_and_without(family, {one.item_id for one in found}, names, base)
    return {"scores": scores, "baseline": names.get(base, "") if len(scores) > 1 else ""}


def _remembered(family: Family, searched: Sequence[Path], names: Mapping[str, str], baseline: str) -> Iterator[Overlap]:
    """Items that checkpoints were trained on, where no file says more; together for those that share them."""
    leaked: dict[tuple[str, ...], list[str]] = {}
    for own in single(family):
        if own.evaluation.leaked and not own.anchor and _beside(own.checkpoint) not in searched:
            name = names.get(own.checkpoint.slug, own.checkpoint.name)
            leaked.setdefault(tuple(sorted(own.evaluation.leaked)), []).append(name)
    for items, who in leaked.items():
        found = [Found(item_id=item, exact=True, containment=1.0, entry="") for item in items]
        yield Overlap(
            train=", ".join(who),
            dataset=family.dataset,
            table=family.name,
            metric=family.metric,
            items=len(listed_in([family])),
            n=0,
            threshold=1.0,
            exact=len(found),
            near=0,
            found=found,
            source="remembered",
            **_scores(family, found, names, baseline),
        )
