"""Which layers a user means to adapt, named as Hugging Face and peft name them."""

import re
from collections.abc import Iterable

from finetune.errors import FinetuneError, unknown_name
from finetune.presets import ModelConfig
from finetune.weights import Stored, stored_tensors

ALL = "all-linear"


def parse_targets(text: str) -> str | tuple[str, ...]:
    """Targets as a user writes them: `all-linear`, names with commas between, else one regular expression."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if text.strip() != ALL and all(re.fullmatch(r"[\w.]+", name) for name in names):
        return names
    return text.strip()


def adaptable(config: ModelConfig) -> dict[str, Stored]:
    """The layers of a model of this shape that can be adapted, by their published path, in our order."""
    weights = [s for s in stored_tensors(config) if s.ours.startswith("blocks.") and s.ours.endswith(".weight")]
    return {s.name.removesuffix(".weight"): s for s in weights if "norm" not in s.ours}


def find_targets(config: ModelConfig, targets: str | Iterable[str]) -> list[str]:
    """Paths of the layers that are meant, by peft's rules; see `LoraConfig.targets`.

    Raises:
        FinetuneError: If a target matches nothing, or is no regular expression.
    """
    paths = list(adaptable(config))
    targets = targets if isinstance(targets, str) else tuple(targets)
    if targets in (ALL, (ALL,)):
        return paths
    if isinstance(targets, str):
        return _matching(targets, paths)
    found: set[str] = set()
    for target in targets:
        meant = [path for path in paths if f".{path}".endswith(f".{target}")]
        if not meant:
            raise no_target(target, paths)
        found.update(meant)
    return [path for path in paths if path in found]


def _matching(pattern: str, paths: list[str]) -> list[str]:
    try:
        found = [path for path in paths if re.fullmatch(pattern, path)]
    except re.error as error:
        raise FinetuneError(
            f"adapters: wanted names of layers or a regular expression, found {pattern!r} ({error})"
        ) from None
    if not found:
        raise FinetuneError(
            f"adapters: the regular expression {pattern!r} matches no layer; it has to match a whole path such as "
            f"{paths[0]}; the layers are {', '.join(_last_parts(paths))}"
        )
    return found


def no_target(target: str, paths: Iterable[str]) -> FinetuneError:
    """An error that names the nearest of the layers there are, and all of them."""
    names = _last_parts(paths)
    told = str(unknown_name("layer to adapt", target, [*names, ALL]))
    listed = "" if "known:" in told else f" this model has {', '.join(names)} (all of them: {ALL})"
    return FinetuneError(f"{told}{listed}")


def _last_parts(paths: Iterable[str]) -> list[str]:
    return sorted({path.rpartition(".")[2] for path in paths})
