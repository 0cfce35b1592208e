"""Whether a judge is of the same family of models as what it judges: it may favour its own.

Panickssery et al. 2024, arXiv:2404.13076. A family is what was trained from one recipe and, as far as is known, related
data, so that its members write alike; not all that one maker has made. GPT-2, a model of web text from 2019, writes
nothing like GPT-4o, so the two are apart; Gemma was taught by Gemini, and Mixtral, Codestral and the like are Mistral's
own, so these are together. Names tell, nothing else does: a model called `step-400` has the family that the name of its
base has. What a checkpoint was trained on cannot be seen here either.
"""

import re
from collections.abc import Iterable

# Matched without regard to case where no letter stands before or after; digits may follow ("llama3.2", "phi4").
_FAMILIES = {
    "gpt": r"gpt-?[3-9]\w*|gpt-oss|chatgpt|(text-)?davinci|^o[1-9](-mini|-pro|-preview)?$",
    "gpt2": r"(distil)?gpt-?2",
    "claude": r"claude",
    "gemini": r"gemini|[a-z]*gemma",
    # "ollama" and llama.cpp run models of any family.
    "llama": r"(?!x?ollama)[a-z]*llama(?![-_.]?cpp)|vicuna",
    "mistral": r"mistral|mixtral|ministral|codestral|magistral|devstral|pixtral|mathstral",
    "qwen": r"[a-z]*qwen|qwq|qvq",
    "deepseek": r"deepseek",
    "phi": r"phi",
    "olmo": r"olmoe?",
    "falcon": r"falcon",
    "yi": r"yi",
    "command": r"command-[ar]|c4ai|aya",
    "granite": r"granite",
    "smollm": r"smollm|smolvlm",
    "glm": r"(chat)?glm",
    "internlm": r"internlm",
    "baichuan": r"baichuan",
    "pythia": r"pythia|gpt-neox?|gpt-j",
    "bloom": r"bloomz?",
    "opt": r"opt(?=-\d)",
    "t5": r"(flan-)?t5",
    "stablelm": r"stablelm",
    "nemotron": r"nemotron",
    "grok": r"grok",
    "kimi": r"kimi",
}
_WORDS = {family: re.compile(rf"(?<![a-z])(?:{words})(?![a-z])", re.IGNORECASE) for family, words in _FAMILIES.items()}


def families(name: str) -> set[str]:
    """The families that a model's name or reference tells of; several for a distillation such as R1-Distill-Qwen.

    Args:
        name: `llama3.2`, `ollama:llama3.2@http://...`, `org/Qwen2.5-7B-Instruct`, or a path, of which the last two
            parts count.
    """
    model = re.sub(r"^((?:hf|openai|ollama):)?(.*?)(@https?:.*)?$", r"\2", name.strip(), flags=re.DOTALL)
    parts = re.split(r"[/\\]", model)[-2:]
    return {family for family, words in _WORDS.items() if any(words.search(part) for part in parts)}


def same_family(judge: str, names: Iterable[str]) -> str | None:
    """The family that a judge shares with a model; None where none is known to be shared.

    Args:
        judge: Name of the judge.
        names: What the other is called, and what its base is called. Not its architecture: that of Llama serves many.
    """
    shared = families(judge) & set().union(*map(families, names))
    return min(shared) if shared else None


def same_model(judge: str, reference: str) -> bool:
    """Whether a reference (`openai:MODEL@...`, `ollama:MODEL`, `hf:NAME`) names the very model that judges."""
    scheme, colon, rest = reference.partition(":")
    return bool(colon) and scheme in ("openai", "ollama", "hf") and re.split(r"@(?=https?:)", rest)[0] == judge
