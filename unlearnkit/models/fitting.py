"""Whether texts and tokenizer fit a model, told before training: positions, and rows of the token matrix.

And whether the model predicts the next token from those before it, and from no other.
"""

from collections.abc import Sequence

import torch
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from unlearnkit import forward
from unlearnkit.batching import IGNORED, batches, collate
from unlearnkit.data import Example
from unlearnkit.data.records import half_character
from unlearnkit.errors import DataError, ModelError

SHOWN = 5  # examples named in one message
SHARED = 4  # tokens that these two texts begin with
TOKENS, ENDING_ELSE = [1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 6, 1]
BATCH = 64


def require_rows(tokenizer: PreTrainedTokenizerBase, rows: int, name: str) -> None:
    """ModelError where the tokenizer has a token beyond the last of the token matrix's `rows`."""
    top = max(tokenizer.get_vocab().values(), default=-1)
    if top >= rows:
        raise ModelError(
            f"the tokenizer of {name} has tokens up to number {top}, but the model's token matrix has {rows} "
            "rows: save the tokenizer that belongs to it, or call "
            f"model.resize_token_embeddings({top + 1}) and save both"
        )


@torch.no_grad()
def require_causal(model: PreTrainedModel, name: str) -> None:
    """ModelError for a model whose prediction depends on what comes after it, such as an encoder's."""
    given = [collate([(row, [True] * len(row))], ["one"], pad_id=0) for row in (TOKENS, ENDING_ELSE)]
    with forward.evaluation_mode(model):
        told = [model(**forward.inputs(model, batch)).logits[0, :SHARED] for batch in given]
    if not torch.isfinite(told[0]).all():
        raise ModelError(
            f"{name} has infinite weights, or none that are numbers: its predictions are not finite"
        )
    if not torch.allclose(*told, rtol=0.0, atol=1e-6 * told[0].abs().max().item()):
        raise ModelError(
            f"{name} is a {type(model).__name__} that looks ahead: what it predicts depends on later tokens, "
            "so that it reads the answers instead of knowing them. Take a causal model (of BERT's kind: one "
            "trained with is_decoder=true)"
        )


def lengths(
    tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example], loss_on: str = "answer"
) -> list[tuple[int, int]]:
    """Tokens of each example, and how many of them the loss counts.

    DataError where it counts none, for half a character, which no tokenizer takes, and for an answer with a
    special token, which ends what is said or is left out of it. (In prompts, a chat's may stand.)
    """
    tokens = tokenizer.all_special_tokens
    for example in examples:  # whoever made them
        if fault := half_character(example.text):
            raise DataError(f"example {example.id!r} {fault}")
        if special := [token for token in tokens if token in example.answer]:
            raise DataError(
                f"the answer of example {example.id!r} holds {special[0]!r}, a special token of this "
                "tokenizer's and no text that a model could be heard to say: delete it there"
            )
    found = []
    for batch in batches(tokenizer, examples, BATCH, loss_on):
        counted = (batch.labels != IGNORED).sum(1)
        found += zip(batch.attention_mask.sum(1).tolist(), counted.tolist(), strict=True)
    return found


def require_fit(
    config: PretrainedConfig,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    loss_on: str = "answer",
) -> None:
    """DataError for examples with more tokens than the model has positions, or with none to predict."""
    limit, counts = forward.positions_of(config), lengths(tokenizer, examples, loss_on)
    long = [(e.id, n) for e, (n, _) in zip(examples, counts, strict=True) if limit and n > limit]
    if long:
        named = ", ".join(f"{id!r} ({n})" for id, n in long[:SHOWN])
        more = f" and {len(long) - SHOWN} more" if len(long) > SHOWN else ""
        raise DataError(
            f"too long for the model, which has {limit} positions (tokens in brackets): {named}{more}. "
            "Shorten these texts, cut each in two, or take a model with more positions"
        )


def require_room(
    config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example]
) -> None:
    """DataError where an answer's length, generated after another's prompt, exceeds the positions.

    Answers are generated side by side, all as long as the longest.
    """
    limit, counts = forward.positions_of(config), lengths(tokenizer, examples)
    if not (limit and counts):
        return
    prompts = [total - answer for total, answer in counts]
    answers = [answer for _, answer in counts]
    prompt, answer = max(prompts), max(answers)
    if prompt + answer > limit:
        first, second = examples[prompts.index(prompt)], examples[answers.index(answer)]
        raise DataError(
            f"the longest prompt ({first.id!r}, {prompt} tokens) and the longest answer ({second.id!r}, "
            f"{answer}) need {prompt + answer} positions, since answers are generated side by side, and the "
            f"model has {limit}: shorten either"
        )
