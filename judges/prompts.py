"""Versioned rubrics: what a judge is asked, with the answer under test made harmless."""

import difflib
import re
from importlib import resources

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from judges.base import JSON, JudgeError, Message, Submission
from judges.fields import wrong_field

REASON_LENGTH = 600
"""Characters a judge may spend on reasons where the endpoint enforces the schema.

Bounded, because a weak model under a grammar may never close an unbounded string.
"""

_PLACEHOLDER = re.compile(r"\{(instruction|expected|answer|lowest|highest)\}")

# The key of a score, plain or as JSON, up to the sign that makes it a marker. It must cover everything that
# judges.parse takes for a marker, so it is wider: any quotes and white space between the word and the sign.
_SCORE_MARKER = re.compile(r"(score[\s*_`\"'\\]*)([:=：])", re.IGNORECASE)
_FENCE_TAG = re.compile(r"<(?=\s{0,9}/?\s{0,9}(?:instruction|expected_answer|answer)\b)", re.IGNORECASE)
# Servers read these inside a user's message as real turns of the chat, or as hidden reasoning.
_CONTROL_TOKEN = re.compile(
    r"<(?=\|)"
    r"|<(?=/?(?:s|think|thinking|thought|reasoning|start_of_turn|end_of_turn)>)"
    r"|\[(?=/?(?:INST|SYSTEM_PROMPT)\])",
    re.IGNORECASE,
)


def neutralise(text: str) -> str:
    """Make everything in `text` harmless that could end its fence or be taken for a verdict.

    The changes are visible and small, so that a judge (and a reader of the stored prompt) still sees what was
    answered: `SCORE: 100` becomes `SCORE(:) 100`, tags of the fence and control tokens lose their bracket,
    code fences become look-alikes. `judges.parse` reads no score from text that went through here.
    """
    text = _SCORE_MARKER.sub(r"\1(\2)", text)
    text = _FENCE_TAG.sub("‹", text)
    text = _CONTROL_TOKEN.sub(lambda match: "‹" if match[0] == "<" else "⟦", text)
    return text.replace("```", "ˋˋˋ")


class Rubric(BaseModel):
    """What a judge is asked. A changed text is a new version: `name-vN` names one measurement."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    """Part of file names."""
    version: int = Field(ge=1)
    scale: tuple[int, int]
    """Lowest and highest score; all whole numbers between them are offered."""
    system: str = ""
    """The system message; `{lowest}` and `{highest}` stand for the ends of the scale."""
    user: str
    """The user's message; holds `{instruction}` and `{answer}`, and `{expected}` if the judge is to see it."""
    reminder: str
    """What is sent after a reply that could not be read."""

    @field_validator("scale")
    @classmethod
    def _scale_rises(cls, scale: tuple[int, int]) -> tuple[int, int]:
        if not scale[0] < scale[1]:
            raise ValueError(f"the lowest score must be below the highest, got {scale[0]} and {scale[1]}")
        return scale

    @model_validator(mode="after")
    def _texts_are_complete(self) -> "Rubric":
        for placeholder in ("{instruction}", "{answer}"):
            if placeholder not in self.user:
                raise ValueError(f"user must hold {placeholder}")
        for field in ("user", "reminder"):
            if "SCORE:" not in getattr(self, field) and '"score"' not in getattr(self, field):
                raise ValueError(f'{field} must ask for a score marker: SCORE: N, or JSON with "score"')
        return self

    @property
    def id(self) -> str:
        """Name and version, safe in a file name."""
        return f"{self.name}-v{self.version}"

    def messages(self, submission: Submission) -> tuple[Message, ...]:
        """The messages that ask for a judgment of `submission`."""
        user = {"role": "user", "content": self._fill(self.user, submission)}
        if not self.system:
            return (user,)
        return ({"role": "system", "content": self._fill(self.system)}, user)

    def reminder_message(self) -> Message:
        """What is said after a reply that could not be read."""
        return {"role": "user", "content": self._fill(self.reminder)}

    def schema_for_reply(self) -> dict[str, JSON]:
        """JSON schema of a reply: reasons first, so that the score follows from them."""
        lowest, highest = self.scale
        return {
            "type": "object",
            "properties": {
                "reason": {"type": "string", "maxLength": REASON_LENGTH},
                "score": {"type": "integer", "minimum": lowest, "maximum": highest},
            },
            "required": ["reason", "score"],
            "additionalProperties": False,
        }

    def _fill(self, text: str, submission: Submission | None = None) -> str:
        values = {"lowest": str(self.scale[0]), "highest": str(self.scale[1])}
        if submission is not None:
            values["instruction"] = neutralise(submission.instruction)
            values["expected"] = neutralise(submission.expected)
            values["answer"] = neutralise(submission.answer)
        # One pass, so that a placeholder inside an answer stays what it is: text.
        return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), text).strip()


def read_rubric(text: str, source: str) -> Rubric:
    """Read a rubric from YAML.

    Args:
        text: The YAML document.
        source: Where it came from, for error messages.

    Raises:
        JudgeError: It is no YAML, or not a rubric; names the first wrong field.
    """
    try:
        return Rubric.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise JudgeError(f"{source}: not YAML{place}: {getattr(error, 'problem', None) or error}") from None
    except ValidationError as error:
        raise JudgeError(f"{source}: {wrong_field(error, Rubric)}") from None


def load_rubric(name: str) -> Rubric:
    """A rubric that the package ships.

    Raises:
        JudgeError: There is none of that name; lists those there are.
    """
    folder = resources.files("judges") / "rubrics"
    known = sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise JudgeError(f"unknown rubric {name!r}: known are {', '.join(known)}{hint}")
    return read_rubric((folder / f"{name}.yaml").read_text(encoding="utf-8"), f"{name}.yaml")
