"""Videos by their address, from a server that the test starts."""

import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from hiersum_hf.cli.main import main
from hiersum_hf.inference import fetch as fetching
from hiersum_hf.inference.fetch import fetch, folder_of
from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.texts.find import read_texts
from hiersum_hf.video.reader import probe
from tests.makers.videos import write_video


pytest.importorskip("yt_dlp")

LIST = '<rss version="2.0"><channel><title>t</title>{}</channel></rss>'
ITEM = "<item><title>{0}</title><link>http://localhost/{0}.mp4</link></item>"

WATCH = """<html><head><title>How to cut wood</title><meta name="description" content="Mark it. Cut it."></head><body>
<video src="talk.mp4"><track kind="subtitles" srclang="de" src="words.de.vtt">
<track kind="subtitles" srclang="en" src="words.en.vtt"></video></body></html>"""
WORDS = "WEBVTT\n\n00:00.500 --> 00:02.000\n{}\n"


class Server(ThreadingHTTPServer):
    """Serve one video, a page without one, a playlist, a live stream, and a stream without an end."""

    def __init__(self, video):
        super().__init__(("127.0.0.1", 0), Handler)
        self.video, self.asked, self.break_at = video, [], None
        self.address = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args): ...

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Range")))
        pages = {
            "/page": ("text/html", b"<html><title>No video</title><p>Only words.</p></html>"),
            "/list": ("application/rss+xml", LIST.format(ITEM.format("a") + ITEM.format("b")).encode()),
            "/watch": ("text/html", WATCH.encode()),
            "/words.en.vtt": ("text/vtt", WORDS.format("We cut the wood.").encode()),
            "/words.de.vtt": ("text/vtt", WORDS.format("Wir schneiden das Holz.").encode()),
            "/live.m3u8": ("application/x-mpegURL", b"#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\n0.ts\n"),
        }
        if self.path.endswith("/talk.mp4"):
            self.send_video()
        elif self.path == "/endless.mp4":
            self.begin(200, "video/mp4")
            while self.command == "GET":
                try:
                    self.wfile.write(self.server.video)
                except OSError:
                    return
        elif self.path in pages:
            kind, content = pages[self.path]
            self.begin(200, kind, len(content))
            self.wfile.write(content)
        else:
            self.send_error(403 if self.path == "/private.mp4" else 404)

    def begin(self, code, kind, length=None, **headers):
        self.send_response(code)
        self.send_header("Content-Type", kind)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def send_video(self):
        whole = self.server.video
        start = int(re.findall(r"\d+", self.headers.get("Range") or "0")[0])
        told = {"Content_Range": f"bytes {start}-{len(whole) - 1}/{len(whole)}"} if "Range" in self.headers else {}
        self.begin(206 if told else 200, "video/mp4", len(whole) - start, **told)
        if self.command == "GET":
            self.wfile.write(whole[start : self.server.break_at])


@pytest.fixture
def server(tmp_path):
    write_video(tmp_path / "source.mp4")
    server = Server((tmp_path / "source.mp4").read_bytes())
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_video_is_fetched_once_with_what_is_told_of_it(server, tmp_path):
    address = f"{server.address}/talk.mp4"
    video = fetch(address, tmp_path / "downloads")
    assert video == folder_of(address, tmp_path / "downloads") / "talk.mp4"
    assert video.read_bytes() == server.video
    assert video.with_suffix(".info.json").is_file()
    server.asked.clear()
    assert fetch(address, tmp_path / "downloads") == video
    assert not server.asked
    assert fetch(f"{server.address}/other/talk.mp4", tmp_path / "downloads") != video


@pytest.mark.parametrize(
    ("language", "said"), [(None, "We cut the wood."), ("de", "Wir schneiden das Holz."), ("fr", None)]
)
def test_subtitles_and_description_of_a_page_are_read(server, tmp_path, language, said):
    video = fetch(f"{server.address}/watch", tmp_path, language)
    sentences, description, _ = read_texts(video, 3.0)
    assert [sentence.text for sentence in sentences] == ([said] if said else [])
    assert description[0].startswith("How to cut wood")  # yt-dlp numbers what it finds in a page


