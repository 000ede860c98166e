"""The cross-encoder over a tiny model of random weights, made here: no model is downloaded."""

from pathlib import Path

import pytest

from little_monster.platform.engines.cross_encoder import CrossEncoderReranker
from little_monster.platform.errors import ConfigurationError

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cells", "make", "energy", "kings", "ruled", "france")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    folder = tmp_path_factory.mktemp("cross-encoder")
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        num_labels=1,
        initializer_range=1.0,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


async def test_scores_are_of_each_text_with_the_query(model: Path) -> None:
    reranker = CrossEncoderReranker(str(model), batch_size=2)
    texts = ["cells make energy", "kings ruled france", "energy"]
    scores = await reranker.score("cells make energy", texts)
    assert len(scores) == 3
    assert all(0 <= score <= 1 for score in scores)
    assert len(set(scores)) == 3
    again = await reranker.score("cells make energy", texts[::-1])
    assert again[::-1] == pytest.approx(scores, abs=1e-5)
    other = await reranker.score("kings", texts)
    assert other != pytest.approx(scores, abs=1e-5)


async def test_no_texts_are_fine(model: Path) -> None:
    assert await CrossEncoderReranker(str(model)).score("cells", []) == []


def test_a_missing_folder_is_said() -> None:
    with pytest.raises(ConfigurationError, match="no such folder"):
        CrossEncoderReranker("/nowhere/at/all")
