"""Counts tokens exactly as the embedding model does."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tokenizers import Tokenizer

from little_monster.platform.engines.models import resolve_model
from little_monster.platform.errors import ConfigurationError

LARGEST_CHUNK = 512
LARGEST_OVERLAP = 50
LEAST_READ = 32


@dataclass(frozen=True, slots=True)
class ChunkSize:
    """`size` tokens at most that the model reads for a chunk: the path of its headings, the passage and the
    special tokens. `overlap` tokens at most that a passage shares with the one before.
    """

    size: int
    overlap: int


def chunk_size(max_tokens: int) -> ChunkSize:
    """Return the size for a model that reads `max_tokens`: 512/50 where it reads so many, 256/42 for 256.

    Raises:
        ConfigurationError: the model reads less than 32 tokens.
    """
    if max_tokens < LEAST_READ:
        raise ConfigurationError(f"embedding model: reads {max_tokens} tokens, needed are {LEAST_READ}")
    size = min(LARGEST_CHUNK, max_tokens)
    return ChunkSize(size, min(LARGEST_OVERLAP, size // 6))


class TokenCounter:
    """The tokenizer of a model, without truncation or padding."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self.counts_space = self.count("a \n\n a") > 2 * self.count("a")
        """Whether white space between words takes tokens of its own."""

    def count(self, text: str) -> int:
        """Return the number of tokens, without the special ones."""
        return len(self._tokenizer.encode(text, add_special_tokens=False))

    def count_each(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text, without the special ones."""
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [len(encoding) for encoding in encodings]

    def ends(self, text: str) -> list[int]:
        """Return where each token ends, as character offsets."""
        return [end for _, end in self._tokenizer.encode(text, add_special_tokens=False).offsets]

    @property
    def special_tokens(self) -> int:
        """Tokens that the model adds to a text."""
        return int(self._tokenizer.num_special_tokens_to_add(is_pair=False))


@lru_cache(maxsize=4)
def load_counter(source: str) -> TokenCounter:
    """Return the counter of a model: `source` as in `EmbedderInfo`.

    Raises:
        ConfigurationError: there is no `tokenizer.json`.
    """
    resolved = resolve_model(source)
    if not Path(resolved).is_dir():
        return TokenCounter(Tokenizer.from_pretrained(resolved))
    file = Path(resolved) / "tokenizer.json"
    if not file.is_file():
        raise ConfigurationError(f"embedding model {source}: no tokenizer.json in {resolved}")
    return TokenCounter(Tokenizer.from_file(str(file)))
