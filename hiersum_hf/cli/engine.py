"""Where the work of a command is done: here and on the ranks of a launcher, or on a Ray cluster."""

from __future__ import annotations

import argparse
import os
from typing import Any

from hiersum_hf.modeling.errors_hiersum import HierSumError


def add_engine(group: Any) -> None:
    """Add --engine and --address to a parser or a group of it."""
    group.add_argument(
        "--engine",
        choices=["local", "ray"],
        default="local",
        help="local = this machine, shared among the ranks of a launcher; ray = a Ray cluster (docs/cluster.md), needs "
        'pip install "hiersum-hf[ray]" (%(default)s)',
    )
    group.add_argument(
        "--address",
        metavar="ADDRESS",
        help="of --engine ray: auto = the cluster that this machine belongs to (default), local = one of this machine "
        "alone for this run, or HOST:PORT",
    )


def ray_address(args: argparse.Namespace) -> str | None:
    """Return the address of the cluster that is to do the work, None where the work is done here.

    Raises:
        HierSumError: An address without --engine ray, or several ranks with it.
    """
    if args.engine == "local":
        if args.address is not None:
            raise HierSumError(f"--address {args.address}: expected --engine ray beside it, found none")
        return None
    if (ranks := int(os.environ.get("WORLD_SIZE", 1))) > 1:
        raise HierSumError(f"--engine ray: expected one process, found {ranks} ranks. Start it without a launcher.")
    return args.address or "auto"
