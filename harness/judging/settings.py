"""How judges are asked."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from harness.errors import HarnessError

PAIRWISE = "preference"  # the rubric of --pairwise


class JudgingSettings(BaseModel):
    """How judges are asked. Every field is a flag.

    Attributes:
        rubric: Name of a shipped rubric, or a YAML file.
        pairwise: Compare answers in pairs, by the rubric `preference` where none is named.
        against: Whom the others are compared with: a checkpoint, or "expected".
        reasons: Ask for reasons before the score.
        weighted: Weight what was offered by the probabilities of the tokens.
        repeats: Judgments of the same answer.
        judge_temperature: 0 for the likeliest reply.
        judge_max_tokens: Room for reasons and score.
        judge_seed: Of the first repeat.
        reply_form: How the reply is asked for; "auto" finds out what the endpoint honours.
        rpm: Calls a minute at most.
        tpm: Tokens a minute at most.
        judge_timeout: Seconds for one reply.
        judge_retries: Further attempts after one that failed in a way that may pass.
        max_calls: Calls at most, of all judges together.
        max_cost: The most that may be spent, in the currency of the prices.
        price_prompt: A million tokens of prompts.
        price_output: A million tokens of replies.
        prices: YAML file of prices: `MODEL: {prompt: .., output: ..}`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rubric: str | None = None
    pairwise: bool = False
    against: str | None = None
    reasons: bool = True
    weighted: bool = False
    repeats: int = Field(1, ge=1)
    judge_temperature: float = Field(0.0, ge=0, allow_inf_nan=False)
    judge_max_tokens: int = Field(1024, ge=1)
    judge_seed: int = 0
    reply_form: Literal["auto", "schema", "object", "text"] = "auto"
    rpm: int | None = Field(None, ge=1)
    tpm: int | None = Field(None, ge=1)
    judge_timeout: float = Field(120.0, gt=0)
    judge_retries: int = Field(3, ge=0)
    max_calls: int | None = Field(None, ge=0)
    max_cost: float | None = Field(None, ge=0)
    price_prompt: float | None = Field(None, ge=0)
    price_output: float | None = Field(None, ge=0)
    prices: Path | None = None

    @model_validator(mode="after")
    def _prices_come_in_pairs(self) -> "JudgingSettings":
        if (self.price_prompt is None) != (self.price_output is None):
            raise HarnessError("--price-prompt and --price-output: wanted both (each for a million tokens), found one")
        return self

    @property
    def rubric_name(self) -> str:
        """The rubric's name or file."""
        return self.rubric or (PAIRWISE if self.compares else "correctness")

    @property
    def compares(self) -> bool:
        """Whether answers are to be compared in pairs."""
        return self.pairwise or self.against is not None


PLAIN = JudgingSettings()
