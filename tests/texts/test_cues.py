"""What a subtitle file says is read whole: no parser's rule may lose a word without saying so."""

import json
import struct

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hiersum_hf.texts.cues import timed_cues
from hiersum_hf.texts.find import read_texts
from hiersum_hf.texts.structured import xml_cues
from hiersum_hf.texts.subtitles import as_sentences, read_subtitles, subtitles_and_notes


SRT = "1\n00:00:01,000 --> 00:00:03,000\n"
VTT = "WEBVTT\n\n00:01.000 --> 00:03.000\n"


def said(text):
    return [(s.start_s, s.end_s, s.text) for s in as_sentences(text)]


lines = st.text(st.characters(exclude_categories=("C", "Z")) | st.just(" "), min_size=1, max_size=12).map(str.strip)
spoken = st.lists(lines | st.sampled_from(["7", "0:01", "-->", "{x | x > 0}", r"\nu", "", "a < b > c"]), max_size=4)


@settings(max_examples=60, deadline=None)
@example([["Lift-off in", "3"], ["2", "", "1"], []], True)
@example([["Lift-off in", "3"], ["2", "", "1"], []], False)
@given(st.lists(spoken, min_size=1, max_size=4), st.booleans())
def test_any_text_comes_back_as_it_was_written(cues, is_webvtt):
    written = "WEBVTT\n\n" if is_webvtt else ""
    for k, cue in enumerate(cues, 1):
        mark, text = ".,"[not is_webvtt], "\n".join(cue).replace("&", "&amp;").replace("<", "&lt;")
        written += f"{k}\n00:00:{k:02d}{mark}000 --> 00:00:{k:02d}{mark}500\n{text}\n\n"
    read = timed_cues(written, is_webvtt)
    assert not read.lost
    assert [cue.text.split() for cue in read.cues] == ["\n".join(cue).split() for cue in cues]


@pytest.mark.parametrize("head", [SRT, VTT])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"Open C:\new\home, {name} and {\alpha}.", None),
        ("The answer is\n42", "The answer is 42"),
        ("Use List<String> if x < y and y > z.", None),
        ("one\n\ntwo\n00:00:07\nthree", "one two 00:00:07 three"),
        ("a &notin b &amp;&nbsp;c &lt;d&gt;", "a &notin b & c <d>"),
        ("<b>Bold</b>, <i>so</i> <font color=red>red</font>", "Bold, so red"),
        ("<c.yellow.bg>we</c><00:00:01.500><c> go</c>", "we go"),
        ("<ruby>漢<rt>kan</rt>字<rt>ji</rt></ruby>", "漢字"),
        ("<v.loud Ann Lee>Yes, <v Bo>no", "Ann Lee: Yes, Bo: no"),
    ],
)
def test_text_is_text_and_tags_are_tags(head, text, expected):
    assert said(f"{head}{text}\n\n") == [(1.0, 3.0, expected or text)]


@pytest.mark.parametrize(
    ("timing", "times"),
    [
        ("00:00:01 --> 00:00:03", (1.0, 3.0)),
        ("00:01,5 --> 00:03.25", (1.5, 3.25)),
        ("100:00:01,500 --> 100:00:03,250", (360001.5, 360003.25)),
        ("0:0:1,000-->0:0:3,000  X1:10 X2:20", (1.0, 3.0)),
        ("00:00:01, 000 --> 00:00:03 ,000", (1.0, 3.0)),
        ("00: 00: 01,500 --> 00: 00: 03,250", (1.5, 3.25)),
        ("00：00：01，500 --> 00：00：03，250", (1.5, 3.25)),
        ("00:00:01:500 --> 00:00:03:250", (1.5, 3.25)),
    ],
)
def test_times_in_every_spelling(timing, times):
    for head in ("1\n", "", "WEBVTT\n\n", "WEBVTT\n\nname\n"):
        assert said(f"{head}{timing}\nFirst.\n") == [(*times, "First.")]


def test_style_tags_of_subrip_are_no_text():
    assert said(SRT + "{\\an8}{\\i1}Up{\\i0} {\\pos(1,2)\\c&HFF&}there {b}.\n") == [(1.0, 3.0, "Up there {b}.")]


