"""Videos, summaries and data in buckets of an S3 server on this machine, which the tests start."""

import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from hiersum_hf.cli.main import main
from hiersum_hf.files.remote import MARK, mirrored
from hiersum_hf.inference import extract
from hiersum_hf.inference.extract import choose_settings, find_videos
from tests.makers.commands import SMALL, launch
from tests.makers.data_sets import prepared, write_sets
from tests.makers.encoders import write_sentence_clip
from tests.makers.store import SECRET
from tests.makers.videos import write_video


pytestmark = pytest.mark.slow
READ_ONLY = {"Effect": "Allow", "Action": ["s3:Get*", "s3:List*"], "Resource": "*"}


@pytest.fixture
def videos(s3, tmp_path):
    for name in "abc":
        s3.put_file(str(write_video(tmp_path / f"{name}.mp4", brightness=ord(name))), f"bucket/videos/{name}.mp4")
    s3.pipe_file("bucket/videos/a.srt", b"1\n00:00:00,000 --> 00:00:01,000\nHello.\n")
    return "s3://bucket/videos"


def test_extract(videos, s3, tmp_path, monkeypatch, capsys):
    s3.pipe_file("bucket/videos/bad.mp4", b"no video")
    words = ["extract", f"{videos}/*.mp4", "--device", "cpu", "--json", "--output"]
    assert main([*words, "s3://bucket/features"]) == 1
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert [*report["failed"]] == [f"{videos}/bad.mp4"]
    assert json.loads(s3.cat_file("bucket/features/failed.jsonl"))["video"] == f"{videos}/bad.mp4"
    assert main(["extract", str(tmp_path / "a.mp4"), "--device", "cpu", "--output", str(tmp_path / "here")]) == 0
    (shard,) = s3.glob("bucket/features/features-*.zip")
    there = s3.cat_file(shard)
    (here,) = (tmp_path / "here").glob("features-*.zip")
    with zipfile.ZipFile(here) as ours, zipfile.ZipFile(io.BytesIO(there)) as theirs:
        (name,) = ours.namelist()
        with np.load(ours.open(name)) as one, np.load(theirs.open(name)) as other:
            assert all(np.array_equal(one[key], other[key]) for key in one), "as from the disk"

    s3.rm_file("bucket/videos/bad.mp4")
    monkeypatch.setattr(extract, "frame_features", None)
    assert main([*words, "s3://bucket/features"]) == 0
    assert s3.cat_file(shard) == there
    assert s3.cat_file("bucket/features/failed.jsonl") == b""
    assert MARK not in out + err
    assert SECRET not in out + err


def test_summarize(videos, s3, capsys):
    words = ["summarize", videos, "--device", "cpu", "--output", "s3://bucket/cuts"]
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert "note: Read from a.srt, found beside the video." in err
    assert "Written to s3://bucket/cuts/c: summary.mp4" in out
    page = s3.cat_file("bucket/cuts/a/summary.html").decode()
    assert "../../videos/a.mp4" in page
    assert s3.info("bucket/cuts/a/summary.mp4")["size"] > 1000
    assert s3.info("bucket/cuts/a/summary.html")["ContentType"] == "text/html"
    assert MARK not in out + err + page
    before = {name: info["LastModified"] for name, info in s3.find("bucket/cuts", detail=True).items()}
    assert main(words) == 0
    assert "note: 3 finished before" in capsys.readouterr().err
    s3.invalidate_cache()
    after = {name: info["LastModified"] for name, info in s3.find("bucket/cuts", detail=True).items()}
    assert {name for name in after if after[name] != before[name]} <= {"bucket/cuts/failed.jsonl"}


def test_train_and_evaluate(s3, demo_records, tmp_path, monkeypatch, capsys, caplog):
    write_sets(tmp_path, demo_records)
    s3.put_file(str(tmp_path / "set.h5"), "bucket/set.h5")
    s3.put(str(prepared(tmp_path / "data", demo_records[:15], "tvsum")), "bucket/data", recursive=True)
    for data, run in (("s3://bucket/set.h5", "file"), ("s3://bucket/data", "folder")):
        assert launch(tmp_path, ["--data", data, "--output_dir", run, *SMALL], monkeypatch) == 0
        assert f"data: {data}" in (tmp_path / run / "recipe.yaml").read_text()
        words = [
            "tvsum",
            "--data",
            data,
            "--scorer",
            str(tmp_path / run),
            "--device",
            "cpu",
            "--output",
            f"{run}-figures",
        ]
        assert launch(tmp_path, words, monkeypatch, "evaluate") == 0
        figures = json.loads((tmp_path / f"{run}-figures" / "results.json").read_text())
        assert figures["metrics"] == json.loads((tmp_path / run / "results.json").read_text())["metrics"]
    out, err = capsys.readouterr()
    assert caplog.text.count("is being fetched to") == 2, "once each"
    assert SECRET not in out + err
    assert launch(tmp_path, ["demo", "--output_dir", "s3://bucket/run"], monkeypatch) == 2
    assert "s3://bucket/run: expected a path on this machine, found an address." in capsys.readouterr().err


@pytest.mark.parametrize("command", ["extract", "summarize"])
def test_buckets_that_are_not_there(videos, command, capsys):
    for given, name in (
        (["s3://none/v", "--output", "s3://bucket/x"], "v"),
        ([videos, "--output", "s3://none/x"], "x"),
    ):
        assert main([command, *given, "--device", "cpu"]) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert f"s3://none/{name}" in error
        assert "found: The specified bucket does not exist. Check" in error


