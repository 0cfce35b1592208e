"""How to train: the settings, and the sets of them that have a name."""

from pydantic import BaseModel, ConfigDict, Field

from finetune.errors import unknown_name


class TrainConfig(BaseModel):
    """How to train. Every field is a flag of `ift-eval finetune`.

    Attributes:
        style: Prompt style.
        epochs: Passes over the training entries, at most.
        max_steps: Steps at most, in all; what `epochs` gives when None.
        batch_size: Entries a step.
        learning_rate: Of AdamW, constant.
        weight_decay: Of AdamW.
        decay_all: Decay norms and biases too, as the book does.
        clip: Largest norm of the gradient; None leaves it as it is.
        mask_prompt: Learn the answers only, not the questions.
        shuffle: Split at random and draw batches at random; else split by file order.
        eval_every: Steps between validations inside an epoch; a quarter of an epoch when None.
        patience: Epochs in a row by whose end the validation loss may have risen before training stops;
            0 never stops early.
        seed: Of the split and of the order of the entries.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    style: str = "alpaca"
    epochs: int = Field(3, ge=1)
    max_steps: int | None = Field(None, ge=1)
    batch_size: int = Field(8, ge=1)
    learning_rate: float = Field(5e-5, gt=0)
    weight_decay: float = Field(0.1, ge=0)
    decay_all: bool = False
    clip: float | None = Field(1.0, gt=0)
    mask_prompt: bool = True
    shuffle: bool = True
    eval_every: int | None = Field(None, ge=1)
    patience: int = Field(2, ge=0)
    seed: int = 0


# What a recipe sets; flags given beside it win.
RECIPES: dict[str, dict[str, object]] = {
    "default": {},
    "book": {"mask_prompt": False, "shuffle": False, "decay_all": True, "clip": None, "epochs": 2, "patience": 0},
}


def recipe_named(name: str) -> dict[str, object]:
    """What a recipe sets of `TrainConfig`.

    Raises:
        FinetuneError: If there is no such recipe.
    """
    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    return RECIPES[name]
