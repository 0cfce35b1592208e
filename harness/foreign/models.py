"""Models that transformers runs, loaded: ready to answer, with their tokenizer; peft's adapters on top."""

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import CheckpointError
from harness.foreign.calls import first_line, quiet
from harness.foreign.folders import SERVE, Foreign

if TYPE_CHECKING:
    import torch

_CONTEXT = ("n_positions", "max_position_embeddings", "n_ctx")  # where lm-eval's `hf` looks, in its order
_USUAL_CONTEXT = 2048
_EMBEDDING = re.compile(r"\.(embed_tokens|wte|embed_in|word_embeddings|lm_head)(\.modules_to_save)?\.weight$")
_NO_CONTEXT = 10**12  # what transformers writes for "any length" is larger


@dataclass(frozen=True)
class ForeignModel:
    """A model with its tokenizer.

    Attributes:
        model: transformers' or peft's.
        tokenizer: transformers'.
        folder: Where the tokenizer is from.
        length: Tokens the model reads at once.
        rows: Ids it knows.
        virtual: Tokens of a learnt prompt that an adapter puts before every text.
    """

    model: Any
    tokenizer: Any
    folder: Path
    length: int
    rows: int
    virtual: int = 0

    @property
    def pads(self) -> bool:
        """Whether prompts of different length may share a batch.

        A recurrent model reads the padding, and peft counts it as positions behind a learnt prompt.
        """
        return not (getattr(self.model, "_is_stateful", False) or self.virtual)

    @property
    def stops(self) -> frozenset[int]:
        """Ids that end a text by the model's own generation settings."""
        ends = self.model.generation_config.eos_token_id
        return frozenset(ends if isinstance(ends, list) else [] if ends is None else [ends])


def load_foreign(foreign: Foreign, *, device: "torch.device", dtype: "torch.dtype") -> ForeignModel:
    """Load a model, with its adapter if it has one.

    Raises:
        CheckpointError: If transformers or peft cannot, or tensors are missing.
        FinetuneError: If there is no memory for it.
    """
    from finetune.memory import room_for_weights
    from harness.foreign.tokenizer import load_tokenizer

    check_config(foreign.folder)
    tokenizer = load_tokenizer(foreign.tokenizer)
    with room_for_weights(str(foreign.folder)):
        model = _load(foreign.folder, dtype)
        model = _adapted(model, foreign.adapter) if foreign.adapter else model
        model = _moved(model, device, foreign.folder)
    virtual = _virtual_tokens(model)
    return ForeignModel(
        model.eval(),
        tokenizer,
        foreign.tokenizer,
        length=context_of(model.config, tokenizer) - virtual,
        rows=int(model.get_input_embeddings().weight.shape[0]),
        virtual=virtual,
    )


def check_config(folder: Path) -> None:
    """Whether the installed transformers has a class for the model and reads its settings.

    Code in the folder is never run.

    Raises:
        CheckpointError: If it does not.
    """
    from transformers import AutoConfig

    _check_known(folder)
    try:
        with quiet():
            AutoConfig.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
    except Exception as error:  # whatever Python raises inside code that somebody else wrote
        raise CheckpointError(f"{folder / 'config.json'}: transformers cannot read it: {first_line(error)}") from error


def _check_known(folder: Path) -> None:
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    from finetune.architectures import read_json

    config = read_json(folder / "config.json")
    kind = config.get("model_type")
    if kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return
    if config.get("auto_map"):
        raise CheckpointError(
            f"{folder}: model_type {kind!r} wants to run code of its own (auto_map), which is never done; {SERVE}"
        )
    known = "has no language model for" if kind in CONFIG_MAPPING_NAMES else "does not know"
    raise CheckpointError(
        f"{folder}: transformers {transformers.__version__} {known} model_type {kind!r}; update it, or {SERVE}"
    )


def context_of(config: Any, tokenizer: Any) -> int:
    """Tokens a model reads at once, by the places where lm-eval's `hf` model looks."""
    inner = getattr(config, "text_config", None) or config
    for name in _CONTEXT:
        if (value := getattr(inner, name, None)) is not None:
            return int(value)
    told = getattr(tokenizer, "model_max_length", None)
    return int(told) if told is not None and told < _NO_CONTEXT else _USUAL_CONTEXT


def _load(folder: Path, dtype: "torch.dtype") -> Any:
    from transformers import AutoModelForCausalLM

    try:
        with quiet():
            model, loading = AutoModelForCausalLM.from_pretrained(
                str(folder), dtype=dtype, trust_remote_code=False, local_files_only=True, output_loading_info=True
            )
    except Exception as error:  # whatever Python raises inside code that somebody else wrote
        raise _failed(f"{folder}: transformers cannot load it", error) from error
    missing = sorted(loading["missing_keys"])
    if missing:  # transformers fills them with random numbers and goes on
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise CheckpointError(f"{folder}: its weights lack the tensor {missing[0]}{more}; copy or download it again")
    return model


def _adapted(model: Any, adapter: Path) -> Any:
    from peft import PeftModel

    try:
        with quiet(), warnings.catch_warnings():
            # peft goes on without them.
            warnings.filterwarnings("error", message=".*missing adapter keys", category=UserWarning)
            _make_room(model, adapter)
            return PeftModel.from_pretrained(model, str(adapter), local_files_only=True)
    except Exception as error:  # as above
        raise _failed(f"{adapter}: peft cannot put this adapter on {model.name_or_path}", error) from error


def _make_room(model: Any, adapter: Path) -> None:
    """As many embeddings as the adapter brings: it was trained with tokens that its base does not know."""
    from finetune.adapter import tensor_shapes, weight_files

    rows = int(model.get_input_embeddings().weight.shape[0])
    brought = [
        shape[0]
        for path in weight_files(adapter)
        for name, shape in tensor_shapes(path).items()
        if _EMBEDDING.search(name) and len(shape) == 2
    ]
    if brought and max(brought) != rows:
        model.resize_token_embeddings(max(brought), mean_resizing=False)


def _moved(model: Any, device: "torch.device", folder: Path) -> Any:
    try:
        return model.to(device)
    except ValueError as error:  # quantised weights stay where they were put
        raise _failed(f"{folder}: cannot be put on {device}", error) from error


def _failed(what: str, error: Exception) -> Exception:
    """Our error for theirs; being out of memory goes on as it is."""
    from finetune.memory import out_of_memory

    return error if out_of_memory(error) else CheckpointError(f"{what}: {first_line(error)}")


def _virtual_tokens(model: Any) -> int:
    config = getattr(model, "active_peft_config", None)
    return int(getattr(config, "num_virtual_tokens", 0) or 0) if config is not None else 0
