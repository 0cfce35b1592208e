"""The folder a training leaves: what is in it, what is kept, and what is refused before anything is lost."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from finetune.checkpoint import Checkpoint, load_checkpoint
from finetune.errors import FinetuneError
from finetune.folder import State, already_done, fine_tune
from finetune.recipes import TrainConfig
from finetune.splits import Splits, make_splits
from finetune.train import Evaluated, Milestone, Stepped

FAST = TrainConfig(epochs=2, batch_size=4, learning_rate=1e-3, eval_every=4)


@pytest.fixture
def splits(data_file: Path) -> Splits:
    return make_splits(data_file)


def state(config: TrainConfig = FAST, **fields: Any) -> State:
    return State(settings=config, **{"data": "d", "base": "b", "base_fingerprint": "f", **fields})


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text("utf-8").splitlines()]


def test_folder_holds_checkpoints_history_plot_and_best(tiny: Checkpoint, splits: Splits, tmp_path: Path) -> None:
    out = tmp_path / "out"
    kept = state()
    list(fine_tune(tiny, splits, kept, out))
    assert (out / "loss.png").read_bytes().startswith(b"\x89PNG")
    lines = [json.loads(line) for line in (out / "history.jsonl").read_text("utf-8").splitlines()]
    assert next(line["step"] for line in lines if "step" in line) == 0
    assert sum("sample" in line for line in lines) == 2
    assert kept.finished
    assert (out / "best").resolve().name == kept.best
    loaded = load_checkpoint(out / "epoch-2")
    assert all(torch.equal(a, b) for a, b in zip(loaded.model.parameters(), tiny.model.parameters(), strict=True))
    assert loaded.training is not None
    assert loaded.training.trained_on == [e.item_id for e in splits.train]
    assert loaded.style == "alpaca"
    assert loaded.training.validation_curve[0][0] == 0
    assert (
        make_splits(out / "splits" / "train.json", validation=out / "splits" / "validation.json").train == splits.train
    )


def test_done_is_done_and_other_settings_are_refused(tiny: Checkpoint, splits: Splits, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert not already_done(out, state(), overwrite=False)
    list(fine_tune(tiny, splits, state(), out))
    assert already_done(out, state(), overwrite=False)
    assert not already_done(out, state(), overwrite=True)
    other = FAST.model_copy(update={"batch_size": 2})
    with pytest.raises(FinetuneError, match=r"batch_size \(4 there, 2 now\).*--overwrite"):
        already_done(out, state(other), overwrite=False)
    with pytest.raises(FinetuneError, match="another data set"):
        already_done(out, state(data="other"), overwrite=False)
    with pytest.raises(FinetuneError, match="another base"):
        already_done(out, state(base_fingerprint="other"), overwrite=False)


def test_two_trainings_do_not_share_a_folder(tiny: Checkpoint, splits: Splits, tmp_path: Path) -> None:
    first = fine_tune(tiny, splits, state(), tmp_path)
    next(first)
    before = (tmp_path / "finetune.json").read_bytes()
    with pytest.raises(FinetuneError, match="is being written by another fine-tuning"):
        next(fine_tune(copy.deepcopy(tiny), splits, state(), tmp_path))
    assert (tmp_path / "finetune.json").read_bytes() == before
    first.close()  # type: ignore[attr-defined]
    assert not already_done(tmp_path, state(), overwrite=False)
    list(fine_tune(tiny, splits, state(), tmp_path))
    assert already_done(tmp_path, state(), overwrite=False)


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear", "utf-8")
    with pytest.raises(FinetuneError, match="is not empty"):
        already_done(tmp_path, state(), overwrite=False)


def test_overwriting_keeps_what_is_not_ours(tiny: Checkpoint, splits: Splits, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear", "utf-8")
    (tmp_path / "epoch-9").mkdir()
    list(fine_tune(tiny, splits, state(FAST.model_copy(update={"epochs": 1})), tmp_path))
    assert (tmp_path / "letter.txt").exists()
    assert not (tmp_path / "epoch-9").exists()
