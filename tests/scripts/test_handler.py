"""The handler of inference endpoints, called as their toolkit does: JSON in, JSON out, nothing left on the disk."""

import base64
import json
import tempfile

import pytest
from handler import EndpointHandler

from hiersum_hf import HierSumError
from tests.app.conftest import clip, scorer


SAID = "WEBVTT\n\n00:00:00.200 --> 00:00:02.000\nNo rest.\n\n00:00:03.000 --> 00:00:05.500\nUnseen oceans.\n"
assert clip, scorer  # fixtures


@pytest.fixture
def handler(scorer, tmp_path, monkeypatch):
    monkeypatch.setattr("handler.load_scorer", lambda path: scorer)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield EndpointHandler("here")
    assert not [*tmp_path.iterdir()]


def test_a_request_is_answered(handler, clip):
    video = base64.b64encode(clip.read_bytes()).decode()
    inputs = {"video": video, "subtitles": SAID, "description": ["Colours"]}
    parameters = {"budget": "3s", "queries": ["Unseen oceans"], "return_video": True}
    answer = json.loads(json.dumps(handler({"inputs": inputs, "parameters": parameters})))
    assert [sentence["text"] for sentence in answer["key_sentences"]] == ["Unseen oceans."]
    assert base64.b64decode(answer["summary_mp4"])[4:8] == b"ftyp"
    for inputs in (clip.read_bytes(), f"data:video/webm;base64,{video}"):
        assert handler({"inputs": inputs})["budget"]["value"] == 0.15


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({}, "video: expected bytes"),
        ({"inputs": ""}, "video: expected bytes"),
        ({"inputs": "/etc/passwd!"}, "video: expected it in base64"),
        ({"inputs": b"text\n" * 99}, "^video.mp4: expected a readable video"),
        ({"inputs": {"video": b"x", "subtitles": {"path": "/etc/passwd"}}}, "subtitles: expected the text"),
        ({"inputs": b"x", "parameters": {"bugdet": "3s"}}, "parameters: expected some of budget"),
    ],
)
def test_bad_requests_are_refused(handler, data, said):
    with pytest.raises(HierSumError, match=said):
        handler(data)
