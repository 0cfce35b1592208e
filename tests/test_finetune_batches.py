import torch
from hypothesis import given
from hypothesis import strategies as st

from finetune.batches import IGNORED, Example, batches, collate, encode_entries, end_token, stop_tokens
from finetune.instructions import Entry
from finetune.styles import style_named
from finetune.tokenizer import Tokenizer

ENTRY = Entry(item_id="1", instruction="Name the capital.", input="France", output="Paris")
PAD = 99

examples = st.lists(
    st.integers(2, 12).flatmap(lambda n: st.builds(Example, st.just(list(range(1, n + 1))), st.integers(1, n - 1))),
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
        first = example.prompt_length - 1 if masked else 0
        wanted = [IGNORED] * first + example.tokens[first + 1 :] + [IGNORED] * (inputs.shape[1] - n)
        assert targets[row].tolist() == wanted


def test_the_books_example() -> None:
    """Chapter 7's own three sequences: padded with 50256, targets shifted, padding after the first end ignored."""
    end = 50256
    rows = [Example([0, 1, 2, 3, 4, end], 1), Example([5, 6, end], 1), Example([7, 8, 9, end], 1)]
    inputs, targets = collate(rows, pad=end, mask_prompt=False)
    assert inputs.tolist() == [[0, 1, 2, 3, 4], [5, 6, end, end, end], [7, 8, 9, end, end]]
    assert targets.tolist() == [[1, 2, 3, 4, end], [6, end, -100, -100, -100], [8, 9, end, -100, -100]]


def test_entry_becomes_prompt_answer_and_end(tokenizer: Tokenizer) -> None:
    style = style_named("alpaca")
    (example,) = encode_entries([ENTRY], style, tokenizer, 512).examples
    prompt = example.tokens[: example.prompt_length]
    assert tokenizer.decode(prompt) == style.prompt(ENTRY)
    assert tokenizer.decode(example.tokens[example.prompt_length : -1]) == "Paris"
    assert example.tokens[-1] == tokenizer.end_of_text


def test_phi3_markers_are_text_without_control_tokens_and_control_tokens_with_them(tokenizer: Tokenizer) -> None:
    style = style_named("phi3")
    assert end_token(style, tokenizer) == tokenizer.end_of_text
    spec = tokenizer.spec()
    extra = [
        {"id": tokenizer.vocab_size + n, "content": text, "special": True}
        for n, text in enumerate(("<|user|>", "<|assistant|>", "<|end|>"))
    ]
    chat = Tokenizer.from_spec(spec | {"added_tokens": [*spec["added_tokens"], *extra]}, name="chat")
    (example,) = encode_entries([ENTRY], style, chat, 512).examples
    ids = {text: chat.control(text) for text in ("<|user|>", "<|assistant|>", "<|end|>")}
    assert example.tokens[0] == ids["<|user|>"]
    assert example.tokens[-1] == ids["<|end|>"] == end_token(style, chat)
    assert stop_tokens(style, chat) == {ids["<|end|>"], chat.end_of_text}


def test_too_long_entries_are_cut_or_left_out_and_counted(tokenizer: Tokenizer) -> None:
    style = style_named("alpaca")
    prompt_length = encode_entries([ENTRY], style, tokenizer, 512).examples[0].prompt_length
    long = ENTRY.model_copy(update={"output": "Paris " * 40})
    cut = encode_entries([ENTRY, long], style, tokenizer, prompt_length + 10)
    assert (cut.cut, cut.dropped, len(cut.examples)) == (1, 0, 2)
    assert len(cut.examples[1].tokens) == prompt_length + 11
    assert cut.examples[1].tokens[-1] != tokenizer.end_of_text
    gone = encode_entries([ENTRY, long], style, tokenizer, prompt_length - 1)
    assert (gone.examples, gone.dropped) == ([], 2)


def test_every_example_comes_once_in_either_order() -> None:
    made = [Example([n, n + 1, n + 2], 1) for n in range(0, 70, 3)]

    def first_tokens(generator: torch.Generator | None) -> list[int]:
        parts = batches(made, batch_size=4, pad=0, mask_prompt=False, generator=generator)
        return [int(row[0]) for inputs, _ in parts for row in inputs]

    in_order = [e.tokens[0] for e in made]
    shuffled = first_tokens(torch.Generator().manual_seed(0))
    assert first_tokens(None) == in_order
    assert sorted(shuffled) == in_order != shuffled
