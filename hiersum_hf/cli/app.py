"""`hiersum app`: summaries in a browser."""

from __future__ import annotations

import argparse
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
    from hiersum_hf.app.page import serve

    if not args.max_upload_mb > 0:
        raise HierSumError(f"--max-upload-mb: expected a positive number, found {args.max_upload_mb}")
    if args.port is not None and not 0 < args.port < 65536:
        raise HierSumError(f"--port: expected a number from 1 to 65535, found {args.port}")
    serve(args.model, args.host, args.port, args.max_upload_mb, args.device, args.runtime, args.mcp)
    return 0
