"""Texts out of data, shown to people.

A file from a stranger must not steer the terminal or the page.
"""

import re
from typing import Any
from unicodedata import category


JOINERS = "\u200c\u200d"  # of Persian words and of emoji
MARKS = re.compile(r"[\\`*_{}\[\]<>|~&!]|^[-+=#]|#$")
NUMBER = re.compile(r"^(\d+)([.)])(?=\s|$)")  # of a list
LONGEST = 1000  # characters of a name in a card


def printable(text: str) -> str:
    """Write control characters and the like as escapes.

    Such are ANSI colours, line breaks, and text from right to left.
    """
    return "".join(c if c.isprintable() or c in JOINERS else _other(c) for c in text)


def _other(letter: str) -> str:
    return " " if category(letter) == "Zs" else repr(letter)[1:-1]


def printable_lines(text: str) -> str:
    """Make each line `printable`, and keep the line breaks."""
    return "\n".join(map(printable, text.split("\n")))


def one_line(text: str) -> str:
    """Fold white space, and leave out what no line of text and no XML can hold."""
    return " ".join("".join(c if c.isprintable() or c in JOINERS else " " for c in text).split())


def in_markdown(text: Any) -> str:
    """Write a line that Markdown shows as it is.

    Markdown does so in a table, too.
    """
    return NUMBER.sub(r"\1\\\2", MARKS.sub(r"\\\g<0>", " ".join(str(text).split())))


def in_code(text: Any) -> str:
    """Write a line for backticks of Markdown, outside a table."""
    return printable(" ".join(str(text).split())[:LONGEST]).replace("`", "'")


def in_card(text: Any) -> str:
    """Write a name for a card."""
    return in_markdown(printable(str(text)[:LONGEST]))
