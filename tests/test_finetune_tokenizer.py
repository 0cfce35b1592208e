import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.errors import FinetuneError
from finetune.tokenizer import END_OF_TEXT, Tokenizer, train_tokenizer

TRAINED = train_tokenizer(["the cat sat on the mat", "naïve café 日本語 привет 🎉", "don't 123  \n\n x"] * 4, 380)
REFERENCE = tokenizers.Tokenizer.from_str(json.dumps(TRAINED.spec()))


@given(st.text())
@settings(max_examples=300)
def test_trained_encoding_is_that_of_tokenizers(text: str) -> None:
    if END_OF_TEXT in text:
        return
    assert TRAINED.encode(text) == REFERENCE.encode(text).ids
    assert TRAINED.decode(TRAINED.encode(text)) == text


def test_control_tokens_in_text_stay_text() -> None:
    ids = TRAINED.encode(f"a{END_OF_TEXT}b")
    assert TRAINED.end_of_text not in ids
    assert TRAINED.decode(ids) == f"a{END_OF_TEXT}b"


def test_template_pieces() -> None:
    pieces = [("a", False), (END_OF_TEXT, True), ("b", False), ("<|user|>", True)]
    ids = TRAINED.encode_template(pieces)
    assert ids == [*TRAINED.encode("a"), TRAINED.end_of_text, *TRAINED.encode("b<|user|>")]


def test_saved_and_read_again(tmp_path: Path) -> None:
    TRAINED.save(tmp_path)
    again = Tokenizer.from_file(tmp_path / "tokenizer.json")
    text = "the café, don't"
    assert again.encode(text) == TRAINED.encode(text)
    assert again.end_of_text == TRAINED.end_of_text == TRAINED.vocab_size - 1


def test_gpt2_by_name_equals_its_tokenizer_json(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tiktoken.registry

    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(shared_data / "tiktoken"))
    monkeypatch.setattr(tiktoken.registry, "ENCODINGS", {})
    gpt2 = Tokenizer.by_name("gpt2")
    reference = tokenizers.Tokenizer.from_str(json.dumps(gpt2.spec()))
    read = Tokenizer.from_spec(gpt2.spec(), name="gpt2 again")
    for text in ("Hello, world!  \n\n It's 2024", "naïve 🎉 日本語\t\tx", "def f(x):\n    return x"):
        assert gpt2.encode(text) == reference.encode(text).ids == read.encode(text)
    assert gpt2.end_of_text == 50256
    assert len(gpt2.spec()["model"]["merges"]) == 50000


def test_gpt2_that_cannot_be_had_names_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tiktoken.registry

    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    for proxy in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(proxy, "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setattr(tiktoken.registry, "ENCODINGS", {})
    with pytest.raises(FinetuneError, match="TIKTOKEN_CACHE_DIR"):
        Tokenizer.by_name("gpt2")


def spoilt(change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    spec: dict[str, Any] = json.loads(json.dumps(TRAINED.spec()))
    change(spec)
    return spec


def swap_merges(spec: dict[str, Any]) -> None:
    merges = spec["model"]["merges"]
    merges[0], merges[1] = merges[1], merges[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s["model"].update(byte_fallback=True), "byte fallback"),
        (lambda s: s["model"].update(type="WordPiece"), "WordPiece"),
        (lambda s: s["model"]["vocab"].pop("Ā"), "1 of the 256 bytes"),
        (lambda s: s["model"]["vocab"].update({"a b": 999}), "not made of bytes"),
        (lambda s: s["pre_tokenizer"].update(add_prefix_space=True), "prefix space"),
        (lambda s: s.update(pre_tokenizer={"type": "Whitespace"}), "Whitespace"),
        (lambda s: s.update(normalizer={"type": "Lowercase"}), "Lowercase"),
        (swap_merges, "merge order"),
        (lambda s: s.update(added_tokens=[]), "token that ends a text"),
    ],
)
def test_other_tokenizers_are_refused_by_what_they_have(change: Callable[[dict[str, Any]], None], said: str) -> None:
    with pytest.raises(FinetuneError, match=said):
        Tokenizer.from_spec(spoilt(change), name="spoilt")


def test_missing_and_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(FinetuneError, match="found none"):
        Tokenizer.from_file(tmp_path / "tokenizer.json")
    (tmp_path / "tokenizer.json").write_text("{", "utf-8")
    with pytest.raises(FinetuneError, match="is not JSON"):
        Tokenizer.from_file(tmp_path / "tokenizer.json")
    with pytest.raises(FinetuneError, match="did you mean gpt2"):
        Tokenizer.by_name("gtp2")
