"""What other programs make of an exported checkpoint."""

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from finetune.checkpoint import Checkpoint, Training, save_checkpoint
from finetune.errors import FinetuneError
from finetune.export import export_gguf, export_hf
from finetune.generate import Sampling, generate
from finetune.styles import STYLES
from finetune.tokenizer import Tokenizer
from tests.llama_server import llama_server

PROMPTS = ["The capital of France is", "naïve 🎉 日本語 don't\n\n ", "### Instruction:\nName"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_transformers_gives_the_same_logits_tokens_and_prompt(tiny: Checkpoint, tmp_path: Path) -> None:
    style = STYLES["alpaca"]
    export_hf(tiny, tmp_path / "hf", chat_template=style.chat_template)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "hf").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    for text in PROMPTS:
        ids = tiny.tokenizer.encode(text)
        assert tokenizer(text)["input_ids"] == ids
        with torch.no_grad():
            assert torch.allclose(model(torch.tensor([ids])).logits, tiny.model(torch.tensor([ids])), atol=1e-4)
    asked = [{"role": "user", "content": "Name it."}]
    prompt = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    assert prompt.endswith("### Instruction:\nName it.\n\n### Response:\n")


def test_llama_cpp_writes_the_same_greedy_text(tiny: Checkpoint, tmp_path: Path) -> None:
    export_gguf(tiny, tmp_path / "tiny.gguf", chat_template=STYLES["alpaca"].chat_template)
    ids = [tiny.tokenizer.encode(text) for text in PROMPTS]
    stops = frozenset({tiny.tokenizer.end_of_text})
    ours = dict(generate(tiny.model, ids, Sampling(max_new_tokens=24), stop_tokens=stops))
    with llama_server(tmp_path / "tiny.gguf") as address:
        for index, text in enumerate(PROMPTS):
            assert ask(address.removesuffix("/v1") + "/tokenize", content=text)["tokens"] == ids[index]
            answer = ask(f"{address}/completions", prompt=text, max_tokens=24, temperature=0)
            assert answer["choices"][0]["text"] == tiny.tokenizer.decode(ours[index].tokens)


def ask(url: str, **body: Any) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.load(reply)


def test_what_is_there_is_not_overwritten_unasked(tiny: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "hf").mkdir()
    (tmp_path / "m.gguf").write_text("mine", "utf-8")
    with pytest.raises(FinetuneError, match="--overwrite"):
        export_hf(tiny, tmp_path / "hf")
    with pytest.raises(FinetuneError, match="--overwrite"):
        export_gguf(tiny, tmp_path / "m.gguf")
    assert (tmp_path / "m.gguf").read_text("utf-8") == "mine"
    export_gguf(tiny, tmp_path / "m.gguf", overwrite=True)
    assert (tmp_path / "m.gguf").read_bytes().startswith(b"GGUF")


def test_overwriting_a_folder_takes_only_models(tiny: Checkpoint, tmp_path: Path) -> None:
    export_hf(tiny, tmp_path / "hf")
    export_hf(tiny, tmp_path / "hf", overwrite=True)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear", "utf-8")
    (tmp_path / "file").write_text("mine", "utf-8")
    save_checkpoint(
        tmp_path / "epoch-1", Checkpoint(tiny.model, tiny.tokenizer, Training(style="phi3", step=1, epoch=1, base="b"))
    )
    (tmp_path / "best").symlink_to("hf")
    before = sorted(tmp_path.rglob("*"))
    for name in ("home", "file", "epoch-1", "best"):
        with pytest.raises(FinetuneError, match="holds other things than an exported model"):
            export_hf(tiny, tmp_path / name, overwrite=True)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_split_pattern_llama_cpp_does_not_know_is_refused(tiny: Checkpoint, tmp_path: Path) -> None:
    spec = tiny.tokenizer.spec()
    split = {"type": "Split", "pattern": {"Regex": r"\s+|\S+"}, "behavior": "Isolated", "invert": False}
    pre = {"type": "Sequence", "pretokenizers": [split, {"type": "ByteLevel", "use_regex": False}]}
    other = Tokenizer.from_spec(spec | {"pre_tokenizer": pre}, name="other")
    with pytest.raises(FinetuneError, match="GPT-2's split pattern"):
        export_gguf(Checkpoint(tiny.model, other), tmp_path / "m.gguf")
    assert not (tmp_path / "m.gguf").exists()
