"""lm-eval's `--log_samples` files as outcomes, their items named as the project's own benchmarks name them."""

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

from benchmarks.corpus import AGGREGATIONS, aggregate
from benchmarks.items import digest, metric_name
from finetune.instructions import unique_id
from harness.errors import HarnessError, unknown_name
from harness.imported.fields import ResultFields
from harness.imported.lm_eval_settings import RunSettings, SampleFile
from harness.imported.values import number
from harness.records import JSON, CorpusValue, Outcome

# Fields of a line that are no metrics; older files do not list which are.
_ABOUT = {"doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics"}
_ABOUT |= {"doc_hash", "prompt_hash", "target_hash"}

# What lm-eval makes of metrics that are no mean of their items; where a task's own file says so, that counts.
_AGGREGATIONS = {
    "mcc": "matthews_corrcoef",
    "f1": "f1_score",
    "perplexity": "perplexity",
    "word_perplexity": "weighted_perplexity",
    "byte_perplexity": "weighted_perplexity",
    "bits_per_byte": "bits_per_byte",
    "brier_score": "brier_score",
    "bleu": "bleu",
    "chrf": "chrf",
    "ter": "ter",
    "inst_level_strict_acc": "agg_inst_level_acc",
    "inst_level_loose_acc": "agg_inst_level_acc",
}

# One item's own value means something, though the whole is not their mean.
_PERPLEXITIES = {"perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte"}


@dataclass
class _Doc:
    """One document, under all filters."""

    name: str
    own: bool
    hash: str
    subject: str
    choices: int
    values: dict[str, Any]


def read_samples(file: SampleFile, run: RunSettings, fields: ResultFields) -> tuple[list[Outcome], list[CorpusValue]]:
    """The outcomes of a task, in the order of its documents, and the numbers over all of them.

    Raises:
        HarnessError: If the file is not what lm-eval writes, mixes tasks or runs, or lacks a field that was named.
    """
    docs: dict[int, _Doc] = {}
    seen: set[tuple[int, str]] = set()
    for where, line in _lines(file.path):
        place, filter_name = _place(line, where)
        doc = docs.setdefault(place, _doc(line, file, run, fields, where))
        if (place, filter_name) in seen or doc.hash != str(line.get("doc_hash", "")):
            raise HarnessError(
                f"{where}: document {place} is there twice, as in several tasks or runs put into one file; "
                f"give lm-eval's own files"
            )
        seen.add((place, filter_name))
        doc.values |= {metric_name(name, filter_name): line[name] for name in _metrics(line)}
    if not docs:
        raise HarnessError(f"{file.path} holds no samples; wanted at least one")
    ordered = [docs[place] for place in sorted(docs)]
    names = _item_names(ordered)
    outcomes = [_outcome(doc, name, file.task, run, fields) for doc, name in zip(ordered, names, strict=True)]
    if not any(o.metrics or o.parts for o in outcomes):
        raise HarnessError(f"{file.path}: wanted values of metrics for each document, found none")
    return outcomes, _corpus(file.task, outcomes, run)


