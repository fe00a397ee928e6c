"""The app: what strangers upload is checked, kept apart and deleted, and what they get can be watched."""

import re
import shutil
import socket
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import unquote
from urllib.request import urlopen

import av
import pytest

from hiersum_hf import HierSumConfig, HierSumModel
from hiersum_hf.app.page import GENERAL_RULE, MADE_UP, judge_of, launch, lengths, view
from hiersum_hf.app.visits import KEEP_S, MAX_DESCRIPTION, Visits, for_visitors, safe_name, score_upload
from hiersum_hf.cli.main import main
from hiersum_hf.summary.files import FILES
from hiersum_hf.video.reader import probe
from tests.makers.limits import small_disk


SAID = "1\n00:00:00,200 --> 00:00:02,000\nGreen <script>document.title = 'stolen'</script> & ${document.title = 1}.\n"


@pytest.fixture
def upload(tmp_path, clip):
    """Puts a file where the server would: a folder for each content, the visitor's name."""

    def put(name="my talk.webm", content=None):
        content = clip.read_bytes() if content is None else content
        path = tmp_path / "uploads" / str(hash(content)) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    return put


def folders(root):
    return sorted(path.name for path in Path(root).iterdir()) if Path(root).exists() else []


def test_an_upload_becomes_a_page_and_files_to_download(scorer, upload, tmp_path):
    visits = Visits(scorer, tmp_path / "visits")
    given = upload(), upload("said.srt", SAID.encode()), "Colours\n\nAnd <b>more</b>"
    made = visits.start("one", *given, "50%")
    scored = visits.of["one"].scored
    assert scored.record.description == ("Colours", "And <b>more</b>")
    assert "No checkpoint given" in " ".join(scored.warnings)
    html = view(made, tmp_path / "visits")
    addresses = [unquote(one) for one in re.findall(r'(?:src|href|poster)="summaries/([^"]+)"', html)]
    assert str(tmp_path) not in html
    assert all((tmp_path / "visits" / address).is_file() for address in addresses)
    shown = {"summary.mp4", "summary.html", "my_talk-summary-3s.zip", "my_talk-summary-3s.jpg"}
    assert {Path(address).name for address in addresses} == shown
    with zipfile.ZipFile(made.archive) as archive:
        assert {Path(name).name for name in archive.namelist() if not name.endswith("/")} == {*FILES}
    page = (made.folder / "summary.html").read_text()
    assert '"source": "../my_talk.webm"' in page, "the player finds the video beside the summary's folder"
    assert "<script>document" not in page + html
    assert "<b>more" not in html
    assert html.index("<video") < html.index("<iframe"), "the short video first"
    assert 'sandbox="allow-scripts"' in html


def test_another_length_follows_without_reading_the_video_again(scorer, upload, tmp_path, monkeypatch):
    visits = Visits(scorer, tmp_path)
    assert visits.again("one", "3s") is None, "nothing was uploaded yet"
    visits.start("one", upload(), None, None, "80%")
    monkeypatch.setattr("hiersum_hf.app.visits.score_video", None)
    short = visits.again("one", "1.2s").folder
    assert probe(short / "summary.mp4").duration_s < 1.5
    written = (short / "summary.json").stat().st_mtime_ns
    visits.start("one", upload(), None, None, "1.2s")
    assert (short / "summary.json").stat().st_mtime_ns == written, "made once"


def test_the_length_is_asked_for_in_units_that_suit_the_video():
    assert (lengths(6)["value"], lengths(6)["maximum"], lengths(6)["step"]) == (pytest.approx(0.9), 3.0, 0.1)
    assert lengths(87.6)["maximum"] == 44, "a whole number of steps"
    assert "in seconds (your video has 1:30)" in lengths(90)["label"]
    assert (lengths(1200)["value"], lengths(1200)["maximum"]) == (pytest.approx(3), 10.0)
    assert "in minutes (your video has 20:00)" in lengths(1200)["label"]


def test_visitors_are_told_what_chooses(scorer, tmp_path):
    assert judge_of(scorer) == GENERAL_RULE
    network = HierSumModel(HierSumConfig(video_dim=4, text_dim=4, hidden_size=16, num_layers=1))
    real = replace(scorer, networks=(network,), checkpoint=str(tmp_path))
    assert judge_of(real) == f"The model `{tmp_path.name}` chooses."
    network.config.trained_on = [{"dataset": "demo", "split": "demo"}]
    assert MADE_UP in judge_of(real)


