"""The app for programs: HTTP, Gradio's client and MCP call it; who leaves ends the work, and nothing is left of it."""

import asyncio
import json
import re
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from pathlib import Path
from threading import Event
from urllib.parse import quote
from urllib.request import urlopen

import pytest

from hiersum_hf.app.calls import CallerGone, Done, Progress, Upload, Worker
from hiersum_hf.app.page import launch
from hiersum_hf.app.service import answers, uploaded
from hiersum_hf.app.visits import MAX_DESCRIPTION, Visits
from hiersum_hf.cli.main import main
from hiersum_hf.modeling.errors_hiersum import InputError


SAID = "1\n00:00:00,200 --> 00:00:02,000\nNo rest.\n\n2\n00:00:03,000 --> 00:00:05,500\nUnseen oceans.\n"


def files_in(folder):
    return [path for path in Path(folder).rglob("*") if path.is_file() and "vibe_edit" not in str(path)]


def until(true, seconds=10.0):
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    return true()


async def all_of(states):
    return [state async for state in states]


def test_work_is_done_one_after_another_and_tells_how_far_it_is():
    order, held = [], Event()

    def work(tell, name):
        order.append(f"{name} begins")
        tell("frames", 0.5)
        held.wait(10)
        order.append(f"{name} ends")
        return name

    async def two():
        worker = Worker()
        calls = [all_of(worker.follow(lambda tell, name=name: work(tell, name))) for name in "ab"]
        asyncio.get_running_loop().call_later(0.4, held.set)
        return await asyncio.gather(*calls)

    first, second = asyncio.run(two())
    assert order == ["a begins", "a ends", "b begins", "b ends"]
    assert Progress("frames", 0.5) in first
    assert Progress("waiting", 0.0) in second
    assert (first[-1], second[-1]) == (Done("a"), Done("b"))


@pytest.mark.parametrize("begun", [True, False])
def test_who_leaves_ends_the_work(begun):
    ended, seen, held = Event(), [], Event()

    def work(tell):
        try:
            while not held.wait(0.01):
                tell("frames", 0.5)
        except CallerGone:
            seen.append("gone")
            raise

    async def leave():
        worker = Worker()
        if not begun:
            worker._pool.submit(held.wait, 5)
        async with aclosing(worker.follow(work, ended=ended.set)) as states:
            async for state in states:
                if state.step == ("frames" if begun else "waiting"):
                    break
        done = await asyncio.to_thread(ended.wait, 3)
        held.set()
        return done

    assert asyncio.run(leave())
    assert seen == (["gone"] if begun else [])


def test_a_server_that_stops_ends_the_work():
    async def stop():
        worker, began = Worker(), Event()

        def work(tell):
            began.set()
            while True:
                tell("frames", 0.5)

        call = asyncio.create_task(all_of(worker.follow(work)))
        await asyncio.to_thread(began.wait, 3)
        await asyncio.to_thread(worker.close)
        await call

    with pytest.raises(CallerGone, match="The app was stopped"):
        asyncio.run(stop())


def test_only_uploads_are_read(tmp_path):
    inside, outside = tmp_path / "uploads" / "ab c" / "talk.mp4", tmp_path / "secret.mp4"
    inside.parent.mkdir(parents=True)
    inside.touch()
    outside.touch()
    (inside.parent / "link.mp4").symlink_to(outside)
    folder = tmp_path / "uploads"
    named = [str(inside), {"path": str(inside)}, f"http://localhost:7860/gradio_api/file={quote(str(inside))}"]
    assert [uploaded(one, folder) for one in named] == [str(inside)] * 3
    assert [uploaded(one, folder) for one in (None, "", {"path": None})] == [None] * 3
    hostile = [str(outside), f"{inside}/../../../secret.mp4", str(inside.parent / "link.mp4"), str(folder)]
    hostile += ["talk.mp4", "https://example.org/talk.mp4", "\0", "a" * 5000, 7, ["x"], {"path": {}}, {"path": [1]}]
    for one in hostile:
        if one != {"path": {}}:
            with pytest.raises(
                InputError, match="expected a file that was uploaded to this app, found none"
            ) as refused:
                uploaded(one, folder)
            assert str(tmp_path) not in str(refused.value)


def test_an_upload_that_another_replaced_is_left(tmp_path):
    path = tmp_path / "talk.mp4"
    path.write_text("one")
    upload = Upload.of(path)
    (tmp_path / "new").write_text("two")
    (tmp_path / "new").rename(path)
    upload.delete()
    assert path.read_text() == "two"
    Upload.of(path).delete()
    Upload.of(path).delete()
    assert not path.exists()


