"""Subtitle cues to sentences with their times.

Rolling captions are said once, fragments are joined, cues are split.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import regex

from hiersum_hf.records import Sentence


# Not given in the paper: where a sentence ends although its text has no full stop.
MAX_PAUSE_S = 1.0
MAX_SENTENCE_S = 15.0  # automatic captions have no punctuation; without a limit a whole lecture is one sentence
CONTIGUOUS_S = 0.1
# A word takes so long to say, a sign of scripts without spaces, and either at most
WORD_S, LETTER_S, MAX_WORD_S = 0.25, 0.1, 1.5
MAX_WORDS = 200  # of a cue are compared: more are not on a screen
CARRIER_S = 0.05  # rolling captions hold the finished line in a cue of 10 ms before the next line appears below it

# A word, or a sign of scripts that write no spaces; what does not matter where words are compared
_TOKEN = regex.compile(
    r"(?V1)[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]\p{M}*"
    r"|[^\s\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]+"
)
_LETTERS = re.compile(r"[^\W_]+")
_UNSAID = regex.compile(r"[^\p{L}\p{M}\p{N}]")

# What ends a sentence: with a space after it and no small letter (Greek asks with a semicolon), or, in scripts without
# capitals, by itself. The property is Unicode's; Georgian letters are small ones to Unicode, and begin sentences.
_SPACED = r"(?:[.!?…‼‽⁇⁈⁉\u037e]|(?<=\p{Greek});)"
_ALONE = r"(?:[\p{Sentence_Terminal}--[.!?‼‽⁇⁈⁉\uff0e]]|\uff0e(?!\d))"
_ABBREVIATION = r"(?<!\bMr\.)(?<!\bMs\.)(?<!\bDr\.)(?<!\bSt\.)(?<!\bMrs\.)(?<!\bProf\.)(?<!\b\p{Lu}\.)"
_CLOSING = r"[\"'”’»)\]」』】》）]*+"
_SENTENCE_BREAK = regex.compile(
    rf"(?V1)(?P<end>{_SPACED}{_ABBREVIATION}{_CLOSING})\s+(?=[^\s\p{{Ll}}]|\p{{Georgian}})"
    rf"|(?P<end>{_ALONE}{_CLOSING})\s*(?=[^\s.!?…\p{{Sentence_Terminal}}])"
    r"|(?P<end>[!?])(?=[\p{Han}\p{Hiragana}\p{Katakana}])"
)
_ENDS_ALONE = regex.compile(rf"(?V1){_ALONE}$")
_SENTENCE_END = regex.compile(rf"(?V1)(?:{_SPACED}{_ABBREVIATION}|{_ALONE}|[」』]){_CLOSING}$")
MAX_END = 20  # characters in which the end of a sentence is looked for, closing quotes included

# Who speaks: a dash before a word, ">>", or a name of at most three words and a colon with a space
_MARK = regex.compile(r"[-‐–—－](?:\s\S|[^\W\d]|[¿¡\"“«„(\[♪])|>>|＞＞|≫")
_WORD = r"[\p{Lu}\p{Lt}\p{Lo}\p{Georgian}][\p{L}\p{M}\p{N}.'’·-]{0,24}"
_NAME = regex.compile(
    rf"(\p{{Lu}}[\p{{Lu}}\p{{M}}\d .'’-]{{1,30}}|{_WORD}(?:\s(?:\p{{L}}{{1,3}}\s)?(?:{_WORD}|\p{{N}}{{1,3}})){{0,2}})"
    r"(?:\s\([^()]{1,30}\))?\s?(?::\s|：)"
)
_ARROWS = regex.compile(r"\s(?=>>|＞＞|≫)")
MAX_NAME_WORDS = 3


def without_repeats(cues: Sequence[Sentence]) -> list[Sentence]:
    """Remove the words that captions repeat from the cue before.

    A cue goes on from the one before, by its words, if it begins with all of them (growing captions), with its last
    lines (rolling ones) or with at least half of either (sliding ones) within 1 s; its first showing counts. That is
    taken for a repeat where two cues in a row go on, or half of all. Rolling captions also hold a line for at most
    50 ms. A text shown again and again, faster than it can be said, has its words highlighted one by one: it is said
    once. Everything else that comes twice is said twice. Not given in the paper.

    Args:
        cues: Cues ascending by `start_s`, a line of text for each line on screen.

    Returns:
        As many cues, each with the words that are new in it.
    """
    repeated = _repeated(cues)
    if not any(repeated):
        return list(cues)
    kept: list[Sentence] = []
    last = 0  # the last cue with new words
    for number, (cue, end) in enumerate(zip(cues, repeated, strict=True)):
        text, fresh = cue.text[:end], cue.text[end:]
        if end and fresh.strip() and not fresh[0].isspace() and not text[-1:].isspace():
            # A word goes on (typed letters, scripts without spaces) or gets its full stop
            tail, fresh = regex.match(r"(\S+)(.*)", fresh, regex.DOTALL).groups()
            until_s = cue.start_s if fresh.strip() else cue.end_s
            kept[last] = replace(kept[last], text=kept[last].text.rstrip() + tail, end_s=max(kept[last].end_s, until_s))
        elif end and not fresh.strip() and cue.end_s - cue.start_s > CARRIER_S:
            kept[last] = replace(kept[last], end_s=max(kept[last].end_s, cue.end_s))
        kept.append(replace(cue, text="\n".join(line for part in fresh.splitlines() if (line := part.strip()))))
        last = number if kept[-1].text else last
    return kept


def merge_into_sentences(cues: Iterable[Sentence]) -> list[Sentence]:
    """Join subtitle cues into sentences, and split cues.

    A sentence ends at Unicode's terminals of sentences and …, with any closing quotes (. ! ? … not after
    initials and titles such as Dr., nor before a small letter within a cue); before a pause of more than 1 s; before
    another speaker's turn; and at the end of the last cue with which it lasts at most 15 s. A turn begins at the start
    of a line with a dash before a word or with a name (`_speakers`), or anywhere with ">>"; the name stays in the text.
    A cue's time is shared among its sentences in proportion to their characters. These rules are not given in the
    paper.

    Args:
        cues: Cues ascending by `start_s`; those without text are dropped.

    Returns:
        The sentences in order, white space folded.
    """
    listed, sentences = list(cues), []  # type: list[Sentence], list[Sentence]
    names, complete = _speakers(listed), True
    for piece in (piece for cue in listed for piece in _split(cue, names)):
        last = sentences[-1] if sentences else piece
        too_far = piece.start_s - last.end_s > MAX_PAUSE_S or piece.end_s - last.start_s > MAX_SENTENCE_S
        if complete or too_far or _begins_turn(piece.text, names):
            sentences.append(piece)
        else:
            sentences[-1] = Sentence(f"{last.text} {piece.text}", last.start_s, max(last.end_s, piece.end_s))
        complete = bool(_SENTENCE_END.search(piece.text[-MAX_END:]))
    return sentences


def starts_small(text: str) -> bool:
    """Tell whether the text begins with a small letter of a script that has capitals."""
    first = text.lstrip()[:1]
    return first.islower() and not regex.match(r"\p{Georgian}", first)


def ends_alone(text: str) -> bool:
    """Tell whether the text ends with a sign that ends sentences without a space after it, as "。" does."""
    return _ENDS_ALONE.search(text) is not None


def _repeated(cues: Sequence[Sentence]) -> list[int]:
    """Return how many characters at the start of each cue repeat the cue before."""
    found = [(0, False)] * len(cues[:1]) + [_overlap(*pair) for pair in pairwise(cues)]
    # A cue goes on where it has something new, or holds the old for a moment
    goes_on = [
        end > 0 and bool(cue.text[end:].strip() or cue.end_s - cue.start_s <= CARRIER_S)
        for cue, (end, _) in zip(cues, found, strict=True)
    ]
    by_lines = [on and whole_lines for on, (_, whole_lines) in zip(goes_on, found, strict=True)]
    rolls = any(2 * sum(some) >= len(cues) - 1 and sum(some) >= least for some, least in ((by_lines, 1), (goes_on, 2)))
    repeated = [0] * len(cues)
    for number, (end, _) in enumerate(found):
        in_a_row = goes_on[number] and any(goes_on[number - 1 : number] + goes_on[number + 1 : number + 2])
        repeated[number] = end if rolls or in_a_row else 0
    for first, until in _highlighted(cues):
        repeated[first + 1 : until] = [len(cue.text) for cue in cues[first + 1 : until]]
    return repeated


def _overlap(before: Sentence, cue: Sentence) -> tuple[int, bool]:
    """Find how much of the cue's start is the end of the cue before.

    Returns:
        A number of characters, and whether these are whole lines of both.
    """
    if cue.start_s - before.end_s > MAX_PAUSE_S or not _may_overlap(before.text.casefold(), cue.text.casefold()):
        return 0, False
    old, new = list(_TOKEN.finditer(before.text))[-MAX_WORDS:], list(_TOKEN.finditer(cue.text))[:MAX_WORDS]
    old_words, new_words = _words(old), _words(new)
    for n in range(min(len(old), len(new)), 0, -1):
        # The last word as it is now may have got letters or a full stop
        grown = new[n - 1][0].startswith(old[-1][0])
        typed = grown and n == len(old) and old_words[:-1] == new_words[: n - 1]
        if not typed and old_words[-n:] != new_words[:n]:
            continue
        end = new[n - 1].start() + len(old[-1][0]) if grown else new[n - 1].end()
        lines = _is_edge(before.text, old[-n].start(), -1) and _is_edge(cue.text, new[n - 1].end(), 1)
        if lines or n in (len(old), len(new)) or (n > 1 and 2 * n >= min(len(old), len(new))):
            return end, lines
    return 0, False


def _may_overlap(old: str, new: str) -> bool:
    """Tell cheaply whether the new text's first word, or of scripts without spaces its first sign, is in the old."""
    found, begun = _LETTERS.search(new), _LETTERS.search(old)
    if found is None or begun is None:
        return False
    return (found[0] if found[0] < "\u0e00" else found[0][0]) in old or found[0].startswith(begun[0])


