"""Features packed together are those of single files, whatever happens meanwhile."""

import errno
import io
import os
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from hiersum_hf.features import cache, shards
from hiersum_hf.features.cache import FrameSettings, frame_features, stored_features
from hiersum_hf.features.shards import Packer, holder, merge, pack, shards_in
from hiersum_hf.files.atomic import writing
from hiersum_hf.inference import extract
from tests.makers.encoders import colour_encoder
from tests.makers.extraction import run
from tests.makers.folders import contents
from tests.makers.videos import write_video


NAMES = [f"{number}.npz" for number in range(5)]


class Killed(BaseException):
    """What nothing catches."""


def write(folder, names=NAMES):
    """Features of this form, a file for each name."""
    folder.mkdir(exist_ok=True)
    for name in names:
        rows = 2 + len(name) + ord(name[0])
        np.savez(
            folder / name,
            video_features=np.full((rows, 3), rows, np.float32),
            frame_times_s=np.arange(rows) / 2,
            warnings=np.array([name], str),
            end_s=np.inf,
        )
    return contents(folder)


def listed(folder):
    return sorted(file.name for file in folder.iterdir() if file.suffix == ".npz")


def packs(folder):
    return sorted(folder.glob("features-*.zip"))


@pytest.fixture
def encoded(monkeypatch):
    """Counts batches of a stand-in for the encoder."""
    seen = []
    monkeypatch.setattr(extract, "load_video_encoder", lambda *which: colour_encoder(on_batch=lambda: seen.append(1)))
    return seen


@pytest.fixture
def videos(tmp_path):
    for i in range(5):
        write_video(tmp_path / "videos" / f"{i}.mp4", brightness=10 * i, seconds=1)
    return tmp_path / "videos"


def test_packed_features_are_read_as_single_ones(tmp_path):
    single = write(tmp_path / "c")
    before = {name: stored_features(tmp_path / "c" / name) for name in NAMES}
    pack(tmp_path / "c", NAMES[:3])
    assert listed(tmp_path / "c") == NAMES[3:]
    (shard,) = packs(tmp_path / "c")
    assert contents(tmp_path / "c") == single, "the same bytes under the same names"
    for name in NAMES:
        found = stored_features(tmp_path / "c" / name)
        np.testing.assert_array_equal(found.features, before[name].features)
        assert (found.file, found.warnings, found.found) == (tmp_path / "c" / name, (name,), True)
    assert holder(tmp_path / "c", NAMES[0]) == shard
    assert holder(tmp_path / "c", NAMES[4]) == tmp_path / "c" / NAMES[4]
    assert holder(tmp_path / "c", "none.npz") is None
    assert stored_features(tmp_path / "c" / "none.npz") is None
    with zipfile.ZipFile(shard) as archive, np.load(io.BytesIO(archive.read(NAMES[0]))) as arrays:
        assert arrays["video_features"].shape == before[NAMES[0]].features.shape, "numpy reads a member"


def test_shards_are_of_like_size_and_none_of_gigabytes(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "PACKED", 2)
    write(tmp_path / "c")
    packer = Packer(tmp_path / "c")
    for name in [*NAMES, NAMES[0], "none.npz"]:
        packer.add(name)
    assert listed(tmp_path / "c") == NAMES[4:]
    packer.finish()
    assert [len(zipfile.ZipFile(shard).namelist()) for shard in packs(tmp_path / "c")].count(2) == 2
    monkeypatch.setattr(shards, "PACKED_BYTES", 10)
    write(tmp_path / "long")
    pack(tmp_path / "long", NAMES)
    assert len(packs(tmp_path / "long")) == 5


def test_nothing_to_pack_leaves_nothing(tmp_path):
    pack(tmp_path, ["none.npz"])
    Packer(tmp_path / "none").finish()
    assert not list(tmp_path.iterdir())