@pytest.mark.parametrize("command", ["extract", "summarize"])
def test_a_bucket_that_may_only_be_read_is_refused_before_the_work(videos, s3, s3_server, monkeypatch, command, capsys):
    import boto3
    import requests

    iam, user = boto3.client("iam"), f"reader-of-{command}"
    iam.create_user(UserName=user)
    rights = json.dumps({"Version": "2012-10-17", "Statement": [READ_ONLY]})
    iam.put_user_policy(UserName=user, PolicyName="read", PolicyDocument=rights)
    key = iam.create_access_key(UserName=user)["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    type(s3).clear_instance_cache()
    monkeypatch.setattr(extract, "frame_features", None)
    requests.post(f"{s3_server}/moto-api/reset-auth", data="0")
    try:
        assert main([command, videos, "--output", "s3://bucket/x", "--device", "cpu"]) == 2
        error = capsys.readouterr().err
        assert main([command, "s3://bucket/videos/a.mp4", "--output", "s3://bucket/x", "--device", "cpu"]) == 2
    finally:
        requests.post(f"{s3_server}/moto-api/reset-auth", data="inf")
    assert "s3://bucket/x/failed.jsonl: expected a place that can be written to, found: " in error
    assert "Check the name of the bucket and the right to write there." in error
    assert key["SecretAccessKey"] not in error
    assert key["AccessKeyId"] not in error


def features(content):
    with zipfile.ZipFile(io.BytesIO(content)) as shard:
        return {name: shard.read(name) for name in shard.namelist()}


def test_extract_on_ray(cluster, videos, s3, tmp_path, capsys):
    s3.pipe_file("bucket/videos/bad.mp4", b"no video")
    blind = {"AWS_ENDPOINT_URL": os.environ["AWS_ENDPOINT_URL"], "AWS_EC2_METADATA_DISABLED": "true"}
    without = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "HOME": str(tmp_path)}
    cluster.add_node(num_cpus=1, env_vars=blind | without)
    with_encoder = ["--video-encoder", str(write_sentence_clip(tmp_path / "clip")), "--runtime", "torch"]
    words = ["extract", f"{videos}/*.mp4", "--device", "cpu", "--json", *with_encoder]
    on_ray = ["--engine", "ray", "--address", cluster.address, "--output"]
    assert main([*words, *on_ray, "s3://bucket/features"]) == 1
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert [*report["failed"]] == [f"{videos}/bad.mp4"]
    assert json.loads(s3.cat_file("bucket/features/failed.jsonl"))["video"] == f"{videos}/bad.mp4"
    assert err.count("It gets no more work.") == 1
    assert "Unable to locate credentials. Check the address and the right to read it. It is seen from here." in err
    (shard,) = s3.glob("bucket/features/features-*.zip")
    assert {one["file"] for one in report["videos"].values()} == {f"s3://{shard}"}
    assert MARK not in out + err
    assert SECRET not in out + err

    s3.rm_file("bucket/videos/bad.mp4")
    before = s3.cat_file(shard)
    assert main([*words, *on_ray, "s3://bucket/features"]) == 0
    assert all(one["found"] for one in json.loads(capsys.readouterr().out)["videos"].values())
    s3.invalidate_cache()
    assert s3.glob("bucket/features/features-*.zip") == [shard]
    for here in ([*on_ray, str(tmp_path / "ray")], ["--output", str(tmp_path / "one")]):
        assert main([*words, *here]) == 0
        (kept,) = Path(here[-1]).glob("features-*.zip")
        assert features(kept.read_bytes()) == features(before)


def test_a_video_that_goes_meanwhile_is_named_and_no_node_is_blamed(cluster, videos, s3, tmp_path, capsys):
    from hiersum_hf.inference.on_ray import extract_on_ray

    settings = choose_settings(None, str(write_sentence_clip(tmp_path / "clip")), None, "float32", False)
    with mirrored([videos], "s3://bucket/features") as (names, output):
        s3.rm_file("bucket/videos/b.mp4")
        given = find_videos(names)[0], output, settings, "cpu"
        report = extract_on_ray(*given, runtime="torch", address=cluster.address)
    assert [*report["failed"]] == [f"{videos}/b.mp4"]
    assert "found: The specified key does not exist." in report["failed"][f"{videos}/b.mp4"]
    assert len(report["videos"]) == 2
    assert "no more work" not in capsys.readouterr().err


def test_summarize_on_ray(cluster, videos, s3, tmp_path, capsys):
    pytest.importorskip("efficientnet_lite_pytorch", reason="the offline extra is not installed")
    s3.pipe_file("bucket/videos/bad.mp4", b"no video")
    words = ["summarize", videos, "--device", "cpu", "--json", "--output"]
    on_ray = ["--engine", "ray", "--address", cluster.address]
    assert main([*words, "s3://bucket/ray", *on_ray]) == 1
    out, err = capsys.readouterr()
    assert "note: Read from a.srt, found beside the video." in err
    assert "1 of 4 videos failed: bad.mp4" in err
    assert MARK not in out + err
    assert main([*words, "s3://bucket/one"]) == 1
    assert sorted(capsys.readouterr().out.splitlines()) == sorted(out.splitlines())
    for name in s3.find("bucket/one"):
        assert s3.cat_file(name) == s3.cat_file(name.replace("bucket/one", "bucket/ray")), name
    assert main([*words, "s3://bucket/ray", *on_ray]) == 1
    assert "note: 3 finished before" in capsys.readouterr().err
