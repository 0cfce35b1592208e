"""The training loop: AdamW on the answers, validation as it goes, a checkpoint an epoch, early stopping.

The loop yields what happens; who calls it decides what to show. Files are `finetune.folder`'s business.
"""

import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from finetune.batches import IGNORED, Encoded, Example, batches, encode_entries, stop_tokens
from finetune.checkpoint import Checkpoint
from finetune.errors import FinetuneError
from finetune.generate import Sampling, fit_prompt, generate
from finetune.instructions import Entry
from finetune.recipes import TrainConfig
from finetune.splits import Splits
from finetune.styles import style_named

SAMPLE_TOKENS = 64  # of the answer shown after each epoch


@dataclass(frozen=True)
class Started:
    """Training begins: how many steps, and what the reader should know of the data."""

    steps: int
    notes: list[str]


@dataclass(frozen=True)
class Stepped:
    """An optimizer step is done; `tokens` real (unpadded) ones went through it."""

    step: int
    loss: float
    tokens: int


@dataclass(frozen=True)
class Evaluated:
    """Losses in nats a token: of the training steps since the last time, and of the whole validation set."""

    step: int
    epoch: float
    train_loss: float | None
    validation_loss: float
    seconds: float


@dataclass(frozen=True)
class EpochEnded:
    """A pass is over: the model is worth keeping, and this is how it answers one validation entry."""

    epoch: int
    step: int
    train_loss: float
    validation_loss: float
    question: Entry
    answer: str
    best: bool


@dataclass(frozen=True)
class Stopped:
    """Training is over; `early` says why when it was before the last epoch."""

    early: str | None


Event = Started | Stepped | Evaluated | EpochEnded | Stopped


def train(checkpoint: Checkpoint, splits: Splits, config: TrainConfig) -> Iterator[Event]:
    """Fine-tune the checkpoint's model in place.

    Yields:
        What happens, in order; a caller that saves the model does so at `EpochEnded`.

    Raises:
        FinetuneError: If no entry fits the context, or a loss is no number.
    """
    return _Loop(checkpoint, splits, config).run()


