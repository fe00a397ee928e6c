"""One page to watch a summary: player, curve, segments and what is said in them. It needs no network.

The player shows the source video; where a browser cannot (moved, or in a format it does not know), it shows
summary.mp4 from the page's own folder, in which only the segments can be found.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from io import BytesIO

import numpy as np

from hiersum_hf.records import Sentence, Summary, clock


STYLE = """
:root { color-scheme: light dark; --ink: #222; --soft: #68707a; --line: #d9dde2; --card: #f6f7f9; --on: #fdebd2;
  --accent: #9a5b00 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8eaed; --soft: #9aa3ad; --line: #3a4048; --card: #23272d; --on: #4d3a1f; --accent: #f0b35e }
  body { background: #17191d }
}
* { box-sizing: border-box }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); margin: 0 auto; padding: 1rem 1.5rem;
  max-width: 90rem }
h1 { font-size: 1.3rem; margin: 0; overflow-wrap: anywhere } .soft { color: var(--soft); margin: .2rem 0 1rem }
main { display: grid; grid-template-columns: minmax(0, 3fr) minmax(20rem, 2fr); gap: 1.5rem }
video { width: 100%; max-height: 60vh; background: #000; border-radius: 6px; display: block }
#curve { position: relative; cursor: pointer; margin-top: .6rem } #curve svg { display: block }
#head { position: absolute; top: 0; width: 2px; height: 85%; background: #d33; pointer-events: none; left: 0 }
#said { min-height: 2.9em; margin: .5rem 0 }
#play { font: inherit; padding: .35rem .9rem; border: 1px solid var(--line); border-radius: 6px; color: inherit;
  background: var(--card); cursor: pointer; margin-top: .6rem }
#play[aria-pressed=true] { background: var(--on) }
ol { list-style: none; margin: 0; padding: 0; max-height: 85vh; overflow-y: auto }
ol button { display: flex; gap: .8rem; width: 100%; text-align: left; font: inherit; color: inherit; cursor: pointer;
  background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: .5rem; margin-bottom: .5rem }
ol button:hover, ol button.on { background: var(--on) }
ol img { width: 8rem; height: 4.5rem; object-fit: contain; background: #000; border-radius: 4px; flex: none }
.when { font-weight: 600 } .step { display: block; color: var(--accent) }
.words { overflow-wrap: anywhere; display: block }
.asked button { font: inherit; color: inherit; background: none; border: 0; padding: 0; text-decoration: underline;
  cursor: pointer } .asked { margin: .4rem 0; overflow-wrap: anywhere }
#notes { color: var(--soft); font-size: .9em; overflow-wrap: anywhere }
@media (max-width: 55rem) { main { grid-template-columns: 1fr } ol { max-height: none } }
"""

# `now` and `seek` count in seconds of the source, whichever video the player shows.
SCRIPT = """
const data = JSON.parse(document.getElementById("data").textContent);
const get = id => document.getElementById(id);
const video = get("video"), cards = [...document.querySelectorAll("ol button")], play = get("play");
let whole = true, only = false, wanted = null;
const within = t => data.segments.findIndex(s => s.start_s <= t && t < s.end_s);
const next = t => data.segments.findIndex(s => s.end_s > t);
function toSource(t) {
  if (whole) return t;
  const s = data.segments.findLast(s => s.begin_s <= t + 0.001) || data.segments[0];
  return s.start_s + t - s.begin_s;
}
function toPlayer(t) {
  if (whole) return t;
  const i = next(t), s = data.segments[i < 0 ? data.segments.length - 1 : i];
  return s.begin_s + Math.min(Math.max(0, t - s.start_s), s.end_s - s.start_s - 0.05);
}
function seek(t) {
  wanted = t;
  if (video.readyState > 0) { video.currentTime = toPlayer(t) + 0.001; wanted = null; }
}
function show() {
  const t = wanted ?? toSource(video.currentTime), i = within(t);
  get("head").style.left = 100 * t / data.duration_s + "%";
  cards.forEach((card, k) => card.classList.toggle("on", k === i));
  get("said").textContent = data.sentences.filter(s => s.start_s <= t && t < s.end_s).map(s => s.text).join(" ");
  if (whole && only && i < 0 && !video.paused && !video.seeking) {
    const k = next(t);
    if (k < 0) { video.pause(); } else { seek(data.segments[k].start_s); }
  }
}
function tick() { show(); if (!video.paused) requestAnimationFrame(tick); }
function fromLink() { const t = parseFloat(location.hash.slice(3)); if (t >= 0) { seek(t); show(); } }
cards.forEach((card, k) => card.onclick = () => { seek(data.segments[k].start_s); show(); });
document.querySelectorAll("button[data-at]").forEach(mark => mark.onclick = () => { seek(+mark.dataset.at); show(); });
get("curve").onclick = event => {
  const box = get("curve").getBoundingClientRect();
  seek(Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) * data.duration_s);
  show();
};
play.onclick = () => {
  only = !only;
  play.setAttribute("aria-pressed", only);
  if (only) { if (within(toSource(video.currentTime)) < 0) seek(data.segments[0].start_s); video.play(); }
};
video.onerror = () => {
  if (!whole) { get("state").textContent = "This browser can play neither the source video nor summary.mp4."; return; }
  wanted ??= toSource(video.currentTime);
  whole = false;
  video.src = "summary.mp4";
  get("state").textContent = "The source video cannot be played here: this is summary.mp4.";
};
video.onloadedmetadata = () => { if (wanted !== null) seek(wanted); show(); };
video.ontimeupdate = video.onseeked = show;
video.onplay = tick;
window.onhashchange = fromLink;
video.src = data.source;
fromLink();
"""


def summary_page(
    summary: Summary, sentences: Sequence[Sentence], source: str, pictures: Mapping[int, np.ndarray]
) -> str:
    """The page as one HTML text; everything that comes from a video or a subtitle file is escaped.

    Args:
        summary: What was chosen.
        sentences: All sentences of the video; the one that is spoken shows below the player.
        source: URL of the video, relative to the page.
        pictures: Segment number -> uint8 (h, w, 3); a segment may have none.
    """
    cards = [_card(summary, number, pictures.get(number)) for number in range(len(summary.segments))]
    notes = "".join(f"<li>{escape(warning)}</li>" for warning in summary.warnings)
    return f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{escape(summary.video)}: summary</title><style>{STYLE}</style></head>
<body>
<h1>{escape(summary.video)}</h1>
<p class="soft">{summary.extent} ({escape(summary.asked_for)}), scored by:
{escape(summary.scored_by)}. Click on a segment or on the curve to go there.</p>
<main>
<section><video id="video" controls preload="metadata"></video>
<div id="curve">{summary.to_svg()}<div id="head"></div></div>
<p id="said"></p><p id="state" class="soft"></p>
<button id="play" aria-pressed="false">Play only the summary</button>
{_asked(summary)}{_left_out(summary)}</section>
<section><ol>{"".join(cards)}</ol></section>
</main>
<ul id="notes">{notes}</ul>
<script type="application/json" id="data">{_data(summary, sentences, source)}</script>
<script>{SCRIPT}</script>
</body></html>
"""


