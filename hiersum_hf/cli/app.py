"""`hiersum app`: summaries in a browser."""

from __future__ import annotations

import argparse
import signal
import socket
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hiersum_hf.features.runtime import RUNTIMES
from hiersum_hf.modeling.errors_hiersum import HierSumError


APP_HELP = """examples:
  hiersum app
  hiersum app --mcp
  hiersum app --model org/hiersum --host 0.0.0.0 --port 8080 --max-upload-mb 200
"""


def add(commands: Any) -> None:
    """Add the command to the parser's."""
    app = commands.add_parser(
        "app",
        help="serve a page where videos are uploaded and summarized",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Serve a page where videos are uploaded and summarized, until Ctrl-C. It needs\n"
        'pip install "hiersum-hf[app]". Uploads go to this machine only and are deleted when the page is closed.\n'
        "Programs call it too: docs/service.md.",
        epilog=APP_HELP,
    )
    app.add_argument(
        "--model",
        action="append",
        metavar="DIR",
        help="checkpoint folder or Hub id, as `hiersum summarize` takes it; default: a training-free scorer",
    )
    app.add_argument("--host", help="address to listen on; default 127.0.0.1, this machine only; 0.0.0.0 = all")
    app.add_argument("--port", type=int, help="default: the first free one from 7860 on")
    app.add_argument(
        "--max-upload-mb", type=float, default=500, metavar="MB", help="larger uploads are refused (%(default)s)"
    )
    app.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (%(default)s)")
    app.add_argument(
        "--runtime",
        choices=RUNTIMES,
        help="what computes the frame encoder; the features are the same; default: the fastest that is installed",
    )
    app.add_argument(
        "--mcp",
        action="store_true",
        help='offer the same to agents as an MCP tool, at /mcp; needs pip install "hiersum-hf[mcp]"',
    )
    app.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if not args.max_upload_mb > 0:
        raise HierSumError(f"--max-upload-mb: expected a positive number, found {args.max_upload_mb}")
    if args.port is not None and not 0 < args.port < 65536:
        raise HierSumError(f"--port: expected a number from 1 to 65535, found {args.port}")
    serve(args.model, args.host, args.port, args.max_upload_mb, args.device, args.runtime, args.mcp)
    return 0


def serve(
    model: str | list[str] | None = None,
    host: str | None = None,
    port: int | None = None,
    max_upload_mb: float = 500,
    device: str = "auto",
    runtime: str | None = None,
    mcp: bool = False,
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
        mcp: Offer the same as a tool of the Model Context Protocol, at /mcp.

    Raises:
        ImportError: Gradio, the protocol or the runtime is not installed.
        OSError: The port is taken, or the address is not this machine's.
        ValueError: No such checkpoint or device.
    """
    if missing := [name for name in ("gradio", "mcp")[: 1 + mcp] if not find_spec(name)]:
        extra = "mcp" if mcp else "app"
        raise ImportError(
            f"`hiersum app{' --mcp' if mcp else ''}` needs the package {' and '.join(missing)}: "
            f'pip install "hiersum-hf[{extra}]"'
        )
    if host or port:  # Gradio would try a hundred ports, after minutes of loading
        family = socket.AF_INET6 if ":" in (host or "") else socket.AF_INET
        socket.create_server((host or "127.0.0.1", port or 0), family=family).close()
    from hiersum_hf.app.page import launch
    from hiersum_hf.inference.scorer import load_scorer

    scorer = load_scorer(model, device=device, runtime=runtime)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # else the uploads would stay
    with (
        tempfile.TemporaryDirectory(prefix="hiersum-app-") as folder,
        launch(scorer, Path(folder), host, port, max_upload_mb, mcp) as page,
    ):
        print(f"Open {page.local_url} in a browser; Ctrl-C ends it.", flush=True)
        if mcp:
            print(f"MCP (streamable HTTP): {page.local_url}mcp", flush=True)
        page.block_thread()
