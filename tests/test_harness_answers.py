import json
from pathlib import Path
from typing import Any

import pytest

from finetune.errors import FinetuneError
from finetune.instructions import DataSet, read_data_set
from harness.answers import read_answers, record_answers
from harness.errors import HarnessError
from harness.records import Response
from harness.store import Run
from tests.conftest import entries_json


def write(path: Path, raw: list[dict[str, Any]], *, as_lines: bool = False) -> Path:
    path.write_text("\n".join(map(json.dumps, raw)) if as_lines else json.dumps(raw), "utf-8")
    return path


def book(n: int) -> list[dict[str, Any]]:
    """As the book leaves them: the answer beside the expected one."""
    return [{**raw, "model_response": f"answer {k}"} for k, raw in enumerate(entries_json(n))]


def alpaca_eval(n: int, generator: str = "gpt-x") -> list[dict[str, Any]]:
    """As AlpacaEval has them: the output is the answer."""
    return [
        {"instruction": raw["instruction"], "input": raw["input"], "output": f"answer {k}", "generator": generator}
        for k, raw in enumerate(entries_json(n))
    ]


@pytest.fixture
def data(tmp_path: Path) -> DataSet:
    return read_data_set(write(tmp_path / "test.json", list(entries_json(5))))


@pytest.mark.parametrize("as_lines", [False, True])
def test_the_books_file_holds_answers_and_what_was_expected(tmp_path: Path, as_lines: bool) -> None:
    answers = read_answers(write(tmp_path / "gpt2 large.json", book(4), as_lines=as_lines))
    assert [(e.output, answers.texts[e.item_id]) for e in answers.data.entries] == [
        (f"It is {k}.", f"answer {k}") for k in range(4)
    ]
    assert answers.checkpoint.name == "gpt2 large"
    assert answers.checkpoint.slug.startswith("gpt2-large-")
    assert not answers.checkpoint.visible
    assert "model_response" not in answers.data.entries[0].meta


def test_files_of_the_same_entries_pair_whatever_was_answered(tmp_path: Path, data: DataSet) -> None:
    other = [raw | {"model_response": "something else"} for raw in book(5)]
    one, two = read_answers(write(tmp_path / "a.json", book(5))), read_answers(write(tmp_path / "b.json", other))
    assert one.data.label == two.data.label
    assert one.texts.keys() == two.texts.keys() == {e.item_id for e in data.entries}
    assert one.checkpoint.fingerprint != two.checkpoint.fingerprint


def test_alpaca_evals_answers_are_matched_by_question(tmp_path: Path, data: DataSet) -> None:
    shuffled = [alpaca_eval(5)[k] for k in (3, 0, 4, 1, 2)]
    answers = read_answers(write(tmp_path / "a.json", shuffled), data=data)
    assert answers.checkpoint.name == "gpt-x"
    assert answers.data is data
    assert [answers.texts[e.item_id] for e in data.entries] == [f"answer {k}" for k in range(5)]


def test_answers_to_a_question_asked_twice_are_taken_in_order(tmp_path: Path) -> None:
    raw = entries_json(2)
    data = read_data_set(write(tmp_path / "t.json", [*raw, raw[1] | {"output": "or so"}]))
    made = [*alpaca_eval(2), alpaca_eval(2)[1] | {"output": "again"}]
    answers = read_answers(write(tmp_path / "a.json", made), data=data)
    assert [answers.texts[e.item_id] for e in data.entries] == ["answer 0", "answer 1", "again"]
    with pytest.raises(HarnessError, match="entry 3: wanted an entry of t with the same id or question, found none"):
        read_answers(write(tmp_path / "b.json", [*made, made[1]]), data=data)


def test_a_users_own_ids_match_even_where_the_question_was_reworded(tmp_path: Path) -> None:
    data = read_data_set(write(tmp_path / "t.json", [{"id": "q7", "instruction": "Say 7.", "output": "7"}]))
    made = [{"id": "q7", "instruction": "Please say 7.", "output": "seven", "generator": "g"}]
    answers = read_answers(write(tmp_path / "a.json", made), data=data)
    assert answers.texts == {"q7": "seven"}
    assert answers.data.entries[0].output == "7"


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        ([{"instruction": "a", "output": "b"}], "entry 0: wanted model_response, or output with generator; found"),
        ([*book(1), {"instruction": "a", "model_response": 3}], "entry 1: model_response: wanted text, found int"),
        (alpaca_eval(2), "entry 0: no expected answer to judge against; give the entries with --data"),
        ([], "holds no answers; wanted at least one"),
    ],
)
def test_a_file_that_cannot_be_judged_is_one_clear_error(tmp_path: Path, raw: list[Any], wanted: str) -> None:
    with pytest.raises(HarnessError, match=wanted):
        read_answers(write(tmp_path / "a.json", raw))


def test_a_missing_file_and_answers_to_other_questions_are_clear_errors(tmp_path: Path, data: DataSet) -> None:
    with pytest.raises(FinetuneError, match="found none"):
        read_answers(tmp_path / "none.json")
    with pytest.raises(HarnessError, match="entry 5: wanted an entry of test with the same id or question"):
        read_answers(write(tmp_path / "a.json", alpaca_eval(6)), data=data)


def test_answers_of_several_are_not_taken_for_those_of_one(tmp_path: Path, data: DataSet) -> None:
    mixed = [*alpaca_eval(3), *alpaca_eval(5, "gpt-y")[3:]]
    with pytest.raises(HarnessError, match="answers of one generator, found 'gpt-x', 'gpt-y'"):
        read_answers(write(tmp_path / "mixed.json", mixed), data=data)


def test_answers_are_recorded_once_and_what_was_not_answered_is_seen(tmp_path: Path, data: DataSet) -> None:
    run = Run(tmp_path / "run")
    answers = read_answers(write(tmp_path / "a.json", alpaca_eval(3)), data=data)
    first, second = (record_answers(run, answers) for _ in range(2))
    file = run.records(Response, "responses", data.label, answers.checkpoint.slug)
    assert len(file.path.read_text("utf-8").splitlines()) == 3
    assert {r.text for r in file.read().values()} == {"answer 0", "answer 1", "answer 2"}
    assert first.records == second.records
    assert [len(keys) for keys in first.records.values()] == [1, 1, 1, 0, 0]
    assert len(run.read().evaluations) == 1
    assert read_data_set(run.data_file(data.label)).entries == data.entries


def test_answers_to_conversations_pair_with_what_was_asked(tmp_path: Path) -> None:
    asked = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    expected = [*asked, {"role": "assistant", "content": "Because."}]
    data = read_data_set(write(tmp_path / "t.json", [{"id": "q", "messages": expected}]))
    given = [*asked, {"role": "assistant", "content": "No idea."}]
    path = write(tmp_path / "a.json", [{"messages": given, "generator": "other"}])
    assert read_answers(path, data=data).texts == {"q": "No idea."}
    alone = read_answers(write(tmp_path / "b.json", [{"messages": expected, "model_response": "No idea."}]))
    (entry,) = alone.data.entries
    assert (entry.turns, entry.meta) == (data.entries[0].turns, {})