def test_visitors_have_nothing_in_common(scorer, upload, tmp_path):
    root = tmp_path / "visits"
    visits = Visits(scorer, root)
    pages = [view(visits.start(who, upload("talk.webm"), None, "", "50%"), root) for who in ("one", "two")]
    one, two = (visits.of[who].folder for who in ("one", "two"))
    assert one != two
    assert len(one.name) >= 20, "not to be guessed"
    assert one.stat().st_mode & 0o077 == 0
    assert two.name not in pages[0]
    visits.end("one")
    assert folders(root) == [two.name]
    assert upload("talk.webm").exists(), "equal uploads are one file: the other visitor may need it"
    visits.start("two", upload("talk.webm"), None, "new", "50%")
    assert folders(root) == [visits.of["two"].folder.name] != [two.name]
    assert visits.of["two"].uploads[0].path.exists(), "its new visit needs it"
    kept = visits.of["two"].uploads[0].path
    visits.end("two")
    visits.end("never seen")
    assert folders(root) == []
    assert not kept.exists()


def test_what_was_never_closed_goes_after_an_hour(scorer, upload, tmp_path):
    visits = Visits(scorer, tmp_path / "visits")
    visits.start("gone", upload(), None, "", "50%")
    visits.of["gone"] = replace(visits.of["gone"], since_s=time.monotonic() - KEEP_S - 1)
    visits.start("new", upload(), None, "", "50%")
    assert folders(tmp_path / "visits") == [visits.of["new"].folder.name]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("talk.mp4", b"just text\n" * 20, "expected a readable video"),
        ("talk.mp4", b"", "expected a readable video"),
        ("talk.mp4", b"ffconcat version 1.0\nfile clip.webm\n", "expected a readable video"),
        ("talk.mp4", b"#EXTM3U\n#EXTINF:10,\nclip.webm\n#EXT-X-ENDLIST\n", "expected a readable video"),
        ("talk.ts", b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n", "expected a readable video"),
        ("talk.mkv", b'<?xml version="1.0"?>\n<MPD><BaseURL>clip.webm</BaseURL></MPD>\n', "expected a readable video"),
        ("talk.html", None, "expected a file ending in .mp4"),
        ("talk", None, "expected a file ending in .mp4"),
        ("talk.webm", b"0" * 2_000_000, "expected at most 1 MB, found 2.0 MB"),
    ],
)
def test_what_is_no_video_is_refused(scorer, upload, tmp_path, name, content, said):
    shutil.copy(upload(), tmp_path / "clip.webm")
    with pytest.raises(ValueError, match=f"^{re.escape(name)}: {said}"):
        score_upload(scorer, tmp_path / "visits", upload(name, content), max_upload_mb=1)
    assert folders(tmp_path / "visits") == []


def test_what_would_keep_the_others_waiting_is_refused(scorer, tmp_path):
    path = tmp_path / "week.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx", rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for pts in range(0, 5 * 3600 + 1, 1800):
            frame = av.VideoFrame(64, 48, "yuv420p")
            frame.pts = pts
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(ValueError, match=r"^week\.mkv: expected at most 4 hours of video, found 5\.0"):
        score_upload(scorer, tmp_path / "visits", path)


def test_other_input_is_refused_by_the_names_the_visitor_knows(scorer, upload, tmp_path):
    root = tmp_path / "visits"
    with pytest.raises(ValueError, match="Expected a video, found none"):
        score_upload(scorer, root, None, upload("said.srt", SAID.encode()))
    with pytest.raises(ValueError, match=r"^said\.srt: expected at most 5 MB"):
        score_upload(scorer, root, upload(), upload("said.srt", b"a" * 6_000_000))
    with pytest.raises(ValueError, match=r"^said\.srt: expected.*") as refused:
        score_upload(scorer, root, upload(), upload("said.srt", b"\0\1\2" * 50))
    assert str(tmp_path) not in str(refused.value)
    with pytest.raises(ValueError, match=f"at most {MAX_DESCRIPTION} letters"):
        score_upload(scorer, root, upload(), None, "a" * (MAX_DESCRIPTION + 1))
    with pytest.raises(ValueError, match="found it deleted"):
        score_upload(scorer, root, tmp_path / "gone.mp4")
    assert folders(root) == []


