"""An Ollama Modelfile: which file to run, how the model is asked, where its answers end.

Its syntax, and that of the templates (Go's text/template), are described in Ollama's documentation,
docs/modelfile.md and docs/template.md.
"""

import re
from pathlib import Path

from finetune.export import ends
from finetune.instructions import Entry
from finetune.segments import Style
from finetune.styles import STYLES
from finetune.tokenizer import Tokenizer

# Ollama reserves memory for the whole of it, and a model may have learnt more positions than fit.
MOST_CONTEXT = 8192

# HEAD, END and START are filled in; the rest is what Ollama reads.
_TEMPLATES = {
    "alpaca": (
        "{{ if .System }}{{ .System }}{{ else }}HEAD{{ end }}{{ range .Messages }}"
        '{{ if eq .Role "user" }}\n\n### Instruction:\n{{ .Content }}'
        '{{ else if eq .Role "assistant" }}\n\n### Response:\n{{ .Content }}END{{ end }}'
        "{{ end }}\n\n### Response:\n"
    ),
    "phi3": "{{ range .Messages }}<|{{ .Role }}|>\n{{ .Content }}<|end|>\n{{ end }}<|assistant|>\n",
    "chatml": (
        "{{ range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n"
    ),
    "llama3": (
        "START{{ range .Messages }}<|start_header_id|>{{ .Role }}<|end_header_id|>\n\n{{ .Content }}<|eot_id|>"
        "{{ end }}<|start_header_id|>assistant<|end_header_id|>\n\n"
    ),
}


def modelfile(gguf: Path, style: Style | None, tokenizer: Tokenizer, context_length: int) -> str:
    """The text of a Modelfile.

    Args:
        gguf: The file to run, from where the Modelfile will be.
        style: How the model is asked. Without a template for it, as for a checkpoint's own chat template, Ollama
            takes the one inside the GGUF file.
        tokenizer: The model's.
        context_length: Positions the model has learnt.
    """
    lines = [f"# ollama create {_name(gguf)} -f Modelfile", f"FROM {_from(gguf)}"]
    template = ollama_template(style, tokenizer)
    if template is None and not (style or tokenizer.chat_template):
        lines.append("# no TEMPLATE: the checkpoint has no chat template, a prompt is taken as it is (name a --style)")
    elif template is None:
        lines.append("# no TEMPLATE: Ollama takes the chat template that is inside the GGUF file")
    else:
        lines.append(f'TEMPLATE """{template}"""')
    texts = {i: text for text, i in (tokenizer.special_tokens | tokenizer.plain_tokens).items()}
    lines += [f'PARAMETER stop "{texts[i]}"' for i in ends(style, tokenizer) if i in texts]
    lines.append(f"PARAMETER num_ctx {min(context_length, MOST_CONTEXT)}")
    return "\n".join(lines) + "\n"


def ollama_template(style: Style | None, tokenizer: Tokenizer) -> str | None:
    """The style in Ollama's template language, or None where it has to take the one inside the file."""
    if style is None or STYLES.get(style.name) is not style or style.name not in _TEMPLATES:
        return None
    # Ollama itself puts the token that begins every text there, where the file says that one does.
    begin = "<|begin_of_text|>"
    written = tokenizer.start_of_text is not None and tokenizer.control(begin) == tokenizer.start_of_text
    head = style.prompt(Entry(item_id="probe", instruction="?", output=""))[0].text
    filled = {"HEAD": head, "END": tokenizer.end_token, "START": "" if written else begin}
    return re.sub("HEAD|END|START", lambda match: filled[match[0]], _TEMPLATES[style.name])


def _name(gguf: Path) -> str:
    """A model's name as Ollama takes it."""
    letters = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in gguf.stem.lower())
    return letters.strip("-") or "mine"


def _from(gguf: Path) -> str:
    path = gguf.as_posix()
    path = path if gguf.is_absolute() or path.startswith("../") else f"./{path}"
    return f'"{path}"' if any(letter.isspace() for letter in path) else path