def _card(summary: Summary, number: int, picture: np.ndarray | None) -> str:
    segment = summary.segments[number]
    steps = "".join(f'<span class="step">{escape(step)}</span>' for step in summary.steps_in(number))
    image = "" if picture is None else f'<img alt="" src="{_data_url(picture)}">'
    return (
        f'<li><button>{image}<span><span class="when">{clock(segment.start_s)} to {clock(segment.end_s)}</span> '
        f'<span class="soft">score {segment.score:.2f}</span>{steps}'
        f'<span class="words">{escape(summary.said_in(segment))}</span></span></button></li>'
    )


def _asked(summary: Summary) -> str:
    """The queries with their nearest moments, which can be clicked."""
    lines = []
    for query in summary.queries:
        moments = ", ".join(
            f'<button data-at="{m["start_s"]:.2f}">{clock(m["start_s"])} to {clock(m["end_s"])}</button>'
            for m in query["moments"]
        )
        lines.append(f'<p class="asked"><b>{escape(query["text"])}</b> {moments}</p>')
    return "".join(lines)


def _left_out(summary: Summary) -> str:
    """The steps that no segment shows."""
    steps = "; ".join(map(escape, summary.left_out))
    return f'<p class="asked">Not in this summary: {steps}</p>' if steps else ""


def _data_url(picture: np.ndarray) -> str:
    from PIL import Image

    target = BytesIO()
    Image.fromarray(picture).save(target, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{b64encode(target.getvalue()).decode()}"


def _data(summary: Summary, sentences: Sequence[Sentence], source: str) -> str:
    """What the script needs, as JSON that no text in it can end."""
    begin_s, segments = 0.0, []
    for segment in summary.segments:
        segments.append({"start_s": segment.start_s, "end_s": segment.end_s, "begin_s": begin_s})
        begin_s += segment.end_s - segment.start_s
    spoken = [{"start_s": s.start_s, "end_s": s.end_s, "text": s.text} for s in sentences]
    data = {"source": source, "duration_s": summary.duration_s, "segments": segments, "sentences": spoken}
    return json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
