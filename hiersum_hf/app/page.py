"""`hiersum app`: a page where a visitor uploads a video and looks at its summary, and the same for programs.

What arrives is not trusted: its size, format and name are checked before anything is made of it. A video gets a folder
of its own with a name that nobody can guess; both are deleted when the visitor closes the page or starts anew,
otherwise with the first upload an hour later, and in any case when the server stops. What a program sends is deleted
when its call ends or breaks off, and the summary an hour later.
"""

import os
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from html import escape
from pathlib import Path
from typing import Any

from hiersum_hf.app.calls import WORDS, CallerGone, Progress, Upload
from hiersum_hf.app.service import ADDRESS, ARGUMENTS, PURPOSE, address_of, answers, sandboxed
from hiersum_hf.app.visits import (
    KEEP_S,
    MAX_DESCRIPTION,
    MAX_UPLOAD_MB,
    SUBTITLE_SUFFIXES,
    VIDEO_SUFFIXES,
    Made,
    Visits,
    check_uploads,
    for_visitors,
    without_folders,
)
from hiersum_hf.files.templates import render
from hiersum_hf.inference.scorer import Scorer
from hiersum_hf.modeling.errors_hiersum import InputError
from hiersum_hf.records import clock, counted
from hiersum_hf.video.reader import probe


INTRODUCTION = """# Make a short version of your video
Upload a video: its best parts become a short one, to watch here or to download. {judge}

Your files go to this server only and are deleted when you close the page; those of which you made nothing, about an
hour later."""
FOR_PROGRAMS = "[Programs can call this page, too.](?view=api)"
GENERAL_RULE = "No trained model was given, so a general rule chooses."
MADE_UP = """**Only a demonstration:** the model here learned from invented videos. It knows nothing about real ones, so
do not rely on its choice."""
SHARE = 0.15  # of the video, unless the visitor says more


