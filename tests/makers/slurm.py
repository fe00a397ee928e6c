"""Two programs of SLURM on one machine, which do here what they are asked for if SLURM would.

python slurm.py scontrol show hostnames LIST
python slurm.py srun [OPTION ...] COMMAND
"""

import argparse
import os
import socket
import sys
from pathlib import Path


NODES = [socket.gethostname(), "n2", "n3", "n4"]


def scontrol(words):
    assert words == ["show", "hostnames", os.environ["SLURM_JOB_NODELIST"]], words
    print(*NODES, sep="\n")


def srun(words):
    """Become the command, once for all tasks, on nodes that no other step of the job holds."""
    options = argparse.ArgumentParser("srun", allow_abbrev=False)
    for name in ("--nodes", "--ntasks"):
        options.add_argument(name, type=int, required=True)
    for name in ("--nodelist", "--exclude"):
        options.add_argument(name, type=lambda text: text.split(","))
    options.add_argument("--overlap", action="store_true")
    options.add_argument("command", nargs=argparse.REMAINDER)
    args = options.parse_args(words)
    nodes = [node for node in args.nodelist or NODES if node not in (args.exclude or ())]
    assert set(nodes) <= set(NODES), f"expected nodes of {NODES}, found {nodes}"
    assert args.nodes == args.ntasks == len(nodes), f"expected a task for each of {nodes}, found {words}"
    for node in () if args.overlap else nodes:
        Path(f"{node}.held").touch(exist_ok=False)  # a second step would wait for ever
    os.execvp(args.command[0], args.command)


if __name__ == "__main__":
    {"scontrol": scontrol, "srun": srun}[sys.argv[1]](sys.argv[2:])
