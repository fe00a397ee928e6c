"""Names out of data, shown to people: a file from a stranger must not steer the terminal."""


def printable(text: str) -> str:
    """The text with control characters and the like as escapes: ANSI colours, line breaks, text from right to left."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