def _is_edge(text: str, place: int, step: int) -> bool:
    """Tell whether a line begins (-1) or ends (1) at this place."""
    rest = text[:place].rstrip(" \t") if step < 0 else text[place:].lstrip(" \t")
    return not rest or (rest[-1] if step < 0 else rest[0]) == "\n"


def _words(tokens: Iterable[regex.Match[str]]) -> list[str]:
    """Return words to compare, without case and punctuation."""
    return [_UNSAID.sub("", token[0].casefold()) or token[0] for token in tokens]


def _highlighted(cues: Sequence[Sentence]) -> Iterator[tuple[int, int]]:
    """Find runs of cues with one text and no pause between them, too fast for each to be said, as (first, until)."""
    first = 0
    for number in range(1, len(cues) + 1):
        before, cue = cues[number - 1], cues[number] if number < len(cues) else None
        if (
            cue
            and cue.text.casefold().split() == before.text.casefold().split()
            and cue.start_s - before.end_s <= CONTIGUOUS_S
        ):
            continue
        if number - first > 1:
            tokens = list(_TOKEN.finditer(before.text))
            each_s = (before.end_s - cues[first].start_s) / (number - first)
            needed_s = sum(LETTER_S if len(token[0]) == 1 else WORD_S for token in tokens)
            one_by_one = number - first >= len(tokens) and len(set(_words(tokens))) > 2 and each_s <= MAX_WORD_S
            if one_by_one or (len(tokens) > 1 and each_s <= needed_s):
                yield first, number
        first = number


