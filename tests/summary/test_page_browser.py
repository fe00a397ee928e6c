"""The page of a summary in a real browser: no error, nothing fetched, and a click goes to the moment."""

import shutil

import av
import numpy as np
import pytest

from hiersum_hf.records import Sentence
from hiersum_hf.summary.files import write_summary
from tests.makers.summaries import make_summary


SAID = "<img src=x onerror=alert(1)> & </script><script>alert(2)</script>"
SENTENCES = (Sentence("At first.", 0.0, 1.0), Sentence(SAID, 5.0, 6.0))


@pytest.fixture
def page(browser, tmp_path):
    """The page of a video of 6 s with segments from 2 to 4 s and 5 to 6 s; `told` has what the browser complains of."""
    source = tmp_path / "it's #1 & 50%20.webm"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("libvpx", rate=10, options={"g": "5"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(60):
            image = np.full((48, 64, 3), 4 * i, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    folder = write_summary(make_summary(source.name, sentences=SENTENCES[1:]), source, tmp_path / "out", SENTENCES)
    page = browser.new_page()
    page.told, page.source, page.address = [], source, (folder / "summary.html").as_uri()
    page.on("console", lambda message: page.told.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.told.append(str(error)))
    page.on("requestfailed", lambda request: page.told.append(request.url))
    page.on("dialog", lambda dialog: (page.told.append(dialog.message), dialog.dismiss()))
    return page


def shown(page, second):
    """Waits until the player shows this moment of its video."""
    page.wait_for_function(f"Math.abs(video.currentTime - {second}) < 0.2 && !video.seeking && video.readyState > 1")


@pytest.mark.slow
def test_a_click_on_a_segment_or_the_curve_goes_there(page):
    page.goto(page.address)
    shown(page, 2)
    cards = page.locator("ol button")
    assert [card.split("\n")[0] for card in cards.all_inner_texts()] == [
        "0:02 to 0:04 score 0.90",
        "0:05 to 0:06 score 0.50",
    ]
    assert page.evaluate("[...document.images].map(image => image.naturalWidth)") == [320, 320]
    cards.nth(1).click()
    shown(page, 5)
    assert page.locator("#said").inner_text() == SAID
    assert [("on" in (card.get_attribute("class") or "")) for card in cards.all()] == [False, True]
    cards.nth(0).click()
    shown(page, 2)
    box = page.locator("#curve").bounding_box()
    page.locator("#curve").click(position={"x": box["width"] * 0.75, "y": 20})
    shown(page, 4.5)
    page.locator("#curve").click(position={"x": box["width"] * 0.1, "y": 20})
    shown(page, 0.6)
    assert page.locator("#said").inner_text() == "At first."
    page.goto("about:blank")
    page.goto(f"{page.address}#t=5.00")
    shown(page, 5)
    assert page.told == []


@pytest.mark.slow
def test_the_player_shows_the_summary_until_somebody_goes_elsewhere(page):
    page.goto(page.address)
    shown(page, 2)
    page.evaluate("seen = []; video.addEventListener('timeupdate', () => seen.push(video.currentTime)); video.play()")
    page.wait_for_function("video.paused && video.currentTime >= 5.9")
    assert page.evaluate("seen.filter(t => t < 1.9 || (t > 4.3 && t < 5))") == []
    play = page.locator("#play")
    assert play.inner_text() == "Play the whole video"
    page.evaluate("video.currentTime = 1")  # as the player's own bar does
    page.get_by_text("Play only the summary").wait_for()
    page.evaluate("video.play()")
    page.wait_for_function("video.currentTime > 1.3 && video.currentTime < 1.9")
    play.click()
    page.wait_for_function("video.currentTime >= 2 && video.currentTime < 4 && !video.paused")
    assert play.inner_text() == "Play the whole video"


@pytest.mark.slow
def test_without_the_source_the_page_shows_the_summary_and_a_click_goes_to_its_part(page):
    page.goto(page.address)
    if not page.evaluate("""video.canPlayType('video/mp4; codecs="avc1.64001f"')"""):
        pytest.skip("this browser plays no H.264")
    shutil.move(page.source, page.source.with_suffix(".moved"))
    page.reload()
    page.get_by_text("The source video cannot be played here: this is summary.mp4.").wait_for()
    assert page.locator("#play").is_hidden()
    page.locator("ol button").nth(1).click()
    shown(page, 2)  # 5 s of the source
    assert page.locator("#said").inner_text() == SAID