def test_missing_counters_and_blank_lines():
    timings = [f"00:00:0{k},000 --> 00:00:0{k + 1},000" for k in (1, 2, 3)]
    text = f"{timings[0]}\nOne.\n{timings[1]}\nTwo\n2\n\n{timings[2]}\nIt.\n"
    assert [s for *_, s in said(text)] == ["One.", "Two 2 It."]
    doubled = "\n\n".join(["1", timings[0], "One.", "", "2", timings[1], "Two."])
    assert [s for *_, s in said(doubled)] == ["One.", "Two."]


def test_blocks_of_webvtt_are_no_text(tmp_path):
    text = "\ufeffWEBVTT\rX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:900000\r\rREGION\rid:a\r\r00:01.000 --> 00:02.000\r"
    text += "One.\r\rNOTE two\rlines\r\rSTYLE\r::cue{}\r\rname\r00:03.000 --> 00:04.000 line:0 align:start\rTwo.\r"
    path = tmp_path / "a.vtt"
    path.write_bytes(text.encode())
    assert [(s.start_s, s.end_s, s.text) for s in read_subtitles(path)] == [(1.0, 2.0, "One."), (3.0, 4.0, "Two.")]


def test_a_cue_that_cannot_be_read_is_left_out_and_counted(tmp_path):
    path = tmp_path / "talk.srt"
    path.write_text(
        f"{SRT}Good.\n\n2\n00:00:07,000 --> 00:00:06,900\nOops.\n\n3\n00:00:xx --> 00:00:09,000\nNo.\n"
        "\n4\n00:00:10;000 --> 00:00:12;000\nNeither.\n"
    )
    sentences, (note,) = subtitles_and_notes(path)
    assert [s.text for s in sentences] == ["Good."]
    assert note.startswith(f"{path}: 2 of 3 cues")
    assert "00:00:07,000 --> 00:00:06,900" in note
    assert note in read_texts(tmp_path / "talk.mp4", 20.0, description=())[2]
    path.write_text("1\n00:00:07,000 --> 00:00:06,900\nOops.\n")
    with pytest.raises(ValueError, match="1 of 1 cues"):
        read_subtitles(path)


def test_a_file_that_was_asked_for_has_cues(tmp_path):
    path = tmp_path / "a.vtt"
    path.write_text("WEBVTT\n\n")
    with pytest.raises(ValueError, match=r"a\.vtt: expected subtitles with text, found none"):
        read_texts(tmp_path / "talk.mp4", 20.0, subtitles=path, description=())


def ttml(body, space="http://www.w3.org/ns/ttml", more=""):
    return f'<?xml version="1.0" encoding="utf-16"?>\n<tt xmlns="{space}" {more}><body><div>{body}</div></body></tt>'


WHISPER = {"start": 1.0, "end": 3.0}
PARAMETERS = 'xmlns:ttp="http://www.w3.org/ns/ttml#parameter" ttp:frameRate="25" ttp:tickRate="10000000"'


TWO = '<p begin="1s" end="2s">A</p><p begin="6s" dur="2s">B</p>'
SPANS = '<span begin="1s" end="2s">A</span><span begin="3s" end="9s">B</span>'
IN_TURN = '<p begin="1s" dur="2s">A</p><p begin="1s" dur="2s">B</p>'


@pytest.mark.parametrize(
    ("body", "times_s"),
    [
        (f'<body begin="10s"><div>{TWO}</div></body>', [(11, 12), (16, 18)]),
        (f'<body begin="8s"><div>{TWO}</div></body>', [(9, 10), (14, 16)]),
        (f'<body begin="10s"><div begin="5s">{TWO}</div></body>', [(16, 17), (21, 23)]),
        (f'<body begin="10s" end="17s"><div>{TWO}</div></body>', [(11, 12), (16, 17)]),
        (f'<body><div begin="5s" dur="2s">{TWO}</div></body>', [(6, 7)]),
        (f'<body><div><p begin="5s">{SPANS}</p></div></body>', [(6, 7), (8, 14)]),
        (f'<body><div timeContainer="seq" begin="5s">{IN_TURN}</div></body>', [(6, 8), (9, 11)]),
    ],
)
def test_what_holds_cues_in_ttml_may_begin_itself(body, times_s):
    """It ends, if nothing else is said, with its last cue: ttconv 1.2 counts that from the beginning of its parent."""
    cues = xml_cues(f'<tt xmlns="http://www.w3.org/ns/ttml">{body}</tt>', "a.ttml")
    assert [(cue.start_s, cue.end_s) for cue in cues.cues] == times_s


