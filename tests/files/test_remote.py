"""Files of other stores by their address: what is found, fetched and uploaded, and what is said where that fails."""

import json
import os
import re
import tempfile
import time
from pathlib import Path

import fsspec
import pytest
from filelock import FileLock

from hiersum_hf.cli.main import main
from hiersum_hf.datasets import fetch
from hiersum_hf.features import done
from hiersum_hf.files import remote
from hiersum_hf.files.escape import without_secrets
from hiersum_hf.files.remote import (
    StoreError,
    brought,
    fetched,
    is_uri,
    listed,
    look,
    mirrored,
    near,
    readable,
    ship,
    uri_of,
)
from hiersum_hf.inference import extract
from hiersum_hf.inference.extract import find_videos
from hiersum_hf.modeling.errors_hiersum import InputError
from tests.makers.encoders import colour_encoder
from tests.makers.videos import write_video


@pytest.fixture
def store():
    """An empty store; what it holds by name."""
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]
    yield memory
    memory.store.clear()


@pytest.fixture
def videos(store, tmp_path, monkeypatch):
    """Two videos in a bucket, and encoders that need no weights."""
    monkeypatch.setattr(extract, "load_video_encoder", lambda *which: colour_encoder())
    monkeypatch.setattr("hiersum_hf.inference.scorer.load_video_encoder", lambda *which: colour_encoder())
    for name in ("a", "b"):
        store.pipe_file(
            f"/bucket/videos/{name}.mp4", write_video(tmp_path / f"{name}.mp4", brightness=ord(name)).read_bytes()
        )
    return "memory://bucket/videos"


def names(store, folder):
    return sorted(name.removeprefix(f"/bucket/{folder}/") for name in store.find(f"/bucket/{folder}"))


@pytest.mark.parametrize("name", ["s3://bucket/x", "memory://x", "FILE:///x", "abfs://x/y"])
def test_addresses(name):
    assert is_uri(name)


@pytest.mark.parametrize("name", ["https://site/x.mp4", "x.mp4", "a/b", "12:30", r"C:\x", "/tmp/s3:/x", ""])
def test_names_that_are_no_addresses(name):
    assert not is_uri(name)
    assert uri_of(name) is None


def test_what_is_listed_stands_in_and_is_fetched_while_it_is_needed(store):
    store.pipe({"/bucket/v/a.mp4": b"video", "/bucket/v/a.srt": b"text", "/bucket/v/more/b.mp4": b"other"})
    with mirrored(["memory://bucket/v", "memory://bucket/**/b.*", "memory://bucket/v/a.mp4"], None) as (paths, _):
        found, notes = find_videos(paths)
        assert [uri_of(video) for video in found] == ["memory://bucket/v/a.mp4", "memory://bucket/v/more/b.mp4"]
        assert "passed over 1 subfolder" in notes[0]
        video, text = found[0], found[0].with_suffix(".srt")
        assert video.stat().st_size == 5
        assert video.read_bytes() == bytes(5)
        before = video.stat().st_mtime_ns
        with near(video, text):
            assert (video.read_bytes(), text.read_bytes()) == (b"video", b"text")
            assert video.stat().st_mtime_ns == before
        assert video.read_bytes() == bytes(5)
    assert not video.exists()


