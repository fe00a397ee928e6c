"""Wrong letters are wrong words to the text encoder: old files must be read as they were written, or say so."""

import logging
import unicodedata
from pathlib import Path

import pytest

from hiersum_hf.records import Sentence
from hiersum_hf.texts.encoding import check_encoding, read_text
from hiersum_hf.texts.subtitles import read_subtitles, subtitles_and_notes, write_srt


LETTERS = {
    "cp1250": ["Żółta łódź płynie ku brzegowi.", "Gdzie są moje książki?", "Jutro będzie padać śnieg."],
    "iso8859_2": ["Můj bratr staví loď.", "Zítra přijde déšť.", "Šest žen jde přes řeku."],
    "cp1251": ["Завтра мы поедем на дачу.", "Какая сегодня погода?", "Книга лежит на столе."],
    "koi8_r": ["Завтра мы поедем на дачу.", "Какая сегодня погода?", "Книга лежит на столе."],
    "cp866": ["Завтра мы поедем на дачу.", "Какая сегодня погода?", "Книга лежит на столе."],
    "cp1252": ["L’été dernier, nous étions à la plage.", "Où est la clé ?", "Le garçon a mangé une pêche."],
    "iso8859_15": ["Für fünf € bekommt man das schöne Buch.", "Die Tür läßt sich öffnen.", "Grüße!"],
    "cp1253": ["Αύριο θα πάμε στη θάλασσα.", "Τι καιρό κάνει σήμερα;", "Το βιβλίο είναι στο τραπέζι."],
    "cp1254": ["Yarın denize gideceğiz.", "Bugün hava nasıl, güneşli mi?", "Kitabın masanın üstünde, şurada."],
    "cp1255": ["מחר ניסע לים.", "מה מזג האוויר היום?", "הספר מונח על השולחן."],
    "cp1256": ["غدا نذهب إلى البحر.", "كيف حال الطقس اليوم؟", "الكتاب على الطاولة."],
    "cp1257": ["Rytoj važiuosime prie jūros.", "Koks šiandien oras?", "Knyga guli ant stalo, čia pat."],
    "cp1258": ["Ngày mai chúng ta đi biển.", "Hôm nay thời tiết thế nào?", "Quyển sách ở trên bàn."],
    "cp932": ["明日は海へ行きます。", "今日の天気はどうですか？", "本は机の上にあります。"],
    "euc_jp": ["明日は海へ行きます。", "今日の天気はどうですか？", "本は机の上にあります。"],
    "iso2022_jp": ["明日は海へ行きます。", "今日の天気はどうですか？", "本は机の上にあります。"],
    "gb18030": ["明天我们去海边。", "今天天气怎么样？", "书在桌子上面。"],
    "big5": ["明天我們去海邊。", "今天天氣怎麼樣？", "書在桌子上面。"],
    "cp949": ["내일 우리는 바다에 갑니다.", "오늘 날씨가 어때요?", "책은 책상 위에 있습니다."],
    "tis_620": ["พรุ่งนี้เราจะไปทะเล", "วันนี้อากาศเป็นอย่างไร", "หนังสืออยู่บนโต๊ะ"],
    "utf_16_le": ["Tomorrow we go to the sea.", "Как погода?", "本は机の上にあります。"],
    "utf_32": ["Tomorrow we go to the sea.", "Как погода?", "本は机の上にあります。"],
}


def as_typed(text: str, encoding: str) -> str:
    """Vietnamese code pages have letters with their shape, and the tones by themselves."""
    tones = dict.fromkeys(map(ord, "\u0300\u0301\u0303\u0309\u0323"))
    if encoding != "cp1258":
        return text
    letters = (unicodedata.normalize("NFD", letter) for letter in text)
    return "".join(
        unicodedata.normalize("NFC", x.translate(tones)) + "".join(t for t in x if ord(t) in tones) for x in letters
    )


def written(path: Path, said: list[str], encoding: str) -> Path:
    write_srt([Sentence(text, 3.0 * k, 3.0 * k + 2) for k, text in enumerate(said)], path)
    path.write_bytes(as_typed(path.read_text(encoding="utf-8"), encoding).encode(encoding))
    return path


@pytest.mark.parametrize("encoding", LETTERS)
def test_letters_of_every_language_are_read_as_they_were_written(tmp_path, encoding):
    path = written(tmp_path / "talk.srt", LETTERS[encoding], encoding)
    text, read_as = read_text(path, "subtitles")
    assert [line for line in text.splitlines() if line in LETTERS[encoding]] == LETTERS[encoding]
    assert bool(read_as) == (encoding != "utf_32"), "a byte order mark is no guess"


def test_a_guess_is_named_and_can_be_put_right(tmp_path, caplog):
    path = written(tmp_path / "talk.srt", LETTERS["cp1254"], "cp1254")
    note = "talk.srt: read as windows-1254 (guessed). --subtitle-encoding NAME reads it otherwise."
    sentences, notes = subtitles_and_notes(path)
    assert (" ".join(s.text for s in sentences), notes) == (" ".join(LETTERS["cp1254"]), [note])
    assert subtitles_and_notes(path, "windows-1254") == (sentences, [])
    with caplog.at_level(logging.WARNING):
        assert read_subtitles(path) == sentences
    assert caplog.messages == [note]
    icelandic = read_subtitles(path, "iso-8859-1")
    assert "gideceðiz" in icelandic[0].text, "what is said counts, right or wrong"


def test_utf_8_is_never_guessed_and_a_few_broken_bytes_cost_only_themselves(tmp_path):
    path = tmp_path / "talk.srt"
    said = ["Ã© et Å¡ se lisent ainsi.", "Çok güzel bir gün, değil mi?", "今日は"]  # as legacy letters would look
    assert (
        subtitles_and_notes(written(path, said, "utf-8-sig"))[1]
        == subtitles_and_notes(written(path, said, "utf-8"))[1]
        == []
    )
    whole = path.read_bytes()
    path.write_bytes(whole.replace("güzel".encode(), b"g\xffzel"))
    (_, second, third), notes = subtitles_and_notes(path)
    assert (second.text, third.text) == ("Çok g\ufffdzel bir gün, değil mi?", "今日は")
    assert notes[0].startswith("talk.srt: read as utf-8 with 1 broken letter.")
    path.write_bytes(whole[:-4])  # cut within a letter
    assert subtitles_and_notes(path)[0][1].text == "Çok güzel bir gün, değil mi?"


def test_few_foreign_letters_among_latin_ones_make_no_cyrillic(tmp_path):
    path = written(tmp_path / "talk.srt", ["Crème brûlée à la maison"], "cp1252")
    assert subtitles_and_notes(path)[0][0].text == "Crème brûlée à la maison"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("window-1254", "Did you mean windows-1254?"),
        ("klingon", "iso-8859-2"),
        ("rot13", "Python knows"),
        ("", "found ''"),
    ],
)
def test_an_unknown_encoding_is_refused_with_a_hint(name, hint):
    with pytest.raises(ValueError, match="--subtitle-encoding: expected an encoding") as error:
        check_encoding(name, "--subtitle-encoding")
    assert hint in str(error.value)


def test_bytes_that_the_named_encoding_cannot_be_are_refused(tmp_path):
    path = written(tmp_path / "talk.srt", LETTERS["cp1251"], "cp1251")
    with pytest.raises(ValueError, match=r"talk\.srt: expected a subtitle file .*no text in utf-8"):
        read_subtitles(path, "utf-8")
