"""The loop against a plain reference, and the folder it leaves."""

import copy
import json
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from finetune.batches import collate
from finetune.checkpoint import Checkpoint, load_checkpoint
from finetune.errors import FinetuneError
from finetune.examples import encode_entries
from finetune.folder import State, already_done, fine_tune
from finetune.recipes import TrainConfig, recipe_named
from finetune.splits import Splits, make_splits
from finetune.styles import style_named
from finetune.train import Milestone, Evaluated, Started, Stepped, Stopped, train
from tests.conftest import tiny_model

FAST = TrainConfig(epochs=2, batch_size=4, learning_rate=1e-3, eval_every=4)


@pytest.fixture
def splits(data_file: Path) -> Splits:
    return make_splits(data_file)


def state(config: TrainConfig = FAST, **fields: str) -> State:
    return State(settings=config, **{"data": "d", "base": "b", "base_fingerprint": "f", **fields})


def test_three_steps_equal_a_plain_loop(tiny: Checkpoint, splits: Splits) -> None:
    """The same weights as textbook code: full logits, cross entropy with -100, torch's AdamW."""
    config = TrainConfig(epochs=1, batch_size=4, learning_rate=1e-3, shuffle=False, clip=None, decay_all=True)
    splits = Splits(splits.train[:12], [], splits.validation)
    plain = copy.deepcopy(tiny.model)
    steps = [e for e in train(tiny, splits, config) if isinstance(e, Stepped)]
    examples = encode_entries(splits.train, style_named("alpaca"), tiny.tokenizer, max_length=128).examples
    optimizer = torch.optim.AdamW(plain.parameters(), lr=1e-3, weight_decay=0.1)
    for step in range(3):
        batch = examples[4 * step : 4 * step + 4]
        inputs, targets = collate(batch, pad=tiny.tokenizer.end_of_text, mask_prompt=True)
        loss = F.cross_entropy(plain(inputs).flatten(0, 1), targets.flatten(), ignore_index=-100)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        assert steps[step].loss == pytest.approx(loss.item(), abs=1e-5)
    for (name, ours), theirs in zip(tiny.model.named_parameters(), plain.parameters(), strict=True):
        # A bias of the keys changes no attention weight: its gradient is rounding, which Adam blows up.
        if not name.endswith("qkv.bias"):
            assert torch.allclose(ours, theirs, atol=2e-5), name


def test_norms_and_biases_are_not_decayed(tiny: Checkpoint, splits: Splits) -> None:
    """With a huge decay and almost no learning, only matrices shrink."""
    before = {name: w.detach().clone() for name, w in tiny.model.named_parameters()}
    config = TrainConfig(epochs=1, batch_size=8, learning_rate=1e-6, weight_decay=1e5)
    list(train(tiny, splits, config))
    for name, weight in tiny.model.named_parameters():
        shrunk = weight.norm() < 0.9 * before[name].norm()
        assert bool(shrunk) == (weight.dim() > 1), name


def test_validation_loss_is_the_mean_over_answer_tokens(tiny: Checkpoint, splits: Splits) -> None:
    untouched = copy.deepcopy(tiny.model)
    events = list(train(tiny, splits, FAST))
    first = next(e for e in events if isinstance(e, Evaluated))
    total = count = 0.0
    for example in encode_entries(splits.validation, style_named("alpaca"), tiny.tokenizer, max_length=128).examples:
        with torch.no_grad():
            logits = untouched(torch.tensor([example.tokens[:-1]]))[0, example.prompt_length - 1 :]
        answer = torch.tensor(example.tokens[example.prompt_length :])
        total += float(F.cross_entropy(logits, answer, reduction="sum"))
        count += len(answer)
    assert first.step == 0
    assert first.validation_loss == pytest.approx(total / count, abs=1e-4)


def test_loss_falls_and_events_come_in_order(tiny: Checkpoint, splits: Splits) -> None:
    events = list(train(tiny, splits, FAST))
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Stopped)
    evaluated = [e for e in events if isinstance(e, Evaluated)]
    assert [e.step for e in evaluated] == [0, 4, 8, 9, 12, 16, 18]
    assert evaluated[-1].validation_loss < evaluated[0].validation_loss
    assert [e.epoch for e in events if isinstance(e, Milestone)] == [1, 2]


def test_same_seed_same_weights(tiny: Checkpoint, splits: Splits) -> None:
    twin = Checkpoint(copy.deepcopy(tiny.model), tiny.tokenizer)
    list(train(tiny, splits, FAST))
    list(train(twin, splits, FAST))
    assert all(torch.equal(a, b) for a, b in zip(tiny.model.parameters(), twin.model.parameters(), strict=True))


def test_stops_early_when_validation_rises(tiny: Checkpoint, splits: Splits) -> None:
    """A validation set that contradicts the training set: learning the one unlearns the other."""
    wrong = [e.model_copy(update={"output": "Xq " * 8}) for e in splits.train[:6]]
    config = TrainConfig(epochs=12, batch_size=4, learning_rate=3e-3, patience=1)
    events = list(train(tiny, Splits(splits.train, [], wrong), config))
    epochs = [e for e in events if isinstance(e, Milestone)]
    last = events[-1]
    assert isinstance(last, Stopped)
    assert last.early is not None
    assert "has not fallen" in last.early
    assert len(epochs) < 12
    assert epochs[-1].validation_loss > epochs[-2].validation_loss
    assert not epochs[-1].best


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


def test_a_context_shorter_than_prompts_is_counted_or_refused(splits: Splits, tiny: Checkpoint) -> None:
    examples = encode_entries(splits.train, style_named("alpaca"), tiny.tokenizer, max_length=999).examples
    lengths = [e.prompt_length for e in examples]
    shorter = Checkpoint(tiny_model(tiny.tokenizer, context_length=min(lengths) + 2), tiny.tokenizer)
    first = next(iter(train(shorter, splits, FAST)))
    assert isinstance(first, Started)
    left_out = sum(length > min(lengths) + 2 for length in lengths)
    assert any(note.startswith(f"{left_out} of {len(lengths)} training entries left out") for note in first.notes)
    none = Checkpoint(tiny_model(tiny.tokenizer, context_length=8), tiny.tokenizer)
    with pytest.raises(FinetuneError, match="take a base with a longer context"):
        next(iter(train(none, splits, FAST)))


def test_a_loss_that_is_no_number_stops_with_the_way_out(tiny: Checkpoint, splits: Splits) -> None:
    config = TrainConfig(epochs=3, batch_size=4, learning_rate=1e30, clip=None)
    with pytest.raises(FinetuneError, match="lower --learning-rate"):
        list(train(tiny, splits, config))


def test_recipes() -> None:
    book = TrainConfig(**recipe_named("book"))
    assert (book.batch_size, book.learning_rate, book.weight_decay, book.epochs) == (8, 5e-5, 0.1, 2)
    assert (book.mask_prompt, book.shuffle, book.decay_all) == (False, False, True)
    with pytest.raises(FinetuneError, match="did you mean book"):
        recipe_named("bok")
