"""Our transformer as an lm-eval model, with the semantics of lm-eval's own `hf` model.

Differences, all on purpose: a prompt that spells a control token stays text; a stop string is not looked
for in the names of control tokens; log-softmax is taken in float32 whatever the weights are; a
`repetition_penalty` that comes with a model has no say; and what makes `hf` stop with an assertion (an
empty continuation, a continuation longer than the context, a context of spaces only) is scored.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from benchmarks.errors import BenchmarkError
from benchmarks.generation import Generation, cut, read_generation, stopper
from benchmarks.loglikelihood import Window, score_windows, window
from finetune.generate import generate
from finetune.tokenizer import Tokenizer
from finetune.transformer import Transformer

Answer = dict[str, Any]  # JSON: what is recorded for one request
Recall = Callable[[str], Answer | None]
Record = Callable[[str, Answer], None]
Progress = Callable[[int, int], None]
Arguments = TypeVar("Arguments", bound=tuple[Any, ...])

_TOKEN_BUDGET = {"cpu": 4096, "mps": 8192, "cuda": 65536}


@dataclass
class _Pending:
    """A request whose windows are being scored."""

    left: int
    truncated: bool
    loglikelihood: float = 0.0
    greedy: bool = True

    def answer(self) -> Answer:
        return {"loglikelihood": self.loglikelihood, "greedy": self.greedy, "truncated": self.truncated}


class NativeLM(LM):  # type: ignore[misc]  # lm-eval has no types
    """A `Transformer` and its `Tokenizer` for `lm_eval.evaluate`.

    Attributes:
        truncated: The contexts, as text, that were cut on the left to fit the model, so far.
    """

    def __init__(
        self,
        model: Transformer,
        tokenizer: Tokenizer,
        *,
        recall: Recall | None = None,
        record: Record | None = None,
        progress: Progress | None = None,
        token_budget: int | None = None,
        batch_size: int = 32,
        max_gen_toks: int = 256,
        seed: int = 0,
    ):
        """Wrap a model, on whatever device and in whatever dtype it is.

        Args:
            model: The model.
            tokenizer: Its tokenizer.
            recall: The recorded answer of a key, or None; what is recalled is not computed.
            record: Called with key and answer as soon as a request is answered. A key hashes the kind of
                request, its arguments and the dtype, not the model: keep one store for each checkpoint.
            progress: Called with (answered, all) requests of the kind that is running.
            token_budget: Tokens of one scoring pass; by the device when not given.
            batch_size: Prompts decoded side by side.
            max_gen_toks: New tokens of tasks that do not say how many.
            seed: Of tasks that sample.
        """
        super().__init__()
        self.model, self.tokenizer = model, tokenizer
        self.truncated: set[str] = set()
        self._prefix = _prefix_of(tokenizer)
        self._control = frozenset(tokenizer.special_tokens.values())
        self._device = model.device
        self._recall: Recall = recall or (lambda key: None)
        self._record: Record = record or (lambda key, answer: None)
        self._progress: Progress = progress or (lambda done, total: None)
        self._token_budget = token_budget or _TOKEN_BUDGET.get(model.device.type, 4096)
        self._batch_size, self._max_gen_toks, self._seed = batch_size, max_gen_toks, seed

    @property
    def tokenizer_name(self) -> str:
        """What lm-eval writes beside results."""
        return self.tokenizer.name

    @property
    def max_length(self) -> int:
        """Tokens the model reads at once."""
        return self.model.config.context_length

    def was_truncated(self, context: str) -> bool:
        """Whether this context has been cut on the left to fit the model."""
        return context in self.truncated

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Log-likelihood in nats of each (context, continuation), and whether greedy decoding writes it."""
        arguments = [tuple(request.args[:2]) for request in requests]
        answers = self._answers("loglikelihood", arguments, self._score_pairs)
        self.truncated |= {pair[0] for pair, answer in zip(arguments, answers, strict=True) if answer["truncated"]}
        return [(answer["loglikelihood"], answer["greedy"]) for answer in answers]

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """Log-likelihood in nats of each whole text, in windows as long as the model's context."""
        arguments = [tuple(request.args[:1]) for request in requests]
        return [answer["loglikelihood"] for answer in self._answers("rolling", arguments, self._score_texts)]

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """What the model writes after each (context, generation arguments), up to the first stop string.

        Raises:
            BenchmarkError: If a task wants as many new tokens as the model's context is long.
        """
        seen: Counter[str] = Counter()
        arguments = []
        for context, settings in (request.args[:2] for request in requests):
            generation = read_generation(settings, self.tokenizer, max_gen_toks=self._max_gen_toks)
            repeat = 0
            if generation.sampling.temperature:
                # The same request again wants another draw, not the same one.
                seen[context] += 1
                repeat = self._seed + seen[context]
            arguments.append((context, generation, repeat))
        answers = self._answers("generate", arguments, self._generate)
        self.truncated |= {args[0] for args, answer in zip(arguments, answers, strict=True) if answer["truncated"]}
        return [answer["text"] for answer in answers]

    def _answers(
        self,
        kind: str,
        arguments: Sequence[Arguments],
        compute: Callable[[Mapping[str, Arguments]], Iterable[tuple[str, Answer]]],
    ) -> list[Answer]:
        """Answers in the order of `arguments`: recalled, else computed once for equal requests and recorded."""
        keys = [request_key(kind, str(self.model.dtype), *args) for args in arguments]
        known = {key: answer for key in dict.fromkeys(keys) if (answer := self._recall(key)) is not None}
        missing = {key: args for key, args in zip(keys, arguments, strict=True) if key not in known}
        copies = Counter(keys)
        done = sum(copies[key] for key in known)
        self._progress(done, len(keys))
        with _answering(self.model):
            for key, answer in compute(missing):
                known[key] = answer
                self._record(key, answer)
                done += copies[key]
                self._progress(done, len(keys))
        return [known[key] for key in keys]

    def _score_pairs(self, pairs: Mapping[str, tuple[str, str]]) -> Iterator[tuple[str, Answer]]:
        contexts: dict[str, list[int]] = {}
        return self._score({key: self._pair_windows(*pair, contexts) for key, pair in pairs.items()})

    def _score_texts(self, texts: Mapping[str, tuple[str]]) -> Iterator[tuple[str, Answer]]:
        # A start token is itself predicted after the prefix, which may be the same token again: so `hf` counts.
        return self._score(
            {key: (self._rolling([self._prefix], self._encode(text)), False) for key, (text,) in texts.items()}
        )

    def _score(self, requests: Mapping[str, tuple[list[Window], bool]]) -> Iterator[tuple[str, Answer]]:
        """Answers as batches finish, given each request's windows and whether its context was cut."""
        pending = {key: _Pending(len(windows), cut_off) for key, (windows, cut_off) in requests.items()}
        yield from ((key, state.answer()) for key, state in pending.items() if not state.left)
        owners = [(key, each) for key, (windows, _) in requests.items() for each in windows]
        windows = [each for _, each in owners]
        for batch in score_windows(self.model, windows, token_budget=self._token_budget):
            for index, score in batch:
                state = pending[owners[index][0]]
                state.left -= 1
                state.loglikelihood += score.loglikelihood
                state.greedy &= score.greedy
                if not state.left:
                    yield owners[index][0], state.answer()

    def _pair_windows(
        self, context: str, continuation: str, contexts: dict[str, list[int]]
    ) -> tuple[list[Window], bool]:
        """The windows that score a continuation, and whether the context is cut; `contexts` remembers ids."""
        before, scored = self._encode_pair(context, continuation, contexts)
        if not scored:
            return [], False
        if len(scored) > self.max_length:
            return self._rolling(before, scored), True
        return [window(before, scored, self.max_length)], len(before) + len(scored) > self.max_length + 1

    def _rolling(self, before: Sequence[int], scored: Sequence[int]) -> list[Window]:
        """Windows that score every token once, the first after the last of `before`."""
        spans = get_rolling_token_windows(list(scored), before[-1], self.max_length, context_len=1)
        pairs = [make_disjoint_window(span) for span in spans]
        return [window(context, targets, self.max_length) for context, targets in pairs]

    def _encode_pair(
        self, context: str, continuation: str, contexts: dict[str, list[int]]
    ) -> tuple[list[int], list[int]]:
        """Ids of context and continuation, cut where the context alone would end.

        Spaces at the end of the context go to the continuation, since byte-level BPEs put a space before a
        word; both are encoded together, since a BPE may merge across the border.
        """
        stem = context.rstrip()
        continuation = context[len(stem) :] + continuation
        if not stem:
            return [self._prefix], self.tokenizer.encode(continuation)
        if stem not in contexts:
            contexts[stem] = self._encode(stem)
        before = contexts[stem]
        # Where merging leaves nothing after the context, the continuation's own ids are scored.
        return before, self._encode(stem + continuation)[len(before) :] or self.tokenizer.encode(
            continuation, after="text"
        )

    def _encode(self, text: str) -> list[int]:
        """Ids of a text, the token first that the model wants before every text."""
        start = self.tokenizer.start_of_text
        return [*([] if start is None else [start]), *self.tokenizer.encode(text)]

    def _generate(self, requests: Mapping[str, tuple[str, Generation, int]]) -> Iterator[tuple[str, Answer]]:
        """Answers as they end, one group of equal settings after the other."""
        groups: dict[Generation, dict[str, str]] = {}
        for key, (context, generation, _) in requests.items():
            groups.setdefault(generation, {})[key] = context
        for generation, contexts in groups.items():
            yield from self._generate_group(generation, contexts)

    def _generate_group(self, generation: Generation, contexts: Mapping[str, str]) -> Iterator[tuple[str, Answer]]:
        keys, wanted = list(contexts), generation.sampling.max_new_tokens
        room = self.max_length - wanted
        if room <= 0:
            raise BenchmarkError(
                f"the task wants up to {wanted} new tokens, which leaves no room for a prompt in the model's context "
                f"of {self.max_length}; choose a task with shorter answers or a model with a longer context"
            )
        whole = [self._encode(text) or [self._prefix] for text in contexts.values()]
        stop = stopper(self.tokenizer, generation.until)
        written = generate(
            self.model,
            [prompt[-room:] for prompt in whole],
            generation.sampling,
            stop_tokens=self.tokenizer.ends | self._named(generation.until),
            batch_size=self._batch_size,
            vocab_size=self.tokenizer.vocab_size,
            finished=lambda tokens: stop(self._plain(tokens)),
            seeds=[int(key[:15], 16) for key in keys],
        )
        for index, made in written:
            text = cut(self.tokenizer.decode(self._plain(made.tokens)), generation.until)
            yield (
                keys[index],
                {"text": text, "tokens": len(made.tokens), "stop_reason": made.stop_reason}
                | {"truncated": len(whole[index]) > room},
            )

    def _named(self, until: Sequence[str]) -> frozenset[int]:
        """The control tokens among the stop strings."""
        return self._control & {self.tokenizer.control(stop) for stop in until}

    def _plain(self, tokens: Sequence[int]) -> list[int]:
        """What was written without the control tokens in it: tasks compare answers with plain text."""
        return [token for token in tokens if token not in self._control]


def _prefix_of(tokenizer: Tokenizer) -> int:
    """What stands before a text that has nothing before it: the start token, used otherwise or not, else the end."""
    named = tokenizer.control(tokenizer.special_names.get("bos_token", ""))
    return tokenizer.end_of_text if named is None else named


def request_key(kind: str, *arguments: Any) -> str:
    """What a request's answer is recorded under: a hash of its kind and everything it asks, 32 hex digits."""
    asked = json.dumps([kind, *arguments], ensure_ascii=False, sort_keys=True, default=repr)
    return hashlib.sha256(asked.encode("utf-8", "surrogatepass")).hexdigest()[:32]


@contextmanager
def _answering(model: Transformer) -> Iterator[None]:
    """The model in eval mode while the block runs, then as it was: it may be in the midst of training."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
