"""A real browser that plays a video to its end, and what it says of it."""

import functools
import http.server
import os
import queue
import shutil
import subprocess
import threading

import pytest

from tests.conftest import BROWSERS


PAGE = """<video id=video muted src="{name}"></video><script>
const tell = text => fetch("/", {{method: "POST", body: text}})
video.onerror = () => tell("error " + video.error.message)
video.onended = () => tell("ended " + video.currentTime.toFixed(2) + " "
  + video.getVideoPlaybackQuality().totalVideoFrames)
video.play().catch(error => tell("error " + error))
</script>"""


def played(path):
    """("ended", second, pictures) or ("error", ...) of a video in a folder of its own."""
    browser = os.environ.get("HIERSUM_TEST_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("no Chromium here: set HIERSUM_TEST_BROWSER to one")
    told = queue.Queue()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_POST(self):
            told.put(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(200)
            self.end_headers()

    (path.parent / "page.html").write_text(PAGE.format(name=path.name))
    handler = functools.partial(Handler, directory=str(path.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        switches = ["--headless", "--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required"]
        profile, page = f"--user-data-dir={path.parent / 'profile'}", f"http://127.0.0.1:{server.server_port}/page.html"
        process = subprocess.Popen([browser, *switches, profile, page], stderr=subprocess.DEVNULL)
        try:
            return tuple(told.get(timeout=60).split())
        finally:
            process.terminate()
            process.wait()
            server.shutdown()
