"""Loading a backbone: never with silently random weights, always with a usable pad token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModel, AutoTokenizer
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING

from reward_models.errors import ModelError
from reward_models.folder import quiet
from reward_models.safe_folder import check_settings, check_weights

PAD = "<|pad|>"
UNLOADABLE = (OSError, ValueError, RuntimeError, TypeError, AttributeError, KeyError, ImportError, SafetensorError)


def locate(name: str | Path) -> Path:
    """Return the folder of a local path, or of a hub name (downloaded once, safetensors only)."""
    path = Path(name)
    if path.is_dir():
        return path
    if path.is_absolute() or str(name).startswith(".") or str(name).count("/") > 1:
        raise ModelError(f"model folder {name} does not exist")
    from huggingface_hub import snapshot_download

    try:
        patterns = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
        return Path(snapshot_download(str(name), allow_patterns=patterns))
    except Exception as error:
        raise ModelError(f"'{name}' is no local folder, and the hub gave none: {error}") from error


def load_backbone(name: str | Path, pooling: str | None, dtype: torch.dtype | str) -> Any:
    """Load an AutoModel with every weight that the pooling reads.

    Raises:
        ModelError: no config, no safetensors weights, an encoder-decoder, or weights that the file lacks.
    """
    folder = locate(name)
    if not (folder / "config.json").exists():
        raise ModelError(f"{folder} has no config.json; name a Hugging Face model folder")
    check_weights(folder)
    with quiet():
        try:
            backbone, report = AutoModel.from_pretrained(
                folder, dtype=dtype, output_loading_info=True, use_safetensors=True, trust_remote_code=False
            )
        except UNLOADABLE as error:
            raise ModelError(f"{folder} cannot be loaded: {first_line(error)}") from error
    missing = [key for key in report["missing_keys"] if not (key.startswith("pooler.") and pooling != "pooler")]
    if missing or report.get("mismatched_keys"):
        wrong = sorted(missing) or sorted(map(str, report["mismatched_keys"]))
        raise ModelError(f"{folder} lacks {len(wrong)} weights of its architecture, the first is {wrong[0]}")
    if getattr(backbone.config, "is_encoder_decoder", False):
        raise ModelError(f"{folder} is an encoder-decoder; a reward model needs a decoder or an encoder")
    # An adapter's folder records this name, and a hub name travels better than a path into this machine's cache.
    backbone.name_or_path = str(name)
    return backbone


def is_encoder(config: Any) -> bool:
    """Tell encoders (BERT and its kin) from decoders."""
    masked = type(config) in MODEL_FOR_MASKED_LM_MAPPING
    causal = type(config) in MODEL_FOR_CAUSAL_LM_MAPPING
    return (masked and not getattr(config, "is_decoder", False)) or not (masked or causal)


def load_tokenizer(name: str | Path) -> Any:
    """Load the folder's tokenizer; one that comes with code of its own is refused."""
    folder = locate(name)
    with quiet():
        try:
            return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        except Exception as error:
            raise ModelError(f"{folder} has no usable tokenizer: {first_line(error)}") from error


def load_config(folder: Path) -> Any:
    """Load a model's settings without its weights; an architecture that comes as code is refused.

    Raises:
        ModelError: no settings that can be read, or what `check_settings` refuses.
    """
    check_settings(folder)
    with quiet():
        try:
            return AutoConfig.from_pretrained(folder, trust_remote_code=False)
        except UNLOADABLE as error:
            raise ModelError(f"{folder} cannot be loaded: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """What went wrong, without a library's advice; where the folder brings code, that it is never run."""
    if "trust_remote_code" in str(error):
        return "it needs code that comes with it, which is never run here; use an architecture of transformers"
    return str(error).strip().split("\n", 1)[0] or type(error).__name__


def ensure_pad_token(tokenizer: Any, backbone: Any) -> None:
    """Give the tokenizer a pad token that no sequence ends with, and tell the model's config.

    Our own scores never look at pad ids. transformers' sequence classifier finds the last token as the rightmost one
    that is not a pad, so a pad token equal to the end-of-sequence token would make it read one token early.
    The order: the tokenizer's own, its unknown token, a new token with a new embedding row.
    """
    ends = {tokenizer.eos_token_id, tokenizer.sep_token_id}
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id in ends:
        if tokenizer.unk_token_id is not None and tokenizer.unk_token_id not in ends and ends != {None}:
            tokenizer.pad_token = tokenizer.unk_token
        else:
            tokenizer.add_special_tokens({"pad_token": PAD})
    rows = backbone.get_input_embeddings().num_embeddings
    if len(tokenizer) > rows:
        backbone.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    backbone.config.pad_token_id = tokenizer.pad_token_id
    text = backbone.config.get_text_config()
    if text is not backbone.config:
        text.pad_token_id = tokenizer.pad_token_id


def position_limit(tokenizer: Any, config: Any) -> int | None:
    """Longest sequence that model and tokenizer take; None where neither says."""
    text = config.get_text_config()
    limits = [getattr(text, "max_position_embeddings", None), getattr(tokenizer, "model_max_length", None)]
    if text.model_type in ("roberta", "xlm-roberta", "camembert") and limits[0]:
        limits[0] -= text.pad_token_id + 1
    known = [int(limit) for limit in limits if limit and limit < 10**9]
    return min(known) if known else None
