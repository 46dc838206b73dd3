"""What counts as a word where texts are compared."""

from __future__ import annotations

import re

_UNSPACED = re.compile("([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff])")
"""Scripts that put no space between words: each character counts as one."""
_PLAIN_WORD = re.compile(r"[^\W_]+")
_TOKEN = re.compile(r"[^\W_]+|[^\w\s]|_")


def spaced_words(text: str) -> list[str]:
    """Lower-case words as spaces part them, with punctuation and operators: `a+b` is another word than `a-b`."""
    return _spaced(text).split()


def plain_words(text: str) -> list[str]:
    """Lower-case words and numbers, punctuation away."""
    return _PLAIN_WORD.findall(_spaced(text))


def tokens(text: str) -> list[str]:
    """Lower-case words and numbers, and each other character that is no space."""
    return _TOKEN.findall(_spaced(text))


def _spaced(text: str) -> str:
    text = text.casefold()
    return text if text.isascii() else _UNSPACED.sub(r" \1 ", text)
