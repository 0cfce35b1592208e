import pytest

from finetune.errors import FinetuneError
from finetune.instructions import Entry
from finetune.styles import STYLES, style_named

HEAD = "Below is an instruction that describes a task. Write a response that appropriately completes the request."


def test_alpaca_with_and_without_input() -> None:
    style = style_named("alpaca")
    plain = Entry(item_id="1", instruction="Do it.", output="Done.")
    assert style.prompt(plain) == f"{HEAD}\n\n### Instruction:\nDo it.\n\n### Response:\n"
    given = plain.model_copy(update={"input": "this"})
    assert style.prompt(given) == f"{HEAD}\n\n### Instruction:\nDo it.\n\n### Input:\nthis\n\n### Response:\n"


def test_phi3_is_the_models_own_format() -> None:
    entry = Entry(item_id="1", instruction="Do it.", input="this", output="Done.")
    assert style_named("phi3").prompt(entry) == "<|user|>\nDo it.\nthis<|end|>\n<|assistant|>\n"


@pytest.mark.parametrize("name", sorted(STYLES))
def test_chat_template_gives_the_same_prompt(name: str) -> None:
    from jinja2 import Environment

    style = STYLES[name]
    entry = Entry(item_id="1", instruction="Do it.", output="Done.")
    template = Environment(autoescape=False).from_string(style.chat_template)
    messages = [{"role": "user", "content": entry.question}]
    assert template.render(messages=messages, add_generation_prompt=True) == style.prompt(entry)


def test_unknown_style_names_the_nearest() -> None:
    with pytest.raises(FinetuneError, match="did you mean alpaca"):
        style_named("alpacca")