def test_a_cue_without_an_end_in_what_begins_itself_is_lost():
    cues = xml_cues('<tt xmlns="http://www.w3.org/ns/ttml"><body><div begin="5s"><p>A</p></div></body></tt>', "a.ttml")
    assert (cues.cues, cues.lost) == ([], ("A",))


@pytest.mark.parametrize(
    "content",
    [
        ttml('<p begin="1s" dur="2s">First<br/><span>line.</span></p>'),
        ttml('<p begin="00:00:01:00" end="75f">First line.</p>', more=PARAMETERS),
        ttml('<p begin="10000000t" end="30000000t">First line.</p>', more=PARAMETERS),
        ttml('<p begin="1s" end="3s">First line.</p>', "http://www.w3.org/2006/10/ttaf1"),
        ttml('<p><span begin="1s" end="2s">First</span> <span begin="2s" end="3s">line.</span></p>'),
        '<timedtext format="3">\n<body><p t="1000" d="2000"><s>First</s><s t="9"> line.</s></p></body></timedtext>',
        '<transcript>\n<text start="1" dur="2">First line.</text></transcript>',
        json.dumps(
            {
                "wireMagic": "pb3",
                "events": [
                    {"tStartMs": 0, "id": 1},
                    {
                        "tStartMs": 1000,
                        "dDurationMs": 2000,
                        "segs": [{"utf8": "First"}, {"utf8": " line.", "tOffsetMs": 300}],
                    },
                ],
            },
            indent=1,
        ),
        json.dumps(
            {"text": "x", "segments": [{**WHISPER, "text": " First line.", "words": [{"word": "x"}]}]}, indent=1
        ),
        json.dumps({"chunks": [{"timestamp": [1.0, 3.0], "text": " First line."}]}, indent=1),
        json.dumps({"transcription": [{"offsets": {"from": 1000, "to": 3000}, "text": " First line."}]}, indent=1),
        json.dumps({"words": [{**WHISPER, "word": "First"}, {"word": "line.", "start": 3, "end": 3}]}, indent=1),
        "start\tend\ttext\n1000\t3000\tFirst line.\n",
        "[ar:x]\n[00:01.00]First <00:02.00>line.\n[00:03.00]\n",
        "0:00:01.000,0:00:03.000\nFirst line.\n",
        "0:01\nFirst line.\n\n0:03\n",
        "[00:00:01] First line.\n[00:00:03]\n",
        "[INFORMATION]\n[SUBTITLE]\n00:00:01.00,00:00:03.00\nFirst[br]line.\n",
        "[10][30]First|line.\n[40][50]\n",
        "{1}{1}10\n{10}{30}First|line.\n",
        "{0}{0}10\n{10}{30}First|line.\n",
    ],
)
def test_other_formats_are_the_same_sentence(content):
    assert said(content) == [(1.0, 3.0, "First line.")]


def test_lyrics_whose_last_number_is_no_second_are_in_hundredths():
    assert said("[00:01:50]First.\n[00:03:75]Second.\n[00:04:00]\n") == [(1.5, 3.75, "First."), (3.75, 4.0, "Second.")]


def test_captions_of_american_broadcasts_are_no_hexadecimal_numbers():
    shown = "9420 9420 9470 9470 {} 942f 942f"
    first, second = shown.format("c8e5 ecec efae"), shown.format("57ef f2ec 64ae")
    lines = [f"00:00:01:00\t{first}", "00:00:03:00\t942c 942c", f"00:00:04:00\t{second}", "00:00:06:00\t942c 942c"]
    text = "Scenarist_SCC V1.0\n\n" + "\n\n".join(lines) + "\n"
    assert [words for *_, words in said(text)] == ["Hello.", "World."]
    assert [start_s for start_s, *_ in said(text)] == pytest.approx([1.3, 4.2], abs=0.1), "once it has been sent"


