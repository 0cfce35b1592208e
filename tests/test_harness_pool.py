import asyncio
from collections.abc import Sequence

import pytest

from harness.pool import GONE_AFTER, run_pool


class Endpoint:
    """Answers each job with itself, or with None when it is told to be unreachable for it."""

    def __init__(self, lost: set[int] | None = None) -> None:
        self.lost = lost or set()
        self.under_way = self.most = 0
        self.asked: list[int] = []

    async def work(self, job: int) -> int | None:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        self.asked.append(job)
        await asyncio.sleep(0)  # let the others run
        self.under_way -= 1
        return None if job in self.lost else job


def pool(endpoint: Endpoint, jobs: Sequence[int], concurrency: int) -> tuple[bool, dict[int, int | None]]:
    done: dict[int, int | None] = {}
    alive = asyncio.run(
        run_pool(jobs, endpoint.work, done.__setitem__, concurrency=concurrency, lost=lambda result: result is None)
    )
    return alive, done


@pytest.mark.parametrize("concurrency", [0, 1, 3, 500])
def test_every_job_is_done_once_and_no_more_at_a_time_than_wanted(concurrency: int) -> None:
    endpoint = Endpoint()
    alive, done = pool(endpoint, range(100), concurrency)
    assert alive
    assert done == {n: n for n in range(100)}
    assert sorted(endpoint.asked) == list(range(100))
    assert endpoint.most == min(max(1, concurrency), 100)


def test_nothing_to_do_is_no_loss() -> None:
    assert pool(Endpoint(), [], 4) == (True, {})


@pytest.mark.parametrize("concurrency", [1, 8])
def test_an_endpoint_that_is_gone_is_not_asked_for_ever(concurrency: int) -> None:
    endpoint = Endpoint(lost=set(range(30, 1000)))
    alive, done = pool(endpoint, range(1000), concurrency)
    assert not alive
    assert 30 + GONE_AFTER <= len(endpoint.asked) < 30 + GONE_AFTER + concurrency
    assert set(done) == set(endpoint.asked), "what came back was kept, losses too"


def test_losses_that_are_not_in_a_row_stop_nothing() -> None:
    every_twentieth_works = {n for n in range(400) if n % GONE_AFTER}
    alive, done = pool(Endpoint(lost=every_twentieth_works), range(400), 1)
    assert alive
    assert len(done) == 400


@pytest.mark.parametrize("concurrency", [1, 4])
def test_what_keeping_a_result_raises_ends_the_pool_and_is_what_is_told(concurrency: int) -> None:
    endpoint = Endpoint()
    kept: list[int] = []

    def full_disk(job: int, _: int | None) -> None:
        if len(kept) == 3:
            raise OSError(28, "No space left on device")
        kept.append(job)

    with pytest.raises(OSError, match="No space left"):
        asyncio.run(run_pool(range(50), endpoint.work, full_disk, concurrency=concurrency, lost=lambda _: False))
    assert len(kept) == 3
    assert len(endpoint.asked) <= 3 + 2 * concurrency


@pytest.mark.parametrize("concurrency", [1, 4])
def test_what_work_raises_lets_nothing_begin_and_what_is_under_way_end(concurrency: int) -> None:
    kept: list[int] = []
    begun: list[int] = []
    last = asyncio.Event()

    async def work(job: int) -> int:
        begun.append(job)
        if job == 5:
            last.set()
            raise RuntimeError("the cap is reached")
        if job > 5 - concurrency:
            await last.wait() if concurrency > 1 else None
        return job

    with pytest.raises(RuntimeError, match="the cap is reached"):
        asyncio.run(run_pool(range(50), work, lambda job, _: kept.append(job), concurrency=concurrency, lost=bool))
    assert begun == list(range(6))
    assert sorted(kept) == list(range(5)), "what was paid for is kept"
