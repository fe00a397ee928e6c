"""Bytes of a file to its text, whatever encoding they are in."""

from __future__ import annotations

import re
import unicodedata
from difflib import get_close_matches
from encodings import normalize_encoding
from encodings.aliases import aliases
from pathlib import Path
from typing import Any

from hiersum_hf.modeling.errors_hiersum import InputError
from hiersum_hf.records import counted


# Code pages that no subtitles are in today; with few letters they would be guessed instead of what is in use.
UNUSED = ["iso8859-3", "iso8859-4", "iso8859-10", "iso8859-14", "iso8859-16", "cp437", "cp737", "cp775", "cp850"]
UNUSED += ["cp855", "cp856", "cp857", "cp858", "cp860", "cp861", "cp862", "cp863", "cp864", "cp865", "cp869", "cp720"]
WIDER = {"iso8859-1": "cp1252", "iso8859-9": "cp1254"}  # the same letters, and more signs
CERTAIN = ("ascii", "utf-8", "utf-16", "utf-32")  # the last two only with their byte order mark
# A letter of Greek, Cyrillic, Armenian, Hebrew or Arabic; one that stands in the same word as a Latin one
_FAR = re.compile("[\u0370-\u06ff]")
_MIXED = re.compile("(?<=[A-Za-z])[\u0370-\u06ff]|[\u0370-\u06ff](?=[A-Za-z])")


def read_text(path: str | Path, expected: str, encoding: str | None = None) -> tuple[str, str]:
    """Read a file's text, with line feeds as line ends.

    Args:
        path: Any text file.
        expected: What it should be, for the messages.
        encoding: Its encoding. Default: that of its byte order mark; UTF-8 if it is that; else a guess by how often
            the letters of each language follow each other.

    Returns:
        The text, and what it was read as where that is a guess ("windows-1254 (guessed)") or not the whole truth, else
        "".

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: Its bytes are no text, or none in this encoding, or there is no such encoding.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: expected {expected}, found no such file")
    if encoding is not None:
        check_encoding(encoding)
    raw = Path(path).read_bytes()
    text, read_as = _decode(raw) if encoding is None else (raw.decode(encoding, "replace"), "")
    if "\0" in text or (encoding is not None and _is_noise(text)):
        found = f"bytes that are no text in {encoding or 'any known encoding'}"
        raise InputError(f"{path}: expected {expected}, found {found}. {_to_do(raw)}")
    return plain(text), read_as


def _to_do(raw: bytes) -> str:
    """Say what to do with bytes that are no text, by what they begin with."""
    if raw.startswith((b"PK\x03\x04", b"Rar!", b"7z\xbc\xaf", b"\x1f\x8b")):
        return "Unpack it: it is an archive."
    if raw.startswith((b"PG", b"\0\0\x01\xba")):
        return "It holds pictures of text: recognise them with a program such as Subtitle Edit."
    return "Give a file that holds text, or name its encoding."


def check_encoding(name: str, what: str = "The encoding") -> None:
    """Refuse a name that is no encoding of text.

    Raises:
        ValueError: Python knows no such encoding; names the one that is written most like it.
    """
    try:
        b" ".decode(name, "replace")  # of no bytes Python does not look up the name
    except LookupError as error:
        near = get_close_matches(normalize_encoding(name).lower(), {*aliases, *aliases.values()}, 1)
        hint = f"Did you mean {near[0].replace('_', '-')}?" if near else "Such names are windows-1254 and iso-8859-2."
        raise InputError(f"{what}: expected an encoding that Python knows, found {name!r}. {hint}") from error


def plain(text: str) -> str:
    """Remove the byte order mark, and end lines by line feeds."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _decode(raw: bytes) -> tuple[str, str]:
    r"""Decode bytes whose encoding nobody said.

    Returns:
        The text and what it was read as, both as `read_text` says; "\0" where they are no text.
    """
    from chardet import EncodingEra, detect_all

    try:
        text = raw.decode("utf-8-sig")
        if "\0" not in text and "\x1b" not in text:  # else perhaps UTF-16 without a mark, or ISO-2022-JP
            return text, ""
    except UnicodeDecodeError:
        text = raw.decode("utf-8-sig", "replace")
        if not _is_noise(text):
            return text, f"utf-8 with {counted(text.count(chr(0xFFFD)), 'broken letter')}"
    eras = EncodingEra.MODERN_WEB | EncodingEra.LEGACY_ISO | EncodingEra.DOS
    options: dict[str, Any] = {"encoding_era": eras, "exclude_encodings": UNUSED, "max_bytes": len(raw)}
    ranked = detect_all(raw, compat_names=False, prefer_superset=False, **options)
    names = [guess["encoding"] for guess in ranked if guess["encoding"]]
    if not names:
        return "\0", ""
    name = next((name for name in names if not _mixes_scripts(raw.decode(name, "replace"))), names[0])
    name = WIDER.get(name, name)
    text = raw.decode(name, "replace")
    if name in CERTAIN:
        return text, ""
    # Vietnamese code pages write a letter and its tone one after the other
    usual_name = re.sub("^iso(?=8859)", "iso-", re.sub("^cp(?=125)", "windows-", name))
    return unicodedata.normalize("NFC", text), f"{usual_name} (guessed)"


def _mixes_scripts(text: str) -> bool:
    """Tell whether the text has Latin and other letters within its words, as "Cr\u0438me" has."""
    return 4 * len(_MIXED.findall(text)) > len(_FAR.findall(text))


def _is_noise(text: str) -> bool:
    """Tell whether more of the characters beyond ASCII are broken than not."""
    return 2 * text.count("\ufffd") > sum(character > "\x7f" for character in text)
