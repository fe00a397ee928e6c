"""`hiersum app`: a page where a visitor uploads a video and looks at its summary.

What arrives is not trusted: its size, format and name are checked before anything is made of it. A video gets a folder
of its own with a name that nobody can guess; both are deleted when the visitor closes the page or starts anew,
otherwise with the first upload an hour later, and in any case when the server stops.
"""

import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hiersum_hf.app.visits import (
    KEEP_S,
    MAX_DESCRIPTION,
    MAX_UPLOAD_MB,
    SUBTITLE_SUFFIXES,
    VIDEO_SUFFIXES,
    Visits,
    for_visitors,
)
from hiersum_hf.inference.scorer import Scorer, load_scorer


INTRODUCTION = """# Video summary
Upload a video; its subtitles and some words about it help. {scorer}
Your files are deleted when you close the page; those you made no summary of, about an hour later."""


def build_page(visits: Visits, model: str | None = None) -> Any:
    """Build the page as `gradio.Blocks`."""
    import gradio as gr

    def shown(work: Callable[..., str | None], *given: Any) -> Any:
        try:
            return work(*given) or gr.skip()
        except (ValueError, OSError, ImportError) as error:
            text = for_visitors(str(error), visits.root)
            raise gr.Error(escape(text), duration=None, print_exception=False) from error

    def start(
        video: str | None, subtitles: str | None, description: str, percent: float,
        request: gr.Request, progress: gr.Progress = gr.Progress(track_tqdm=True),  # noqa: B008
    ) -> Any:  # fmt: skip
        progress(0, desc="Reading the video")
        return shown(visits.start, request.session_hash, video, subtitles, description, percent)

    def again(percent: float, request: gr.Request) -> Any:
        return shown(visits.again, request.session_hash, percent)

    def end(request: gr.Request) -> None:
        visits.end(str(request.session_hash))

    by = f"Scored by {model}." if model else "No checkpoint was given: a training-free scorer judges."
    with gr.Blocks(title="Video summary", analytics_enabled=False, delete_cache=(KEEP_S // 6, KEEP_S)) as page:
        gr.Markdown(INTRODUCTION.format(scorer=by))
        with gr.Row():
            video = gr.File(label="Video", file_types=VIDEO_SUFFIXES)
            subtitles = gr.File(label="Subtitles, if you have any", file_types=SUBTITLE_SUFFIXES)
            description = gr.Textbox(
                label="What it is about", lines=4, max_length=MAX_DESCRIPTION, info="One title or step a line."
            )
        percent = gr.Slider(1, 50, 15, step=1, label="Length of the summary, % of the video")
        button = gr.Button("Summarize", variant="primary")
        result = gr.HTML()
        one_at_a_time = {"concurrency_limit": 1, "concurrency_id": "scoring", "api_visibility": "private"}
        button.click(start, [video, subtitles, description, percent], result, **one_at_a_time)
        percent.release(again, percent, result, **one_at_a_time)
        page.unload(end)
    return page


def serve(
    model: str | list[str] | None = None,
    host: str | None = None,
    port: int | None = None,
    max_upload_mb: float = MAX_UPLOAD_MB,
    device: str = "auto",
    runtime: str | None = None,
) -> None:
    """Serve the page until it is interrupted.

    Args:
        model: Folder or Hub id of a checkpoint, or several, as `load_scorer` takes them; default: the training-free
            scorer.
        host: Default: what GRADIO_SERVER_NAME says, as on a Space; else 127.0.0.1, which only this machine reaches.
        port: Default: what GRADIO_SERVER_PORT says, else the first free one from 7860 on.
        max_upload_mb: Larger uploads are cut off.
        device: "auto" takes a GPU if there is one.
        runtime: What computes the frame encoder, as `load_scorer` takes it.

    Raises:
        ImportError: Gradio or the runtime is not installed.
        OSError: The port is taken, or the address is not this machine's.
        ValueError: No such checkpoint or device.
    """
    if not find_spec("gradio"):
        raise ImportError('The app needs Gradio: pip install "hiersum-hf[app]"')
    if host or port:  # Gradio would try a hundred ports, after minutes of loading
        family = socket.AF_INET6 if ":" in (host or "") else socket.AF_INET
        socket.create_server((host or "127.0.0.1", port or 0), family=family).close()
    scorer = load_scorer(model, device=device, runtime=runtime)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # else the uploads would stay
    with tempfile.TemporaryDirectory(prefix="hiersum-app-") as folder:
        page = launch(scorer, Path(folder), scorer.checkpoint, host, port, max_upload_mb)
        print(f"Open {page.local_url} in a browser; Ctrl-C ends it.", flush=True)
        page.block_thread()


def launch(
    scorer: Scorer,
    folder: Path,
    model: str | None = None,
    host: str | None = None,
    port: int | None = None,
    max_upload_mb: float = MAX_UPLOAD_MB,
) -> Any:
    """Start a server whose files all lie in `folder`, as `serve`, and return the page.

    Its `close()` stops the server.
    """
    os.environ["GRADIO_TEMP_DIR"] = str(folder / "uploads")  # read by Gradio when the page is made
    page = build_page(Visits(scorer, folder / "visits", max_upload_mb), model)
    page.launch(
        server_name=host,
        server_port=port,
        share=False,
        max_file_size=int(max_upload_mb * 1e6),
        allowed_paths=[str(folder / "visits")],
        prevent_thread_lock=True,
        quiet=True,
        ssr_mode=False,
        footer_links=[],
    )
    return page
