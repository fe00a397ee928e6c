"""The app for agents: a tool of the Model Context Protocol (MCP), at /mcp.

Gradio's own MCP server is not used: on this machine it refuses the addresses of what was uploaded to it, and work goes
on after its caller has gone.
"""

from contextlib import aclosing
from pathlib import Path
from typing import Annotated, Any

from mcp.server.fastmcp import Context, FastMCP
from mcp.server.fastmcp.exceptions import ToolError
from pydantic import Field

from hiersum_hf.app.calls import WORDS, CallerGone
from hiersum_hf.app.service import DOCS, PURPOSE, answers
from hiersum_hf.app.visits import Visits, for_visitors


UPLOAD = "Here that path: `curl -F files=@talk.mp4 ADDRESS/gradio_api/upload`."


def mcp_server(visits: Visits, uploads: Path, host: str | None = None) -> FastMCP:
    """Make the server with its one tool.

    Args:
        visits: Of the app.
        uploads: Folder of what was uploaded.
        host: The app's; where only this machine is listened to, requests that name another host are refused.
    """
    server = FastMCP("hiersum", host=host or "127.0.0.1", log_level="WARNING")

    async def summarize(
        context: Context[Any, Any, Any],
        video: Annotated[str, Field(description=DOCS["video"].format(video=UPLOAD))],
        queries: Annotated[list[str] | None, Field(description=DOCS["queries"])] = None,
        budget: Annotated[str, Field(description=DOCS["budget"])] = "15%",
        subtitles: Annotated[str, Field(description=DOCS["subtitles"])] = "",
        description: Annotated[str, Field(description=DOCS["description"])] = "",
    ) -> dict[str, Any]:
        request: Any = context.request_context.request
        given = (video, subtitles, description, queries, budget)
        last: dict[str, Any] = {}
        try:
            async with aclosing(answers(visits, uploads, str(request.base_url), *given)) as states:
                async for last in states:
                    if await request.is_disconnected():
                        break
                    if last["step"] in WORDS:
                        at = list(WORDS).index(last["step"]) + last["share"]
                        await context.report_progress(at, len(WORDS), WORDS[last["step"]])
        except (ValueError, OSError, ImportError, CallerGone) as error:
            raise ToolError(for_visitors(str(error), visits.root)) from error
        return last

    server.add_tool(summarize, description=PURPOSE)
    return server
