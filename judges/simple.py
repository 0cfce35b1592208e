"""The judge without a model: token F1 against the expected answer, exact match beside it."""

from judges.base import JSON, Judgment, Submission, canonical_hash
from judges.overlap import f1, is_exact

_RUBRIC = "token-f1-v1"


class ReferenceJudge:
    """Scores an answer by the tokens it shares with the expected one, times 100.

    It measures wording, not truth, and is labelled as what it is. Two empty texts score 100, an empty one against
    another 0. See `judges.overlap` for what a token is.
    """

    name = "reference"
    rubric = _RUBRIC
    scale = (0.0, 100.0)
    concurrency = 1
    pairwise = False
    needs_expected = True
    form = ""
    fingerprint = canonical_hash({"judge": _RUBRIC})

    def request(self, submission: Submission, *, repeat: int = 0) -> dict[str, JSON]:
        """All that decides the score: the two answers."""
        return {"judge": _RUBRIC, "expected": submission.expected, "answer": submission.answer}

    async def check(self) -> list[str]:
        """Nothing can be amiss."""
        return []

    async def judge(self, submission: Submission, *, repeat: int = 0) -> Judgment:
        """Compare the answer with the expected one."""
        return Judgment(
            score=100.0 * f1(submission.answer, submission.expected),
            exact=is_exact(submission.answer, submission.expected),
        )

    async def close(self) -> None:
        """Nothing is open."""
