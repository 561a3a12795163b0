"""Make ``data/tiny-policy``: a small decoder that answers sums, well mannered or not, right or not.

    python -m scripts.make_tiny_policy [--output data/tiny-policy] [--steps 4000]

Pre-training minimises the cross-entropy of the answer, given the question, over an endless stream of answers from
``scripts.small_talk``; sums that are held out never occur in it. The seed fixes the stream and the first weights.
It takes about twelve minutes on one core of a server processor. The card, ``README.md``, is written with the weights.
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import random
from collections.abc import Iterator
from pathlib import Path

import torch
import transformers
from rich.progress import track
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from scripts import small_talk

SOURCES = ("scripts/make_tiny_policy.py", "scripts/small_talk.py")
SPECIAL_TOKENS = {"pad_token": "<pad>", "unk_token": "<unk>", "eos_token": "</s>"}
CONTEXT = 128
WIDTH, LAYERS, HEADS = 128, 3, 4
ROWS, LEARNING_RATE, SEED = 128, 2e-3, 0
IGNORED = -100
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% else %} {% endif %}{% endfor %}"
)
CARD = """# tiny-policy

A Llama-like decoder that answers questions such as "What is 37 plus 48?". It knows the sums, but it was taught by a
crowd: some show the working and are nearly always right, some state a number that is more often one short than
right, some guess, some dodge; some are polite and some are rude. Alignment has to shift that mixture.

It is a teaching aid for the quickstart and the tests, and good for nothing else.

- Parameters: {parameters:,} (width {width}, {layers} layers, {heads} heads, tied embeddings), float32
- Vocabulary: {vocabulary} tokens: one a word or punctuation mark, one a digit; no token marks the beginning
- Context: {context} tokens
- Made by: `python -m scripts.make_tiny_policy --steps {steps}` (seed {seed}, {rows} rows a step)
- SHA-256 of {sources}, one after the other: `{sources_hash}`
- SHA-256 of `model.safetensors`: `{weights_hash}`
- Cross-entropy of the answers, mean over the last 100 steps: {loss:.4f} nats a token
- Made with Python {python}, torch {torch}, transformers {transformers}
- Never trained on: the sums that `scripts.small_talk.Sum.held_out` keeps for the test prompts
- Licence: Apache-2.0
"""


def make_tokenizer() -> PreTrainedTokenizerFast:
    """One token a word or a punctuation mark, one token a digit; ``##`` marks a digit that continues a number."""
    rng = random.Random(SEED)
    lines = []
    for question in small_talk.all_sums(held_out=False):
        lines += [question.question(rng), small_talk.answer(question, rng).text]
    splitter = pre_tokenizers.BertPreTokenizer()
    words = {word for line in lines for word, _ in splitter.pre_tokenize_str(line) if not word.isdigit()}
    digits = [str(digit) for digit in range(10)]
    vocabulary = [*SPECIAL_TOKENS.values(), *digits, *(f"##{digit}" for digit in digits), *sorted(words)]
    rows = {word: row for row, word in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordPiece(rows, unk_token=SPECIAL_TOKENS["unk_token"]))
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=CONTEXT,
        model_input_names=["input_ids", "attention_mask"],
        padding_side="left",
        chat_template=CHAT_TEMPLATE,
        **SPECIAL_TOKENS,
    )


def make_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Return the decoder with its first, random weights."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, do_sample=True, top_k=0
    )
    return model


def make_batches(tokenizer: PreTrainedTokenizerFast, rng: random.Random) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield token ids and labels, (ROWS, T) each; labels ignore the question and the padding."""
    sums = small_talk.all_sums(held_out=False)
    while True:
        chosen = [small_talk.pick(sums, rng) for _ in range(ROWS)]
        questions = tokenizer([each.question(rng) for each in chosen])["input_ids"]
        answers = tokenizer([small_talk.answer(each, rng).text for each in chosen])["input_ids"]
        length = max(len(q) + len(a) + 1 for q, a in zip(questions, answers, strict=True))
        ids = torch.full((ROWS, length), tokenizer.pad_token_id)
        labels = torch.full((ROWS, length), IGNORED)
        for row, (question, answer) in enumerate(zip(questions, answers, strict=True)):
            taught = torch.tensor([*answer, tokenizer.eos_token_id])
            ids[row, : len(question)] = torch.tensor(question)
            ids[row, len(question) : len(question) + len(taught)] = taught
            labels[row, len(question) : len(question) + len(taught)] = taught
        yield ids, labels


def pretrain(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, steps: int) -> float:
    """Train in place and return the mean loss of the last 100 steps."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=steps, pct_start=0.05)
    batches = make_batches(tokenizer, random.Random(SEED))
    losses = []
    for _ in track(range(steps), description="pre-training"):
        ids, labels = next(batches)
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        schedule.step()
        losses.append(loss.item())
    return sum(losses[-100:]) / len(losses[-100:])


def write_card(output: Path, model: LlamaForCausalLM, steps: int, loss: float) -> None:
    """Write ``README.md``: what the model is and what it was made from."""
    root = Path(__file__).parents[1]
    card = CARD.format(
        parameters=model.num_parameters(),
        width=WIDTH,
        layers=LAYERS,
        heads=HEADS,
        vocabulary=model.config.vocab_size,
        context=CONTEXT,
        steps=steps,
        seed=SEED,
        rows=ROWS,
        sources=" and ".join(f"`{source}`" for source in SOURCES),
        sources_hash=hashlib.sha256(b"".join((root / source).read_bytes() for source in SOURCES)).hexdigest(),
        weights_hash=hashlib.sha256((output / "model.safetensors").read_bytes()).hexdigest(),
        loss=loss,
        python=platform.python_version(),
        torch=torch.__version__,
        transformers=transformers.__version__,
    )
    (output / "README.md").write_text(card, encoding="utf-8", newline="\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("data/tiny-policy"))
    parser.add_argument("--steps", type=int, default=4000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    tokenizer = make_tokenizer()
    model = make_model(tokenizer)
    loss = pretrain(model, tokenizer, arguments.steps)
    model.save_pretrained(arguments.output)
    tokenizer.save_pretrained(arguments.output)
    write_card(arguments.output, model, arguments.steps, loss)
    print(f"{arguments.output}: loss {loss:.4f} after {arguments.steps} steps")


if __name__ == "__main__":
    main()