def _lines(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """One line at a time: with examples in every prompt these files are large."""
    with path.open("rb") as file:
        for count, text in enumerate(file, 1):
            if not text.strip():
                continue
            try:
                line = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise HarnessError(f"{path}, line {count}: is not JSON ({error}); was lm_eval stopped?") from None
            if not isinstance(line, dict):
                raise HarnessError(f"{path}, line {count}: wanted a sample of lm-eval, found {type(line).__name__}")
            yield f"{path}, line {count}", line


def _place(line: Mapping[str, Any], where: str) -> tuple[int, str]:
    place = line.get("doc_id")
    if not isinstance(place, int):
        raise HarnessError(f"{where}: wanted a sample of lm-eval with a doc_id, found {', '.join(line)}")
    return place, str(line.get("filter") or "none")


def _doc(line: Mapping[str, Any], file: SampleFile, run: RunSettings, fields: ResultFields, where: str) -> _Doc:
    doc = line.get("doc")
    own = _field(doc, fields.id, "id", where) if fields.id else doc.get("id") if isinstance(doc, dict) else None
    named = own not in (None, "")
    hashed = digest(doc)[:12] if doc is not None else str(line["doc_id"])
    subject = doc.get("subject") if isinstance(doc, dict) else None
    if fields.cluster:
        subject = str(_field(doc, fields.cluster, "cluster", where))
    return _Doc(
        name=str(own) if named else hashed,
        own=named or doc is None,
        hash=str(line.get("doc_hash", "")),
        subject=subject if isinstance(subject, str) and subject else run.alias(file.task),
        choices=_choices(line),
        values={},
    )


def _field(doc: Any, name: str, flag: str, where: str) -> Any:
    known = doc if isinstance(doc, dict) else {}
    if name not in known:
        raise HarnessError(f"{where}: --field-{flag}: {unknown_name('field of the document', name, known)}")
    return known[name]


def _choices(line: Mapping[str, Any]) -> int:
    """How many there were to choose from; 0 where nothing was chosen: the answers are (log-likelihood, greedy) then."""
    answers = line.get("filtered_resps")
    if not isinstance(answers, list) or len(answers) < 2:
        return 0
    if not all(isinstance(a, list) and len(a) == 2 and str(a[1]) in ("True", "False") for a in answers):
        return 0
    # With mutual information each choice is asked for without its context as well.
    return len(answers) // (2 if "acc_mutual_info" in line else 1)


def _metrics(line: Mapping[str, Any]) -> list[str]:
    listed = line.get("metrics")
    names = listed if isinstance(listed, list) else [name for name in line if name not in _ABOUT]
    return [str(name) for name in names if name in line]


def _item_names(docs: list[_Doc]) -> list[str]:
    """As `benchmarks.items` names them: a hash says which occurrence it is."""
    seen: Counter[str] = Counter()
    return [unique_id(doc.name, seen, own=doc.own) for doc in docs]


def _outcome(doc: _Doc, name: str, task: str, run: RunSettings, fields: ResultFields) -> Outcome:
    metrics: dict[str, float] = {}
    parts: dict[str, JSON] = {}
    for full, raw in doc.values.items():
        metric = full.partition(",")[0]
        how = _aggregation(task, metric, raw, run)
        if how:
            parts[full] = raw
        value = _own_value(metric, how, raw)
        if value is not None:
            metrics[full] = value
    lower = fields.lower_is_better
    higher = {full: not lower and run.higher_is_better(task, full.partition(",")[0]) for full in metrics}
    return Outcome(
        key=f"{task}/{name}",
        item_id=name,
        checkpoint="",
        task=task,
        subject=doc.subject,
        choices=[str(n) for n in range(doc.choices)] or None,
        metrics=metrics,
        higher_is_better=higher,
        parts=parts,
    )


def _aggregation(task: str, metric: str, raw: Any, run: RunSettings) -> str:
    """How the metric is made of its items; "" where it is their mean."""
    usual = _AGGREGATIONS.get(metric, "") if isinstance(raw, list) or metric in _PERPLEXITIES else ""
    told = run.aggregation(task, metric)
    if told in AGGREGATIONS:
        return "" if told == "mean" else str(told)
    return usual


def _own_value(metric: str, how: str, raw: Any) -> float | None:
    """The metric on one item alone; None where that means nothing, or is no number."""
    if metric in _PERPLEXITIES and how:
        raw = _over(how, [raw])
    return number(raw) if isinstance(raw, Real) else None


def _over(how: str, parts: list[Any]) -> float:
    try:
        return aggregate(how, parts)
    except (ArithmeticError, LookupError, TypeError, ValueError):  # a task of one's own may keep other parts
        return math.nan


def _corpus(task: str, outcomes: list[Outcome], run: RunSettings) -> list[CorpusValue]:
    found = []
    for full in dict.fromkeys(name for o in outcomes for name in o.parts):
        metric = full.partition(",")[0]
        parts = [o.parts[full] for o in outcomes if full in o.parts]
        how = _aggregation(task, metric, parts[0], run)
        value = _over(how, parts)
        higher = run.higher_is_better(task, metric)
        found.append(CorpusValue(task=task, metric=full, aggregation=how, value=number(value), higher_is_better=higher))
    return found
