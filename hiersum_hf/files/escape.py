"""Texts out of data, shown to people: a file from a stranger must not steer the terminal or the page."""

import re
from typing import Any
from unicodedata import category


JOINERS = "\u200c\u200d"  # of Persian words and of emoji
MARKS = re.compile(r"[\\`*_{}\[\]<>|~&!]|^[-+=#]|#$")
NUMBER = re.compile(r"^(\d+)([.)])(?=\s|$)")  # of a list
LONGEST = 1000  # characters of a name in a card


def printable(text: str) -> str:
    """The text with control characters and the like as escapes: ANSI colours, line breaks, text from right to left."""
    return "".join(c if c.isprintable() or c in JOINERS else _other(c) for c in text)


def _other(letter: str) -> str:
    return " " if category(letter) == "Zs" else repr(letter)[1:-1]


def printable_lines(text: str) -> str:
    """The text with its line breaks, each line `printable`."""
    return "\n".join(map(printable, text.split("\n")))


def in_markdown(text: Any) -> str:
    """A line that Markdown, also in a table, shows as it is."""
    return NUMBER.sub(r"\1\\\2", MARKS.sub(r"\\\g<0>", " ".join(str(text).split())))


def in_code(text: Any) -> str:
    """A line between backticks of Markdown, outside a table."""
    return printable(" ".join(str(text).split())[:LONGEST]).replace("`", "'")


def in_card(text: Any) -> str:
    """A name in a card."""
    return in_markdown(printable(str(text)[:LONGEST]))
