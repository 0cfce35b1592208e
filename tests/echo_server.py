"""An OpenAI-compatible endpoint on loopback with a real tiny model behind it: it echoes, continues, and chats."""

import threading
from collections.abc import Callable
from typing import Any

import torch

from finetune.checkpoint import Checkpoint
from tests.fixtures.judges.endpoint import Answer, Seen, completion, models, openai_error


class EchoModel:
    """Answers as vLLM does; `chat` says what a chat gets, `starts` whether a start token is put before a prompt."""

    def __init__(self, checkpoint: Checkpoint, *, chat: Callable[[Seen], Answer] | None = None, echoes: bool = True):
        self.model, self.tokenizer = checkpoint.model, checkpoint.tokenizer
        self.chat = chat or (lambda seen: completion("Answer: A"))
        self.echoes = echoes
        self._lock = threading.Lock()

    def __call__(self, seen: Seen) -> Answer:
        if seen.path == "/v1/models":
            return models("m")
        if seen.path == "/v1/chat/completions":
            return self.chat(seen)
        return self.complete(seen.body) if seen.path == "/v1/completions" else openai_error(404, "no such path")

    def complete(self, body: dict[str, Any]) -> Answer:
        start = self.tokenizer.start_of_text
        ids = [*([] if start is None else [start]), *self.tokenizer.encode(body["prompt"])]
        room = self.model.config.context_length
        if len(ids) + body["max_tokens"] > room + 1:
            return openai_error(400, f"This model's maximum context length is {room} tokens. However, you asked more")
        with self._lock, torch.no_grad():
            written, reason = self._write(ids, body)
            told = self._told([*ids, *written], body) if body.get("echo") and self.echoes else None
        text = self._text(written)
        for stop in body.get("stop") or []:
            text, met, _ = text.partition(stop)
            reason = "stop" if met else reason
        choice = {"index": 0, "text": text, "finish_reason": reason, "logprobs": told}
        usage = {"prompt_tokens": len(ids), "completion_tokens": len(written)}
        return Answer({"id": "c", "object": "text_completion", "model": "m", "choices": [choice], "usage": usage})

    def _write(self, ids: list[int], body: dict[str, Any]) -> tuple[list[int], str]:
        written: list[int] = []
        while len(written) < body["max_tokens"]:
            best = int(self._scores([*ids, *written])[-1].argmax())
            if best in self.tokenizer.ends:
                return written, "stop"
            written.append(best)
        return written, "length"

    def _text(self, ids: list[int]) -> str:
        control = set(self.tokenizer.special_tokens.values())
        return self.tokenizer.decode([i for i in ids if i not in control])

    def _told(self, ids: list[int], body: dict[str, Any]) -> dict[str, Any]:
        texts = [self.tokenizer.decode([i]) for i in ids]
        scores = self._scores(ids)
        values: list[float | None] = [None]
        tops: list[dict[str, float] | None] = [None]
        for place, token in enumerate(ids[1:]):
            best = int(scores[place].argmax())
            values.append(float(scores[place][token]))
            tops.append(
                {texts[place + 1]: values[-1] or 0.0, self.tokenizer.decode([best]): float(scores[place][best])}
            )
        # As vLLM counts: a start token that the prompt does not hold, and bytes that are no text, move all the rest.
        offsets = [sum(map(len, texts[:n])) for n in range(len(texts))]
        return {"tokens": texts, "token_logprobs": values, "top_logprobs": tops, "text_offset": offsets}

    def _scores(self, ids: list[int]) -> torch.Tensor:
        logits = self.model(torch.tensor([ids[: self.model.config.context_length]]))[0]
        return torch.log_softmax(logits[:, : self.tokenizer.vocab_size].float(), -1)