def test_notes_name_files_as_the_visitor_does(scorer, upload, tmp_path):
    late = upload("late.srt", b"1\n00:00:01,000 --> 00:00:02,000\nNow.\n\n2\n00:01:00,000 --> 00:01:01,000\nLate.\n")
    visit = score_upload(scorer, tmp_path / "visits", upload(), late)
    (note,) = [note for note in visit.scored.warnings if "late.srt" in note]
    assert note.startswith("late.srt")
    assert str(tmp_path) not in note


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/srv/my app/visits/Xy-1/talk.mp4: expected room for it", "talk.mp4: expected room for it"),
        ("No space left on device: '/tmp/h/uploads/ab/talk.mp4'", "No space left on device: 'talk.mp4'"),
        ("['/srv/my app/visits/Xy-1/x/frames.npz'] 3/4 and/or 24 / 25", r"\['frames.npz'\] 3/4 and/or 24 / 25"),
        ("see https://example.org/a/b", "see https://example.org/a/b"),
    ],
)
def test_visitors_see_no_folder_of_the_server(text, shown):
    assert re.fullmatch(shown, for_visitors(text, Path("/srv/my app/visits")))


def test_a_disk_that_was_full_leaves_nothing_half_made(scorer, upload, tmp_path, monkeypatch):
    """Cut short while the files are written, and while the archive is."""

    def archived(*given):
        with small_disk():
            return pack(*given)

    visit = score_upload(scorer, tmp_path / "visits", upload())
    with small_disk(), pytest.raises(OSError, match="summary-3s: the disk is full"):
        visit.summarize("50%")
    pack = shutil.make_archive
    monkeypatch.setattr(shutil, "make_archive", archived)
    with pytest.raises(OSError, match="too large"):
        visit.summarize("50%")
    monkeypatch.setattr(shutil, "make_archive", pack)
    assert not list(visit.folder.glob("*.zip"))
    made = visit.summarize("50%")
    assert zipfile.is_zipfile(made.archive)
    names = [made.folder.name, made.poster.name, made.archive.name, "my_talk.webm"]
    assert sorted(path.name for path in visit.folder.iterdir()) == names


def test_a_description_is_never_a_path(scorer, upload, tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    visit = score_upload(scorer, tmp_path / "visits", upload(), None, str(tmp_path / "secret.txt"))
    assert visit.scored.record.description == (str(tmp_path / "secret.txt"),)


def test_texts_of_others_are_not_found_beside_the_video(scorer, upload, tmp_path):
    (upload("talk.webm").parent / "talk.srt").write_text(SAID)
    visit = score_upload(scorer, tmp_path / "visits", upload("talk.webm"))
    assert visit.scored.sentences == ()


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("talk.mp4", "talk.mp4"),
        ("../../etc/passwd.mp4", "passwd.mp4"),
        ("..mp4", "video.mp4"),
        ("<img src=x onerror=alert(1)>.MP4", "img_src_x_onerror_alert_1.mp4"),
        ("a'b\"c${d}{{e}}\n.mkv", "a_b_c_d_e.mkv"),
        ("Überblick 日本.webm", "Überblick_日本.webm"),
        ("a" * 300 + ".mp4", "a" * 60 + ".mp4"),
        ("𠀀" * 60 + ".mp4", "𠀀" * 15 + ".mp4"),
    ],
)
def test_names_are_made_harmless(name, safe):
    assert safe_name(name) == safe


def test_the_command_says_what_is_wrong(capsys, monkeypatch):
    assert main(["app", "--max-upload-mb", "0"]) == 2
    assert "--max-upload-mb: expected a positive number, found 0.0" in capsys.readouterr().err
    assert main(["app", "--port", "70000"]) == 2
    assert "--port: expected a number from 1 to 65535" in capsys.readouterr().err
    monkeypatch.setattr("hiersum_hf.cli.app.find_spec", lambda name: True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["app", "--port", str(taken.getsockname()[1])]) == 2
    assert "in use" in capsys.readouterr().err
    monkeypatch.setattr("hiersum_hf.cli.app.find_spec", lambda name: None)
    assert main(["app"]) == 2
    assert 'pip install "hiersum-hf[app]"' in capsys.readouterr().err


