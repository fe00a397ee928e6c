"""Texts out of data, shown to people.

A file from a stranger must not steer the terminal or the page.
"""

import os
import re
import sys
from typing import Any
from unicodedata import category


JOINERS = "\u200c\u200d"  # of Persian words and of emoji
MARKS = re.compile(r"[\\`*_{}\[\]<>|~&!]|^[-+=#]|#$")
NUMBER = re.compile(r"^(\d+)([.)])(?=\s|$)")  # of a list
LONGEST = 1000  # characters of a name in a card
SECRET = re.compile(r"key|secret|token|sig|cred|passw", re.IGNORECASE)
KEYED = re.compile(rf"[?&][^=&\s]*(?:{SECRET.pattern})[^=&\s]*=", re.IGNORECASE)
ADDRESS = re.compile(r"(\b[a-zA-Z][\w+.-]*://)(?:[^\s'\"]*[^\s'\".,:;])?")


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


def has_secret(uri: str) -> bool:
    """Tell whether an address holds a user and password, or a key among what follows a question mark."""
    kind, _, rest = uri.partition("://")
    host = rest.partition("/")[0]
    port = r":(?!\d*$)|@" if kind.lower() in ("http", "https") else r"^(?!arn:).*[:@]"
    return re.search(port, host) is not None or KEYED.search(uri) is not None


def without_secrets(text: str) -> str:
    """Hide users, passwords and keys of addresses, and the secrets of this machine's stores by their values."""
    text = ADDRESS.sub(lambda found: f"{found[1]}***" if has_secret(found[0]) else found[0], text)
    for secret in sorted(_secrets(), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def _secrets() -> set[str]:
    """Collect what stores take from the environment and from fsspec's settings."""
    given = [(name, value) for name, value in os.environ.items() if name.startswith(("AWS_", "HF_", "GOOGLE_"))]
    settings = getattr(sys.modules.get("fsspec.config"), "conf", {})
    given += [(name, value) for kind in settings.values() if isinstance(kind, dict) for name, value in kind.items()]
    return {value for name, value in given if SECRET.search(name) and isinstance(value, str) and len(value) > 3}