def test_a_shard_that_another_process_adds_or_removes_is_noticed(tmp_path):
    write(tmp_path / "c")
    write(tmp_path / "other", ["x.npz"])
    pack(tmp_path / "c", NAMES)
    pack(tmp_path / "other", ["x.npz"])
    assert stored_features(tmp_path / "c" / "x.npz") is None
    os.utime(tmp_path / "c", (1, 1))  # the folder has been at rest
    assert stored_features(tmp_path / "c" / "x.npz") is None
    (mine,), (theirs,) = packs(tmp_path / "c"), packs(tmp_path / "other")
    theirs.rename(tmp_path / "c" / theirs.name)
    assert stored_features(tmp_path / "c" / "x.npz").found
    mine.unlink()
    assert holder(tmp_path / "c", NAMES[0]) is None
    assert stored_features(tmp_path / "c" / NAMES[0]) is None


def test_names_are_read_once_a_shard(tmp_path, monkeypatch):
    write(tmp_path / "c")
    for name in NAMES:
        pack(tmp_path / "c", [name])
    opened = []
    read = shards._members
    monkeypatch.setattr(shards, "_members", lambda shard: opened.append(shard) or read(shard))
    shards._shards.cache_clear()
    for name in [*NAMES, *NAMES, "none.npz"]:
        stored_features(tmp_path / "c" / name)
    assert sorted(opened) == packs(tmp_path / "c")


@pytest.mark.parametrize("moment", ["writing", "naming", "removing the first", "removing the second"])
def test_killed_while_packing_nothing_is_lost_or_done_twice(videos, encoded, tmp_path, monkeypatch, moment):
    run(videos, tmp_path / "whole")
    at = {"removing the first": 1, "removing the second": 2}.get(moment, 2)
    kinds = {"writing": (zipfile.ZipFile, "writestr"), "naming": (os, "replace")}
    owner, name = kinds.get(moment, (type(tmp_path), "unlink"))
    real, calls = getattr(owner, name), []

    def dies(*args, **kwargs):
        concerns = str(args[0]).endswith(".npz") if name == "unlink" else str(args[-1]).endswith(".zip")
        calls.extend([1] * (concerns or name == "writestr"))
        if len(calls) == (1 if name == "replace" else at) and (concerns or name == "writestr"):
            raise Killed
        return real(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, dies)
        with pytest.raises(Killed):
            run(videos, tmp_path / "out")
    kept = {file.name for file in (tmp_path / "out").glob("*.npz")}
    shards._shards.cache_clear()  # as in a new process
    assert all(stored_features(tmp_path / "out" / name) for name in contents(tmp_path / "whole")), "all readable"
    assert kept, "what the kill left single"
    encoded.clear()
    again = run(videos, tmp_path / "out")
    assert not encoded
    assert all(video["found"] for video in again["videos"].values())
    assert listed(tmp_path / "out") == [], "and left-over copies are gone"
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_half_written_shard_is_never_seen(videos, encoded, tmp_path):
    run(videos, tmp_path / "out")
    (shard,) = packs(tmp_path / "out")
    shard.rename(shard.with_name(f".{shard.name}.0123abcd.partial"))
    encoded.clear()
    assert not any(video["found"] for video in run(videos, tmp_path / "out")["videos"].values())
    assert len(encoded) == 5


def test_what_a_killed_process_left_half_written_goes_with_the_next_run(tmp_path):
    killed = [writing(tmp_path / name) for name in ("features-0123456789abcdef.zip", "x.npz")]
    for one in killed:
        one.__enter__().close()  # as the system does: the lock goes and nothing else
    other = tmp_path / ".features-other.zip.00000000-0123abcd.partial"
    other.write_bytes(b"of another machine")
    with writing(tmp_path / "features-alive.zip") as file:
        left = sorted(tmp_path.glob(".*.partial"))
        assert len(left) == 4
        for age_s, age_of_other_s, stay in ((0, 0, 4), (20, 0, 2), (20, 2 * 86400, 1)):
            for one in filter(Path.exists, left):
                os.utime(one, (time.time() - (age_of_other_s if one == other else age_s),) * 2)
            Packer(tmp_path).finish()
            assert len([*filter(Path.exists, left)]) == stay
        file.write(b"whole")
    assert (tmp_path / "features-alive.zip").read_bytes() == b"whole"


def small(folder, count):
    """A folder with a shard for each of so many files; what it holds."""
    names = [f"{number}.npz" for number in range(count)]
    whole = write(folder, names)
    for name in names:
        pack(folder, [name])
    return whole


