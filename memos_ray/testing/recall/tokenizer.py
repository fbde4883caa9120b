"""A tokenizer with one token for each word of the world, and the chat template of the model."""

from __future__ import annotations

import json
import string
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from memos_ray.testing.recall.world import names, template_words

PAD, BEGIN, END, UNK, USER, ASSISTANT = (
    *("<|pad|>", "<|begin|>", "<|end|>"),
    *("<unk>", "<|user|>", "<|assistant|>"),
)
SPECIAL = (PAD, BEGIN, END, UNK, USER, ASSISTANT)
_PUNCTUATION = (*string.punctuation, "•", "–", "—", "…", "“", "”")  # noqa: RUF001
_MULTIPLE = 64

CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %} <|user|> {{ message['content'] }}"
    "{% elif message['role'] == 'assistant' %} <|assistant|> {{ message['content'] }} <|end|>"
    "{% else %} {{ message['content'] }}"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %} <|assistant|>{% endif %}"
)
"""A user's message ends where the assistant's begins; what is neither stands as it is."""


def vocabulary() -> dict[str, int]:
    """Returns the id of every token; the number of ids is a multiple of 64."""
    words = [*SPECIAL, *_PUNCTUATION, *template_words(), *(name.lower() for name in names())]
    spare = -len(words) % _MULTIPLE
    words += [f"<|spare{place}|>" for place in range(spare)]
    return {word: place for place, word in enumerate(words)}


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Builds the tokenizer: lower case, split at white space and punctuation, one id a word.

    A word that the world lacks is `<unk>`; American spelling is read as British. Text is decoded
    as lower-case words with spaces between them.
    """
    inner = Tokenizer(models.WordLevel(vocabulary(), unk_token=UNK))
    inner.normalizer = normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.Lowercase(),
            normalizers.Replace(Regex("[\u2018\u2019]"), "'"),
            normalizers.Replace("favorite", "favourite"),
            normalizers.Replace("color", "colour"),
        ]
    )
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("isolated")]
    )
    inner.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A",
        pair=f"{BEGIN} $A $B",
        special_tokens=[(BEGIN, inner.token_to_id(BEGIN))],
    )
    inner.add_special_tokens([AddedToken(word, normalized=False) for word in SPECIAL])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=PAD,
        unk_token=UNK,
        additional_special_tokens=[USER, ASSISTANT],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=4096,
    )


def save_tokenizer(folder: Path) -> None:
    """Writes the tokenizer's files, in names that older releases of transformers know as well."""
    build_tokenizer().save_pretrained(folder)
    config = folder / "tokenizer_config.json"
    settings = json.loads(config.read_text())
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    settings["additional_special_tokens"] = settings.pop("extra_special_tokens")
    del settings["backend"]
    config.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")
