"""How fast an endpoint may be asked: calls and tokens a minute, and pauses that it asks for."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

MINUTE = 60.0
_LOOK_AGAIN = 0.25  # seconds: a reply shorter than feared makes room before its minute is over
_SAME_MOMENT = 1e-6  # seconds: a clock that woke us a rounding error early must not make us wait for nothing


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Limits of an account; None where there is none."""

    calls: int | None = None
    """Calls a minute."""
    tokens: int | None = None
    """Tokens a minute, of prompts and replies together."""

    def __post_init__(self) -> None:
        for what, limit in (("calls", self.calls), ("tokens", self.tokens)):
            if limit is not None and limit < 1:
                raise ValueError(f"{what} a minute must be at least 1, got {limit}")


@dataclass
class Spent:
    """What one attempt takes of a minute: an estimate until it is settled."""

    at: float
    amount: int
    inside: bool = True
    """Whether it still counts."""


class Window:
    """Keeps what any 60 seconds hold at or below a limit.

    A window that slides and not a bucket that fills: a full bucket lets nearly twice the limit through in its
    first minute.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._inside: deque[Spent] = deque()
        self._used = 0

    def wait(self, now: float, amount: int) -> float:
        """Seconds until it is worth another look; 0 if so much fits now.

        What is larger than the limit fits into an empty window: it could never be sent otherwise.
        """
        while self._inside and self._inside[0].at + MINUTE <= now + _SAME_MOMENT:
            gone = self._inside.popleft()
            gone.inside = False
            self._used -= gone.amount
        if self._used + min(amount, self._limit) <= self._limit or not self._inside:
            return 0.0
        return self._inside[0].at + MINUTE - now

    def spend(self, now: float, amount: int) -> Spent:
        """Count so much from now on."""
        spent = Spent(now, amount)
        self._inside.append(spent)
        self._used += amount
        return spent

    def settle(self, spent: Spent, amount: int) -> None:
        """Put what it really was in the place of the estimate."""
        if spent.inside:
            self._used += amount - spent.amount
            spent.amount = amount


class Limiter:
    """Lets attempts begin one after another, no faster than a rate and not during a pause."""

    def __init__(self, rate: Rate, *, sleep: Callable[[float], Awaitable[None]], clock: Callable[[], float]) -> None:
        self._calls = Window(rate.calls) if rate.calls is not None else None
        self._tokens = Window(rate.tokens) if rate.tokens is not None else None
        self._sleep, self._clock = sleep, clock
        self._turn = asyncio.Lock()  # first come, first served
        self._paused_until: float | None = None

    def pause(self, seconds: float) -> None:
        """Let nothing begin for so long: what an endpoint says to one call holds for the whole account."""
        until = self._clock() + seconds
        self._paused_until = max(until, self._paused_until or until)

    async def admit(self, tokens: int) -> Spent | None:
        """Wait until an attempt that takes about so many tokens may begin, and count it.

        Returns:
            What to settle once its tokens are known; None where nobody counts them.
        """
        async with self._turn:
            while (wait := self._pause_left() or self._until_it_fits(tokens)) > 0:
                await self._sleep(wait)
            now = self._clock()
            if self._calls:
                self._calls.spend(now, 1)
            return self._tokens.spend(now, tokens) if self._tokens else None

    def settle(self, spent: Spent | None, tokens: int | None) -> None:
        """Correct the estimate of an attempt; without a number it stands."""
        if self._tokens and spent is not None and tokens is not None:
            self._tokens.settle(spent, tokens)

    def _pause_left(self) -> float:
        """What is left of the pause, which is forgotten with this: whoever asks waits for it."""
        if self._paused_until is None:
            return 0.0
        left, self._paused_until = self._paused_until - self._clock(), None
        return max(left, 0.0)

    def _until_it_fits(self, tokens: int) -> float:
        now = self._clock()
        waits = [window.wait(now, amount) for window, amount in ((self._calls, 1), (self._tokens, tokens)) if window]
        return min(max(waits, default=0.0), _LOOK_AGAIN)
