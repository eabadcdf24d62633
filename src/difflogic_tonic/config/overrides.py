"""`--override "train.epochs=10 train.learning_rate=0.001"`: dotted assignments from the command line."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from difflogic_tonic.arguments import OVERRIDE_EXAMPLE
from difflogic_tonic.config.reading import read_value
from difflogic_tonic.errors import ConfigError

_ASSIGNMENT = re.compile(r"^([A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*)+)=(.*)$", re.DOTALL)
_CLOSING = {"[": "]", "{": "}"}


def parse_overrides(texts: Iterable[str]) -> dict[str, Any]:
    """Dotted key → value. A later assignment to the same key wins, as on any command line.

    Words are separated by spaces outside quotes and brackets; a word without `key=` belongs to the value before it, so
    `base.tag=first try` is one assignment. Raises `ConfigError` for text that starts with no assignment.
    """
    values: dict[str, Any] = {}
    for text in texts:
        for key, value in _assignments(text):
            if not value.strip():
                raise ConfigError(f"--override {key}=: expected a value; write {key}=null for none")
            values[key] = read_value(value, f"--override {key}={value}")
    return values


def apply_overrides(content: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """A copy of the nested `content` with the dotted `values` set; sections that are missing are made."""
    merged = _copy(content)
    for key, value in values.items():
        *sections, name = key.split(".")
        section = merged
        for depth, part in enumerate(sections, start=1):
            inner = section.get(part)
            if inner is None:
                inner = section[part] = {}
            if not isinstance(inner, dict):
                raise ConfigError(f"--override {key}: {'.'.join(sections[:depth])} is a value, not a section")
            section = inner
        section[name] = value
    return merged


def _copy(content: dict[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, dict) else value for key, value in content.items()}


def _assignments(text: str) -> Iterator[tuple[str, str]]:
    key, words = "", []
    for word in _words(text):
        match = _ASSIGNMENT.match(word)
        if match is None:
            if not key:
                raise ConfigError(f"--override {word!r}: expected section.key=value, e.g. {OVERRIDE_EXAMPLE}")
            words.append(word)
            continue
        if key:
            yield key, " ".join(words)
        key, words = match[1], [match[2]]
    if key:
        yield key, " ".join(words)


def _words(text: str) -> Iterator[str]:
    """Split at white space that is outside quotes and brackets; quotes and brackets stay in the words."""
    word, closing, quote = "", [], ""
    for char in text:
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"" and (not word or word[-1] in "=[{,:( "):
            quote = char  # only at the start of a value: the apostrophe in don't is a letter
        elif char in _CLOSING:
            closing.append(_CLOSING[char])
        elif closing and char == closing[-1]:
            closing.pop()
        elif char.isspace() and not closing:
            if word:
                yield word
            word = ""
            continue
        word += char
    if quote or closing:
        raise ConfigError(f"--override {text!r}: {quote or closing[-1]} is missing at the end")
    if word:
        yield word