def test_sami_is_read():
    cues = "<SYNC Start=1000><P>First line.\n<SYNC Start=3000><P>Second.\n<SYNC Start=9000><P>&nbsp;"
    assert said(f"<SAMI><BODY>\n{cues}</BODY></SAMI>") == [(1.0, 3.0, "First line."), (3.0, 9.0, "Second.")]


@pytest.mark.parametrize(
    "content",
    ["[10][]First.\n[30][45]Second.\n[90][ ]Third.\n", "{1}{1}10\n{10}{}First.\n{30}{45}Second.\n{90}{0}Third.\n"],
)
def test_a_line_without_an_end_lasts_until_the_next(content):
    assert said(content) == [(1.0, 3.0, "First."), (3.0, 4.5, "Second."), (9.0, 10.0, "Third.")]


def test_transcripts_name_who_speaks():
    text = "Ann Smith  0:01  \nFirst line.\n\nAnn Smith  0:04\nSecond.\n\nBo  1:00:06\nYes.\n"
    assert [s for *_, s in said(text)] == ["Ann Smith: First line.", "Second.", "Bo: Yes."]


@pytest.mark.parametrize(
    "content",
    [
        ttml('<p begin="soon" end="3s">A</p>'),
        ttml('<p begin="5s" end="3s">A</p>'),
        ttml("<p>A</p>"),
        "<tt>\n<body/></tt>",
        "<tt\n>",
        '<!DOCTYPE tt>\n<tt xmlns="http://www.w3.org/ns/ttml"/>',
        '<?xml version="1.0"?>\n<!DOCTYPE a [<!ENTITY b "c">]>\n<tt>&b;</tt>',
        '{"views":\n3}',
        '{"segments": [{"start": 1,\n"end": null, "text": "a"}]}',
        "{25}{50}No rate\n{60}{70}known\n",
        "Scenarist_SCC V1.0\n\nsoon\t9420\n",
        "00:00:01:00 - 00:00:03:00\nAnn\nHello.\n\n00:00:04:00 - 00:00:06:00\nBo\nYes.\n",
    ],
)
def test_what_cannot_be_read_is_refused_in_words(content):
    with pytest.raises(ValueError, match="the subtitle text: expected"):
        as_sentences(content)


def ebu_stl(*cues, start="10000000"):
    """A file of cues (in and out in frames of 1/25 s, text), whose programme starts at some time code."""
    count = f"{len(cues):05d}" * 2
    head = f"850STL25.0100009{'Title':<222}{count}00140231{start}{start}11FRA"
    blocks = [
        struct.pack("<BHBB", 0, number, 255, 0) + bytes([*code(begin), *code(end), 20, 2, 0]) + text.ljust(112, b"\x8f")
        for number, (begin, end, text) in enumerate(cues)
    ]
    return head.ljust(1024).encode() + b"".join(blocks)


def code(frames):
    return frames // 90000, frames // 1500 % 60, frames // 25 % 60, frames % 25


def test_subtitles_of_european_broadcasts_are_read(tmp_path):
    """Their programmes start at ten o'clock; letters and their accents are two bytes."""
    at = 10 * 90000
    path = tmp_path / "film.stl"
    path.write_bytes(
        ebu_stl((at + 25, at + 75, b"Bonjour \xc1a va ?"), (at + 80, at + 130, b"O\xc1u est-ce\x8aque c'est ?"))
    )
    sentences = read_subtitles(path)
    assert [(one.text, one.start_s, one.end_s) for one in sentences] == [
        ("Bonjour \u00e0 va ?", 1.0, 3.0),
        ("O\u00f9 est-ce que c'est ?", 3.2, 5.2),
    ]


def test_a_cue_of_european_broadcasts_that_never_ends_is_refused(tmp_path):
    path, whole = tmp_path / "film.stl", ebu_stl(*[(25, 75, b"Bonjour")] * 30)
    path.write_bytes(whole[:1024] + whole[1024:].replace(b"\xff", b"\x01"))
    with pytest.raises(ValueError, match=r"film.stl: expected EBU STL, found a cue of over 20 blocks"):
        read_subtitles(path)
