"""A judge over the answers of several checkpoints: what is wanted of it, what it will take, and the doing."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

from finetune.instructions import DataSet
from harness.errors import HarnessError
from harness.judging.estimate import Estimate, Messages, after_line, before_lines, counter_for, estimate, pilot_size
from harness.judging.judgments import Batch, Order, Wanted, settle
from harness.judging.named import keep_form
from harness.judging.prefer import preferences_wanted
from harness.judging.rivals import Rivals
from harness.judging.score import verdicts_wanted
from harness.judging.settings import PLAIN, JudgingSettings
from harness.records import JSON, Evaluation
from harness.screen import Advance, Screen
from harness.store import Run

if TYPE_CHECKING:
    from harness.stages import Answered
    from judges.base import Judge
    from judges.spending import Meter, Price

_RUBRICS = "a rubric without: helpfulness, faithfulness, instruction-following"
_WITHOUT = {"check": "a check without: check:regex, check:json, check:meta", "reference": "another judge"}
SHOWN = 3  # prompts of a dry run


def judge_all(
    run: Run,
    answered: "Sequence[Answered]",
    judge: "Judge",
    screen: Screen,
    *,
    reference: str = "",
    settings: JudgingSettings = PLAIN,
    meter: "Meter | None" = None,
    name: str | None = None,
    fresh: bool = False,
    retry_unscored: bool = False,
) -> list[Evaluation]:
    """Judge all that was answered.

    Args:
        run: Where everything is recorded.
        answered: The answers.
        judge: Before its `check`.
        screen: Where progress and warnings are shown.
        reference: The judge's, under which is remembered how its replies are asked for.
        settings: How it is asked.
        meter: What it counts calls with.
        name: What to call the judge in place of its own name.
        fresh: Judge again what is recorded.
        retry_unscored: Judge again what has no score.

    Raises:
        JudgeError: If the judge cannot be used.
        HarnessError: If it is gone, the run cannot be written, or there is nothing to compare.
    """
    how = {"name": name, "fresh": fresh, "retry_unscored": retry_unscored}
    return asyncio.run(_Job(run, judge, screen, reference, settings, meter, how).do(answered))


def dry_run(
    run: Run,
    answered: "Sequence[Answered]",
    judge: "Judge",
    screen: Screen,
    *,
    reference: str,
    settings: JudgingSettings,
    meter: "Meter",
) -> dict[str, JSON]:
    """Say what judging would take, and show some prompts whole; nothing is asked. See `judge_all`.

    Returns:
        The same for programs.
    """
    job = _Job(run, judge, screen, reference, settings, meter, {})
    todo = [one for batch in job.batches(answered) for one in batch.todo]
    if not todo:
        screen.show(f"{judge.name}: nothing to ask, everything is recorded")
    shown = [one for one in todo[:SHOWN] if job.messages(one)]
    for number, one in enumerate(shown, 1):
        screen.show(f"--- prompt {number} of {len(todo):,}, item {one.item_id} ---")
        for message in job.messages(one):
            screen.show(f"[{message['role']}]\n{message['content']}")
    asked = job.estimate(todo)
    for line in before_lines(asked, judge.name, meter.price) if judge.form else ():
        screen.show(line)
    return {
        "judge": judge.name,
        "rubric": judge.rubric,
        "calls": asked.calls if judge.form else 0,
        "prompt_tokens": asked.tokens,
        "most_reply_tokens": asked.most_output,
        "most_cost": meter.price.of(asked.tokens, asked.most_output) if meter.price else None,
        "prompts": [[*job.messages(one)] for one in shown],
    }


class _Job:
    """One judge, and what it is to do."""

    def __init__(
        self,
        run: Run,
        judge: "Judge",
        screen: Screen,
        reference: str,
        settings: JudgingSettings,
        meter: "Meter | None",
        how: dict[str, Any],
    ) -> None:
        self.run, self.judge, self.screen, self.settings, self.meter = run, judge, screen, settings, meter
        self.how = how
        self.reference, self.name = reference, how.get("name") or judge.name

    async def do(self, answered: "Sequence[Answered]") -> list[Evaluation]:
        """Everything, in the judge's one event loop."""
        try:
            for warning in await self.judge.check():
                self.screen.warn(warning)
            keep_form(self.run, self.reference, self.judge)
            batches = [*self.batches(answered)]
            left = sum([len(batch.todo) async for batch in self._settled(batches)])
        finally:
            await self.judge.close()
        if left:
            self.screen.warn(
                f"{self.name}: {left:,} judgments are left, since a cap on calls or cost is reached; "
                f"caps are for one command: the same one again goes on there"
            )
        return [batch.evaluation for batch in batches]

    def batches(self, answered: "Sequence[Answered]") -> Iterator[Batch[Any]]:
        """What is wanted of each checkpoint on each data set."""
        for data in {one.data.label: one.data for one in answered}.values():
            refuse_unfit(data, self.judge)
        order = Order(self.run, self.judge, repeats=self.settings.repeats, **self.how)
        if not self.judge.pairwise:
            for one in answered:
                yield verdicts_wanted(order, one.checkpoint, one.data, one.evaluation)
            return
        rivals = Rivals(self.run, answered, self.settings.against)
        self.screen.say(f"{self.name}: every answer is compared with that of {rivals.name}", once=True)
        for one, rival in rivals.pairs():
            yield preferences_wanted(order, one.checkpoint, one.data, one.evaluation, rival)

    async def _settled(self, batches: Sequence[Batch[Any]]) -> AsyncIterator[Batch[Any]]:
        """Each batch when it is done, with what is left of it; the first judgments tell how long it will take."""
        todo = [one for batch in batches for one in batch.todo]
        asked = self.estimate(todo)
        for line in before_lines(asked, self.name, self._price) if self.judge.form and todo else ():
            self.screen.say(line)
        pilot = pilot_size(len(todo), self.judge.concurrency) if self.judge.form else 0
        for batch in batches:
            label = f"{self.name} judges {batch.checkpoint.name}, {batch.evaluation.dataset.rpartition('-')[0]}"
            with self.screen.progress(label, "judgments") as advance:
                rest = batch
                if pilot and batch.todo:
                    rest = await self._first(batch, asked, pilot, advance)
                    pilot = 0
                yield await settle(self.run, rest, self.judge, progress=advance)

    async def _first(self, batch: Batch[Any], asked: Estimate, pilot: int, advance: Advance) -> Batch[Any]:
        begun = time.monotonic()
        rest = await settle(self.run, batch, self.judge, most=pilot, progress=advance)
        made = len(batch.todo) - len(rest.todo)
        if made and self.meter:
            self.screen.say(f"{self.name}: {after_line(asked, made, time.monotonic() - begun, self.meter)}")
        return rest

    def estimate(self, todo: Sequence[Wanted[Any]]) -> Estimate:
        """What these will take."""
        counter = counter_for(self.reference)
        return estimate(map(self.messages, todo), max_tokens=self.settings.judge_max_tokens, count=counter)

    def messages(self, one: Wanted[Any]) -> Messages:
        """What would be sent."""
        return cast("Messages", self.judge.request(one.submission, repeat=one.repeat).get("messages", ()))

    @property
    def _price(self) -> "Price | None":
        return self.meter.price if self.meter else None


def refuse_unfit(data: DataSet, judge: "Judge") -> None:
    """Raise where a judge has nothing to say of a data set.

    Raises:
        HarnessError: If it needs expected answers and there are none at all, or an entry names a check that cannot
            be made.
    """
    entries = data.evaluated
    if judge.needs_expected and entries and not any(entry.output for entry in entries):
        raise HarnessError(
            f"{judge.rubric} compares with the expected answers, and the entries of {data.name} have none; "
            f"give them with --data FILE, or take {_WITHOUT.get(judge.name, _RUBRICS)}"
        )
    if judge.name == "check" and judge.rubric.startswith("meta-"):
        _refuse_wrong_checks(data)


def _refuse_wrong_checks(data: DataSet) -> None:
    from judges.checks import problems

    for entry in data.evaluated:
        if problem := problems(entry.meta.get("check")):
            raise HarnessError(f"{data.name}, item {entry.item_id}: {problem}")
