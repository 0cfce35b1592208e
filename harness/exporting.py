"""A checkpoint for other programs: what `export` does between its flags and the writers of `finetune`."""

from pathlib import Path
from typing import TYPE_CHECKING

from harness.screen import Screen

if TYPE_CHECKING:
    from finetune.checkpoint import Checkpoint
    from finetune.segments import Style


def export_to_hf(checkpoint: str, out: Path, screen: Screen, *, style: str | None, dtype: str, overwrite: bool) -> None:
    """Write a Hugging Face folder.

    Raises:
        HarnessError: If there is no such checkpoint.
        FinetuneError: As `finetune.export.export_hf`.
    """
    from finetune.export import check_hf, export_hf

    check_hf(out, dtype, overwrite=overwrite)
    loaded, chosen = _load(checkpoint, style)
    export_hf(loaded, out, style=chosen, dtype=dtype, overwrite=overwrite)
    screen.show(f"{out}: written")


def export_to_gguf(
    checkpoint: str, out: Path, screen: Screen, *, style: str | None, dtype: str, overwrite: bool
) -> None:
    """Write a GGUF file and print its Modelfile: standard output holds that alone, so that it can be redirected.

    Raises:
        HarnessError: If there is no such checkpoint.
        FinetuneError: As `finetune.gguf.file.export_gguf`.
    """
    from finetune.gguf.file import check_gguf, export_gguf
    from finetune.gguf.modelfile import modelfile

    check_gguf(out, dtype, overwrite=overwrite)
    loaded, chosen = _load(checkpoint, style)
    notes = export_gguf(loaded, out, style=chosen, dtype=dtype, overwrite=overwrite)
    for note in notes:
        screen.warn(note)
    screen.say(f"{out}: written. For Ollama, save this as Modelfile (export ... > Modelfile) and create the model:")
    print(modelfile(out, chosen, loaded.tokenizer, loaded.model.config.context_length), end="")


def _load(checkpoint: str, style: str | None) -> "tuple[Checkpoint, Style | None]":
    """The checkpoint, its adapters folded in, in what its weights are kept in; and the style it is asked in."""
    from finetune.export import stored_dtype
    from finetune.styles import style_named
    from harness.checkpoints import resolve
    from harness.stages import one_target

    target = one_target(resolve([checkpoint]), "export")
    assert target.folder is not None, "one_target refuses endpoints"
    loaded = target.load(device="cpu", dtype=stored_dtype(target.folder), fold=True)
    named = style or loaded.style
    return loaded, style_named(named, loaded.tokenizer) if named else None
