"""Which fields of a file of answers hold what."""

from pydantic import BaseModel, ConfigDict


class AnswerFields(BaseModel):
    """Names of fields or columns; those left out are recognised by themselves. Every field is a flag.

    Attributes:
        instruction: What was asked.
        input: What it was asked about.
        answer: What was answered.
        expected: The expected answer.
        id: The item's id.
        generator: Who answered.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    instruction: str | None = None
    input: str | None = None
    answer: str | None = None
    expected: str | None = None
    id: str | None = None
    generator: str | None = None
