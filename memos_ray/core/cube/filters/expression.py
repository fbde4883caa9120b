"""Reads the expression spelling of a filter with an LALR(1) parser."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from lark import Lark, Token, Transformer, v_args
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from memos_ray.core.cube.filters.syntax import (
    EXPRESSION_BYTES_MAX,
    Comparison,
    Connective,
    Constant,
    Literal,
    Negation,
    Op,
    Place,
    Syntax,
    Word,
    check_depth,
)
from memos_ray.errors import InvalidFilterError

# Keywords end where a field name could not go on, and outrank names: the lexer knows from the
# parser's state whether a name, an operator or a value may come next.
_GRAMMAR = r"""
?start: either

?either: both (_OR both)*           -> either
?both: negation (_AND negation)*    -> both
?negation: _NOT negation            -> negation
    | "(" either ")"                -> inner
    | comparison
    | TRUE                          -> constant
    | FALSE                         -> constant
?comparison: FIELD OPERATOR value   -> compare
    | FIELD _IN values              -> among
    | FIELD _NOT _IN values         -> not_among
    | _HAS "(" FIELD ")"            -> has
values: "(" [value ("," value)*] ")"
value: WORD -> word
    | TEXT  -> text

_OR.2: /or(?![\w.-])/i
_AND.2: /and(?![\w.-])/i
_NOT.2: /not(?![\w.-])/i
_IN.2: /in(?![\w.-])/i
_HAS.2: /has(?=\s*\()/i
TRUE.2: /true(?![\w.-])/i
FALSE.2: /false(?![\w.-])/i
OPERATOR: /[:=]|!=|[<>]=?/
FIELD: /attributes\.(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|[A-Za-z_][A-Za-z0-9_.-]*/s
TEXT: /"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'/s
WORD: /now\s*[+-]\s*(?:\d+[a-z])+(?![^\s(),])|[^\s"'(),<>=!\\]+/
%ignore /\s+/
"""

_OPERATORS = {
    ":": Op.EQ,
    "=": Op.EQ,
    "!=": Op.NE,
    "<": Op.LT,
    "<=": Op.LTE,
    ">": Op.GT,
    ">=": Op.GTE,
}
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"} | {c: c for c in "\"'\\/"}
_SHOWN = 24
_WANTED = (
    ("OPERATOR", "an operator (`:`, `=`, `!=`, `<`, `<=`, `>`, `>=`, `in`, `not in`)"),
    ("WORD", "a value"),
    ("TRUE", "a comparison such as `tags:work`"),
    ("_AND", "`and` or `or`"),
    ("FIELD", "the name of a field"),
    ("_IN", "`in`"),
    ("COMMA", "a comma"),
)
"""What to say when one of these terminals may come next, the most telling first."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A finished part of the tree and how deeply it nests."""

    tree: Syntax
    depth: int
    place: Place


def _place(token: Token) -> Place:
    return {"position": token.start_pos or 0}


def _unquote(token: str, place: Place) -> str:
    def plain(match: re.Match[str]) -> str:
        escape = match[1]
        if len(escape) == 5:
            return chr(int(escape[1:], 16))
        if escape not in _ESCAPES:
            raise InvalidFilterError(f"`\\{escape}` is no escape", **place)
        return _ESCAPES[escape]

    return _ESCAPE.sub(plain, token[1:-1])


def _name(token: Token) -> str:
    prefix, quote, _ = token.partition('"') if '"' in token else token.partition("'")
    return prefix + _unquote(token[len(prefix) :], _place(token)) if quote else str(token)


@v_args(inline=True)
class _Reader(Transformer[Token, _Part]):
    """Called by the parser as it reduces, so that no tree of tokens is ever built or walked."""

    def either(self, *parts: _Part) -> _Part:
        return self._joined(False, parts)

    def both(self, *parts: _Part) -> _Part:
        return self._joined(True, parts)

    def _joined(self, every: bool, parts: tuple[_Part, ...]) -> _Part:
        if len(parts) == 1:
            return parts[0]
        tree = Connective(every, tuple(part.tree for part in parts))
        return _Part(tree, max(part.depth for part in parts), parts[0].place)

    def negation(self, part: _Part) -> _Part:
        check_depth(part.depth + 1, part.place)
        return _Part(Negation(part.tree), part.depth + 1, part.place)

    def inner(self, part: _Part) -> _Part:
        check_depth(part.depth + 1, part.place)
        return _Part(part.tree, part.depth + 1, part.place)

    def constant(self, token: Token) -> _Part:
        return _Part(Constant(token.type == "TRUE"), 0, _place(token))

    def compare(self, field: Token, operator: Token, value: Literal) -> _Part:
        return self._compared(field, _OPERATORS[operator], (value,))

    def among(self, field: Token, values: tuple[Literal, ...]) -> _Part:
        return self._compared(field, Op.IN, values)

    def not_among(self, field: Token, values: tuple[Literal, ...]) -> _Part:
        part = self._compared(field, Op.IN, values)
        return _Part(Negation(part.tree), part.depth, part.place)

    def has(self, field: Token) -> _Part:
        return self._compared(field, Op.EXISTS, (True,))

    def _compared(self, field: Token, op: Op, values: tuple[Literal, ...]) -> _Part:
        place = _place(field)
        return _Part(Comparison(_name(field), op, values, place), 0, place)

    def values(self, *values: Literal) -> tuple[Literal, ...]:
        return tuple(value for value in values if value is not None)

    def word(self, token: Token) -> Literal:
        return Word(str(token))

    def text(self, token: Token) -> Literal:
        return _unquote(token, _place(token))


@cache
def _parser() -> Lark:
    return Lark(_GRAMMAR, parser="lalr", transformer=_Reader())


def read_expression(text: str) -> Syntax:
    """Reads an expression.

    Raises:
        InvalidFilterError: it is no expression, is too long or nests too deeply.
    """
    if len(text) > EXPRESSION_BYTES_MAX or len(text.encode(errors="replace")) > (
        EXPRESSION_BYTES_MAX
    ):
        raise InvalidFilterError(f"the filter is longer than {EXPRESSION_BYTES_MAX} bytes")
    if not text.strip():
        raise InvalidFilterError("the filter is empty", position=0)
    try:
        part: object = _parser().parse(text)
    except UnexpectedInput as error:
        raise _explained(error, text) from None
    assert isinstance(part, _Part)
    return part.tree


def _explained(error: UnexpectedInput, text: str) -> InvalidFilterError:
    at_end = isinstance(error, UnexpectedToken) and error.token.type == "$END"
    position = len(text) if at_end else (error.pos_in_stream or 0)
    awaited = set(error.interactive_parser.accepts())  # type: ignore[no-untyped-call]
    # A closed text would have become a token, if one in the wrong place.
    if isinstance(error, UnexpectedCharacters) and text[position] in "\"'":
        message = "a quotation mark opens a text that is never closed"
    else:
        found = "the filter ends" if at_end else f"`{text[position : position + _SHOWN]}` stands"
        message = f"{found} where {_wanted(awaited)} is expected"
        if not at_end and awaited & {"_AND", "COMMA"}:
            message += "; values with spaces or punctuation take quotation marks"
    return InvalidFilterError(message, position=position)


def _wanted(awaited: set[str]) -> str:
    for terminal, words in _WANTED:
        if terminal in awaited:
            return f"{words} or a closing parenthesis" if "RPAR" in awaited else words
    if "RPAR" in awaited:
        return "a closing parenthesis"
    return "an opening parenthesis" if "LPAR" in awaited else "the end"
