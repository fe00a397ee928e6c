"""The app for programs: one function with documented arguments, for HTTP, Gradio's client and MCP."""

import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from hiersum_hf.app.calls import Progress
from hiersum_hf.app.visits import KEEP_S, Made, Visits, for_visitors
from hiersum_hf.modeling.errors_hiersum import InputError
from hiersum_hf.summary.files import FILES


ADDRESS = "summaries"  # of the folder of visits, below the app's own
LENGTHS = "0.15 or 15% of the video, 60s, 1:30, 10min"
DOCS = {
    "video": "The video, uploaded before: POST it as form field `files` to /gradio_api/upload, which answers with a "
    "list of paths. {video}",
    "subtitles": "What is said in it, uploaded likewise: .srt, .vtt, .ass.",
    "description": "What it is about: one title or step a line.",
    "queries": "What the summary shall be about, a list of texts.",
    "budget": f"How long the summary may be: {LENGTHS}.",
}
PURPOSE = """Make a short version of a video out of its best parts, and tell what is in it. It takes about a tenth of
the video's length; calls are worked off one after another. Whoever leaves earlier ends the work. The answer has the
chosen segments with what is said in them, and addresses of the short video (summary.mp4), a page to watch it
(summary.html), all scores (summary.json) and more, which can be fetched for an hour."""
FILE = """Here {"path": PATH, "meta": {"_type": "gradio.FileData"}}; Gradio's client does both by
handle_file("talk.mp4")."""
ARGUMENTS = "\n".join(f"{name}: {text}" for name, text in DOCS.items()).format(video=FILE)
UPLOADED = "gradio_api/file="  # before the path in the address of an upload


async def answers(
    visits: Visits,
    uploads: Path,
    root_url: str,
    video: Any,
    subtitles: Any = None,
    description: str = "",
    queries: list[str] | None = None,
    budget: str = "15%",
) -> AsyncGenerator[dict[str, Any], None]:
    """Summarize an upload and tell how far it is: {step, share} while it works, at last `answer`.

    Args:
        visits: Of the app.
        uploads: Folder of what was uploaded; nothing else is read.
        root_url: The app's own address.
        video: As `DOCS` says, and so the others.
        subtitles: The like.
        description: Text.
        queries: Texts.
        budget: A length.

    Raises:
        ValueError: Something is missing, too large or not what it should be.
    """
    paths = [uploaded(given, uploads) for given in (video, subtitles)]
    name = secrets.token_urlsafe(16)
    given = (*paths, str(description or ""), str(budget), queries_of(queries))
    async with aclosing(visits.follow(name, lambda tell: visits.call(name, *given, tell), paths)) as states:
        async for state in states:
            if isinstance(state, Progress):
                yield {"step": state.step, "share": round(state.share, 3)}
            elif state.value is not None:
                yield answer(state.value, visits.root, root_url)


def queries_of(given: Any) -> list[str]:
    """Take one query or several."""
    return [given] if isinstance(given, str) else [str(query) for query in given or []]


def uploaded(given: Any, uploads: Path) -> str | None:
    """Find the upload that a caller names: what the upload returned, its address, or Gradio's description of a file.

    Raises:
        InputError: It is no file that was uploaded to this app.
    """
    text = given.get("path") if isinstance(given, dict) else given
    if not text:
        return None
    if isinstance(text, str) and UPLOADED in text:
        text = unquote(text.split(UPLOADED, 1)[1])
    try:
        path = Path(text).resolve()
        if path.is_relative_to(uploads.resolve()) and path.is_file():
            return str(path)
    except (OSError, ValueError, TypeError):  # no path at all
        pass
    shown = for_visitors(f"{text!s:.200}", uploads)
    raise InputError(f"{shown}: expected a file that was uploaded to this app, found none. Upload it, then name it.")


def answer(made: Made, root: Path, root_url: str = "") -> dict[str, Any]:
    """Tell what is in a summary, and where its files are for an hour."""
    summary = made.summary
    segments = [
        {
            "start_s": round(segment.start_s, 3),
            "end_s": round(segment.end_s, 3),
            "score": round(segment.score, 3),
            "steps": summary.steps_in(number),
            "said": summary.said_in(segment),
        }
        for number, segment in enumerate(summary.segments)
    ]
    files = {path.name: address_of(path, root) for path in (*(made.folder / name for name in FILES), made.archive)}
    return {
        "step": "done",
        "share": 1.0,
        "title": summary.title,
        "segments": segments,
        "queries": list(summary.queries),
        "steps_left_out": summary.left_out,
        "notes": list(summary.warnings),
        "files": {name: f"{root_url}{address}" for name, address in files.items()},
        "kept_for_s": KEEP_S,
    }


def address_of(path: Path, root: Path) -> str:
    """Write the address of a file of a visit, relative to the app's own."""
    return f"{ADDRESS}/{quote(path.relative_to(root).as_posix())}"


def sandboxed(files: Any) -> Any:
    """Serve files so that a page among them, opened on its own, can touch nothing of the app."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def send_marked(message: Any) -> None:
            if message["type"] == "http.response.start":
                marks = [(b"content-security-policy", b"sandbox allow-scripts allow-downloads")]
                message["headers"] = [*message["headers"], *marks, (b"x-content-type-options", b"nosniff")]
            await send(message)

        await files(scope, receive, send_marked)

    return app
