"""How many calls an endpoint gets at once: fewer when it says that it is asked too often, then slowly more."""

import asyncio
from collections import deque


class Places:
    """So many places that calls hold while they are under way or wait for another attempt.

    The limit is halved when an endpoint turns a call away, and grows by one after as many successes as it allows
    calls (additive increase, multiplicative decrease: Chiu and Jain 1989, as TCP has it). A call that waits for
    another attempt keeps its place, since an endpoint that is asked too often is not helped by asking for
    something else meanwhile.
    """

    def __init__(self, bound: int) -> None:
        if bound < 1:
            raise ValueError(f"concurrency must be at least 1, got {bound}")
        self.bound = bound
        self.limit = bound
        self._held = 0
        self._cuts = 0
        self._successes = 0
        self._again: deque[asyncio.Future[None]] = deque()  # those that gave up a place go before new ones
        self._new: deque[asyncio.Future[None]] = deque()

    @property
    def cuts(self) -> int:
        """How often the limit was cut: an attempt keeps the number that stood when it began."""
        return self._cuts

    async def enter(self) -> None:
        """Wait for a place."""
        if self._held < self.limit and not (self._again or self._new):
            self._held += 1
            return
        await self._queue(self._new)

    async def renew(self) -> None:
        """Before another attempt: give the place up and wait for it anew where the limit has fallen meanwhile.

        Whether this returns or is cancelled, a place is held.
        """
        if self._held <= self.limit:
            return
        self.leave()
        try:
            await self._queue(self._again)
        except asyncio.CancelledError:
            self._held += 1
            raise

    def leave(self) -> None:
        """Give up a place."""
        self._held -= 1
        self._hand_out()

    def went_well(self) -> None:
        """Count an attempt that was answered."""
        if self.limit >= self.bound:
            return
        self._successes += 1
        if self._successes >= self.limit:
            self.limit += 1
            self._successes = 0
            self._hand_out()

    def turned_away(self, cuts: int) -> None:
        """Halve the limit, unless the attempt began before the last cut: then it says nothing of the new limit.

        Args:
            cuts: `cuts` at the time the attempt began.
        """
        if cuts == self._cuts:
            self.limit = max(1, self.limit // 2)
            self._cuts += 1
            self._successes = 0

    def _hand_out(self) -> None:
        while self._held < self.limit and (queue := self._again or self._new):
            turn = queue.popleft()
            if not turn.done():  # done: whoever waited was cancelled
                turn.set_result(None)
                self._held += 1

    async def _queue(self, queue: deque[asyncio.Future[None]]) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave()  # the place came at the same moment
            raise
