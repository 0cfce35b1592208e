"""Models that answer lm-eval's requests without computing anything."""

from typing import Any

from lm_eval.api.model import LM


class LongestWins(LM):  # type: ignore[misc]  # lm-eval has no types
    """Likes a continuation the better the longer the whole text is; writes nothing."""

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        return [(-10.0 / len(r.args[0] + r.args[1]), False) for r in requests]

    def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
        return [-2.0 * len(r.args[0]) - 1 for r in requests]

    def generate_until(self, requests: list[Any]) -> list[str]:
        return [""] * len(requests)
