#!/usr/bin/env bash
# yt-dlp 2026.10.26: the title of a page's only video gets a number that the page does not have.
#
# Guess: a page with a title and one video gives a video with the page's title, as a link to the file gives its name.
# Seen: with one <video> in the page the title is "Soup in ten minutes (1)" and the id "soup-1", though there is no second
#   one, and the page's own title is nowhere in the answer. A program that shows titles, or finds what it fetched before
#   by the id, has to know.
#
#   one video, no playlist: title 'Soup in ten minutes (1)', id 'soup-1'
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet yt-dlp==2026.10.26 av==18.1.0 numpy
cd "$place"
"$place/venv/bin/python" - <<'PY'
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
import yt_dlp

with av.open("soup.mp4", "w") as target:
    stream = target.add_stream("mpeg4", rate=10)
    stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
    for level in range(0, 200, 20):
        target.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((64, 64, 3), level, np.uint8), format="rgb24")))
    target.mux(stream.encode(None))
Path("soup.html").write_text(
    "<!DOCTYPE html><html><head><title>Soup in ten minutes</title></head>"
    '<body><video controls><source src="soup.mp4" type="video/mp4"></video></body></html>'
)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory="."))
threading.Thread(target=server.serve_forever, daemon=True).start()
with yt_dlp.YoutubeDL({"quiet": True, "no_warnings": True}) as loader:
    found = loader.extract_info(f"http://127.0.0.1:{server.server_port}/soup.html", download=False)
print(f"one video, no playlist: title {found['title']!r}, id {found['id']!r}")
assert "entries" not in found and found["title"] == found["fulltitle"] == "Soup in ten minutes (1)", found
assert found["id"] == "soup-1" and "Soup in ten minutes" not in [str(value) for value in found.values()], found
PY
