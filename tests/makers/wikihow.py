"""WikiHow's archive and labels in the published format."""

import io
import json
import tarfile
from pathlib import Path

import h5py
import numpy as np


EMBED = "https://www.youtube.com/embed/{}?showinfo=0"


def article(*steps, video="abcdefghijk"):
    numbered = {str(i): {"text": text, "img": None, "vid": None} for i, text in enumerate(steps, 1)}
    return {"video_url": EMBED.format(video)} | dict(sorted(numbered.items()))  # "10" before "2", as JSON may have it


def write_archive(path: Path, members: dict[str, object]) -> Path:
    """how_to_steps.tar.gz with these members; dicts and lists as JSON, bytes as they are."""
    with tarfile.open(path, "w:gz") as archive:
        folder = tarfile.TarInfo("how_to_steps")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in members.items():
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def write_json(path: Path, content) -> Path:
    path.write_text(json.dumps(content))
    return path


def write_features(path: Path, nodes: dict[str, dict[str, np.ndarray] | np.ndarray], **attributes) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs.update({"sample_fps": 2.0, "video_encoder": "clip"} | attributes)
        for name, node in nodes.items():
            for member, array in node.items() if isinstance(node, dict) else [("", node)]:
                file[f"{name}/{member}".strip("/")] = array
    return path