def test_many_small_shards_become_one(tmp_path):
    few = small(tmp_path / "few", shards.MANY - 1)
    merge(tmp_path / "few")
    assert len(packs(tmp_path / "few")) == len(few)
    whole = small(tmp_path / "c", shards.MANY + 3)
    before = shards_in(tmp_path / "c").find("0.npz")
    merge(tmp_path / "c")
    assert len(packs(tmp_path / "c")) == 1
    assert contents(tmp_path / "c") == whole
    assert shards_in(tmp_path / "c").read("0.npz") == whole["0.npz"]
    assert shards_in(tmp_path / "c").find("0.npz") != before


def test_what_is_merged_at_once_has_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "PACKED", 8)
    whole = small(tmp_path / "c", 20)
    for left in (13, 13):
        merge(tmp_path / "c")
        assert len(packs(tmp_path / "c")) == left
    assert contents(tmp_path / "c") == whole
    monkeypatch.setattr(shards, "PACKED_BYTES", 10)
    merge(tmp_path / "c")
    assert len(packs(tmp_path / "c")) == 13


@pytest.mark.parametrize(
    ("owner", "name", "at"), [(zipfile.ZipFile, "writestr", 5), (os, "replace", 1), (type(Path()), "unlink", 5)]
)
def test_killed_while_merging_nothing_is_lost(tmp_path, monkeypatch, owner, name, at):
    whole = small(tmp_path / "c", 20)
    real, calls = getattr(owner, name), []

    def dies(*args, **kwargs):
        calls.append(1)
        if len(calls) == at:
            raise Killed
        return real(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, dies)
        with pytest.raises(Killed):
            merge(tmp_path / "c")
    shards._shards.cache_clear()  # as in a new process
    assert all(shards_in(tmp_path / "c").read(name) == whole[name] for name in whole)
    merge(tmp_path / "c")
    assert len(packs(tmp_path / "c")) == 1, "also of those that were merged and stayed"
    assert contents(tmp_path / "c") == whole


def test_damaged_shards_and_members_are_not_merged(tmp_path):
    whole = small(tmp_path / "c", 20)
    first, second, *_ = packs(tmp_path / "c")
    lost = {zipfile.ZipFile(shard).namelist()[0] for shard in (first, second)}
    first.write_bytes(first.read_bytes()[:100])
    second.write_bytes(flipped(second.read_bytes()))
    shards._shards.cache_clear()
    merge(tmp_path / "c")
    assert len(packs(tmp_path / "c")) == 3
    assert first.exists()
    assert second.exists()
    lost -= set(zipfile.ZipFile(second).namelist())
    assert {name for name in whole if holder(tmp_path / "c", name)} == whole.keys() - lost


def test_a_reader_finds_what_was_merged_between_its_look_and_its_read(tmp_path, monkeypatch):
    whole = small(tmp_path / "c", 20)
    index, found = shards_in(tmp_path / "c"), shards.Shards.find
    index.find("0.npz")

    def meanwhile(self, name):
        monkeypatch.setattr(shards.Shards, "find", found)
        member = found(self, name)
        merge(tmp_path / "c")
        return member

    monkeypatch.setattr(shards.Shards, "find", meanwhile)
    assert index.read("0.npz") == whole["0.npz"]


def test_files_of_earlier_versions_are_read_and_packed(videos, encoded, tmp_path):
    """A folder with a file for each video, and no list of what is done."""
    for video in sorted(videos.iterdir()):
        frame_features(video, FrameSettings("colour", 2.0), colour_encoder, tmp_path / "out", listed=False)
    before = contents(tmp_path / "out")
    assert len(listed(tmp_path / "out")) == 5
    report = run(videos, tmp_path / "out")
    assert not encoded
    assert all(video["found"] for video in report["videos"].values())
    assert (listed(tmp_path / "out"), contents(tmp_path / "out")) == ([], before)


def flipped(content):
    at = content.index(b"video_features.npy") + 200
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