class _Loop:
    """One training: what stays the same over its steps, and the losses since they were last told."""

    def __init__(self, checkpoint: Checkpoint, splits: Splits, config: TrainConfig):
        self.checkpoint, self.splits, self.config = checkpoint, splits, config
        self.style = style_named(config.style)
        self.notes: list[str] = []
        self.training = self._encode("training", splits.train)
        self.validation = self._encode("validation", splits.validation)
        self.optimizer = self._optimizer()
        self.steps_per_epoch = math.ceil(len(self.training) / config.batch_size)
        self.steps = min(self.steps_per_epoch * config.epochs, config.max_steps or sys.maxsize)
        self.every = config.eval_every or math.ceil(self.steps_per_epoch / 4)
        self.order = torch.Generator().manual_seed(config.seed) if config.shuffle else None
        self.step = 0
        self.losses: list[tuple[float, int]] = []  # (sum, tokens) since the last validation
        self.epoch_losses: list[tuple[float, int]] = []
        self.began = time.monotonic()

    def run(self) -> Iterator[Event]:
        """See `train`."""
        yield Started(self.steps, self.notes)
        yield self._evaluate()
        losses: list[float] = []
        early = None
        while self.step < self.steps and not early:
            yield from self._epoch()
            yield (evaluated := self._evaluate())
            losses.append(evaluated.validation_loss)
            yield self._epoch_ended(losses)
            early = _why_stop(losses, self.config)
        if not early and self.steps < self.steps_per_epoch * self.config.epochs:
            early = f"--max-steps {self.steps} reached in epoch {len(losses)} of {self.config.epochs}"
        yield Stopped(early)

    def _epoch(self) -> Iterator[Event]:
        """The training entries once, validated on the way, but for the end."""
        self.epoch_losses = []
        for inputs, targets in self._batches(self.training, self.order):
            yield self._step(inputs, targets)
            if self.step == self.steps:
                return
            if self.step % self.every == 0 and self.step % self.steps_per_epoch:
                yield self._evaluate()

    def _encode(self, name: str, entries: Sequence[Entry]) -> list[Example]:
        """Examples of the training or validation set, with what did not fit noted."""
        length = self.checkpoint.model.config.context_length
        encoded = encode_entries(entries, self.style, self.checkpoint.tokenizer, length)
        if not encoded.examples:
            raise FinetuneError(
                f"none of the {len(entries)} {name} entries fits: every prompt fills the base's context "
                f"of {length} tokens; take a base with a longer context"
            )
        self.notes += _what_did_not_fit(name, encoded, len(entries), length)
        return encoded.examples

    def _batches(self, examples: Sequence[Example], order: torch.Generator | None) -> Iterator[tuple[Tensor, Tensor]]:
        return batches(
            examples,
            batch_size=self.config.batch_size,
            pad=self.checkpoint.tokenizer.end_of_text,
            mask_prompt=self.config.mask_prompt,
            generator=order,
        )

    def _optimizer(self) -> torch.optim.AdamW:
        """Loshchilov and Hutter 2019, arXiv:1711.05101. Norms and biases are the one-dimensional weights."""
        weights = list(self.checkpoint.model.parameters())
        decayed = [w for w in weights if self.config.decay_all or w.dim() > 1]
        kept = [w for w in weights if not (self.config.decay_all or w.dim() > 1)]
        groups = [
            {"params": decayed, "weight_decay": self.config.weight_decay},
            {"params": kept, "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=self.config.learning_rate, fused=True)

    def _step(self, inputs: Tensor, targets: Tensor) -> Stepped:
        self.step += 1
        self.checkpoint.model.train()
        total, trained = self._loss(inputs, targets)
        (total / trained).backward()  # type: ignore[no-untyped-call]
        if self.config.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.checkpoint.model.parameters(), self.config.clip)
        loss = total.item() / trained
        if not math.isfinite(loss):
            raise FinetuneError(
                f"the loss became {loss} at step {self.step}; what was saved before stands; "
                f"lower --learning-rate (it is {self.config.learning_rate:g}) or set --clip"
            )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        for sums in (self.losses, self.epoch_losses):
            sums.append((total.item(), trained))
        return Stepped(self.step, loss, int((inputs != self.checkpoint.tokenizer.end_of_text).sum()))

    def _loss(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, int]:
        """Summed cross entropy over the trained targets, and their number.

        The head, the widest layer of all, runs only where there is a target.
        """
        model = self.checkpoint.model
        inputs, targets = inputs.to(model.device), targets.to(model.device)
        trained = targets != IGNORED  # (B, T)
        logits = model.head(model.hidden(inputs)[trained])  # (N, vocab)
        return F.cross_entropy(logits, targets[trained], reduction="sum"), max(1, int(trained.sum()))

    def _evaluate(self) -> Evaluated:
        self.checkpoint.model.eval()
        by_length = sorted(self.validation, key=lambda e: len(e.tokens))  # like lengths together: less padding
        with torch.no_grad():
            sums = [(total.item(), n) for total, n in (self._loss(*b) for b in self._batches(by_length, None))]
        train_loss = _mean(self.losses) if self.losses else None
        self.losses = []
        seconds = time.monotonic() - self.began
        return Evaluated(self.step, self.step / self.steps_per_epoch, train_loss, _mean(sums), seconds)

    def _epoch_ended(self, losses: list[float]) -> EpochEnded:
        question = self.splits.validation[0]
        return EpochEnded(
            epoch=len(losses),
            step=self.step,
            train_loss=_mean(self.epoch_losses),
            validation_loss=losses[-1],
            question=question,
            answer=self._sample(question),
            best=losses[-1] == min(losses),
        )

    def _sample(self, question: Entry) -> str:
        model, tokenizer = self.checkpoint.model, self.checkpoint.tokenizer
        prompt = tokenizer.encode_template(self.style.pieces(question))
        prompt, _ = fit_prompt(prompt, model.config.context_length, SAMPLE_TOKENS)
        ends = stop_tokens(self.style, tokenizer)
        sampling = Sampling(max_new_tokens=SAMPLE_TOKENS)
        ((_, written),) = generate(model.eval(), [prompt], sampling, stop_tokens=ends, vocab_size=tokenizer.vocab_size)
        return tokenizer.decode(written.tokens)


def _mean(sums: Sequence[tuple[float, int]]) -> float:
    return sum(total for total, _ in sums) / sum(n for _, n in sums)


def _what_did_not_fit(name: str, encoded: Encoded, entries: int, length: int) -> list[str]:
    lines = []
    if encoded.dropped:
        lines.append(
            f"{encoded.dropped} of {entries} {name} entries left out: their prompt alone fills the context of {length}"
        )
    if encoded.cut:
        lines.append(f"{encoded.cut} of {entries} {name} answers cut at the context of {length} tokens")
    return lines


def _why_stop(losses: Sequence[float], config: TrainConfig) -> str | None:
    """The reason to stop after these validation losses, one an epoch."""
    since_best = len(losses) - 1 - losses.index(min(losses))
    if not config.patience or since_best < config.patience or len(losses) == config.epochs:
        return None
    return f"validation loss has not fallen for {since_best} epochs (best {min(losses):.3f}, now {losses[-1]:.3f})"
