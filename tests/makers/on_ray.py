"""What workers of a Ray cluster do in tests: the colour encoder, slowly, with videos that end their worker.

    python -m tests.makers.on_ray VIDEOS OUTPUT ADDRESS    a driver that extracts; prints the report as JSON

OUTPUT.log gets a line for each video as it is encoded; a node whose id is in OUTPUT.full has no room on its disk.
"""

import errno
import json
import os
import signal
import sys
import time
from pathlib import Path

from hiersum_hf.inference import on_ray
from hiersum_hf.inference.extract import find_videos
from tests.makers.encoders import colour_encoder
from tests.makers.extraction import SETTINGS


EXTRACTOR = on_ray._extractor


def slow_extractor(settings, output, *more):
    import ray

    on_ray.load_video_encoder = lambda *which: colour_encoder(on_batch=lambda: time.sleep(0.4))
    work, full = EXTRACTOR(settings, output, *more), Path(f"{output}.full")

    def watched(item):
        if "killer" in item[0].name:
            os.kill(os.getpid(), signal.SIGKILL)
        told = work(item)
        if full.exists() and full.read_text() == ray.get_runtime_context().get_node_id():
            raise OSError(errno.ENOSPC, f"{output}: expected room for it, found none.")
        if not told[0][2]:  # else it was found: the worker that encoded it ended before it could tell
            with Path(f"{output}.log").open("a") as log:
                log.write(f"{item[0].name}\n")
        return told

    return watched


def main(videos, output, address):
    on_ray._extractor = slow_extractor
    print(json.dumps(on_ray.extract_on_ray(find_videos([videos])[0], output, SETTINGS, "cpu", address=address)))


if __name__ == "__main__":
    from tests.makers.on_ray import main as imported  # workers know it by this name

    imported(*sys.argv[1:])
