"""A checkpoint as the lm-eval model that answers a benchmark."""

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from harness.checkpoints import Target, pick_device
from harness.errors import CheckpointError, HarnessError

if TYPE_CHECKING:
    from benchmarks.resuming import Hooks
    from finetune.segments import Style
    from harness.benchmark import BenchmarkSettings, How


def how_of(target: Target, settings: "BenchmarkSettings", remark: Callable[[str], None] = lambda line: None) -> "How":
    """How a target takes multiple choice: as the settings say, else as well as it can.

    Args:
        target: The checkpoint; an endpoint is asked once whether it gives log-probabilities.
        settings: What the user wants.
        remark: Called with what the user should know of a choice that was made for them.

    Raises:
        HarnessError: If the settings want log-probabilities of an endpoint that gives none.
        JudgeError: If an endpoint is not there.
    """
    if target.folder is not None or settings.how == "generate":
        return settings.how or "loglikelihood"
    lacks = _lacks_scores(target, settings)
    if lacks is None:
        return "loglikelihood"
    if settings.how == "loglikelihood":
        raise HarnessError(
            f"{target.reference.text}: choices are compared by their log-probabilities, and {lacks}; "
            f"take --how generate, or name a folder or hf: checkpoint"
        )
    remark(f"{target.record.name}: {lacks}, so it is asked by messages, and writes which choice it takes")
    return "generate"


def why_unscored(target: Target, settings: "BenchmarkSettings") -> str | None:
    """Why a target gives no log-probabilities; None if it does. An endpoint is asked once. Raises as `how_of`."""
    if target.folder is not None:
        return None
    return "--how generate has it asked by messages" if settings.how == "generate" else _lacks_scores(target, settings)


def _lacks_scores(target: Target, settings: "BenchmarkSettings") -> str | None:
    from harness.connections import lacks_scores

    if settings.chat:
        return "with --chat the template stays behind the endpoint, where no choice can be put after it"
    return lacks_scores(target.reference)


def language_model(target: Target, settings: "BenchmarkSettings", hooks: "Hooks") -> Any:
    """What runs a target's benchmarks; the settings say how, see `how_of`.

    Raises:
        FinetuneError: If the checkpoint cannot be loaded.
    """
    if target.folder is None:
        return _endpoint(target, settings, hooks)
    if target.kind == "transformers":
        return _foreign(target, settings, hooks)
    return _native(target, settings, hooks)


def _endpoint(target: Target, settings: "BenchmarkSettings", hooks: "Hooks") -> Any:
    """An endpoint that scores is given texts, as a native checkpoint is; any other one is given messages."""
    from benchmarks.endpoint_lm import EndpointLM
    from harness.connections import connected, pool_of

    writes = settings.how == "generate"
    return EndpointLM(
        target.record.name,
        lambda: connected(target.reference, settings.concurrency),
        pool_of(settings.concurrency),
        put="chat" if settings.chat else "message" if writes else "text",
        lacks="it is asked by messages (it gives none, or --how generate)" if writes else None,
        hooks=hooks,
        seed=settings.seed or 0,
    )


def _foreign(target: Target, settings: "BenchmarkSettings", hooks: "Hooks") -> Any:
    import torch

    from benchmarks.transformers_lm import TransformersLM
    from harness.foreign.models import load_foreign

    assert target.foreign is not None, "its kind says so"
    loaded = load_foreign(target.foreign, device=pick_device(settings.device), dtype=getattr(torch, settings.dtype))
    return TransformersLM(
        loaded.model,
        loaded.tokenizer,
        max_length=loaded.length,
        hooks=hooks,
        memory=settings.memory,
        batch_size=settings.batch_size,
        pads=loaded.pads,
        seed=settings.seed or 0,
    )


def chat_of(target: Target) -> "Style | None":
    """What `--chat` puts prompts into: the style a checkpoint was trained in, else its chat template.

    Returns:
        The style; None for an endpoint, which has its own.

    Raises:
        CheckpointError: If there is none.
    """
    from harness.respond import AnswerSettings, own_style, style_of

    if target.folder is not None and own_style(target) is None:
        raise CheckpointError(
            f"--chat: {target.record.name} has no chat template and no style it was trained in; go without, or give "
            f"a checkpoint that has one"
        )
    return style_of(target, AnswerSettings())


def template_of(target: Target) -> str | None:
    """Hash of what `--chat` puts prompts into, 8 hex digits; None for an endpoint. Raises as `chat_of`."""
    style = chat_of(target)
    if style is None:
        return None
    return hashlib.sha256(f"{style.name} {style.chat_template}".encode("utf-8", "surrogatepass")).hexdigest()[:8]


def _native(target: Target, settings: "BenchmarkSettings", hooks: "Hooks") -> Any:
    from benchmarks.native_lm import NativeLM
    from finetune.budget import budget_for

    style = chat_of(target) if settings.chat else None
    checkpoint = target.load(device=settings.device, dtype=settings.dtype)
    return NativeLM(
        checkpoint.model,
        checkpoint.tokenizer,
        style=style,
        hooks=hooks,
        budget=budget_for(checkpoint.model, settings.memory),
        batch_size=settings.batch_size,
        seed=settings.seed or 0,
        keeps_weights=False,
    )