@pytest.mark.parametrize("broken", [lambda found: found[: len(found) // 2], lambda _: b"", lambda _: b"no zip"])
def test_a_damaged_shard_is_named_and_its_videos_made_anew(videos, encoded, tmp_path, caplog, broken):
    run(videos, tmp_path / "out")
    whole = contents(tmp_path / "out")
    (shard,) = packs(tmp_path / "out")
    shard.write_bytes(broken(shard.read_bytes()))
    shards._shards.cache_clear()
    encoded.clear()
    run(videos, tmp_path / "out")
    assert len(encoded) == 5
    told = [one for one in caplog.messages if one.startswith(f"{shard}: expected features packed by `hiersum extract`")]
    assert len(told) == 1, "once, not for each video"
    assert told[0].endswith("Delete it, or put a whole copy in its place.")
    shard.unlink()
    assert contents(tmp_path / "out") == whole


def test_a_damaged_member_is_made_anew_and_stays_single(videos, encoded, tmp_path, caplog):
    run(videos, tmp_path / "out")
    whole = contents(tmp_path / "out")
    (shard,) = packs(tmp_path / "out")
    shard.write_bytes(flipped(shard.read_bytes()))
    first, *_ = zipfile.ZipFile(shard).namelist()
    assert stored_features(tmp_path / "out" / first) is None
    assert f"{shard}: {first}: expected features of frames, found a broken file" in caplog.text
    found = [frame_features(video, FrameSettings("colour", 2.0), colour_encoder, tmp_path / "out").found
             for video in sorted(videos.iterdir())]  # fmt: skip
    assert found.count(False) == 1
    run(videos, tmp_path / "out")
    assert listed(tmp_path / "out") == [first], "what is packed is not that, so it is not removed"
    assert (tmp_path / "out" / first).read_bytes() == whole[first]
    assert stored_features(tmp_path / "out" / first).found


def test_compressed_members_and_those_beyond_the_end_are_none_of_ours(tmp_path):
    write(tmp_path, ["a.npz"])
    with zipfile.ZipFile(tmp_path / "features-bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("b.npz", bytes(10**6))
    assert holder(tmp_path, "b.npz") is None
    pack(tmp_path, ["a.npz"])
    (shard,) = (file for file in packs(tmp_path) if "bomb" not in file.name)
    content = bytearray(shard.read_bytes())
    at = content.rindex(b"PK\x01\x02")
    content[at + 20 : at + 28] = (2**31).to_bytes(4, "little") * 2
    shard.write_bytes(content)
    shards._shards.cache_clear()
    assert holder(tmp_path, "a.npz") is None


def test_two_ranks_pack_what_each_wrote(videos, encoded, tmp_path, monkeypatch):
    run(videos, tmp_path / "one")
    for rank in range(2):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "2")
        run(videos, tmp_path / "two")
    assert len(packs(tmp_path / "two")) == 2
    assert contents(tmp_path / "two") == contents(tmp_path / "one")
    assert len(encoded) == 5 + 5


def test_two_processes_may_pack_the_same(tmp_path, monkeypatch):
    """One has looked before the other was through: what went meanwhile is in the other's shard."""
    whole = write(tmp_path / "c")
    written = shards._write

    def meanwhile(folder, files):
        monkeypatch.setattr(shards, "_write", written)
        pack(folder, NAMES[:3])
        return written(folder, files)

    monkeypatch.setattr(shards, "_write", meanwhile)
    pack(tmp_path / "c", NAMES)
    assert listed(tmp_path / "c") == []
    assert contents(tmp_path / "c") == whole


def test_a_second_look_reads_neither_videos_nor_shards(videos, encoded, tmp_path, monkeypatch):
    first = run(videos, tmp_path / "out")
    (shard,) = packs(tmp_path / "out")
    assert {video["file"] for video in first["videos"].values()} == {str(shard)}
    assert {video["name"] for video in first["videos"].values()} == set(contents(tmp_path / "out"))
    monkeypatch.setattr(cache.hashlib, "file_digest", None)
    monkeypatch.setattr(shards.Shards, "read", None)
    assert all(video["found"] for video in run(videos, tmp_path / "out")["videos"].values())
    assert shards_in(tmp_path / "out") is shards_in(str(tmp_path / "out"))


def test_a_disk_that_fills_up_while_packing_loses_nothing(tmp_path, monkeypatch):
    whole = write(tmp_path / "c")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"c/features-\w+\.zip: expected room for it, found none.* what is done stays"):
        pack(tmp_path / "c", NAMES)
    assert contents(tmp_path / "c") == whole
    assert len(os.listdir(tmp_path / "c")) == len(NAMES), "and no half-written shard"