def test_a_private_video_says_how_to_get_it(server, tmp_path, monkeypatch):
    """As the extractor for YouTube refuses it; the flags that it advises are yt-dlp's."""

    def refuse(self, url):
        hint = self._login_hint(method="cookies")
        self.raise_no_formats(
            f"Private video. Sign in if you've been granted access to this video. {hint}", expected=True, video_id="x"
        )

    monkeypatch.setattr("yt_dlp.extractor.generic.GenericIE._real_extract", refuse)
    with pytest.raises(HierSumError) as refused:
        fetch(f"{server.address}/talk.mp4", tmp_path)
    assert str(refused.value) == (
        f"{server.address}/talk.mp4: expected a video that can be fetched, found: Private video. Sign in if you've "
        "been granted access to this video. Fetch it with yt-dlp itself, which can sign in (--cookies-from-browser), "
        "and give the file."
    )


def test_an_interrupted_fetch_goes_on_where_it_broke_off(server, tmp_path, monkeypatch):
    address, half = f"{server.address}/talk.mp4", len(server.video) // 2
    part = folder_of(address, tmp_path) / "talk.mp4.part"

    def interrupt(self, state):
        raise KeyboardInterrupt

    server.break_at = half
    with monkeypatch.context() as patched:
        patched.setattr(fetching._Limits, "__call__", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fetch(address, tmp_path)
    begun = part.stat().st_size
    assert begun
    server.break_at = None
    server.asked.clear()
    assert fetch(address, tmp_path).read_bytes() == server.video
    assert ("/talk.mp4", f"bytes={begun}-") in server.asked
    assert not part.exists()


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/gone.mp4", "404"),
        ("/private.mp4", "403"),
        ("/page", "found: a page without a video"),
        ("/list", "found a playlist. Give its videos one by one: hiersum summarize 'http://localhost/a.mp4'"),
        ("/live.m3u8", "found a live stream"),
        ("/endless.mp4", "found more, or a stream without an end"),
    ],
)
def test_what_is_no_video_is_refused_in_a_line_that_names_the_address(server, tmp_path, monkeypatch, path, told):
    monkeypatch.setattr(fetching, "MAX_BYTES", 2**20)
    with pytest.raises(HierSumError) as refused:
        fetch(f"{server.address}{path}", tmp_path)
    assert str(refused.value).startswith(f"{server.address}{path}: expected ")
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not [*tmp_path.rglob("*.part")], "up to 8 GB that nobody goes on with"


def test_the_command_names_the_folder_first_and_reads_the_video_from_it(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("hiersum_hf.inference.scorer.load_video_encoder", None)
    address, out = f"{server.address}/talk.mp4", tmp_path / "out"
    command = ["summarize", address, "--output", str(out), "--dry-run"]
    assert main(command) == 0
    folder = folder_of(address, out / "downloads")
    assert f"note: {address} would be fetched to {folder}" in capsys.readouterr().err
    assert not server.asked
    fetch(address, out / "downloads")
    assert main(command) == 0
    assert f"{folder / 'talk.mp4'}: 3.0 s" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/talk.mp4", "/watch"])
def test_an_address_becomes_a_short_video(server, tmp_path, capsys, path):
    pytest.importorskip("efficientnet_lite_pytorch")
    out = tmp_path / "out"
    assert main(["summarize", f"{server.address}{path}", "--output", str(out), "--budget", "1s"]) == 0
    (made,) = out.rglob("summary.mp4")
    assert 0 < probe(made).duration_s < 2
    assert ("We cut the wood." in made.with_name("summary.html").read_text()) == (path == "/watch")
    server.asked.clear()
    assert main(["summarize", f"{server.address}{path}", "--output", str(out), "--budget", "2s", "--overwrite"]) == 0
    assert not server.asked, "never twice"


def test_a_missing_package_is_named_with_its_install_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "yt_dlp", None)
    assert main(["summarize", "https://localhost/talk.mp4", "--output", str(tmp_path)]) == 2
    assert 'pip install "hiersum-hf[url]"' in capsys.readouterr().err
