"""`ift-eval finetune`: from flags to a fine-tuning."""

from pathlib import Path
from typing import Annotated, Any

import typer

from finetune.recipes import TrainConfig, recipe_named
from harness.commands import options
from harness.commands.settings_flags import with_flags_of
from harness.screen import Screen


@with_flags_of(TrainConfig, also={"learning_rate": ["--lr"]})
def finetune(
    base: Annotated[str, typer.Option(help="Model to start from: a folder, hf:NAME, gpt2, gpt2-medium, ...")],
    data: Annotated[str, typer.Option(help="Entries to train on: a file, a folder, or hf:ORG/NAME.")],
    out: Annotated[Path, typer.Option(help="Folder for the checkpoints.")],
    val: Annotated[str | None, typer.Option(help="Validation entries of their own.")] = None,
    test: Annotated[str | None, typer.Option(help="Test entries of their own.")] = None,
    recipe: Annotated[str, typer.Option(help="Starting values of the settings below: default or book.")] = "default",
    merge: Annotated[bool, typer.Option("--merge", help="Write the best adapter merged into its base too.")] = False,
    log: Annotated[list[str] | None, typer.Option(help="Log to tensorboard or wandb as well; may be repeated.")] = None,
    device: options.Device = "auto",
    overwrite: Annotated[bool, typer.Option(help="Replace what is in the folder.")] = False,
    quiet: options.Quiet = False,
    config: options.Config = None,
    **settings: Any,
) -> int:
    """Fine-tune a model to follow instructions; a checkpoint an epoch. The same command again goes on."""
    from harness.tuning import tune

    tune(
        base=base,
        data=data,
        out=out,
        config=TrainConfig(**{**recipe_named(recipe), **settings}),
        screen=Screen(quiet=quiet),
        validation=val,
        test=test,
        merge=merge,
        log=log or [],
        device=device,
        overwrite=overwrite,
    )
    return 0
