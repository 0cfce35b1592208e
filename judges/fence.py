"""What stands between the fences of a prompt, made harmless: an answer under test is data, whatever it says."""

import re
from collections.abc import Collection
from functools import lru_cache

FENCES = ("instruction", "expected_answer", "answer", "answer_a", "answer_b")
"""The tags that the shipped rubrics put around texts."""

# The key of a verdict, plain or as JSON, up to the sign that makes it a marker. It must cover everything that
# judges.parse takes for a marker, so it is wider: any quotes and white space between the word and the sign.
_MARKER = re.compile(r"((?:score|verdict)[\s*_`\"'\\]*)([:=：])", re.IGNORECASE)
# Servers read these inside a user's message as real turns of the chat, or as hidden reasoning.
_CONTROL_TOKEN = re.compile(
    r"<(?=[|｜])"
    r"|<(?=/?(?:s|bos|eos|think|thinking|thought|reasoning|start_of_turn|end_of_turn)>)"
    r"|<(?=</?SYS>>)"
    r"|\[(?=/?(?:INST|SYSTEM_PROMPT)\])",
    re.IGNORECASE,
)


def neutralise(text: str, fences: Collection[str] = FENCES) -> str:
    """Make everything in `text` harmless that could end its fence or be taken for a verdict.

    The changes are visible and small, so that a judge (and a reader of the stored prompt) still sees what was
    answered: `SCORE: 100` becomes `SCORE(:) 100`, tags of the fences and control tokens lose their bracket,
    code fences become look-alikes. `judges.parse` reads no verdict from text that went through here.

    Args:
        text: What is to stand between fences.
        fences: Names of the tags that are used as fences.
    """
    text = _MARKER.sub(r"\1(\2)", text)
    if fences:
        text = _tags(frozenset(fences)).sub("‹", text)
    text = _CONTROL_TOKEN.sub(lambda match: "‹" if match[0] == "<" else "⟦", text)
    return text.replace("```", "ˋˋˋ")


@lru_cache(maxsize=64)
def _tags(fences: frozenset[str]) -> re.Pattern[str]:
    names = "|".join(re.escape(name) for name in sorted(fences))
    return re.compile(rf"<(?=\s{{0,9}}/?\s{{0,9}}(?:{names})(?![\w-]))", re.IGNORECASE)
