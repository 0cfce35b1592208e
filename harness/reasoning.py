"""What a checkpoint thought, apart from what it answered."""

from harness.records import JSON
from judges.thinking import TAG, parts_of

THINKING = "thinking"  # the stop reason of an answer that ended before it began
_CUT = ("length", "context")


def split(text: str, stop_reason: str, prompt: str = "") -> tuple[str | None, str, str]:
    """Tell the thinking in an answer from the answer.

    Blocks are `<think>...</think>` and its spellings (`judges.thinking`). A block may be opened in the prompt, as
    the templates of some models do; one that is never closed was cut off, and so is the answer: it is empty. But
    an opening tag amid an answer that ended by itself is only talked about.

    Args:
        text: What was written.
        stop_reason: Why it ended.
        prompt: What it was asked with, where that is known: its end may open a block.

    Returns:
        The thinking, None if there is none; the answer; and why it ended: "thinking" if that was in a block. A
        text without thinking comes back as it is.
    """
    opened = _opens(prompt)
    if not opened and not TAG.search(text):
        return None, text, stop_reason
    parts = parts_of(f"<think>{text}" if opened else text)
    if parts.open and not (opened or stop_reason in _CUT or TAG.match(text.lstrip())):
        return None, text, stop_reason
    return parts.thinking or None, "" if parts.open else parts.text.strip(), THINKING if parts.open else stop_reason


def _opens(prompt: str) -> bool:
    """Whether a prompt ends in an opening tag."""
    last = None
    for last in TAG.finditer(prompt[-40:]):  # noqa: B007 - the last one is wanted
        pass
    return last is not None and not last[1] and not prompt[-40:][last.end() :].strip()


def apart(answer: dict[str, JSON], prompt: str = "") -> dict[str, JSON]:
    """The fields of a response with thinking out of its text; what an endpoint keeps apart itself stays so."""
    text = answer.get("text")
    if text is None or answer.get("reasoning"):
        return answer
    reasoning, text, ended = split(text, answer.get("stop_reason", "stop"), prompt)
    return answer | {"reasoning": reasoning, "text": text, "stop_reason": ended}
