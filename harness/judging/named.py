"""A judge by its reference, under the name the user gives it."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from harness.checkpoints import split_alias
from harness.errors import HarnessError
from harness.judging.settings import PLAIN, JudgingSettings
from harness.store import Run

if TYPE_CHECKING:
    from judges.base import Judge
    from judges.catalog import JudgeOptions
    from judges.spending import Meter

FORMS_OF_JUDGES = "reference, check:KIND, openai:MODEL@URL, ollama:MODEL, scripted:FILE, a model folder or hf:NAME"


def named_judge(
    text: str,
    *,
    concurrency: int,
    settings: JudgingSettings = PLAIN,
    form: str | None = None,
    meter: "Meter | None" = None,
    always_ask: bool = False,
) -> "tuple[str | None, Judge]":
    """Alias (or None) and judge of `[ALIAS=]REFERENCE`.

    Args:
        text: The reference.
        concurrency: Calls at once.
        settings: How it is asked.
        form: How its replies are asked for, where that has been found out before.
        meter: Counts calls and cost.
        always_ask: Ask it also what it would answer without being asked, such as the score of an empty answer.

    Raises:
        JudgeError: If there is no such judge, or its address cannot be used.
        HarnessError: If nothing is named.
    """
    from judges.catalog import BUILDERS, judge_from_reference

    if not text.strip():
        raise HarnessError(f"--judge: wanted {FORMS_OF_JUDGES}, found nothing")
    alias, reference = split_alias(text)
    options = _options(concurrency, settings, form, meter, always_ask=always_ask)
    if reference.partition(":")[0] not in BUILDERS and _is_model(reference):
        from harness.judging.local_judge import local_judge

        return alias, local_judge(reference, options)
    return alias, judge_from_reference(reference, options)


def _is_model(reference: str) -> bool:
    return reference.startswith("hf:") or Path(reference).is_dir()


def _options(
    concurrency: int, settings: JudgingSettings, form: str | None, meter: "Meter | None", *, always_ask: bool
) -> "JudgeOptions":
    from judges.calls import Patience
    from judges.catalog import JudgeOptions
    from judges.llm import Form, JudgeSettings
    from judges.rate import Rate
    from judges.spending import Meter

    wanted = form if settings.reply_form == "auto" else settings.reply_form
    asked = JudgeSettings(
        max_tokens=settings.judge_max_tokens,
        temperature=settings.judge_temperature,
        seed=settings.judge_seed,
        form=Form(wanted) if wanted else None,
        reasons=settings.reasons,
        weighted=settings.weighted,
        always_ask=always_ask,
    )
    return JudgeOptions(
        rubric=settings.rubric_name,
        concurrency=concurrency,
        settings=asked,
        patience=Patience(timeout=settings.judge_timeout, retries=settings.judge_retries),
        per_minute=Rate(calls=settings.rpm, tokens=settings.tpm),
        meter=meter or Meter(),
    )


def known_form(run: Run, reference: str) -> str | None:
    """How a judge's replies are asked for, where this run has found that out."""
    return run.read().forms.get(split_alias(reference)[1])


def keep_form(run: Run, reference: str, judge: "Judge") -> None:
    """Remember how a judge's replies are asked for: a key of what is recorded depends on it."""
    _, plain = split_alias(reference)
    if plain and judge.form and run.read().forms.get(plain) != judge.form:
        with run.changing() as changed:
            changed.forms[plain] = judge.form


def refuse_unusable(
    text: str, settings: JudgingSettings = PLAIN, *, form: str | None = None, meter: "Meter | None" = None
) -> "tuple[Judge, list[str]]":
    """Find out at the start whether a judge can be used, with a judge of its own: one serves one event loop.

    Returns:
        That judge, closed: it knows how its replies are asked for; and what the user should know, a line each.

    Raises:
        JudgeError: If it cannot: down, unauthorised, another model.
    """
    _, judge = named_judge(text, concurrency=1, settings=settings, form=form, meter=meter)

    async def ask() -> list[str]:
        try:
            return await judge.check()
        finally:
            await judge.close()

    return judge, asyncio.run(ask())
