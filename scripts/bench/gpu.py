"""What rows for a GPU measure on: a Llama of 1.2 billion random weights in bfloat16, and random words.

The rows are ``gpu_*`` in `rows`; ``python -m scripts.bench "gpu_*"`` runs them all, about two minutes each, compiling
included. Without a CUDA device, or without a package, a row says so and is skipped. No model, tokenizer or data is
downloaded or read: a machine without a network needs, beside torch with CUDA and Triton,

- for ``gpu_attention`` and ``gpu_scoring``: transformers;
- for the training rows: trl (the tested version), datasets with pyarrow, accelerate, and what they require
  (``pip download trl datasets accelerate --only-binary=:all: -d wheels`` where there is a network, then
  ``pip install --no-index --find-links wheels trl datasets accelerate``);
- flash-attn or the ``kernels`` package, only if the peer is to run with FlashAttention: SDPA otherwise.

Sizes are small enough that no gradient checkpointing is needed on either side.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModel, AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from reward_models.prefix_tree import Tree
from scripts.bench.flops import peak, separate_tokens
from scripts.bench.harness import Counts

WORDS = 4096
SPECIAL = ("<pad>", "<eos>", "<unk>")


def llama(**other: Any) -> LlamaConfig:
    """16 layers of width 2,048 and a vocabulary of 128,256, tied: 1.24 billion parameters."""
    sizes = {
        "vocab_size": 128_256,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "max_position_embeddings": 8192,
        "tie_word_embeddings": True,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "bos_token_id": None,
    }
    return LlamaConfig(**sizes | other)


def forest(groups: int, size: int, prompt: tuple[int, int], response: tuple[int, int], seed: int = 0) -> list[Tree]:
    """Groups of ``size`` responses; lengths are drawn between both ends. A response ends in the end token."""
    draw = random.Random(seed)

    def text(low: int, high: int) -> list[int]:
        return [draw.randrange(len(SPECIAL), WORDS) for _ in range(draw.randint(low, high))]

    return [Tree(text(*prompt), [[*text(*response)[:-1], 1] for _ in range(size)]) for _ in range(groups)]


@dataclass(frozen=True)
class Load:
    """What a row computes.

    Attributes:
        trees: one a prompt.
        config: of the model.
        together: pairs, completions or texts of a micro-batch.
    """

    trees: list[Tree]
    config: LlamaConfig = field(default_factory=llama)
    together: int = 8

    @property
    def device(self) -> str:
        """Where it runs: a test runs small loads on a CPU."""
        return "cuda" if torch.cuda.is_available() else "cpu"

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return torch.bfloat16 if self.device == "cuda" else torch.float32

    @property
    def arguments(self) -> dict[str, Any]:
        """Settings that both trainers share."""
        return {
            "report_to": "none",
            "disable_tqdm": True,
            "save_strategy": "no",
            "use_cpu": self.device == "cpu",
            "bf16": self.device == "cuda",
        }

    def longest(self) -> int:
        """Tokens of the longest prompt and response."""
        return max(len(tree.prompt) + len(response) for tree in self.trees for response in tree.responses)

    def row_lengths(self) -> list[int]:
        """Tokens of a row for each response, tree after tree."""
        return [len(tree.prompt) + len(response) for tree in self.trees for response in tree.responses]

    def backbone(self, attention: str = "sdpa") -> Any:
        """The same random decoder for every call."""
        return self._random(AutoModel, attention)

    def policy(self, attention: str = "sdpa") -> Any:
        """The same with a language-model head."""
        return self._random(AutoModelForCausalLM, attention)

    def _random(self, kind: Any, attention: str) -> Any:
        torch.manual_seed(0)
        with torch.device(self.device):
            return kind.from_config(
                LlamaConfig(**self.config.to_dict()), dtype=self.dtype, attn_implementation=attention
            )


def words() -> PreTrainedTokenizerFast:
    """A tokenizer of ``w3`` to ``w4095``, one token each, so that texts have exactly the tokens of a load."""
    vocabulary = {token: i for i, token in enumerate(SPECIAL)}
    vocabulary |= {f"w{i}": i for i in range(len(SPECIAL), WORDS)}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", model_max_length=8192
    )


def text(ids: list[int]) -> str:
    """The words of token ids, without an end token, which tokenizers of trainers add; a space after each."""
    return "".join(f"w{i} " for i in ids if i >= len(SPECIAL))


def pairs(trees: list[Tree]) -> Any:
    """Preference pairs of trees with two responses."""
    from datasets import Dataset

    return Dataset.from_list(
        [{"prompt": text(t.prompt), "chosen": text(t.responses[0]), "rejected": text(t.responses[1])} for t in trees]
    )


def skip(*packages: str) -> Callable[[], str | None]:
    """Return what says why a row cannot run here."""

    def reason() -> str | None:
        if not torch.cuda.is_available():
            return "no CUDA device"
        absent = [name for name in packages if find_spec(name) is None]
        return f"{', '.join(absent)} not installed (see scripts/bench/gpu.py)" if absent else None

    return reason


def peer_attention() -> str:
    """FlashAttention where it is installed, or else SDPA."""
    return "flash_attention_2" if find_spec("flash_attn") is not None else "sdpa"


def figures(load: Load, counts: Counts, measured: list[dict[str, Any]], device: str) -> dict[str, Any]:
    """Tokens a second and utilisations of both sides (see `flops`), from their fastest runs.

    Args:
        load: gives the tokens: those of separate rows without padding, for both sides.
        counts: operations.
        measured: times at each number of threads.
        device: name of the GPU.
    """
    most, found = peak(device), {}
    for side, own in (("ours", counts.ours), ("peer", counts.peer)):
        seconds = min(min(one[f"{side}_s"]) for one in measured)
        found[side] = {
            "tokens_per_second": round(separate_tokens(load.trees) / seconds),
            "model_flop_utilisation": None if most is None else round(counts.needed / seconds / most, 4),
            "hardware_flop_utilisation": None if most is None else round(own / seconds / most, 4),
        }
    return found