@pytest.fixture
def served(scorer, tmp_path, monkeypatch):
    """The app's address."""
    pytest.importorskip("gradio", reason="Gradio is not installed")
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")  # put back after the test
    with launch(scorer, tmp_path / "server", max_upload_mb=1) as page:
        yield page.local_url
    page.close(verbose=False)


def status(address: str) -> int:
    try:
        with urlopen(address) as answer:
            return answer.status
    except HTTPError as error:
        return error.code


@pytest.mark.slow
def test_the_server_gives_out_nothing_else(served, tmp_path):
    (tmp_path / "server" / "visits").mkdir(parents=True)
    (tmp_path / "server" / "secret.txt").write_text("secret")
    files = f"{served}gradio_api/file="
    assert status(served) == 200
    for path in ("/etc/passwd", tmp_path / "server" / "visits", tmp_path / "server" / "secret.txt", __file__):
        assert status(f"{files}{path}") == 403, path
    assert status(f"{files}{tmp_path}/server/visits/../secret.txt") == 403
    for path in ("", "..%2fsecret.txt", "%2e%2e/secret.txt", "/etc/passwd"):
        assert status(f"{served}summaries/{path}") == 404, path


def visit(browser, address):
    page = browser.new_context().new_page()
    page.goto(address)
    page.get_by_role("button", name="Make the short video").wait_for()
    return page


def summarized(page, video, subtitles=None):
    """Uploads, presses the button and gives the frame within the whole video, whose player has read it."""
    inputs = page.locator("input[type=file]")
    inputs.nth(0).set_input_files(video)
    page.get_by_text("your video has 0:06").wait_for()
    if subtitles is not None:
        page.get_by_text("Subtitles and steps").click()
        inputs.last.set_input_files(subtitles)
        page.get_by_text(subtitles.stem).first.wait_for()
    page.get_by_role("button", name="Make the short video").click()
    page.get_by_title("Short video", exact=True).wait_for()
    page.get_by_text("within the whole video").click()
    page.locator("iframe[title=Summary]").wait_for()
    frame = page.locator("iframe[title=Summary]").element_handle().content_frame()
    frame.wait_for_function("document.getElementById('video')?.readyState > 0")
    return frame


@pytest.mark.slow
def test_two_visitors_in_a_real_browser(served, browser, upload, tmp_path):
    one, two = visit(browser, served), visit(browser, served)
    frame = summarized(one, upload("first.webm"), upload("said.srt", SAID.encode()))
    other = summarized(two, upload("<b>second.webm", upload().read_bytes() + b"\0"))
    one.wait_for_function("document.querySelector('video[title=\\'Short video\\']').readyState > 0")
    assert str(tmp_path) not in one.inner_html(".short") + frame.content(), "no folder of the server"
    assert frame.locator("h1").inner_text() == "first.webm"
    assert "second" in other.locator("h1").inner_text()
    assert "first.webm" not in two.content() + other.content()
    for card in (frame.locator("ol button").last, frame.locator("ol button").first):
        card.click()
        begin_s = int(re.match(r"0:(\d\d)", card.inner_text())[1])
        frame.wait_for_function(f"Math.floor(video.currentTime) === {begin_s} && !video.seeking")
    assert one.title() == "Short video", "no text of a file was run"
    assert frame.title() == "first.webm: summary"
    link = one.get_by_role("link", name="everything as .zip")
    link.scroll_into_view_if_needed()
    one.wait_for_timeout(500)  # a click at once would still meet the frame that was there
    with one.expect_download() as download:
        link.click()
    assert download.value.suggested_filename == "first-summary-0.9s.zip"
    address = frame.url
    assert status(address) == 200
    one.context.close()
    two.wait_for_timeout(2000)
    assert status(address) == 404, "deleted when the page is closed"
    assert status(other.url) == 200
    assert len(folders(tmp_path / "server" / "visits")) == 1


@pytest.mark.slow
def test_a_browser_is_told_what_is_refused(served, browser, upload):
    page = visit(browser, served)
    page.locator("input[type=file]").nth(0).set_input_files(upload("large.webm", b"0" * 2_000_000))
    page.get_by_text("exceed the maximum allowed size").wait_for()
    page = visit(browser, served)
    page.locator("input[type=file]").nth(0).set_input_files(upload("text.mp4", b"just text\n" * 20))
    page.get_by_text("text.mp4: expected a readable video").wait_for()
