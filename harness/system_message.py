"""A system message that the user gives: entries with it, and whether a style has a place for it."""

from typing import Any

from finetune.errors import FinetuneError
from finetune.instructions import Entry, Message
from finetune.segments import Style
from harness.errors import HarnessError

_PROBE = Entry(item_id="probe", instruction="?")


class _Told(Entry):
    """An entry whose conversation begins with a system message; styles write instruction and input as ever.

    Attributes:
        system: What it says.
    """

    system: str

    @property
    def turns(self) -> tuple[Message, ...]:
        """See `Entry`."""
        return (Message("system", self.system), *super().turns)

    @property
    def asked(self) -> tuple[Message, ...]:
        """See `Entry`."""
        return (Message("system", self.system), *super().asked)


def with_system(entry: Entry, system: str | None) -> Entry:
    """The entry below a system message; as it is without one, or where it has its own, which wins."""
    if not system or has_system(entry):
        return entry
    fields: dict[str, Any] = {name: getattr(entry, name) for name in Entry.model_fields}
    return _Told(**fields, system=system)


def has_system(entry: Entry) -> bool:
    """Whether the entry has a system message of its own."""
    return any(turn.role == "system" for turn in entry.asked)


def check_place(style: Style, system: str, name: str) -> None:
    """Whether a style writes a system message.

    Args:
        style: The style.
        system: What the message says.
        name: Of the checkpoint.

    Raises:
        HarnessError: If it refuses one, as some chat templates do, or leaves it out.
    """
    try:
        written = style.prompt(with_system(_PROBE, system))
    except FinetuneError as error:
        raise HarnessError(f"--system: {error}") from None
    if written == style.prompt(_PROBE):
        raise HarnessError(
            f"--system: the prompt style {style.name} of {name} leaves a system message out; "
            f"choose another --style, or go without"
        )
