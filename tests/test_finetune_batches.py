import torch
from hypothesis import given
from hypothesis import strategies as st

from finetune.batches import IGNORED, batches, collate
from finetune.examples import Example

PAD = 99

examples = st.lists(
    st.lists(st.booleans(), min_size=1, max_size=11).map(
        lambda trained: Example(list(range(1, len(trained) + 2)), [False, *trained])
    ),
    min_size=1,
    max_size=5,
)


@given(examples, st.booleans())
def test_targets_are_inputs_shifted_by_one_and_only_answers_are_trained(made: list[Example], masked: bool) -> None:
    inputs, targets = collate(made, pad=PAD, mask_prompt=masked)
    assert inputs.shape == targets.shape == (len(made), max(len(e.tokens) for e in made) - 1)
    for row, example in enumerate(made):
        n = len(example.tokens) - 1
        assert inputs[row].tolist() == example.tokens[:-1] + [PAD] * (inputs.shape[1] - n)
        pairs = zip(example.tokens[1:], example.trained[1:], strict=True)
        wanted = [token if trained or not masked else IGNORED for token, trained in pairs]
        assert targets[row].tolist() == wanted + [IGNORED] * (inputs.shape[1] - n)


def test_the_books_example() -> None:
    """Chapter 7's own three sequences: padded with 50256, targets shifted, padding after the first end ignored."""
    end = 50256
    texts = [[0, 1, 2, 3, 4, end], [5, 6, end], [7, 8, 9, end]]
    rows = [Example(tokens, [False, *[True] * (len(tokens) - 1)]) for tokens in texts]
    inputs, targets = collate(rows, pad=end, mask_prompt=False)
    assert inputs.tolist() == [[0, 1, 2, 3, 4], [5, 6, end, end, end], [7, 8, 9, end, end]]
    assert targets.tolist() == [[1, 2, 3, 4, end], [6, end, -100, -100, -100], [8, 9, end, -100, -100]]


def test_every_example_comes_once_in_either_order() -> None:
    made = [Example([n, n + 1, n + 2], [False, True, True]) for n in range(0, 70, 3)]

    def first_tokens(generator: torch.Generator | None) -> list[int]:
        parts = batches(made, batch_size=4, pad=0, mask_prompt=False, generator=generator)
        return [int(row[0]) for inputs, _ in parts for row in inputs]

    in_order = [e.tokens[0] for e in made]
    shuffled = first_tokens(torch.Generator().manual_seed(0))
    assert first_tokens(None) == in_order
    assert sorted(shuffled) == in_order != shuffled