def test_a_call_leaves_its_summary_alone_and_a_refused_one_nothing(scorer, clip, tmp_path):
    uploads = tmp_path / "uploads"
    visits = Visits(scorer, tmp_path / "visits")

    def put(name, content):
        (uploads / name).parent.mkdir(parents=True, exist_ok=True)
        (uploads / name).write_bytes(content)
        return str(uploads / name)

    def call(*given):
        return asyncio.run(all_of(answers(visits, uploads, "http://here/", *given)))[-1]

    answer = call(put("talk.webm", clip.read_bytes()), put("s.srt", SAID.encode()), "", ["Unseen oceans"], "50%")
    assert [segment["said"] for segment in answer["segments"]] == ["Unseen oceans."]
    assert answer["queries"][0]["text"] == "Unseen oceans"
    assert answer["files"]["summary.mp4"].startswith("http://here/summaries/")
    assert str(tmp_path) not in json.dumps(answer)
    assert files_in(uploads) == []
    kept = files_in(tmp_path / "visits")
    wrong = {
        "soon": (None, "", [], "soon"),
        "query: expected words": (None, "", ["?!"]),
        "queries: expected at most": (None, "", ["a" * (MAX_DESCRIPTION + 1)]),
        "no.mp4: expected a readable video": (),
    }
    for said, given in wrong.items():
        video = put("talk.webm", clip.read_bytes()) if given else put("no.mp4", b"text\n" * 99)
        with pytest.raises(ValueError, match=said):
            call(video, *given)
        assert files_in(tmp_path / "visits") == kept
        assert files_in(uploads) == []
    visits.end(next(iter(visits.of)))
    assert files_in(tmp_path) == []


def test_the_command_names_what_mcp_needs(capsys, monkeypatch):
    monkeypatch.setattr("hiersum_hf.cli.app.find_spec", lambda name: name != "mcp")
    assert main(["app", "--mcp"]) == 2
    assert 'pip install "hiersum-hf[mcp]"' in capsys.readouterr().err


@pytest.fixture
def served(scorer, tmp_path, monkeypatch):
    """The app's address."""
    pytest.importorskip("gradio", reason="Gradio is not installed")
    pytest.importorskip("mcp", reason="MCP's package is not installed")
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")  # put back after the test
    before = {*threading.enumerate()}
    with launch(scorer, tmp_path / "server", max_upload_mb=1, mcp=True) as page:
        yield page.local_url
    page.close(verbose=False)
    left = {*threading.enumerate()} - before
    assert not [thread.name for thread in left if thread.name.startswith("summaries")]


def upload(http, served, *paths):
    return [http.post(f"{served}gradio_api/upload", files={"files": (p.name, p.read_bytes())}).json()[0] for p in paths]


@pytest.fixture
def said(tmp_path):
    (tmp_path / "said.srt").write_text(SAID)
    return tmp_path / "said.srt"


@pytest.mark.slow
def test_http_and_gradios_client_call_it_two_at_once(served, clip, said, tmp_path):
    import httpx
    from gradio_client import Client, handle_file

    def by_client(query):
        client = Client(served, verbose=False)
        given = {"video": handle_file(clip), "subtitles": handle_file(said), "queries": [query], "budget": "3s"}
        return client.predict(**given, api_name="/summarize")

    def by_http(query):
        with httpx.Client(timeout=60) as http:
            kind = {"meta": {"_type": "gradio.FileData"}}
            video, subtitles = ({"path": path} | kind for path in upload(http, served, clip, said))
            given = {"video": video, "subtitles": subtitles, "queries": [query], "budget": "3s"}
            call = http.post(f"{served}gradio_api/call/v2/summarize", json=given).json()["event_id"]
            lines = http.get(f"{served}gradio_api/call/v2/summarize/{call}").text.splitlines()
            return json.loads(lines[lines.index("event: complete") + 1].removeprefix("data: "))[0]

    about = urlopen(f"{served}gradio_api/info").read().decode()
    assert all(f"{name}: " in about for name in ("video", "subtitles", "description", "queries", "budget"))
    with ThreadPoolExecutor() as pool:
        found = [*pool.map(lambda do, query: do(query), (by_client, by_http), ("No rest", "Unseen oceans"))]
    assert [answer["segments"][0]["said"] for answer in found] == ["No rest.", "Unseen oceans."]
    assert urlopen(found[0]["files"]["summary.mp4"]).read(8)[4:] == b"ftyp"
    assert "sandbox" in urlopen(found[1]["files"]["summary.html"]).headers["content-security-policy"]
    assert until(lambda: files_in(tmp_path / "server" / "uploads") == [])
    with httpx.Client(timeout=60) as http:
        (tmp_path / "no.mp4").write_bytes(b"#EXTM3U\nfile:///etc/passwd\n")
        for path in (*upload(http, served, tmp_path / "no.mp4"), "/etc/passwd", "http://127.0.0.1:1/a.mp4"):
            given = {"video": {"path": path, "meta": {"_type": "gradio.FileData"}}}
            call = http.post(f"{served}gradio_api/call/v2/summarize", json=given).json()["event_id"]
            assert "event: error" in http.get(f"{served}gradio_api/call/v2/summarize/{call}").text
        large = http.post(f"{served}gradio_api/upload", files={"files": ("large.mp4", b"0" * 2_000_000)})
        assert large.status_code == 413
    assert until(lambda: files_in(tmp_path / "server" / "uploads") == [])


