"""One judgment as the judge card reads it, whether it scored one answer or compared two."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Subject = tuple[str, str, str, str]
"""What a judgment is about, however often and in whatever order: checkpoint, other, item, answer."""


@dataclass(kw_only=True, slots=True)  # not frozen, which takes three times as long to make
class CardRow:
    """One judgment of one judge.

    Attributes:
        checkpoint: Name of the checkpoint whose answer was judged.
        item: Which item.
        score: On the judge's scale; of a judge that compares, 1 where the checkpoint is better, whatever the order.
        written: The score as written, where `score` is weighted by probabilities.
        unscored: Why there is no score.
        detail: The same in words.
        length: Characters of the answer; None where it is not known.
        answer: Which of several answers to the item.
        other: What the answer was compared with, by name; "" where nothing was.
        other_length: Characters of that.
        order: "AB" when the checkpoint's answer was shown first, "BA" when second.
        repeat: Which of several judgments of the same.
        asked_again: Whether the first reply could not be used.
        prompt_tokens: Of all requests, None when the endpoint does not say.
        output_tokens: The same of the replies.
        seconds: Spent waiting.
    """

    checkpoint: str
    item: str
    score: float | None
    written: float | None = None
    unscored: str | None = None
    detail: str = ""
    length: int | None = None
    answer: str = ""
    other: str = ""
    other_length: int | None = None
    order: Literal["", "AB", "BA"] = ""
    repeat: int = 0
    asked_again: bool = False
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    seconds: float = 0.0

    @property
    def subject(self) -> Subject:
        """What is judged here."""
        return self.checkpoint, self.other, self.item, self.answer


def by_subject(rows: Iterable[CardRow]) -> dict[Subject, list[CardRow]]:
    """The judgments of each answer, or of each two answers."""
    found: dict[Subject, list[CardRow]] = defaultdict(list)
    for row in rows:
        found[row.subject].append(row)
    return found
