"""How to reply, in the words that a rubric takes where it brings none of its own."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["score", "pairwise"]


@dataclass(frozen=True)
class Wording:
    """How to reply to a rubric of one kind.

    Attributes:
        reply: With reasons, which come before the verdict so that it follows from them.
        reply_without_reasons: With the verdict alone.
        reminder: What is said after a reply that could not be read.
        reminder_without_reasons: The same, where no reasons were asked for.
    """

    reply: str
    reply_without_reasons: str
    reminder: str
    reminder_without_reasons: str


WORDINGS: dict[Kind, Wording] = {
    "score": Wording(
        reply="First give your reasons in one to three sentences, then the score: "
        "a whole number from {lowest} to {highest}.\n"
        'Reply with JSON, {"reason": "...", "score": N}, or with text whose last line is SCORE: N',
        reply_without_reasons="Reply with the score alone, a whole number from {lowest} to {highest}, "
        "without any reasons.\n"
        'Reply with JSON, {"score": N}, or with the one line SCORE: N',
        reminder="No score could be read from your reply. "
        'Reply again with only JSON, {"reason": "...", "score": N}, or with text whose last line is SCORE: N, '
        "where N is one whole number from {lowest} to {highest}.",
        reminder_without_reasons="No score could be read from your reply. "
        'Reply again with only JSON, {"score": N}, or with only the one line SCORE: N, '
        "where N is one whole number from {lowest} to {highest}.",
    ),
    # V stands for the option: any real one in its place would be an example to follow.
    "pairwise": Wording(
        reply="First give your reasons in one to three sentences, then the verdict V: "
        "A if answer A is better, B if answer B is better, TIE if neither is better.\n"
        'Reply with JSON, {"reason": "...", "verdict": "V"}, or with text whose last line is VERDICT: V',
        reply_without_reasons="Reply with the verdict V alone, without any reasons: "
        "A if answer A is better, B if answer B is better, TIE if neither is better.\n"
        'Reply with JSON, {"verdict": "V"}, or with the one line VERDICT: V',
        reminder="No verdict could be read from your reply. "
        'Reply again with only JSON, {"reason": "...", "verdict": "V"}, or with text whose last line is VERDICT: V, '
        "where V is one of A, B and TIE.",
        reminder_without_reasons="No verdict could be read from your reply. "
        'Reply again with only JSON, {"verdict": "V"}, or with only the one line VERDICT: V, '
        "where V is one of A, B and TIE.",
    ),
}