def test_an_upload_that_fails_ends_the_run(videos, store, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(done, "SHIPPED", 1)

    def refused(file, path):
        raise PermissionError("Access Denied")

    monkeypatch.setattr(type(store), "put_file", lambda self, file, path: refused(file, path))
    assert main(["extract", videos, "--output", "memory://bucket/out", "--device", "cpu"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "expected a place that can be written to, found: Access Denied." in error


def test_another_process_brings_what_the_first_one_listed(store):
    store.pipe({"/bucket/a.mp4": b"video", "/bucket/b.mp4": b"other"})
    with mirrored(["memory://bucket"], "memory://bucket/out") as ((folder,), output):
        video, other = Path(folder, "a.mp4"), Path(folder, "b.mp4")
        files = listed(video, Path("here.txt"))
        with brought(files) as here:
            assert here(video).read_bytes() == b"video"
            assert here(video) != video
            assert [here(name) for name in (None, "x.srt")] == [None, "x.srt"]
            here(Path(output)).mkdir()
            here(Path(output) / "cut.txt").write_bytes(b"cut")
            ship(here(Path(output)))
        assert not here(video).parent.exists()
        assert store.cat_file("/bucket/out/cut.txt") == b"cut"
        assert readable(listed(video, other))
        store.rm_file("/bucket/b.mp4")
        assert not readable(listed(video, other))
        gone = r"^memory://bucket/b\.mp4: expected a file that can be read"
        with pytest.raises(StoreError, match=gone) as raised, brought(listed(other)):
            pass
        assert raised.value.lasts


def test_what_a_killed_process_left_goes_when_the_next_mirror_is_made(store, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    store.pipe_file("/bucket/a.mp4", b"video")
    for name, age_s in (("dead", 100), ("alive", 100), ("new", 0)):
        lock = tmp_path / f"{remote.MARK}{name}" / remote.LOCK
        lock.parent.mkdir()
        lock.touch()
        os.utime(lock, (time.time() - age_s,) * 2)
    (tmp_path / f"{remote.MARK}older").mkdir()  # of a version without locks
    with FileLock(tmp_path / f"{remote.MARK}alive" / remote.LOCK):
        os.utime(tmp_path / f"{remote.MARK}alive" / remote.LOCK, (time.time() - 100,) * 2)
        with mirrored(["memory://bucket"], None):
            pass
    assert sorted(os.listdir(tmp_path)) == [f"{remote.MARK}{name}" for name in ("alive", "new", "older")]


def test_another_process_does_with_a_path_as_the_first(store, tmp_path):
    store.pipe_file("/bucket/a.mp4", b"video")
    path = tmp_path / f"{remote.MARK}elsewhere" / "memory" / "bucket" / "a.mp4"
    with near(path):
        assert path.read_bytes() == b"video"
    assert not path.exists()


def test_an_object_whose_name_is_no_path_is_passed_over(store):
    store.store |= {
        "/bucket/../../x.mp4": store.open("/bucket/a.mp4", "wb"),
        "/bucket/c//d.mp4": store.open("/x", "wb"),
    }
    with mirrored(["memory://bucket/**/*.mp4"], None) as (paths, _):
        assert [uri_of(video) for video in find_videos(paths)[0]] == ["memory://bucket/a.mp4"]


def test_what_was_written_is_uploaded_and_nothing_that_stands_in(store):
    store.pipe_file("/bucket/v/a.mp4", b"video")
    with mirrored(["memory://bucket/v"], "memory://bucket/v") as (_, output):
        (Path(output) / "new").mkdir()
        (Path(output) / "new" / "b.txt").write_bytes(b"b")
        (Path(output) / "new" / ".made").write_bytes(b"last")
        ship(Path(output))
        assert not (Path(output) / "new" / "b.txt").exists()
    found = {name: store.cat_file(f"/bucket/v/{name}") for name in names(store, "v")}
    assert found == {"a.mp4": b"video", "new/b.txt": b"b", "new/.made": b"last"}


def test_a_folder_whose_upload_broke_off_counts_as_none(store, monkeypatch):
    whole = remote.send

    def breaks(file, content=None):
        if file.name == "b.txt":
            raise OSError("gone")
        whole(file, content)

    monkeypatch.setattr(remote, "send", breaks)
    with mirrored([], "memory://bucket/out") as (_, output):
        folder = Path(output) / "talk"
        folder.mkdir(parents=True)
        for name in ("a.txt", "b.txt", ".made"):
            (folder / name).write_bytes(b"x")
        with pytest.raises(OSError, match="gone"):
            ship(folder)
    assert store.cat_file("/bucket/out/talk/.made") == remote.UNFINISHED
    for name, there in ((".made", False), (".other", True)):
        with mirrored([], "memory://bucket/out") as (_, output):
            look(Path(output) / "talk", read=name)
            assert (Path(output) / "talk").exists() == there


def test_file_addresses_are_paths(tmp_path):
    with mirrored([f"file://{tmp_path}/a.mp4", "b.mp4"], f"file://{tmp_path}/out") as given:
        assert given == ([f"{tmp_path}/a.mp4", "b.mp4"], f"{tmp_path}/out")


def test_extract_from_a_store_into_a_store_and_again(videos, store, monkeypatch, capsys):
    monkeypatch.setattr(done, "SHIPPED", 1)
    words = ["extract", f"{videos}/*.mp4", "--output", "memory://bucket/features", "--device", "cpu", "--json"]
    assert main(words) == 0
    report = json.loads(capsys.readouterr().out)
    assert [*report["videos"]] == [f"{videos}/a.mp4", f"{videos}/b.mp4"]
    there = names(store, "features")
    lists, kept = [n for n in there if n.startswith(".done-")], [n for n in there if n.endswith(".zip")]
    assert (len(lists), len(kept)) == (2, 2)
    assert {video["file"] for video in report["videos"].values()} == {
        f"memory://bucket/features/{name}" for name in kept
    }
    assert store.cat_file("/bucket/features/failed.jsonl") == b""

    monkeypatch.setattr(extract, "frame_features", None)
    assert main(words) == 0, "nothing is computed again"
    assert all(video["found"] for video in json.loads(capsys.readouterr().out)["videos"].values())
    assert names(store, "features") == there


def test_features_that_have_gone_and_videos_that_changed_are_encoded_again(videos, store, tmp_path, capsys):
    words = ["extract", videos, "--output", "memory://bucket/features", "--device", "cpu"]
    assert main(words) == 0
    (gone,) = [name for name in names(store, "features") if name.endswith(".zip")]
    store.rm_file(f"/bucket/features/{gone}")
    assert main(words) == 0
    assert capsys.readouterr().out.count("2 videos encoded, 0 found") == 2
    assert [name.endswith(".zip") for name in names(store, "features")].count(True) == 1
    store.pipe_file("/bucket/videos/a.mp4", (tmp_path / "b.mp4").read_bytes())
    capsys.readouterr()
    assert main(words) == 0
    assert "1 video encoded, 1 found" in capsys.readouterr().out


def test_a_bad_video_is_named_by_its_address_and_the_rest_is_done(videos, store, capsys):
    store.pipe_file("/bucket/videos/c.mp4", b"no video")
    assert main(["extract", videos, "--output", "memory://bucket/features", "--device", "cpu"]) == 1
    out, err = capsys.readouterr()
    assert "2 videos encoded, 0 found, 1 failed" in out
    assert f"failed: {videos}/c.mp4: expected a readable video" in out
    told = json.loads(store.cat_file("/bucket/features/failed.jsonl"))
    assert told["video"] == f"{videos}/c.mp4"
    assert remote.MARK not in out + err + told["error"]


def test_summarize_from_a_store_into_a_store_and_again(videos, store, tmp_path, capsys):
    words = ["summarize", videos, "--output", "memory://bucket/cuts", "--device", "cpu", "--files", "summary.json"]
    words += ["summary.md", "cuts.txt", "--export", "fcpxml"]
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert "Written to memory://bucket/cuts/a: summary.json" in out
    assert {"a/summary.md", "a/.made_with.json", "b/cuts.txt", "failed.jsonl"} <= {*names(store, "cuts")}
    texts = {name: store.cat_file(name).decode() for name in store.find("/bucket/cuts")}
    assert remote.MARK not in out + err + "".join(texts.values())
    assert "file './../../videos/a.mp4'" in texts["/bucket/cuts/a/cuts.txt"], "found where both are copied together"
    assert 'src="memory://bucket/videos/a.mp4"' in texts["/bucket/cuts/a/summary.fcpxml"]

    assert main(words) == 0
    assert "note: 2 finished before" in capsys.readouterr().err
    store.pipe_file("/bucket/videos/a.mp4", (tmp_path / "b.mp4").read_bytes())
    assert main(words) == 2
    assert (
        "memory://bucket/cuts/a: expected no such folder yet, or a summary made alike, found one with another video"
        in (capsys.readouterr().err)
    )
    assert main([*words, "--overwrite"]) == 0


def test_a_summary_on_this_machine_names_its_video_in_the_store(videos, tmp_path):
    words = [
        "summarize",
        f"{videos}/a.mp4",
        "--output",
        str(tmp_path / "out"),
        "--device",
        "cpu",
        "--files",
        "cuts.txt",
    ]
    assert main(words) == 0
    assert f"file '{videos}/a.mp4'" in (tmp_path / "out" / "a" / "cuts.txt").read_text()


def test_data_is_fetched_once_and_again_when_it_changed(store, tmp_path, caplog):
    store.pipe({"/bucket/data/report.json": b"{}", "/bucket/data/more/x": b"1"})
    first = fetched("memory://bucket/data/", tmp_path)
    assert {str(file.relative_to(first)) for file in first.rglob("*") if file.is_file()} == {"report.json", "more/x"}
    assert "memory://bucket/data/ (0.0 MB) is being fetched to" in caplog.text
    caplog.clear()
    assert fetched("memory://bucket/data/", tmp_path) == first
    assert not caplog.text
    store.pipe_file("/bucket/data/more/x", b"2")
    again = fetched("memory://bucket/data/", tmp_path)
    assert (again / "more" / "x").read_bytes() == b"2"
    assert fetched("memory://bucket/data/more/x", tmp_path).name == "x"


def test_a_copy_that_broke_off_is_not_taken_for_whole(store, tmp_path, monkeypatch):
    store.pipe({"/bucket/data/a": b"1", "/bucket/data/b": b"2"})
    monkeypatch.setattr(type(store), "get_file", lambda *_, **__: 1 / 0)
    with pytest.raises(InputError, match="memory://bucket/data: expected a file that can be read, found: division"):
        fetched("memory://bucket/data", tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("abfs://bucket/x", "expected an address of one of s3://, gs://, hf://, memory://, file://, found abfs://"),
        ("s3://", "expected a bucket or folder behind s3://, found none"),
        ("s3://*/x.mp4", "expected a bucket before the first of"),
        ("memory://bucket/none", "memory://bucket/none: expected videos, found: nothing there"),
        ("memory://bucket/*.mkv", "memory://bucket/*.mkv: expected a video, a folder of videos or a pattern, found no"),
        ("s3://AKIA:geheim@bucket/x", "s3://***: expected an address without user, password and key"),
        ("s3://AKIA:ge/heim@bucket/x", "s3://***: expected an address without user, password and key"),
        ("s3://bucket/x?secret_key=geheim", "s3://***: expected an address without user, password and key"),
    ],
)
@pytest.mark.parametrize("command", ["extract", "summarize"])
def test_what_cannot_be_read_is_said_in_a_line(store, capsys, command, address, said):
    store.pipe_file("/bucket/a.mp4", b"video")
    assert main([command, address, "--output", "memory://bucket/out"]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "heim" not in error
    assert error.count("\n") == 1


def test_a_package_that_is_missing_is_named(monkeypatch, capsys):
    def no_package(scheme):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "filesystem", no_package)
    assert main(["extract", "s3://bucket/x.mp4", "--output", "out"]) == 2
    assert 'expected the package for s3://, found none: pip install "hiersum-hf[s3]"' in capsys.readouterr().err


def test_a_store_that_may_not_be_written_to_is_refused_before_the_work(videos, store, monkeypatch, capsys):
    def denied(*_, **__):
        raise PermissionError("Access Denied")

    monkeypatch.setattr(type(store), "pipe_file", denied)
    monkeypatch.setattr(extract, "frame_features", None)
    monkeypatch.setattr("hiersum_hf.inference.summarize.score_video", None)
    for command in ("extract", "summarize"):
        assert main([command, videos, "--output", "memory://bucket/out", "--device", "cpu"]) == 2
        said = (
            r"memory://bucket/out/failed.jsonl: expected a place that can be written to, found: Access Denied\. Check"
        )
        assert re.search(said, capsys.readouterr().err)


def test_too_little_room_is_said_with_what_to_do(videos, monkeypatch, capsys):
    monkeypatch.setattr(
        remote.shutil, "disk_usage", lambda _: os.statvfs_result([0] * 10) and type("", (), {"free": 1})
    )
    assert main(["extract", videos, "--output", "memory://bucket/out", "--device", "cpu"]) == 1
    assert re.search(r"a.mp4: expected room for its 0.0 GB in \S+, found 0.0 GB. Set TMPDIR", capsys.readouterr().out)


def test_secrets_are_hidden_wherever_they_stand(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "verysecret")
    monkeypatch.setitem(fsspec.config.conf, "s3", {"key": "mykeyid", "endpoint_url": "http://127.0.0.1:5000"})
    text = 'no "http://me:geheim@host:5000/b" and http://127.0.0.1:5000/b?X-Amz-Signature=ab, verysecret mykeyid'
    assert without_secrets(text) == 'no "http://***" and http://***, *** ***'
    assert (
        without_secrets("Could not connect to http://127.0.0.1:5000/b")
        == "Could not connect to http://127.0.0.1:5000/b"
    )
    assert without_secrets("s3://arn:aws:s3:us:1:accesspoint/x/y") == "s3://arn:aws:s3:us:1:accesspoint/x/y"


def test_names_of_the_hub_are_those_that_no_folder_here_has(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(fetch, "_from_hub", lambda *words: asked.append(words) or "kept")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prepared").mkdir()
    assert fetch.fetched_data("prepared/none") == "prepared/none", "a slip of the pen, no name of the Hub"
    assert [fetch.fetched_data(name) for name in ("demo", "set.h5", "org/set.h5", "./x")] == [
        "demo",
        "set.h5",
        "org/set.h5",
        "./x",
    ]
    assert not asked
    for name in ("org/name", "hf://datasets/org/name", "hf://datasets/org/name@v1/sub/folder"):
        assert fetch.fetched_data(name) == "kept"
    assert [words[1:] for words in asked] == [("org/name",), ("org/name", None, None), ("org/name", "v1", "sub/folder")]


@pytest.mark.parametrize("flag", ["--output_dir", "--data"])
def test_training_shows_no_secret(flag, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "demo", flag, "s3://AKIA:geheim@bucket/x"]) == 2
    assert "geheim" not in "".join(capsys.readouterr())
    assert not [*tmp_path.iterdir()]
