"""Tokenizers in Hugging Face's layout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinja2 import TemplateError
from transformers import AutoTokenizer

from memos_ray.core.generation import ChatMessage
from memos_ray.errors import InvalidInputError


class ModelTokenizer:
    """The tokenizer of a model's folder. Implements `memos_ray.ports.TokenizerPort`."""

    def __init__(self, folder: Path) -> None:
        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        known = {*self._tokenizer.all_special_tokens, *self._tokenizer.get_added_vocab()}
        # The longest first: one may be part of another.
        self._control = sorted(filter(_breakable, known), key=len, reverse=True)

    @property
    def opening(self) -> str:
        """The token that every text begins with for this model; empty where there is none."""
        first: list[int] = self._tokenizer.encode("")[:1]
        begins = first == [self._tokenizer.bos_token_id]
        return str(self._tokenizer.bos_token) if begins else ""

    def plain(self, text: str) -> str:
        """Returns a text in which nothing is a control token any more, such as an end of turn."""
        for token in self._control:
            text = text.replace(token, f"{token[0]} {token[1:]}")
        return text

    def encode(self, text: str) -> tuple[int, ...]:
        """Returns the tokens of a text as it is, nothing added in front or behind."""
        return tuple(self._tokenizer.encode(text, add_special_tokens=False))

    def decode(self, tokens: Sequence[int]) -> str:
        """Returns the text of tokens, control tokens written out."""
        text: str = self._tokenizer.decode(
            list(tokens), skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return text

    def words(self, tokens: Sequence[int]) -> str:
        """Returns the text of tokens, control tokens left out."""
        text: str = self._tokenizer.decode(
            list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    @property
    def end(self) -> int | None:
        """The token that ends an answer."""
        found: int | None = self._tokenizer.eos_token_id
        return found

    def render(self, messages: Sequence[ChatMessage], *, answered: bool = False) -> str:
        """Returns the prompt text of a conversation, up to where the model answers.

        Args:
            answered: whether the last message is the answer, and the end of its turn belongs to
                the text.

        Raises:
            InvalidInputError: the model's template takes no such conversation.
        """
        turns = [{"role": message.role, "content": message.text} for message in messages]
        try:
            rendered: str = self._tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=not answered
            )
        except (TemplateError, ValueError) as error:
            raise InvalidInputError(f"the model takes no such conversation: {error}") from None
        return rendered


def _breakable(token: str) -> bool:
    return len(token) > 1 and not token.isalnum()
