"""Judges one after the other on the same answers, within caps that hold for all of them together."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from finetune.instructions import DataSet
from harness.checkpoints import split_alias
from harness.errors import HarnessError
from harness.judging.estimate import price_in
from harness.judging.named import known_form, named_judge, refuse_unusable
from harness.judging.settings import JudgingSettings
from harness.judging.stage import dry_run, judge_all, refuse_unfit
from harness.records import Evaluation
from harness.screen import Screen
from harness.store import Run

if TYPE_CHECKING:
    from harness.stages import Answered
    from judges.base import Judge
    from judges.spending import Meter, Price


@dataclass
class Judging:
    """Who judges, and how.

    Attributes:
        judges: References, each perhaps with a name.
        settings: How they are asked.
        concurrency: Calls at once.
        fresh: Judge again what is recorded.
        retry_unscored: Judge again what has no score.
        calls: Made so far, those that try an endpoint out included.
        cost: Spent so far, where prices are known.
        forms: How replies are asked for, as was found out at the start.
    """

    judges: Sequence[str]
    settings: JudgingSettings
    concurrency: int
    fresh: bool = False
    retry_unscored: bool = False
    calls: int = 0
    cost: float = 0.0
    forms: dict[str, str] = field(default_factory=dict)

    def refuse_wrong(self) -> None:
        """Find out what is wrong with references and settings, without asking anybody.

        Raises:
            JudgeError: If there is no such judge or rubric, or an address cannot be used.
            HarnessError: If a cap on the cost has no price to go by, or two judges share a name.
        """
        _refuse_twice(self.judges)
        shown: dict[str, str] = {}
        for reference in self.judges:
            self.meter_of(reference)
            name, judge = named_judge(reference, concurrency=1, settings=self.settings)
            if self.settings.compares and not judge.pairwise:
                raise HarnessError(_no_pairs(judge, self.settings))
            _refuse_same_name(reference, f"{name or judge.name}+{judge.rubric}", shown)

    @cached_property
    def compares(self) -> bool:
        """Whether one of them compares answers, for which those of several checkpoints have to be there."""
        judges = (named_judge(reference, concurrency=1, settings=self.settings)[1] for reference in self.judges)
        return any(judge.pairwise for judge in judges)

    def refuse_unfit(self, data: DataSet) -> None:
        """Find out whether the judges have anything to say of a data set, before it is answered.

        Raises:
            HarnessError: If one has not; see `harness.judging.stage.refuse_unfit`.
        """
        for reference in self.judges:
            refuse_unfit(data, named_judge(reference, concurrency=1, settings=self.settings)[1])

    def refuse_unusable(self, run: Run, screen: Screen) -> None:
        """Find out at the start whether all of them can be used, and how their replies are asked for.

        Raises:
            JudgeError: If one cannot.
            HarnessError: As `refuse_wrong`.
        """
        self.refuse_wrong()
        for reference in self.judges:
            meter = self.meter_of(reference)
            form = self._form(run, reference)
            judge, remarks = refuse_unusable(reference, self.settings, form=form, meter=meter)
            for remark in remarks:
                screen.warn(remark)
            self.forms[reference] = judge.form
            self._count(meter)

    def judge(self, run: Run, answered: "Sequence[Answered]", screen: Screen) -> list[Evaluation]:
        """Have every judge judge all that was answered; see `judge_all`."""
        made: list[Evaluation] = []
        for reference in self.judges:
            meter = self.meter_of(reference)
            name, judge = named_judge(
                reference,
                concurrency=self.concurrency,
                settings=self.settings,
                form=self._form(run, reference),
                meter=meter,
            )
            again = {"fresh": self.fresh, "retry_unscored": self.retry_unscored}
            made += judge_all(
                run,
                answered,
                judge,
                screen,
                reference=reference,
                settings=self.settings,
                meter=meter,
                name=name,
                **again,
            )
            self._count(meter)
            if meter.cost is not None and meter.calls:
                screen.say(f"{name or judge.name}: {meter.calls:,} calls cost {meter.cost:,.2f}")
        return made

    def dry_run(self, run: Run, answered: "Sequence[Answered]", screen: Screen) -> None:
        """Say what it would take, and show prompts."""
        told = []
        for reference in self.judges:
            meter = self.meter_of(reference)
            form = self._form(run, reference) or "schema"
            _, judge = named_judge(reference, concurrency=1, settings=self.settings, form=form)
            told.append(dry_run(run, answered, judge, screen, reference=reference, settings=self.settings, meter=meter))
        screen.print_json(json.dumps(told, ensure_ascii=False, indent=1))

    def _form(self, run: Run, reference: str) -> str | None:
        return self.forms.get(reference) or (None if self.fresh else known_form(run, reference))

    def _count(self, meter: "Meter") -> None:
        self.calls += meter.calls
        self.cost += meter.cost or 0.0

    def meter_of(self, reference: str) -> "Meter":
        """Counts one judge's calls, within what is left of the caps.

        Raises:
            HarnessError: If there is a cap on the cost and no price.
        """
        from judges.spending import Meter

        price, most_calls, most = self._price(reference), self.settings.max_calls, self.settings.max_cost
        if most is not None and price is None and _costs(reference):
            from judges.address import hide_credentials

            raise HarnessError(
                f"--max-cost: the price of {hide_credentials(reference)} is not known; give --price-prompt and "
                f"--price-output for a million tokens, or --prices FILE"
            )
        return Meter(
            max_calls=None if most_calls is None else max(0, most_calls - self.calls),
            max_cost=None if most is None or price is None else max(0.0, most - self.cost),
            price=price,
        )

    def _price(self, reference: str) -> "Price | None":
        from judges.spending import Price

        own = self.settings
        if not _costs(reference):
            return None
        if own.price_prompt is not None and own.price_output is not None:
            return Price(own.price_prompt, own.price_output)
        if own.prices is None:
            return None
        model = split_alias(reference)[1].partition(":")[2].partition("@http")[0]
        return price_in(own.prices, model)


def _no_pairs(judge: "Judge", settings: JudgingSettings) -> str:
    flag = "--pairwise" if settings.pairwise else f"--against {settings.against}"
    if judge.form == "" and settings.rubric is None:
        return f"{flag}: {judge.name} scores one answer at a time; leave the flag out, or take an LLM as the judge"
    return (
        f"{flag}: the rubric {judge.rubric} scores one answer; take one that compares (preference, "
        f"preference-reference, or your own with kind: pairwise), or leave the flag out"
    )


def _costs(reference: str) -> bool:
    """Whether somebody may want money for a judge's calls."""
    return split_alias(reference)[1].partition(":")[0] in ("openai", "ollama")


def _refuse_twice(judges: Sequence[str]) -> None:
    from judges.address import hide_credentials

    named = [split_alias(text)[0] or text for text in judges]
    for name in named:
        if named.count(name) > 1:
            raise HarnessError(
                f"--judge {hide_credentials(name)} is given twice; give each judge once, or repeat it with --repeats"
            )


def _refuse_same_name(reference: str, shown: str, others: dict[str, str]) -> None:
    """One model at two addresses would be one judge in the tables, of which the first is never shown."""
    from judges.address import hide_credentials

    if shown in others:
        both = " and ".join(hide_credentials(text) for text in (others[shown], reference))
        raise HarnessError(f"--judge {both} would both be shown as {shown}; give one a name of its own: NAME=REFERENCE")
    others[shown] = reference
