"""Custom handler of Hugging Face's Inference Endpoints, as handler.py beside a checkpoint (docs/service.md)."""

import base64
import binascii
import tempfile
from pathlib import Path
from typing import Any

from hiersum_hf import HierSumError, InputError, load_scorer, score_video, write_summary


PARAMETERS = {"budget": "15%", "queries": None, "return_video": False}


class EndpointHandler:
    """Summarizes one video a request.

    Args:
        path: Folder of the checkpoint.
    """

    def __init__(self, path: str = ""):
        self.scorer = load_scorer(path or None)

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """Summarize.

        Args:
            data: `inputs`: the video's bytes, these in base64, or {video, subtitles, description}, where subtitles are
                the text of a file; `parameters`: budget, queries, return_video.

        Returns:
            What summary.json holds; with return_video also `summary_mp4`, in base64.

        Raises:
            HierSumError: Something is missing or not what it should be.
        """
        inputs = data.get("inputs")
        given = inputs if isinstance(inputs, dict) else {"video": inputs}
        wanted = PARAMETERS | (data.get("parameters") or {})
        if unknown := sorted(wanted.keys() - PARAMETERS):
            raise HierSumError(f"parameters: expected some of {', '.join(PARAMETERS)}, found {', '.join(unknown)}.")
        with tempfile.TemporaryDirectory(prefix="hiersum-") as folder:
            try:
                return self.summarize(given, wanted, Path(folder))
            except HierSumError as error:  # names files as the caller knows them
                raise type(error)(str(error).replace(f"{folder}/", "")) from error

    def summarize(self, given: dict[str, Any], wanted: dict[str, Any], folder: Path) -> dict[str, Any]:
        """Answer a request, with files in an empty folder."""
        video = folder / "video.mp4"
        video.write_bytes(video_bytes(given.get("video")))
        subtitles = subtitle_file(given.get("subtitles"), folder)
        description = given.get("description") or []
        texts = description.splitlines() if isinstance(description, str) else list(description)
        scored = score_video(video, self.scorer, subtitles, texts, queries=wanted["queries"])
        summary = scored.summarize(str(wanted["budget"]))
        answer = summary.to_dict()
        if wanted["return_video"]:
            made = write_summary(summary, video, folder / "out", files=["summary.mp4"], render="encode")
            answer["summary_mp4"] = base64.b64encode((made / "summary.mp4").read_bytes()).decode()
        return answer


def video_bytes(given: Any) -> bytes:
    """Read the video of a request; a data URL is base64, too."""
    try:
        content = base64.b64decode(given.rpartition(",")[2], validate=True) if isinstance(given, str) else given
    except binascii.Error as error:
        raise InputError(f"video: expected it in base64, found other text: {error}.") from None
    if not isinstance(content, bytes) or not content:
        raise InputError(f"video: expected bytes, or these in base64, found {type(given).__name__} without any.")
    return content


def subtitle_file(text: Any, folder: Path) -> Path | None:
    """Write subtitles where they can be read."""
    if not text:
        return None
    if not isinstance(text, str):
        raise InputError(f"subtitles: expected the text of a file, found {type(text).__name__}.")
    path = folder / ("said.vtt" if text.lstrip("\ufeff").startswith("WEBVTT") else "said.srt")
    path.write_text(text, encoding="utf-8")
    return path