def build_page(visits: Visits, uploads: Path, max_upload_mb: float = MAX_UPLOAD_MB) -> Any:
    """Build the page as `gradio.Blocks`."""
    import gradio as gr
    from gradio.events import api

    def refused(error: Exception, shown: Callable[[str], str]) -> Any:
        return gr.Error(shown(for_visitors(str(error), visits.root)), duration=None, print_exception=False)

    async def shown(
        progress: Any, session: str, work: Callable[..., Made | None], paths: Sequence[str | None] = ()
    ) -> Any:
        made = None
        try:
            async with aclosing(visits.follow(session, work, paths, keep=True)) as states:
                async for state in states:
                    if isinstance(state, Progress):
                        progress(state.share, desc=WORDS[state.step])
                    else:
                        made = state.value
        except (ValueError, OSError, ImportError, CallerGone) as error:
            raise refused(error, escape) from error
        return gr.skip() if made is None else view(made, visits.root)

    def measure(video: str | None) -> Any:
        if video is None:
            return gr.skip(), gr.skip()
        try:
            check_uploads(video, None, "", max_upload_mb)
        except ValueError as error:
            text = without_folders(str(error), visits.root, [Upload.of(video)])
            raise refused(InputError(text), escape) from error
        duration_s = probe(video).duration_s
        return gr.Slider(**lengths(duration_s)), unit_s(duration_s)

    async def start(
        video: str | None, subtitles: str | None, description: str, wishes: str, length: float, unit: int,
        request: gr.Request, progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> Any:  # fmt: skip
        session = str(request.session_hash)
        budget = f"{length * unit:g}s" if length else f"{SHARE:.0%}"
        given = (session, video, subtitles, description, budget, lines_of(wishes))
        return await shown(progress, session, lambda tell: visits.start(*given, tell), (video, subtitles))

    async def again(
        wishes: str, length: float, unit: int,
        request: gr.Request, progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> Any:  # fmt: skip
        session = str(request.session_hash)
        given = (session, f"{length * unit:g}s", lines_of(wishes))
        return await shown(progress, session, lambda tell: visits.again(*given, tell))

    def end(request: gr.Request) -> None:
        visits.end(str(request.session_hash))

    async def summarize(
        video: gr.FileData, request: gr.Request, subtitles: gr.FileData | None = None, description: str = "",
        queries: list[str] | None = None, budget: str = "15%",
    ) -> AsyncGenerator[dict[str, Any], None]:  # fmt: skip
        http: Any = request.request
        given = (video, subtitles, description, queries, budget)
        try:
            async with aclosing(answers(visits, uploads, str(http.base_url), *given)) as states:
                async for state in states:
                    yield state
        except (ValueError, OSError, ImportError, CallerGone) as error:
            raise refused(error, str) from error

    with gr.Blocks(title="Short video", analytics_enabled=False, delete_cache=(KEEP_S // 6, KEEP_S)) as page:
        gr.Markdown(INTRODUCTION.format(judge=judge_of(visits.scorer)))
        with gr.Row():
            with gr.Column():
                video = gr.File(label="Your video", file_types=VIDEO_SUFFIXES, height=180)
            with gr.Column():
                wishes = gr.Textbox(
                    label="What should it be about? (optional)",
                    lines=2,
                    max_length=MAX_DESCRIPTION,
                    placeholder="how is the dough made?",
                    info="One wish a line.",
                )
                length = gr.Slider(0, 1, 0, visible=False)  # until the video's length is known
                unit = gr.State(60)
        with gr.Accordion("Subtitles and steps, if you have them (optional)", open=False), gr.Row():
            subtitles = gr.File(label="Subtitles", file_types=SUBTITLE_SUFFIXES, height=150)
            description = gr.Textbox(
                label="Title and steps", lines=4, max_length=MAX_DESCRIPTION, info="One a line, the title first."
            )
        button = gr.Button("Make the short video", variant="primary")
        result = gr.HTML()
        hidden: dict[str, Any] = {"concurrency_limit": None, "api_visibility": "private"}
        video.upload(measure, video, [length, unit], **hidden)
        given = [video, subtitles, description, wishes, length, unit]
        button.click(start, given, result, scroll_to_output=True, **hidden)
        length.release(again, [wishes, length, unit], result, **hidden)
        gr.Markdown(FOR_PROGRAMS)
        page.unload(end)
        api(summarize, api_name="summarize", api_description=f"{PURPOSE}\n\n{ARGUMENTS}", concurrency_limit=None)
    return page


def judge_of(scorer: Scorer) -> str:
    """Tell visitors what chooses, and warn of a checkpoint that learned from invented videos."""
    if not scorer.networks:
        return GENERAL_RULE
    stages = [stage for network in scorer.networks for stage in getattr(network.config, "trained_on", None) or []]
    if any(isinstance(stage, dict) and stage.get("dataset") == "demo" for stage in stages):
        return f"\n\n> {MADE_UP}"
    names = [Path(one).name if Path(one).exists() else one for one in str(scorer.checkpoint).split(", ")]
    return f"The model `{', '.join(names)}` chooses."


def lines_of(text: str) -> list[str]:
    """Split a text into its lines, empty ones left out."""
    return [line for line in text.splitlines() if line.strip()]


def unit_s(duration_s: float) -> int:
    """Choose minutes for the length of a short video, or seconds where the whole one is under two minutes."""
    return 60 if duration_s >= 120 else 1


def lengths(duration_s: float) -> dict[str, Any]:
    """Describe the slider of lengths for a video of this length: up to half of it."""
    unit = unit_s(duration_s)
    step = 0.1 if unit == 60 or duration_s < 20 else 1
    return {
        "minimum": step,
        "maximum": max(step, round(duration_s / unit / 2 / step) * step),
        "value": max(step, round(SHARE * duration_s / unit / step) * step),
        "step": step,
        "label": f"Length in {'minutes' if unit == 60 else 'seconds'} (your video has {clock(duration_s)})",
        "visible": True,
    }


def view(made: Made, root: Path) -> str:
    """Return HTML that shows a summary and offers its files; addresses are relative to the app's page."""
    summary = made.summary
    return render(
        "result.html.j2",
        summary=summary,
        notes=[note for note in summary.warnings if not note.startswith("No checkpoint")],  # said above
        shown=[step["text"] for step in summary.steps if step["segments"]],
        extent=f"{clock(summary.length_s)} of {clock(summary.duration_s)} minutes, in "
        f"{counted(len(summary.segments), 'part')}",
        poster=address_of(made.poster, root) if made.poster.exists() else "",
        archive=address_of(made.archive, root),
        folder=address_of(made.folder, root),
        clock=clock,
    )


@contextmanager
def launch(
    scorer: Scorer,
    folder: Path,
    host: str | None = None,
    port: int | None = None,
    max_upload_mb: float = MAX_UPLOAD_MB,
    mcp: bool = False,
) -> Iterator[Any]:
    """Run a server whose files all lie in `folder`, as `hiersum app`, and give the page.

    At the end nothing works any more. The page's `close()` stops the server, too; with pages open it takes seconds.
    """
    from starlette.routing import Mount
    from starlette.staticfiles import StaticFiles

    uploads, root = folder / "uploads", folder / "visits"
    os.environ["GRADIO_TEMP_DIR"] = str(uploads)  # read by Gradio when the page is made
    visits = Visits(scorer, root, max_upload_mb)
    kwargs: dict[str, Any] = {"routes": [Mount(f"/{ADDRESS}", sandboxed(StaticFiles(directory=root, check_dir=False)))]}
    if mcp:
        from hiersum_hf.app.tool import mcp_server

        server = mcp_server(visits, uploads, host)
        kwargs["routes"] += server.streamable_http_app().routes
        kwargs["lifespan"] = lambda _: server.session_manager.run()
    page = build_page(visits, uploads, max_upload_mb)
    try:
        page.launch(
            server_name=host,
            server_port=port,
            share=False,
            max_file_size=int(max_upload_mb * 1e6),
            prevent_thread_lock=True,
            quiet=True,
            ssr_mode=False,
            footer_links=[],
            run_history=False,
            app_kwargs=kwargs,
        )
        yield page
    finally:
        visits.worker.close()
