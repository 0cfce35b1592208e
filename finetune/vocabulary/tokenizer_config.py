"""What stands beside a `tokenizer.json`: the names of its control tokens, the chat template, what ends a text."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from finetune.errors import FinetuneError

NAMES = ("bos_token", "eos_token", "pad_token", "unk_token")

# What else of a tokenizer_config.json changes ids or texts in other programs, and so survives a save. The rest
# (paths of whoever saved it, classes, notes on code to run) does not.
_KEPT = (
    *("additional_special_tokens", "extra_special_tokens", "sep_token", "cls_token", "mask_token"),
    *("add_bos_token", "add_eos_token", "clean_up_tokenization_spaces", "model_max_length", "padding_side"),
)


@dataclass(frozen=True)
class TokenizerConfig:
    """The files beside a `tokenizer.json`, read.

    Attributes:
        names: Texts of `bos_token`, `eos_token`, `pad_token`, `unk_token`, where they are named.
        more_control: Texts of further tokens that are named as control tokens.
        chat_template: The Jinja template of a conversation.
        adds_start: Whether `add_bos_token` is set: every text begins with the `bos_token`.
        end_ids: Ids that `generation_config.json` lets end an answer.
        kept: Other settings that a saved copy repeats.
        generation: The whole of `generation_config.json`, or None without one.
    """

    names: dict[str, str] = field(default_factory=dict)
    more_control: frozenset[str] = frozenset()
    chat_template: str | None = None
    adds_start: bool = False
    end_ids: tuple[int, ...] = ()
    kept: dict[str, Any] = field(default_factory=dict)
    generation: dict[str, Any] | None = None

    @property
    def control_texts(self) -> frozenset[str]:
        """Every token named as a control token."""
        return self.more_control | set(self.names.values())


def read_tokenizer_config(folder: Path) -> TokenizerConfig:
    """Read `tokenizer_config.json`, `chat_template.jinja` and `generation_config.json`, those that are there.

    Raises:
        FinetuneError: If one of them is there and cannot be read.
    """
    config = _json(folder / "tokenizer_config.json") or {}
    generation = _json(folder / "generation_config.json")
    named = {name: _text(config.get(name)) for name in NAMES}
    return TokenizerConfig(
        names={name: text for name, text in named.items() if text},
        more_control=_more_control(config),
        chat_template=_chat_template(folder, config.get("chat_template")),
        adds_start=config.get("add_bos_token") is True,
        end_ids=_ids((generation or {}).get("eos_token_id")),
        kept={name: config[name] for name in _KEPT if config.get(name) is not None},
        generation=generation,
    )


def write_tokenizer_config(folder: Path, config: TokenizerConfig, *, names: Mapping[str, str]) -> None:
    """Write them so that transformers takes everything else from the `tokenizer.json` beside them.

    Args:
        folder: Where; `generation_config.json` is written only if there was one.
        config: What was read, with the chat template that is wanted.
        names: Texts by `bos_token` and so on.
    """
    # The generic class: a model's own class may build its own idea of the vocabulary instead of reading ours.
    told: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", **config.kept, **names}
    if config.chat_template is not None:
        told["chat_template"] = config.chat_template
    (folder / "tokenizer_config.json").write_text(json.dumps(told, indent=1), "utf-8")
    # A template in a file of its own would win over the one just written.
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    if config.generation is not None:
        (folder / "generation_config.json").write_text(json.dumps(config.generation, indent=1), "utf-8")


def _json(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise FinetuneError(f"{path} is not JSON: {error}; copy it again from the model's folder") from None
    if not isinstance(found, dict):
        raise FinetuneError(f"{path}: wanted a JSON object, found {type(found).__name__}; copy it again")
    return found


def _text(token: object) -> str | None:
    """A token is written as its text, or as an object that holds the text."""
    found = token.get("content") if isinstance(token, Mapping) else token
    return found if isinstance(found, str) and found else None


def _more_control(config: Mapping[str, Any]) -> frozenset[str]:
    listed: list[object] = [config.get(name) for name in ("sep_token", "cls_token", "mask_token")]
    for key in ("additional_special_tokens", "extra_special_tokens"):
        more = config.get(key) or []
        listed += more.values() if isinstance(more, Mapping) else more
    return frozenset(text for text in map(_text, listed) if text)


def _chat_template(folder: Path, configured: object) -> str | None:
    """The file of its own wins, as in transformers; of several named templates the one called default."""
    try:
        return (folder / "chat_template.jinja").read_text("utf-8")
    except FileNotFoundError:
        pass
    except (OSError, UnicodeDecodeError) as error:
        raise FinetuneError(f"{folder / 'chat_template.jinja'} cannot be read: {error}; copy it again") from None
    if isinstance(configured, list):
        named = {one.get("name"): one.get("template") for one in configured if isinstance(one, Mapping)}
        configured = named.get("default")
    return configured if isinstance(configured, str) else None


def _ids(value: object) -> tuple[int, ...]:
    """One id, or a list of them."""
    values = value if isinstance(value, list) else [value]
    return tuple(v for v in values if isinstance(v, int) and not isinstance(v, bool))
