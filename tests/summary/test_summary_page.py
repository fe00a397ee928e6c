"""The page of a summary: nothing from a video or a subtitle file may become markup or code, nothing is fetched."""

import io
import json
from base64 import b64decode
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from hiersum_hf.records import Budget, Segment, Sentence, Summary
from hiersum_hf.summary.page import summary_page


HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> & \"quoted\" 'text' <!-- \u2028"


class Page(HTMLParser):
    """Elements with their attributes, and the text of each kind of element."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self.open = [], {}, []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        self.texts.setdefault(self.open[-1] if self.open else "", []).append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def page():
    key = {"start_s": 2.5, "end_s": 3.5, "text": HOSTILE, "score": 0.5}
    summary = Summary(
        video=HOSTILE,
        duration_s=10.0,
        budget=Budget("ratio", 0.3, 3.0),
        level="both",
        scorer="checkpoint",
        fallback=False,
        segments=(Segment(2.0, 4.0, 0.5), Segment(8.0, 9.0, 0.25)),
        key_sentences=(key,),
        shots=({"start_s": 0.0, "end_s": 10.0, "score": 0.5, "selected": False},),
        scores={"times_s": [0.0, 5.0], "values": [0.0, 1.0]},
        checkpoint=HOSTILE,
        encoders={"video": None, "text": None},
        warnings=(HOSTILE,),
    )
    pictures = {1: np.full((18, 32, 3), 200, np.uint8)}
    return Page(summary_page(summary, [Sentence(HOSTILE, 2.5, 3.5)], "../talk%231.mp4", pictures))


def test_hostile_texts_stay_texts(page):
    assert [attributes.get("type") for attributes in page.all("script")] == ["application/json", None]
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert page.texts["h1"] == [HOSTILE]
    assert page.texts["li"] == [HOSTILE]
    assert HOSTILE in page.texts["span"]


def test_the_script_knows_the_segments_on_both_clocks(page):
    data = json.loads(page.texts["script"][0])
    assert data["source"] == "../talk%231.mp4"
    assert data["segments"] == [
        {"start_s": 2.0, "end_s": 4.0, "begin_s": 0.0},
        {"start_s": 8.0, "end_s": 9.0, "begin_s": 2.0},
    ]
    assert data["sentences"] == [{"start_s": 2.5, "end_s": 3.5, "text": HOSTILE}]


def test_nothing_is_fetched_but_the_video(page):
    links = [value for _, attributes in page.elements for key, value in attributes.items() if key in ("src", "href")]
    assert links[0] == "summary.mp4"
    assert len(links) == 2
    picture = Image.open(io.BytesIO(b64decode(links[1].removeprefix("data:image/jpeg;base64,"))))
    assert picture.size == (32, 18)
    assert "http" not in "".join(page.texts["script"] + page.texts["style"])


def test_each_segment_is_a_button_and_a_band_of_the_curve(page):
    assert len(page.all("button")) == 3  # one plays the summary
    assert [(band["x"], band["width"]) for band in page.all("rect") if "x" in band] == [
        ("200.00", "200.00"),
        ("800.00", "100.00"),
    ]


@pytest.mark.parametrize("short", [True, False])
def test_the_page_links_the_short_video_that_lies_beside_it(short):
    summary = Summary(
        "talk.mp4", 10.0, Budget("ratio", 0.3, 3.0), "both", "ridge", False, (Segment(2.0, 4.0, 0.5),), (), (),
        {"times_s": [0.0], "values": [0.0]}, None, {"video": None, "text": None}, (),
    )  # fmt: skip
    linked = Page(summary_page(summary, [], "talk.mp4", {}, short))
    assert linked.all("a") == [{"href": "summary.mp4"}] * short
