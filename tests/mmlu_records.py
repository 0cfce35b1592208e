"""Hand-made outcomes of MMLU, so that what is computed from them is known beforehand."""

from collections.abc import Mapping, Sequence

from harness.records import JSON, CheckpointRecord, Evaluation, Outcome
from harness.store import Run
from tests.recorded import checkpoint


def took_mmlu(
    run: Run,
    who: str | CheckpointRecord,
    right: Mapping[str, Sequence[float]],
    *,
    predictions: Mapping[str, Sequence[str | None]] | None = None,
    name: str = "mmlu",
    settings: Mapping[str, JSON] | None = None,
    notes: Sequence[str] = (),
) -> Evaluation:
    """An outcome for every question: by subject, 1 for a right answer and 0 for a wrong one."""
    record = checkpoint(who) if isinstance(who, str) else who
    fixed = {"shots": 5, "limit": None, "how": "loglikelihood", "chat": False, **(settings or {})}
    outcomes = [
        Outcome(
            key=f"{fixed}-{subject}-{n}",
            item_id=f"q{n}",
            checkpoint=record.fingerprint,
            task=f"mmlu_{subject}",
            subject=subject,
            choices=list("ABCD"),
            prediction=predictions[subject][n] if predictions else "A",
            metrics={"acc": value},
            higher_is_better={"acc": True},
        )
        for subject, values in right.items()
        for n, value in enumerate(values)
    ]
    with run.records(Outcome, "outcomes", name, record.slug).writing() as writer:
        writer.append(*outcomes, sync=False)
    evaluation = Evaluation(
        stage="benchmark",
        checkpoint=record.slug,
        dataset=f"{name}-abcdef01",
        settings=fixed,
        records={f"{o.task}/{o.item_id}": [o.key] for o in outcomes},
        notes=list(notes),
    )
    run.add(record, evaluation)
    return evaluation
