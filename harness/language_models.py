"""A checkpoint as the lm-eval model that answers a benchmark."""

from typing import TYPE_CHECKING, Any

from harness.checkpoints import Target
from harness.errors import HarnessError

if TYPE_CHECKING:
    from benchmarks.resuming import Hooks
    from harness.benchmark import BenchmarkSettings, How


def how_of(target: Target, settings: "BenchmarkSettings") -> "How":
    """How a target takes multiple choice: as the settings say, else as well as it can."""
    return settings.how or "loglikelihood"


def language_model(target: Target, settings: "BenchmarkSettings", hooks: "Hooks") -> Any:
    """What runs a target's benchmarks.

    Raises:
        HarnessError: If the target is an endpoint.
        FinetuneError: If the checkpoint cannot be loaded.
    """
    if target.folder is None:
        raise HarnessError(
            f"{target.reference.text}: benchmarks compare log-likelihoods, which an endpoint does not give; "
            f"name a folder or hf: checkpoint"
        )
    return _native(target, settings, hooks)


def _native(target: Target, settings: "BenchmarkSettings", hooks: "Hooks") -> Any:
    from benchmarks.native_lm import NativeLM

    checkpoint = target.load(device=settings.device, dtype=settings.dtype)
    return NativeLM(checkpoint.model, checkpoint.tokenizer, hooks=hooks, seed=settings.seed or 0)
