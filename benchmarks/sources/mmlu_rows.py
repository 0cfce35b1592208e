"""One row of a file as a question of MMLU, in whatever of the known forms it comes."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.errors import BenchmarkError

Doc = dict[str, Any]  # question, subject, choices, answer (0 to 3): as in the hub's data set

LETTERS = "ABCD"


def from_columns(row: Sequence[str], subject: str, where: str) -> Doc:
    """A line of the original CSV files: question, four choices, the letter of the right one.

    Args:
        row: Its columns.
        subject: As in the file's name.
        where: File and line, for messages.

    Raises:
        BenchmarkError: If it is not as wanted.
    """
    if len(row) != 6:
        raise BenchmarkError(f"{where}: wanted 6 columns (question, 4 choices, letter), found {len(row)}")
    letter = row[5].strip()
    if len(letter) != 1 or letter not in LETTERS:
        raise BenchmarkError(f"{where}: wanted a letter from A to D in column 6, found {row[5]!r}")
    return _doc(row[0], subject, list(row[1:5]), LETTERS.index(letter), where)


def from_fields(row: Any, subject: str | None, where: str) -> Doc:
    """A row of the hub's data set: `question`, `choices`, `answer` (0 to 3, or a letter), perhaps `subject`.

    Args:
        row: What stands there.
        subject: By the folder it lies in; None where the row itself must tell.
        where: File and row, for messages.

    Raises:
        BenchmarkError: If it is not as wanted.
    """
    if not isinstance(row, Mapping):
        raise BenchmarkError(f"{where}: wanted an object with question, choices and answer, found {_shown(row)}")
    for field in ("question", "choices", "answer", *(("subject",) if subject is None else ())):
        if field not in row:
            there = ", ".join(name if name.isprintable() else repr(name) for name in map(str, row))
            raise BenchmarkError(f"{where}: wanted the field {field!r}, found {there or 'none'}")
    question, choices = row["question"], row["choices"]
    if not isinstance(question, str):
        raise BenchmarkError(f"{where}: wanted text in 'question', found {_shown(question)}")
    if not isinstance(choices, Sequence) or isinstance(choices, str) or not all(isinstance(c, str) for c in choices):
        raise BenchmarkError(f"{where}: wanted a list of 4 texts in 'choices', found {_shown(choices)}")
    if len(choices) != len(LETTERS):
        raise BenchmarkError(f"{where}: wanted 4 choices, found {len(choices)}")
    own = row.get("subject")
    if subject is None and not (isinstance(own, str) and own):
        raise BenchmarkError(f"{where}: wanted a name in 'subject', found {_shown(own)}")
    if subject is not None and own and own != subject:
        raise BenchmarkError(f"{where}: wanted questions of {subject}, as the folder says, found {_shown(own)}")
    return _doc(question, subject or str(own), list(choices), _place(row["answer"], where), where)


def _place(answer: Any, where: str) -> int:
    if isinstance(answer, str) and len(answer.strip()) == 1 and answer.strip() in LETTERS:
        return LETTERS.index(answer.strip())
    if isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer < len(LETTERS):
        return answer
    raise BenchmarkError(f"{where}: wanted 0 to 3, or a letter from A to D, in 'answer', found {_shown(answer)}")


def _doc(question: str, subject: str, choices: list[str], answer: int, where: str) -> Doc:
    if not question.strip():
        raise BenchmarkError(f"{where}: wanted a question, found none")
    empty = [letter for letter, choice in zip(LETTERS, choices, strict=True) if not choice.strip()]
    if empty:
        raise BenchmarkError(f"{where}: wanted text in every choice, found none in {', '.join(empty)}")
    return {"question": question, "subject": subject, "choices": choices, "answer": answer}


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
