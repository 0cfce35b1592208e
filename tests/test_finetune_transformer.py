"""The decoder and its weights against transformers'."""

import json
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from finetune.checkpoint import Checkpoint, fingerprint, load_checkpoint, save_checkpoint
from finetune.errors import FinetuneError
from finetune.presets import PRESETS, ModelConfig
from finetune.tokenizer import Tokenizer
from finetune.transformer import KVCache, Transformer
from finetune.weights import hf_config

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture
def reference(tokenizer: Tokenizer, tmp_path: Path) -> tuple[Path, transformers.GPT2LMHeadModel]:
    """A random GPT-2 as transformers makes and saves it, with weights large enough to tell mistakes."""
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(3)
    config = transformers.GPT2Config(
        vocab_size=tokenizer.vocab_size, n_positions=64, n_embd=48, n_layer=3, n_head=4, bos_token_id=0, eos_token_id=0
    )
    model = transformers.GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.1)
    model.save_pretrained(tmp_path / "hf")
    tokenizer.save(tmp_path / "hf")
    return tmp_path / "hf", model


def test_logits_equal_transformers_with_and_without_cache(
    reference: tuple[Path, transformers.GPT2LMHeadModel], tokenizer: Tokenizer
) -> None:
    folder, theirs = reference
    ours = load_checkpoint(folder).model
    tokens = torch.randint(0, tokenizer.vocab_size, (3, 40))
    with torch.no_grad():
        wanted = theirs(tokens).logits
        assert torch.allclose(ours(tokens), wanted, atol=1e-4)
        cache = KVCache(ours.config, 3, 40, device="cpu", dtype=torch.float32)
        pieces = [ours(part, cache) for part in torch.split(tokens, [17, 1, 5, 1, 16], dim=1)]
    assert torch.allclose(torch.cat(pieces, 1), wanted, atol=1e-4)


def test_rows_of_different_length_share_a_cache(
    reference: tuple[Path, transformers.GPT2LMHeadModel], tokenizer: Tokenizer
) -> None:
    ours = load_checkpoint(reference[0]).model
    tokens = torch.randint(0, tokenizer.vocab_size, (2, 20))
    lengths = torch.tensor([20, 7])
    cache = KVCache(ours.config, 2, 30, device="cpu", dtype=torch.float32)
    with torch.no_grad():
        ours.hidden(tokens, cache, lengths)
        following = ours(torch.tensor([[5], [6]]), cache)
        alone = ours(torch.cat([tokens[1:, :7], torch.tensor([[6]])], 1))
    assert torch.allclose(following[1, -1], alone[0, -1], atol=1e-5)


def test_saved_checkpoint_is_what_transformers_loads(tiny: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "ours", tiny)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "ours")
    tokens = torch.tensor([tiny.tokenizer.encode("The capital of France is")])
    assert tokenizer("The capital of France is")["input_ids"] == tokens[0].tolist()
    with torch.no_grad():
        assert torch.allclose(tiny.model(tokens), theirs(tokens).logits, atol=1e-4)
    assert fingerprint(tmp_path / "ours") == fingerprint(tmp_path / "ours")


def test_sharded_weights(reference: tuple[Path, transformers.GPT2LMHeadModel], tmp_path: Path) -> None:
    folder, theirs = reference
    theirs.save_pretrained(tmp_path / "sharded", max_shard_size="40KB")
    (folder / "tokenizer.json").rename(tmp_path / "sharded" / "tokenizer.json")
    assert not (tmp_path / "sharded" / "model.safetensors").exists()
    ours = load_checkpoint(tmp_path / "sharded").model
    tokens = torch.arange(10)[None]
    with torch.no_grad():
        assert torch.allclose(ours(tokens), theirs(tokens).logits, atol=1e-4)
    next((tmp_path / "sharded").glob("model-00002*")).unlink()
    with pytest.raises(FinetuneError, match="shard model-00002"):
        load_checkpoint(tmp_path / "sharded")


def test_presets_are_the_published_sizes() -> None:
    with torch.device("meta"):
        sizes = {name: sum(w.numel() for w in Transformer(config).parameters()) for name, config in PRESETS.items()}
    # Radford et al. 2019 count 117M, 345M, 762M and 1542M; the released weights hold these many.
    assert sizes == {
        "gpt2": 124_439_808,
        "gpt2-medium": 354_823_168,
        "gpt2-large": 774_030_080,
        "gpt2-xl": 1_557_611_200,
    }


def change_config(folder: Path, **fields: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | fields), "utf-8")


def test_missing_and_mismatched_tensors_are_named(tiny: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c", tiny)
    weights = tmp_path / "c" / "model.safetensors"
    state = load_file(weights)
    save_file({k: v for k, v in state.items() if not k.endswith("h.1.mlp.c_fc.weight")}, weights)
    with pytest.raises(FinetuneError, match=r"h\.1\.mlp\.c_fc\.weight is missing"):
        load_checkpoint(tmp_path / "c")
    state["transformer.h.0.attn.c_attn.weight"] = torch.zeros(32, 95)
    save_file(state, weights)
    with pytest.raises(FinetuneError, match=r"c_attn\.weight: wanted shape \(32, 96\), found \(32, 95\)"):
        load_checkpoint(tmp_path / "c")


def test_damaged_weights_and_configs_are_refused(tiny: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c", tiny)
    change_config(tmp_path / "c", scale_attn_by_inverse_layer_idx=True)
    with pytest.raises(FinetuneError, match="scale_attn_by_inverse_layer_idx"):
        load_checkpoint(tmp_path / "c")
    change_config(tmp_path / "c", model_type="llama", scale_attn_by_inverse_layer_idx=False)
    with pytest.raises(FinetuneError, match="found llama"):
        load_checkpoint(tmp_path / "c")
    change_config(tmp_path / "c", model_type="gpt2")
    (tmp_path / "c" / "model.safetensors").write_bytes(b"not tensors at all")
    with pytest.raises(FinetuneError, match="is damaged"):
        load_checkpoint(tmp_path / "c")
    (tmp_path / "c" / "model.safetensors").unlink()
    with pytest.raises(FinetuneError, match=r"wanted model\.safetensors, found none"):
        load_checkpoint(tmp_path / "c")


def test_a_vocabulary_too_small_for_the_tokenizer_is_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    config = ModelConfig(vocab_size=100, context_length=16, width=8, n_layers=1, n_heads=2)
    save_checkpoint(tmp_path / "c", Checkpoint(Transformer(config), tokenizer))
    with pytest.raises(FinetuneError, match="vocabulary only 100"):
        load_checkpoint(tmp_path / "c")


def test_config_survives_the_round_trip(tiny: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c", tiny)
    assert load_checkpoint(tmp_path / "c").model.config == tiny.model.config
    assert hf_config(tiny.model.config, end_of_text=5)["eos_token_id"] == 5


def test_width_and_heads_must_fit() -> None:
    with pytest.raises(FinetuneError, match="multiple of n_heads"):
        ModelConfig(width=10, n_heads=3)
