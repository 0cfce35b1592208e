"""What `mmlu` and a quiz in its format mean here: subjects, groups, prompt, shots, aggregates."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.errors import BenchmarkError, unknown_name
from benchmarks.sources.mmlu_files import Splits, read_subjects
from benchmarks.sources.mmlu_rows import Doc

MMLU_SHOTS = 5
"""Hendrycks et al. 2021 (arXiv:2009.03300). lm-eval's own default is 0."""

MMLU_GROUPS: dict[str, tuple[str, ...]] = {
    "stem": (
        *("abstract_algebra", "anatomy", "astronomy", "college_biology", "college_chemistry"),
        *("college_computer_science", "college_mathematics", "college_physics", "computer_security"),
        *("conceptual_physics", "electrical_engineering", "elementary_mathematics", "high_school_biology"),
        *("high_school_chemistry", "high_school_computer_science", "high_school_mathematics"),
        *("high_school_physics", "high_school_statistics", "machine_learning"),
    ),
    "other": (
        *("business_ethics", "clinical_knowledge", "college_medicine", "global_facts", "human_aging"),
        *("management", "marketing", "medical_genetics", "miscellaneous", "nutrition"),
        *("professional_accounting", "professional_medicine", "virology"),
    ),
    "social_sciences": (
        *("econometrics", "high_school_geography", "high_school_government_and_politics"),
        *("high_school_macroeconomics", "high_school_microeconomics", "high_school_psychology"),
        *("human_sexuality", "professional_psychology", "public_relations", "security_studies"),
        *("sociology", "us_foreign_policy"),
    ),
    "humanities": (
        *("formal_logic", "high_school_european_history", "high_school_us_history"),
        *("high_school_world_history", "international_law", "jurisprudence", "logical_fallacies"),
        *("moral_disputes", "moral_scenarios", "philosophy", "prehistory", "professional_law"),
        "world_religions",
    ),
}
"""lm-eval's four groups and the subjects in each; between them the 57 of MMLU."""

MMLU_SUBJECTS: tuple[str, ...] = tuple(sorted(subject for group in MMLU_GROUPS.values() for subject in group))

_ACCURACY = {"metric": "acc", "weight_by_size": True}  # over all questions, not the mean of the subjects


def mmlu_group(subject: str) -> str | None:
    """The group an MMLU subject is in; None for a subject that MMLU does not have."""
    return next((name for name, subjects in MMLU_GROUPS.items() if subject in subjects), None)


def mmlu_tasks(subjects: Sequence[str] | None = None, data_dir: str | Path | None = None) -> list[str | dict[str, Any]]:
    """What `run_tasks` takes to run MMLU, in its four groups.

    Args:
        subjects: Only these, or those of the groups named; all when not given.
        data_dir: A folder that `benchmarks.sources.mmlu_files` reads; its subjects need not be MMLU's own. From the hub
            when not given.

    Raises:
        BenchmarkError: If a subject is unknown, or the folder is not as wanted.
    """
    if data_dir is not None:
        return mmlu_tasks_of(read_subjects(data_dir, subjects, MMLU_GROUPS))
    if subjects is None:
        return ["mmlu"]
    return [_grouped(mmlu_subjects(subjects), lambda subject: f"mmlu_{subject}")]


def mmlu_tasks_of(docs: Mapping[str, Splits]) -> list[str | dict[str, Any]]:
    """The same on questions that have been read, by subject and split."""
    return [_grouped(list(docs), lambda subject: subject_task("mmlu", subject, docs[subject]))]


def mmlu_subjects(names: Sequence[str]) -> list[str]:
    """The subjects that names of subjects and groups stand for, each once.

    Raises:
        BenchmarkError: If there is no name, or MMLU does not have it.
    """
    if not names:
        raise BenchmarkError("--subjects is empty; name some, or leave it out for all 57")
    for name in names:
        if name not in MMLU_SUBJECTS and name not in MMLU_GROUPS:
            raise unknown_name("MMLU subject", name, (*MMLU_SUBJECTS, *MMLU_GROUPS))
    return list(dict.fromkeys(subject for name in names for subject in MMLU_GROUPS.get(name, (name,))))


def quiz_tasks(data_dir: str | Path, name: str = "quiz") -> list[str | dict[str, Any]]:
    """What `run_tasks` takes to run a quiz in MMLU's layout: the group `name` of tasks `name_SUBJECT`."""
    docs = read_subjects(data_dir)
    return [_group(name, name, [subject_task(name, subject, splits) for subject, splits in docs.items()])]


def subject_task(name: str, subject: str, splits: Mapping[str, list[Doc]]) -> dict[str, Any]:
    """One subject as an lm-eval task: lm-eval's own MMLU prompt and scoring, on the documents given.

    Args:
        name: In front of the subject in the task's name.
        subject: As in the task's name.
        splits: Documents of `dev` (the examples) and `test`.
    """

    def datasets_of_splits(**_: Any) -> dict[str, Any]:
        # Lists: a data set of `datasets` leaves a copy in the user's cache, and takes 0.1 ms for each look at a row.
        return {split: _Docs(docs) for split, docs in splits.items()}

    return {
        "task": f"{name}_{subject}",
        "task_alias": subject,
        "custom_dataset": datasets_of_splits,
        "test_split": "test",
        "fewshot_split": "dev",
        "fewshot_config": {"sampler": "first_n"},
        "output_type": "multiple_choice",
        "description": f"The following are multiple choice questions (with answers) about {_spoken(subject)}.\n\n",
        # A function, where lm-eval has a template: it would compile that anew for every question and example.
        "doc_to_text": question_text,
        "doc_to_choice": ["A", "B", "C", "D"],
        "doc_to_target": "answer",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        "metadata": {"version": 1.0},
    }


class _Docs(list[Doc]):
    """Documents with as much of a data set's manners as lm-eval asks for."""

    @property
    def features(self) -> Doc:
        """Its keys are the fields."""
        return self[0]


def question_text(doc: Doc) -> str:
    """A question as MMLU's prompt writes it, without its answer."""
    choices = (f"{letter}. {choice}\n" for letter, choice in zip("ABCD", doc["choices"], strict=True))
    return f"{doc['question'].strip()}\n{''.join(choices)}Answer:"


def _spoken(subject: str) -> str:
    return subject.replace("_", " ")


def _grouped(subjects: Sequence[str], task: Callable[[str], str | dict[str, Any]]) -> dict[str, Any]:
    """MMLU's groups as far as these subjects fill them; subjects of no group stand beside them."""
    members: list[str | dict[str, Any]] = []
    for name, own in MMLU_GROUPS.items():
        present = [subject for subject in own if subject in subjects]
        if present:
            members.append(_group(f"mmlu_{name}", _spoken(name), [task(subject) for subject in present]))
    members += [task(subject) for subject in subjects if mmlu_group(subject) is None]
    return _group("mmlu", "mmlu", members)


def _group(name: str, alias: str, members: Sequence[str | dict[str, Any]]) -> dict[str, Any]:
    aggregates = {"aggregate_metric_list": [dict(_ACCURACY)], "metadata": {"version": 2}}
    return {"group": name, "group_alias": alias, "task": list(members), **aggregates}