@pytest.mark.slow
def test_the_lines_of_the_docs_call_it(served, clip, tmp_path):
    text = (Path(__file__).parents[2] / "docs" / "service.md").read_text().replace("http://127.0.0.1:7860", served[:-1])
    shutil.copy(clip, tmp_path / "talk.mp4")
    (python,) = (code.replace('"queries"', '"subtitles": None, "queries"') for code in blocks(text, "python"))
    python = python.replace('["how is the valve seated?"]', "[]")  # nothing is said in the clip
    bash = next(code for code in blocks(text, "bash") if "curl" in code)
    for command in ([sys.executable, "-c", python], ["bash", "-c", bash]):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert "summary.mp4" in done.stdout
    assert "event: complete" in done.stdout


def blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.mark.slow
def test_agents_call_it_two_at_once(served, clip, said, tmp_path):
    import httpx
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async def call(query, told):
        async with streamable_http_client(f"{served}mcp") as (read, write, _), ClientSession(read, write) as session:
            await session.initialize()
            (tool,) = (await session.list_tools()).tools
            assert all(one["description"] for one in tool.inputSchema["properties"].values())
            async with httpx.AsyncClient() as http:
                posts = [
                    await http.post(f"{served}gradio_api/upload", files={"files": (p.name, p.read_bytes())})
                    for p in (clip, said)
                ]
            video, subtitles = (post.json()[0] for post in posts)
            given = {"video": video, "subtitles": subtitles, "queries": [query], "budget": "3s"}

            async def progress(*state):
                told.append(state)

            found = await session.call_tool("summarize", given, progress_callback=progress)
            refused = [
                await session.call_tool("summarize", {"video": one}) for one in ("/etc/passwd", "http://a/b.mp4")
            ]
            return found, refused

    async def both(told):
        return await asyncio.gather(call("No rest", told), call("Unseen oceans", told))

    told = []
    (one, refused), (two, _) = asyncio.run(both(told))
    for found, said_in in ((one, "No rest."), (two, "Unseen oceans.")):
        assert not found.isError
        assert found.structuredContent["segments"][0]["said"] == said_in
    assert told
    assert all(answer.isError for answer in refused)
    assert "expected a file that was uploaded to this app" in refused[0].content[0].text
    assert until(lambda: files_in(tmp_path / "server" / "uploads") == [])


@pytest.mark.slow
@pytest.mark.parametrize("way", ["http", "client", "mcp", "mcp cancel"])
def test_a_caller_who_leaves_leaves_no_work_and_no_file(way, served, scorer, clip, tmp_path):
    import httpx
    from gradio_client import Client, handle_file
    from mcp import ClientSession, types
    from mcp.client.streamable_http import streamable_http_client

    scorer.__dict__["pace"] = 1.0

    def at_work():
        return any((tmp_path / "server" / "visits").glob("*/clip.webm"))

    def by_http():
        with httpx.Client(timeout=1) as http:
            (path,) = upload(http, served, clip)
            given = {"video": {"path": path, "meta": {"_type": "gradio.FileData"}}}
            call = http.post(f"{served}gradio_api/call/v2/summarize", json=given).json()["event_id"]
            with suppress(httpx.TimeoutException), http.stream("GET", f"{served}gradio_api/call/v2/summarize/{call}"):
                assert until(at_work)

    def by_client():
        job = Client(served, verbose=False).submit(video=handle_file(clip), api_name="/summarize")
        assert until(at_work)
        job.cancel()

    async def by_mcp():
        with httpx.Client() as http:
            (path,) = upload(http, served, clip)
        async with streamable_http_client(f"{served}mcp") as (read, write, _), ClientSession(read, write) as session:
            await session.initialize()
            call = asyncio.create_task(session.call_tool("summarize", {"video": path}))
            assert await asyncio.to_thread(until, at_work)
            if way == "mcp cancel":
                gone = types.CancelledNotificationParams(requestId=1)
                await session.send_notification(
                    types.ClientNotification(types.CancelledNotification(method="notifications/cancelled", params=gone))
                )
                with suppress(Exception):
                    await call
            call.cancel()

    if way.startswith("mcp"):
        asyncio.run(by_mcp())
    else:
        {"http": by_http, "client": by_client}[way]()
    began = time.monotonic()
    assert until(lambda: files_in(tmp_path / "server") == []), files_in(tmp_path / "server")
    assert time.monotonic() - began < 8, "before the work would have ended"
