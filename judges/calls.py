"""How calls are made: a bounded number at once, each with a deadline, retried a bounded number of times."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from time import monotonic, perf_counter
from typing import TypeVar

from judges.clients import CallError, CallStatusError, CallTimeoutError
from judges.places import Places
from judges.rate import Limiter, Rate

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long an endpoint is waited for. All times in seconds."""

    timeout: float = 120.0
    """For one attempt as a whole, so that a reply that drips in slowly ends too."""
    connect: float = 10.0
    """For a connection to be made."""
    retries: int = 3
    """Further attempts after one that failed in a way that may pass."""
    busy_retries: int = 8
    """Further attempts after the endpoint said that it is asked too often (429), which fewer calls at once help."""
    first_wait: float = 0.5
    """Before the first retry; doubled for each further one."""
    longest_wait: float = 8.0
    longest_retry_after: float = 60.0
    """An endpoint that asks to wait longer is not waited for."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    """How to wait; tests put something quicker here."""
    clock: Callable[[], float] = monotonic
    """What `sleep` moves on."""

    def for_check(self) -> "Patience":
        """Less of it, for the first look at an endpoint: a user waits for that."""
        return replace(
            self,
            timeout=min(self.timeout, 30.0),
            retries=min(self.retries, 1),
            busy_retries=min(self.busy_retries, 1),
        )


class Calls:
    """Makes calls to one endpoint."""

    def __init__(self, concurrency: int, patience: Patience, rate: Rate | None = None) -> None:
        self.concurrency = concurrency
        self.patience = patience
        self.places = Places(concurrency)
        self._limiter = Limiter(rate or Rate(), sleep=patience.sleep, clock=patience.clock)

    async def make(
        self, attempt: Callable[[], Awaitable[T]], *, tokens: int = 0, took: Callable[[T], int | None] | None = None
    ) -> tuple[T, float]:
        """Run `attempt` until it succeeds or no retry is left.

        Args:
            attempt: One attempt.
            tokens: About how many tokens it takes, for a limit of tokens a minute.
            took: How many it really took; the estimate stands where there is no number.

        Returns:
            What it gave, and the seconds since the first attempt began, waits between retries included.

        Raises:
            CallError: The last one, with the time that was spent.
        """
        await self.places.enter()
        try:
            return await self._persist(attempt, tokens, took)
        finally:
            self.places.leave()

    async def _persist(
        self, attempt: Callable[[], Awaitable[T]], tokens: int, took: Callable[[T], int | None] | None
    ) -> tuple[T, float]:
        start, tries = None, _Tries()
        while True:
            spent = await self._limiter.admit(tokens)
            start = perf_counter() if start is None else start
            cuts = self.places.cuts
            try:
                result = await self._in_time(attempt)
            except CallError as error:
                wait = self._wait(error, cuts, tries)
                if wait is None:
                    error.seconds = perf_counter() - start
                    raise
            else:
                self.places.went_well()
                self._limiter.settle(spent, took(result) if took else None)
                return result, perf_counter() - start
            if wait:
                await self.patience.sleep(wait)
            await self.places.renew()

    async def _in_time(self, attempt: Callable[[], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout(self.patience.timeout):
                return await attempt()
        except TimeoutError:
            pass  # told outside, so that nothing of what was under way hangs on to the error
        raise CallTimeoutError(f"no complete reply within {self.patience.timeout:g} s")

    def _wait(self, error: CallError, cuts: int, tries: "_Tries") -> float | None:
        """Seconds before this call's next attempt, or None where there should be none.

        An endpoint that is asked too often gets fewer calls; one that names a time to wait gets none until then.
        """
        busy = isinstance(error, CallStatusError) and error.asked_too_often
        if busy:
            self.places.turned_away(cuts)
        if not error.retryable or not tries.another(self.patience, busy=busy):
            return None
        if error.retry_after is not None:
            if error.retry_after > self.patience.longest_retry_after:
                return None
            self._limiter.pause(error.retry_after)
            return 0.0
        backoff = min(self.patience.first_wait * 2.0 ** (tries.made - 1), self.patience.longest_wait)
        # Calls that failed together should not come back together.
        return backoff * random.uniform(0.75, 1.0)


@dataclass
class _Tries:
    """Further attempts that a call has made, by what the one before met."""

    failed: int = 0
    busy: int = 0

    @property
    def made(self) -> int:
        return self.failed + self.busy

    def another(self, patience: Patience, *, busy: bool) -> bool:
        """Count one more; whether it is allowed."""
        if busy:
            self.busy += 1
            return self.busy <= patience.busy_retries
        self.failed += 1
        return self.failed <= patience.retries
