"""What `mmlu` means, against lm-eval's own task files."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from benchmarks.errors import BenchmarkError
from benchmarks.presets import (
    MMLU_GROUPS,
    MMLU_SHOTS,
    MMLU_SUBJECTS,
    csv_task,
    mmlu_group,
    mmlu_tasks,
    question_text,
    quiz_tasks,
)
from tests.test_benchmarks_run import write_csv

Manager = Any


@pytest.fixture(scope="module")
def manager() -> Manager:
    from lm_eval import tasks

    folder = Path(tasks.__file__).parent / "mmlu" / "default"
    return tasks.TaskManager(include_path=str(folder), include_defaults=False)


def test_subjects_and_groups_are_lm_evals(manager: Manager) -> None:
    assert len(MMLU_SUBJECTS) == 57
    for group, subjects in MMLU_GROUPS.items():
        tagged = {name.removeprefix("mmlu_") for name in manager.task_index[f"mmlu_{group}_tasks"].tags}
        assert set(subjects) == tagged
    assert [mmlu_group(subject) for subject in ("virology", "sociology", "quiz")] == ["other", "social_sciences", None]
    assert MMLU_SHOTS == 5


def test_a_local_subject_is_lm_evals_task_but_for_its_data(manager: Manager) -> None:
    local_only = {"custom_dataset"}
    hub_only = {"dataset_path", "dataset_name", "tag"}
    for subject in MMLU_SUBJECTS:
        ours = csv_task("mmlu", subject, {})
        theirs = manager.task_index[f"mmlu_{subject}"].cfg
        assert ours.keys() - theirs.keys() == local_only
        assert theirs.keys() - ours.keys() == hub_only
        shared = (ours.keys() & theirs.keys()) - {"doc_to_text"}
        assert {key: ours[key] for key in shared} == {key: theirs[key] for key in shared}


@given(st.lists(st.text(), min_size=5, max_size=5))
@example(["  {{question}} \n", "{% if %}", "a\n", " b", "#}"])
def test_questions_are_written_as_lm_evals_template_writes_them(texts: list[str]) -> None:
    from lm_eval.utils import apply_template

    template = (
        "{{question.strip()}}\nA. {{choices[0]}}\nB. {{choices[1]}}\nC. {{choices[2]}}\nD. {{choices[3]}}\nAnswer:"
    )
    doc = {"question": texts[0], "choices": texts[1:]}
    assert question_text(doc) == apply_template(template, doc)


def test_that_template_is_lm_evals(manager: Manager) -> None:
    from lm_eval.utils import apply_template

    doc = {"question": " why? ", "choices": ["1", "2", "3", "4"]}
    for subject in MMLU_SUBJECTS:
        assert apply_template(manager.task_index[f"mmlu_{subject}"].cfg["doc_to_text"], doc) == question_text(doc)


def test_groups_are_weighted_as_lm_evals(manager: Manager) -> None:
    (ours,) = mmlu_tasks(["virology", "anatomy"])
    assert isinstance(ours, dict)
    for group in (ours, *ours["task"]):
        theirs = manager.task_index[group["group"]].cfg
        assert group["aggregate_metric_list"] == theirs["aggregate_metric_list"]
        assert group["metadata"] == theirs["metadata"]
        assert group["group_alias"] == theirs.get("group_alias", "mmlu")


def test_hub_tasks_are_named() -> None:
    assert mmlu_tasks() == ["mmlu"]
    (group,) = mmlu_tasks(["virology", "anatomy", "virology"])
    assert isinstance(group, dict)
    assert [(child["group"], child["task"]) for child in group["task"]] == [
        ("mmlu_stem", ["mmlu_anatomy"]),
        ("mmlu_other", ["mmlu_virology"]),
    ]


def test_unknown_subjects() -> None:
    with pytest.raises(BenchmarkError, match=r"unknown MMLU subject 'anatomie': did you mean anatomy"):
        mmlu_tasks(["anatomie"])
    with pytest.raises(BenchmarkError, match="--subjects is empty"):
        mmlu_tasks([])


def test_local_subjects_mmlu_does_not_have_stand_beside_the_groups(tmp_path: Path) -> None:
    for subject in ("anatomy", "tides"):
        write_csv(tmp_path, subject, dev=1, test=1)
    (group,) = mmlu_tasks(data_dir=tmp_path)
    assert isinstance(group, dict)
    stem, tides = group["task"]
    assert (stem["group"], [task["task"] for task in stem["task"]]) == ("mmlu_stem", ["mmlu_anatomy"])
    assert (tides["task"], tides["task_alias"]) == ("mmlu_tides", "tides")


def test_a_quiz_has_its_own_name(tmp_path: Path) -> None:
    write_csv(tmp_path, "anatomy", dev=1, test=1)
    (group,) = quiz_tasks(tmp_path)
    assert isinstance(group, dict)
    assert (group["group"], [task["task"] for task in group["task"]]) == ("quiz", ["quiz_anatomy"])


def test_the_real_data_hold_all_subjects() -> None:
    shared = Path(os.environ.get("IFT_EVAL_SHARED") or Path(__file__).parents[2] / "shared")
    if not (shared / "data" / "mmlu").is_dir():
        pytest.skip("no MMLU files: set IFT_EVAL_SHARED to a folder with data/mmlu")
    (group,) = mmlu_tasks(data_dir=shared / "data" / "mmlu")
    assert isinstance(group, dict)
    found = [task["task_alias"] for child in group["task"] for task in child["task"]]
    assert sorted(found) == sorted(MMLU_SUBJECTS)
