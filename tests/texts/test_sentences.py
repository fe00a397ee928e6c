"""Sentences are what the child level reads: said once, whole, at the time they are spoken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiersum_hf.records import Sentence
from hiersum_hf.texts.sentences import merge_into_sentences, without_repeats
from hiersum_hf.texts.subtitles import as_sentences


def texts(sentences: list[Sentence]) -> list[str]:
    return [sentence.text for sentence in sentences]


def rolled(lines: list[str]) -> list[tuple[int, int, list[str]]]:
    """Cues (from, to in ms, two lines on screen) of automatic captions: each line for 2 s below the one before, then
    for 10 ms alone."""
    cues, before = [], " "
    for number, line in enumerate(lines):
        start, end = 2000 * number, 2000 * number + 1990
        cues += [(start, end, [before, line]), (end, end + 10, [line, " "])]
        before = line
    return cues


def clock(milliseconds: int, mark: str) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"00:{seconds // 60:02d}:{seconds % 60:02d}{mark}{rest:03d}"


def as_vtt(lines: list[str]) -> str:
    """As the platform serves them: the new line with a time for each word after the first."""
    blocks = ["WEBVTT\nKind: captions\nLanguage: en"]
    for start, end, (upper, lower) in rolled(lines):
        first, *others = lower.split() or [" "]
        timed = "".join(f"<{clock(start + 100 * k, '.')}><c> {word}</c>" for k, word in enumerate(others, 1))
        place = "align:start position:0%"
        text = f"{upper}\n{first + timed if end - start > 10 else lower}"
        blocks.append(f"{clock(start, '.')} --> {clock(end, '.')} {place}\n{text}")
    return "\n\n".join(blocks) + "\n"


def as_srt(lines: list[str]) -> str:
    """As a downloader converts them: no word times, everything else kept."""
    cues = enumerate(rolled(lines), 1)
    return "".join(f"{k}\n{clock(a, ',')} --> {clock(b, ',')}\n{up}\n{low}\n\n" for k, (a, b, (up, low)) in cues)


@pytest.mark.parametrize("written", [as_vtt, as_srt])
@given(lines=st.lists(st.sampled_from(["we are", "going", "home now", "&gt;&gt; no"]), min_size=1, max_size=12))
def test_rolling_captions_say_everything_once(written, lines):
    """Also what is really said twice; read naively the text comes three times."""
    sentences = as_sentences(written(lines))
    assert " ".join(texts(sentences)) == " ".join(lines).replace("&gt;", ">")
    assert sentences[0].start_s == 0
    assert sentences[-1].end_s == pytest.approx(2 * len(lines) - 0.01)


def test_captions_that_roll_over_three_lines_are_said_once():
    lines = ["one", "two", "three", "four", "five"]
    cues = [Sentence("\n".join(lines[max(0, k - 2) : k + 1]), k, k + 1.0) for k in range(5)]
    assert texts(without_repeats(cues)) == lines


def test_a_song_keeps_its_refrain():
    """Whole cues that come again, and a line that a dialogue takes up once, are no rolling captions."""
    song = [Sentence(text, 2.0 * k, 2.0 * k + 2) for k, text in enumerate(["Hey!", "Hey!", "Hey!", "Let it be.\nHey!"])]
    assert without_repeats(song) == song
    talk = [Sentence(text, 2.0 * k, 2.0 * k + 2) for k, text in enumerate(["Run!", "Run!\nNow.", "Where?", "There."])]
    assert without_repeats(talk) == talk


def shown(*lines: str, each_s: float = 1.0, pause_s: float = 0.0) -> list[Sentence]:
    """Cues of these texts, one after the other."""
    step_s = each_s + pause_s
    return [Sentence(text, step_s * k, step_s * k + each_s) for k, text in enumerate(lines)]


def growing(text: str, join: str = " ") -> list[str]:
    parts = text.split() if join else list(text)
    return [join.join(parts[: k + 1]) for k in range(len(parts))]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (growing("first you peel the onion"), ["first you peel the onion"]),
        (growing("peel it.") + growing("Then cut it."), ["peel it.", "Then cut it."]),
        (["so", "so now we", "So now, we cut", "So now, we cut it."], ["so now we cut it."]),  # full stop comes last
        (growing("peel", ""), ["peel"]),  # typed
        (growing("玉ねぎを切ります。", ""), ["玉ねぎを切ります。"]),
        (
            ["we peel", "we peel\nthe onion", "the onion\nand then", "and then\nwe cut"],
            ["we peel the onion and then we cut"],
        ),
        (["we peel the onion", "the onion and then", "and then we cut it"], ["we peel the onion and then we cut it"]),
        (["we\npeel", "we peel the\nonion", "the onion\nand cut"], ["we peel the onion and cut"]),  # wrapped anew
        (["no", "no no", "no no no way", "no no no way"], ["no no no way"]),
        (["peel it", "peel it all", "peel it all", "peel it all now"], ["peel it all now"]),
    ],
)
def test_growing_and_sliding_captions_say_each_word_once(lines, said):
    assert texts(merge_into_sentences(without_repeats(shown(*lines)))) == said


def test_a_word_has_the_time_at_which_it_first_showed():
    cues = without_repeats(shown(*growing("peel the onion"), "peel the onion"))
    assert [c for c in cues if c.text] == [Sentence("peel", 0, 1), Sentence("the", 1, 2), Sentence("onion", 2, 4)]
    (first, second) = merge_into_sentences(without_repeats(shown(*growing("Peel it."), *growing("Then cut."))))
    assert (first.start_s, first.end_s, second.start_s, second.end_s) == (0, 2, 2, 4)


@pytest.mark.parametrize(
    ("mark", "each_s"),
    [("<c.now>{}</c>", 0.4), ("<b>{}</b>", 0.3), ("<u>{}</u>", 0.9), ('<font color="#ff0">{}</font>', 0.3)],
)
def test_words_highlighted_one_by_one_are_said_once(mark, each_s):
    lines = ["now we peel the onion", "then we cut it"]
    tagged = []
    for line in lines:
        parts = line.split()
        tagged += [" ".join([*parts[:k], mark.format(parts[k]), *parts[k + 1 :]]) for k in range(len(parts))]
    times = [(round(1000 * each_s * k), round(1000 * each_s * (k + 1))) for k in range(len(tagged))]
    blocks = (
        f"{k}\n{clock(a, ',')} --> {clock(b, ',')}\n{t}\n\n"
        for k, ((a, b), t) in enumerate(zip(times, tagged, strict=True), 1)
    )
    (sentence,) = as_sentences("".join(blocks))
    assert sentence.text == " ".join(lines)
    assert (sentence.start_s, sentence.end_s) == (0, pytest.approx(9 * each_s))


@pytest.mark.parametrize(
    "cues",
    [
        shown("No, no.", "No, no, no!"),
        shown("We will rock you", "We will rock you", each_s=3.0),
        shown("We will rock you", "We will rock you", each_s=2.0, pause_s=2.0),
        shown("Come on.", "Come on.", each_s=0.8),
        shown("na na na", "na na na", "na na na", each_s=1.2),
        shown("Thank you.", "Where is it?", "Here.", "Thank you.", each_s=2.0),
        shown("Thank you.", "Thank you.", each_s=1.0, pause_s=120.0),
        shown("He said no", "no way", "I said", "so what", each_s=2.0),
        shown("Wait", "Wait for me", "Why?", "Because.", each_s=2.0),
        shown("ありがとう", "ありがとう", each_s=1.0),
        shown("I saw the", "the man", "with the", "the hat", each_s=2.0),
        shown("Stop", "Stop it", "Stop it now", each_s=2.0, pause_s=5.0),
    ],
)
def test_what_is_really_said_twice_is_kept(cues):
    assert without_repeats(cues) == cues


def test_fragments_are_joined_until_the_full_stop():
    cues = [
        Sentence("We cut", 0.0, 1.0),
        Sentence("the wood", 1.0, 2.0),
        Sentence("now.”", 2.5, 3.0),
        Sentence("Then", 3.0, 4.0),
    ]
    assert merge_into_sentences(cues) == [Sentence("We cut the wood now.”", 0.0, 3.0), Sentence("Then", 3.0, 4.0)]


def test_pause_speaker_and_length_end_a_sentence():
    pause = [Sentence("one", 0.0, 1.0), Sentence("two", 2.0, 3.0), Sentence("three", 4.5, 5.0)]
    assert texts(merge_into_sentences(pause)) == ["one two", "three"]  # 1.0 s is no pause yet, 1.5 s is
    speakers = [Sentence("and", 0, 1), Sentence("- no", 1, 2), Sentence(">> yes", 2, 3), Sentence("JO ANN: so", 3, 4)]
    assert texts(merge_into_sentences(speakers)) == ["and", "- no", ">> yes", "JO ANN: so"]
    unpunctuated = [Sentence(f"w{second}", second, second + 1.0) for second in range(40)]
    assert [(s.start_s, s.end_s) for s in merge_into_sentences(unpunctuated)] == [(0, 15), (15, 30), (30, 40)]


def test_a_cue_with_two_sentences_shares_its_time_by_characters():
    cue = Sentence("Stop here.  Now go on, please!", 10.0, 13.0)  # 10 and 18 characters of 28
    first, second = merge_into_sentences([cue])
    assert (first.text, first.start_s, second.text, second.end_s) == ("Stop here.", 10.0, "Now go on, please!", 13.0)
    assert first.end_s == second.start_s == pytest.approx(10.0 + 3.0 * 10 / 28)


def test_equal_sentences_of_a_cue_share_its_time_too():
    assert merge_into_sentences([Sentence("? ? ?", 0.0, 3.0)]) == [Sentence("?", k, k + 1) for k in range(3)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Dr. Smith met J. Doe at 3.5 km, e.g. here.", 1),
        ("Wait... what? No!", 2),
        ("“Is it?” she said. “Yes.” Fine", 3),
        ("你好。再见！", 2),
        ("Well… Really?!", 2),
    ],
)
def test_where_sentences_end_inside_a_cue(text, expected):
    sentences = merge_into_sentences([Sentence(text, 0.0, 1.0)])
    assert len(sentences) == expected
    assert "".join(texts(sentences)).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize(
    "text",
    [
        "मैं घर जा रहा हूँ। तुम कब आओगे?",  # Hindi
        "আমি বাড়ি যাই। তুমি কবে আসবে?",  # Bengali
        "میں گھر جا رہا ہوں۔ تم کب آؤ گے؟",  # Urdu
        "أين الكتاب؟ إنه هنا!",  # Arabic
        "আমি যাই।তুমি এসো।",  # no space between
        "ខ្ញុំទៅផ្ទះ។ អ្នកមកពេលណា?",  # Khmer
        "ကျွန်တော် အိမ်ပြန်မယ်။ ခင်ဗျား လာမလား။",  # Burmese
        "ወደ ቤት እሄዳለሁ። መቼ ትመጣለህ፧",  # Amharic
        "Ես տուն եմ գնում։ դու ե՞րբ կգաս։",  # Armenian
        "მივდივარ სახლში. შენ როდის მოხვალ?",  # Georgian
        "אני הולך הביתה. מתי תבוא?",  # Hebrew
        "Πού είναι το βιβλίο; Εδώ.",  # Greek
        "Я иду домой. Когда ты придёшь?",
        "家に帰ります。いつ来ますか？",
        "「本当？」そうです！",
        "你在哪里?我在家。",  # half-width
        "我回家．你呢",
    ],
)
def test_sentences_end_in_every_script(text):
    found = texts(merge_into_sentences([Sentence(text, 0.0, 4.0)]))
    assert len(found) == 2
    assert "".join(found).replace(" ", "") == text.replace(" ", "")
    halves = [Sentence(part, 2.0 * k, 2.0 * k + 2) for k, part in enumerate(found)]
    assert merge_into_sentences(halves) == halves, "and at the end of a cue"


@pytest.mark.parametrize(
    "text",
    [
        "Ну... ладно, пойдём",
        "А. С. Пушкин пишет",
        "это т. е. всё",
        "qué…! dijo él",
        "το 3.5; ναι",
        "円周率は３．１４です",
        "何？！",
        "واقعا؟!",
        "हाँ।।",
        "at 10:30 in the hall",
        "see https://example.org/a.b?c=d for more",
        "我……不知道",
    ],
)
def test_where_no_sentence_ends(text):
    assert texts(merge_into_sentences([Sentence(text, 0.0, 4.0)])) == [text]


def spoken(*turns: str) -> list[str]:
    return texts(merge_into_sentences([Sentence(text, 2.0 * k, 2.0 * k + 1.9) for k, text in enumerate(turns)]))


@pytest.mark.parametrize(
    "turns",
    [
        ("Ann Smith: what do you think", "Bob Jones: it is fine"),
        ("Ann: what do you think", "Bob: it is fine", "Ann: good"),
        ("and then we", "Ludwig van Beethoven: no"),
        ("and then we", "Speaker 2: no"),
        ("and then we", "Ana Lee (she/her): no"),
        ("and then we", "МУЖЧИНА 2: нет"),
        ("Анна: что ты думаешь", "Пётр: хорошо"),
        ("小明：你好吗", "小红：我很好"),
        ("आशा: कैसे हो", "रवि: ठीक हूँ"),
        ("سارة: كيف حالك", "علي: بخير"),
        ("Anne : ça va", "Luc : oui"),
        ("so where is", "- ¿Quién"),
        ("so where is", "— “Me”"),
        ("そうです", "≫はい"),
    ],
)
def test_each_turn_of_a_speaker_is_a_sentence(turns):
    assert spoken(*turns) == list(turns), "with the name in it"
    found = texts(merge_into_sentences([Sentence("\n".join(turns), 0.0, 4.0)]))
    assert found == list(turns), "also as lines of one cue"


def test_arrows_begin_a_turn_anywhere_and_lists_are_no_dialogues():
    assert spoken("yes >> no >> well", "then") == ["yes", ">> no", ">> well then"]
    many = Sentence("\n".join(f"- {k}" for k in range(30)), 0.0, 4.0)
    assert len(merge_into_sentences([many])) == 30


@pytest.mark.parametrize(
    "turns",
    [
        ("we meet at", "10:30 in the hall"),
        ("it costs", "Note: only today"),  # once in the file: it may as well be a German noun
        ("dann sagen wir zum", "Beispiel: so geht das"),
        ("as I said in", "https://example.org"),
        ("one thing", "only: patience"),
        ("it was", "-5 degrees"),
        ("this is", "how Ann put it long ago: no"),
        ("उदाहरण के", "लिए: यह"),
        ("and", "-- well"),
    ],
)
def test_what_is_no_turn_stays_in_its_sentence(turns):
    assert spoken(*turns) == [" ".join(turns)]
    assert spoken("\n".join(turns)) == [" ".join(turns)]
