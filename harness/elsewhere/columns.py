"""Which columns of a file of answers are which: named by the user, else recognised where they can only be one thing."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from harness.elsewhere.fields import AnswerFields
from harness.errors import HarnessError, unknown_name

# Names that other tools give a model's answer; "answer" and "output" are as often the expected one.
_ANSWERS = ("response", "prediction", "completion", "model_output", "model_answer", "generated_text", "generation")
_EXPECTED = (
    "expected",
    "expected_output",
    "reference",
    "reference_answer",
    "reference_output",
    "ground_truth",
    "gold",
    "gold_answer",
    "target",
)
_CHATS = ("messages", "conversations")
_ASKED = ("instruction", *_CHATS, "prompt", "question", "query")
_GENERATORS = ("generator", "model", "model_name", "model_id")


@dataclass(frozen=True)
class Columns:
    """Names of columns; None where there is none.

    Attributes:
        answer: What was answered; the same as `instruction` where the last of its messages is the answer.
        instruction: What was asked, as text or as a list of messages.
        input: What it was asked about.
        expected: The expected answer.
        id: The item's id, by which answers are paired.
        generator: Who answered.
    """

    answer: str
    instruction: str | None = None
    input: str | None = None
    expected: str | None = None
    id: str | None = None
    generator: str | None = None


def find_columns(
    columns: Sequence[str], filled: Collection[str], named: AnswerFields, where: str, *, with_data: bool
) -> Columns:
    """Complete what the user named by what is recognised.

    Args:
        columns: All that the file has, in order.
        filled: Those with a value in at least one entry.
        named: By the user.
        where: The file, for errors.
        with_data: Whether the questions and expected answers are known from elsewhere.

    Returns:
        With an instruction, or where `with_data` at least with an id to pair by.

    Raises:
        HarnessError: A named column that is not there, or something that is missing or could be several columns;
            says the flag that decides.
    """
    _check_named(columns, named, where, with_data=with_data)
    taken = {named.instruction, named.input, named.answer, named.expected, named.id, named.generator}
    there = {*filled, "model_response"}  # which says what it is even where it is empty
    file = File(where, columns, [c for c in columns if c in there and c not in taken])
    generator = named.generator or file.first("generator") or file.only(_GENERATORS)
    # A column of models may as well say who wrote what is expected; a generator's, or a named one, cannot.
    clear = named.generator is not None or generator == "generator"
    answer = named.answer or _answer(file, beside_generator=clear)
    id_ = named.id or file.first("id", "item_id")
    instruction = named.instruction or _instruction(file, answer, optional=with_data and id_ is not None)
    return Columns(
        answer=answer,
        instruction=instruction,
        input=named.input or _input(file, instruction, optional=with_data and id_ is not None),
        expected=named.expected or (None if with_data else _expected(file, answer)),
        id=id_,
        generator=generator,
    )


@dataclass(frozen=True)
class File:
    """A file's columns, and those that nothing was named for, in its order."""

    where: str
    columns: Sequence[str]
    free: Sequence[str]

    def first(self, *names: str) -> str | None:
        """The first of these names that there is."""
        return next((name for name in names if name in self.free), None)

    def several(self, names: Sequence[str], but: str | None = None) -> list[str]:
        """Those of these names that there are."""
        return [name for name in self.free if name in names and name != but]

    def only(self, names: Sequence[str]) -> str | None:
        """The one of these names that there is; None where there are none or several."""
        there = self.several(names)
        return there[0] if len(there) == 1 else None

    def refuse(self, field: str, wanted: str, several: Sequence[str] = ()) -> HarnessError:
        """The error where a column is missing, or could be several."""
        found = f"found several that may be ({', '.join(several)})" if several else f"found {', '.join(self.columns)}"
        return HarnessError(f"{self.where}: wanted a column of {wanted}, {found}; name it with --field-{field}")


def refuse_unknown(columns: Sequence[str], named: Mapping[str, str], where: str) -> None:
    """Raise for a column that was named, by the flag it was named with, and is not there."""
    for field, column in named.items():
        if column not in columns:
            raise HarnessError(f"{where}: --field-{field}: {unknown_name('column', column, columns)}")


def _check_named(columns: Sequence[str], named: AnswerFields, where: str, *, with_data: bool) -> None:
    refuse_unknown(columns, named.model_dump(exclude_none=True), where)
    if with_data and named.expected is not None:
        raise HarnessError(f"{where}: the expected answers come from --data; leave --field-expected out")


def _answer(file: File, *, beside_generator: bool) -> str:
    if book := file.first("model_response"):
        return book
    # Beside a generator `output` is an answer, as AlpacaEval has it; alone it is what training data call expected.
    there = file.several((*_ANSWERS, "output") if beside_generator else _ANSWERS)
    if len(there) > 1:
        raise file.refuse("answer", "answers", there)
    column = file.first(*there, "answer") or (file.only(_CHATS) if beside_generator else None)
    if column is None:
        raise file.refuse("answer", "answers (model_response, or output beside generator)")
    return column


def _expected(file: File, answer: str) -> str | None:
    if answer == "model_response" and "output" in file.free:
        return "output"
    there = file.several((*_EXPECTED, "output", "answer"), but=answer)
    if len(there) > 1:
        raise file.refuse("expected", "expected answers", there)
    return there[0] if there else None


def _instruction(file: File, answer: str, *, optional: bool) -> str | None:
    if answer in _CHATS:
        return answer  # the last message is the answer, the others are what was asked
    there = file.several(_ASKED, but=answer)
    if "instruction" in there and not {*there} & {*_CHATS}:
        return "instruction"  # a prompt beside it is the same, as the model saw it
    there = there or file.several(("input",))
    if len(there) != 1 and not optional:
        raise file.refuse("instruction", "what was asked", there)
    return there[0] if len(there) == 1 else None


def _input(file: File, instruction: str | None, *, optional: bool) -> str | None:
    if instruction is None or instruction in _CHATS:
        return None
    there = file.several(("input", "context"), but=instruction)
    if len(there) > 1 and not optional:
        raise file.refuse("input", "what it was asked about", there)
    return there[0] if len(there) == 1 else None
