"""How often subtitles in legacy encodings are read with wrong letters, today and by an earlier way.

    python scripts/quality/subtitle_encodings.py             # a table in Markdown; about a minute

Files of 5 to 200 cues are drawn from the sentences in subtitle_encodings.txt, in each encoding in which the language
is usual, with 12 seeds; a file is wrong where any letter of it is. The earlier way took the code page that charset-
normalizer finds most plausible. UTF-16 without a mark, and UTF-8 with every twentieth byte beyond ASCII broken, are
tried in all languages.
"""

import random
import unicodedata
from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

from charset_normalizer import from_bytes

from hiersum_hf.records import Sentence
from hiersum_hf.texts.encoding import read_text
from hiersum_hf.texts.subtitles import write_srt


SENTENCES = Path(__file__).with_suffix(".txt")
CUES = (5, 20, 60, 200)
SEEDS = 12
EARLIER = ["cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "koi8_r", "cp932", "gb18030", "big5"]
EARLIER += ["cp949", "utf_16_le", "utf_16_be"]
TONES = "\u0300\u0301\u0303\u0309\u0323"


def languages() -> Iterator[tuple[str, list[str], list[str]]]:
    """Name, encodings and sentences of each language."""
    for block in SENTENCES.read_text(encoding="utf-8").split("\n= ")[1:]:
        head, *sentences = block.strip().splitlines()
        name, encodings = head.split(": ")
        yield name, encodings.split(), sentences


def encoded(text: str, encoding: str, seed: int) -> bytes:
    """The text's bytes as a program of its time writes them."""
    if encoding == "cp1258":  # letters with their shape, tones after them
        parts = (unicodedata.normalize("NFD", letter) for letter in text)
        text = "".join(
            unicodedata.normalize("NFC", "".join(p for p in part if p not in TONES))
            + "".join(p for p in part if p in TONES)
            for part in parts
        )
    if encoding != "utf-8, broken":
        return text.encode(encoding)
    raw = bytearray(text.encode())
    beyond = [place for place, byte in enumerate(raw) if byte > 127]
    for place in random.Random(seed).sample(beyond, len(beyond) // 20):
        raw[place] = 0xFF
    return bytes(raw)


def as_before(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" not in text:
        return text
    guesses = from_bytes(raw, cp_isolation=EARLIER, steps=20, chunk_size=2048)
    ranked = sorted(guesses, key=lambda g: (g.chaos, -g.coherence, "cp1252" not in g.could_be_from_charset))
    return str(ranked[0]) if ranked else ""


def same(read: str, text: str, encoding: str) -> bool:
    """Whether all letters are right; of broken UTF-8 those that are not broken."""
    read = unicodedata.normalize("NFC", read.removeprefix("\ufeff"))
    if encoding != "utf-8, broken":
        return read == text
    kept = Counter(read) - Counter("\ufffd" * len(read))
    return not kept - Counter(text)


def main() -> None:
    before, now, files = Counter(), Counter(), Counter()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "talk.srt"
        for name, encodings, sentences in languages():
            for encoding, cues, seed in product([*encodings, "utf-16-le", "utf-8, broken"], CUES, range(SEEDS)):
                draw = random.Random(f"{name} {cues} {seed}")
                said = draw.sample(sentences, cues) if cues <= len(sentences) else draw.choices(sentences, k=cues)
                write_srt([Sentence(text, 3.0 * k, 3.0 * k + 2) for k, text in enumerate(said)], path)
                text = path.read_text(encoding="utf-8")
                path.write_bytes(raw := encoded(text, encoding, seed))
                group = (encoding, "all") if encoding in ("utf-16-le", "utf-8, broken") else (name, " ".join(encodings))
                files[group] += 1
                before[group] += not same(as_before(raw), text, encoding)
                now[group] += not same(read_text(path, "subtitles")[0], text, encoding)
    print("| language | encodings | files | wrong before | wrong now |\n|---|---|---|---|---|")
    for group in sorted(files, key=lambda group: group[1] == "all"):
        print(f"| {group[0]} | {group[1]} | {files[group]} | {before[group]} | {now[group]} |")
    total = files.total()
    print(f"| all | | {total} | {before.total() / total:.1%} | {now.total() / total:.2%} |")


if __name__ == "__main__":
    main()
