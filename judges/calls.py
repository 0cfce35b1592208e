"""How calls are made: a bounded number at once, each with a deadline, retried a bounded number of times."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TypeVar

from judges.clients import CallError, CallTimeoutError

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
    first_wait: float = 0.5
    """Before the first retry; doubled for each further one."""
    longest_wait: float = 8.0
    longest_retry_after: float = 60.0
    """An endpoint that asks to wait longer is not waited for."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    """How to wait; tests put something quicker here."""

    def for_check(self) -> "Patience":
        """Less of it, for the first look at an endpoint: a user waits for that."""
        return replace(self, timeout=min(self.timeout, 30.0), retries=min(self.retries, 1))


class Calls:
    """Makes calls to one endpoint."""

    def __init__(self, concurrency: int, patience: Patience) -> None:
        if concurrency < 1:
            raise ValueError(f"concurrency must be at least 1, got {concurrency}")
        self.concurrency = concurrency
        self.patience = patience
        self._places = asyncio.Semaphore(concurrency)

    async def make(self, attempt: Callable[[], Awaitable[T]]) -> tuple[T, float]:
        """Run `attempt` until it succeeds or no retry is left.

        Returns:
            What it gave, and the seconds spent, waits between retries included and waiting for a place not.

        Raises:
            CallError: The last one, with the time that was spent.
        """
        async with self._places:
            start = perf_counter()
            try:
                result = await self._persist(attempt)
            except CallError as error:
                error.seconds = perf_counter() - start
                raise
            return result, perf_counter() - start

    async def _persist(self, attempt: Callable[[], Awaitable[T]]) -> T:
        for retry in range(self.patience.retries):
            try:
                return await self._in_time(attempt)
            except CallError as error:
                wait = self._wait(error, retry)
                if wait is None:
                    raise
            await self.patience.sleep(wait)
        return await self._in_time(attempt)

    async def _in_time(self, attempt: Callable[[], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout(self.patience.timeout):
                return await attempt()
        except TimeoutError:
            raise CallTimeoutError(f"no complete reply within {self.patience.timeout:g} s") from None

    def _wait(self, error: CallError, retry: int) -> float | None:
        """Seconds before the next attempt, or None where there should be none."""
        if not error.retryable:
            return None
        if error.retry_after is not None:
            return error.retry_after if error.retry_after <= self.patience.longest_retry_after else None
        backoff = min(self.patience.first_wait * 2.0**retry, self.patience.longest_wait)
        # Calls that failed together should not come back together.
        return backoff * random.uniform(0.75, 1.0)