def _speakers(cues: Sequence[Sentence]) -> frozenset[str]:
    """List what stands at the start of a line before a colon and is a speaker's name.

    That is what is in capitals or has several words with capitals. Other words ("Note", German nouns, scripts without
    capitals) are names where two lines or half of the cues begin so.
    """
    found: Counter[str] = Counter()
    for cue in cues:
        if ":" in cue.text or "：" in cue.text:
            found.update(name for line in cue.text.splitlines() if (name := _name(f"{line} ")))
    often = found.total() >= max(2, len(cues) / 2)
    return frozenset(
        name
        for name, times in found.items()
        if often or times > 1 or name.isupper() or (name[0].isupper() and len(name.split()) > 1)
    )


def _name(text: str) -> str | None:
    """Return the name before a colon with which the text begins."""
    found = _NAME.match(text.lstrip())
    return found[1] if found and (found[1].isupper() or len(found[1].split()) <= MAX_NAME_WORDS) else None


def _begins_turn(text: str, names: Collection[str]) -> bool:
    """Tell whether the text begins with the mark or the name of a speaker."""
    return _MARK.match(text) is not None or (bool(names) and _name(text) in names)


def _split(cue: Sentence, names: Collection[str]) -> list[Sentence]:
    """Split one cue into sentences.

    They share its time in proportion to their characters.
    """
    # Sentence k lasts (end - start) x its characters / all characters; the last one ends with the cue, to the bit
    lines = [line for text in cue.text.splitlines() if (line := " ".join(text.split()))]
    turns = [("\n" if k and _begins_turn(f"{lines[k]} ", names) else " ") + lines[k] for k in range(len(lines))]
    text = "".join(turns).strip()
    if any(arrows in text for arrows in (">>", "＞＞", "≫")):
        text = _ARROWS.sub("\n", text)
    parts = _SENTENCE_BREAK.sub(r"\g<end>\n", text).splitlines()
    pieces, start_s, letters = [], cue.start_s, sum(map(len, parts))
    for number, part in enumerate(parts, 1):
        share_s = (cue.end_s - cue.start_s) * len(part) / letters
        pieces.append(Sentence(part, start_s, cue.end_s if number == len(parts) else start_s + share_s))
        start_s += share_s
    return pieces
