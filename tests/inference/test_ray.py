"""An archive on a Ray cluster: nothing lost, nothing twice, whatever dies; what is wrong is named in a line."""

import contextlib
import errno
import json
import subprocess
import sys
import time
import types
from argparse import Namespace
from collections import Counter
from pathlib import Path

import pytest

from hiersum_hf import HierSumFeatureExtractor, __version__
from hiersum_hf.cli import summarize
from hiersum_hf.cli.main import main
from hiersum_hf.features.cache import FrameSettings
from hiersum_hf.files import remote
from hiersum_hf.inference import extract, on_ray
from hiersum_hf.inference.extract import find_videos
from hiersum_hf.inference.progress import Progress
from hiersum_hf.inference.scorer import Scorer
from tests.makers.encoders import colour_encoder, write_sentence_clip
from tests.makers.extraction import run
from tests.makers.folders import contents
from tests.makers.videos import write_video


REPO = Path(__file__).parents[2]


@pytest.fixture
def words(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"video")
    return ["extract", str(tmp_path / "a.mp4"), "--output", str(tmp_path / "out"), "--engine", "ray"]


def refusal(words, capsys):
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line.removeprefix("hiersum: error: ")


def test_without_ray_the_extra_is_named(words, monkeypatch, capsys):
    monkeypatch.setattr(on_ray, "find_spec", lambda name: None)
    assert refusal(words, capsys) == '--engine ray needs Ray: pip install "hiersum-hf[ray]"'


def test_flags_that_do_not_fit(words, monkeypatch, capsys):
    local = [*words[:-2], "--address", "auto"]
    assert refusal(local, capsys) == "--address auto: expected --engine ray beside it, found none"
    prepare = ["prepare", "folder", "--source", str(Path(words[1]).parent), "--output", words[3], *words[-2:]]
    assert "--engine ray: expected folder or howto with --cache DIR" in refusal(prepare, capsys)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert refusal(words, capsys).startswith("--engine ray: expected one process, found 2 ranks.")


def test_an_address_without_a_cluster_is_said_in_a_line_at_once(words, tmp_path, monkeypatch, capsys):
    ray = pytest.importorskip("ray", reason="the ray extra is not installed")

    def nowhere(*_, **__):
        raise ConnectionError("Could not find any running Ray instance.\nPlease specify one.")

    monkeypatch.setattr(ray, "init", nowhere)
    found, start = "expected a Ray cluster there, found", "Start one with `ray start --head`, or take --address local"
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    alone = "for this machine alone. A cluster that has a token takes who has it too, with RAY_AUTH_MODE=token"
    assert refusal(words, capsys) == (
        f"--address auto: {found}: Could not find any running Ray instance. {start} {alone} (docs/cluster.md)."
    )
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("127.0.0.1:1")
    for address in ("auto", "127.0.0.1:1"):
        refused = refusal([*words, "--address", address], capsys)
        assert refused.startswith(f"--address {address}: {found}: [Errno 111] Connection refused. {start}")
    assert not Path(words[3]).exists()


def test_a_token_that_is_missing_is_said_in_a_line(words, monkeypatch, capsys):
    ray = pytest.importorskip("ray", reason="the ray extra is not installed")

    def strange(*_, **__):
        raise ray.exceptions.AuthenticationError("Token authentication is enabled but no token was found.")

    monkeypatch.setattr(ray, "init", strange)
    monkeypatch.setattr(on_ray, "_refuse_dead", lambda address: None)
    refused = refusal([*words, "--address", "127.0.0.1:1"], capsys)
    assert "found: AuthenticationError: Token authentication is enabled but no token was found" in refused
    assert "with RAY_AUTH_MODE=token" in refused


@pytest.fixture
def two_nodes(monkeypatch):
    there = {name * 8: {"NodeManagerAddress": f"10.0.0.{k}", "Resources": {"CPU": 4.0}} for k, name in enumerate("ab")}
    monkeypatch.setattr(on_ray.Cluster, "nodes", lambda cluster: there)
    monkeypatch.setattr(on_ray.Cluster, "ask", lambda cluster: None)
    return on_ray.Cluster()


def test_a_node_is_left_out_once_and_the_last_one_ends_the_run(two_nodes, capsys):
    assert (two_nodes.placed(), two_nodes.cpus()) == ({}, (8, 2))
    for _ in range(2):
        two_nodes.leave_out("a" * 8, "no room.")
    assert capsys.readouterr().err == "note: node 10.0.0.0 (aaaaaaaa): no room. It gets no more work.\n"
    assert two_nodes.placed() == {"label_selector": {"ray.io/node-id": "!in(aaaaaaaa)"}}
    assert two_nodes.cpus() == (4, 1)
    with pytest.raises(ValueError, match=r"found none left: node 10\.0\.0\.1 \(bbbbbbbb\): other version"):
        two_nodes.leave_out("b" * 8, "other version")


@pytest.mark.parametrize(
    ("error", "listed", "came"),
    [
        (ValueError("no video"), [], "failed"),
        (FileNotFoundError("a.mp4"), [], "unseen"),
        (FileNotFoundError("a.mp4"), [("s3://b/a.mp4", 1, 1)], "failed"),
        (OSError(errno.ENOSPC, "full"), [], "unfit"),
        (remote._Forbidden("s3://b/a.mp4: 403"), [("s3://b/a.mp4", 1, 1)], "unseen"),
        (remote._NotInstalled("s3://b/a.mp4: no s3fs"), [("s3://b/a.mp4", 1, 1)], "unseen"),
        (remote._Unreachable("s3://b/a.mp4: 503"), [("s3://b/a.mp4", 1, 1)], "again"),
    ],
)
def test_a_failure_is_of_the_video_the_machine_or_the_moment(error, listed, came, monkeypatch):
    def work(item):
        raise error

    node = types.SimpleNamespace(get_node_id=lambda: "node")
    monkeypatch.setattr(on_ray, "_ray", lambda: types.SimpleNamespace(get_runtime_context=lambda: node))
    monkeypatch.setattr(on_ray, "_made", lambda made_by: work)
    found = on_ray._do(__version__, [None], (Path("nowhere/a.mp4"), listed))
    assert found[:2] == ("node", came)
    assert str(error.args[-1]) in found[2]


def test_devices_are_of_the_cluster(two_nodes, monkeypatch):
    ray = pytest.importorskip("ray", reason="the ray extra is not installed")
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 8.0})
    assert two_nodes.encoders("colour", "auto", "float32", None) == []
    for device, found in (("mps", "found 'mps'"), ("cuda", "found none. Leave it out.")):
        with pytest.raises(ValueError, match=found):
            two_nodes.encoders("colour", device, "float32", None)


def test_progress_says_videos_seconds_speed_and_time_left():
    progress = Progress(1200, 1000)
    progress.add(size=200, video_s=7200.0, failed=False)
    progress.add(size=50, video_s=0.0, failed=True)
    assert progress.line(60.0, 16, 2) == (
        "2 of 1,200 videos, 1 failed, 2:00:00 of video, 120.0 x as fast as they play, 3:00 left, 16 CPUs on 2 nodes"
    )
    assert progress.line(60.0, 0, 0).endswith("waiting for a node with a CPU")


@pytest.fixture(scope="module")
def cluster():
    """A node of one processor, to which tests add others."""
    pytest.importorskip("ray", reason="the ray extra is not installed")
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(REPO))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("OMP_NUM_THREADS", "1")
        started = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        yield started
        started.shutdown()


@pytest.fixture
def node(cluster):
    """Adds nodes, and removes those that are left."""
    added = []
    yield lambda **given: added.append(cluster.add_node(num_cpus=1, **given)) or added[-1]
    for one in added:
        if one in cluster.worker_nodes:
            cluster.remove_node(one)


@pytest.fixture
def videos(tmp_path):
    """Twelve short videos of sizes of their own, and a file that is none."""
    for i in range(12):
        write_video(tmp_path / "videos" / f"{i}.mp4", brightness=10 * i, seconds=1 + i % 3)
    (tmp_path / "videos" / "broken.mp4").write_text("no video")
    return tmp_path / "videos"


@pytest.fixture
def one_process(videos, tmp_path, monkeypatch):
    """What a single process makes of the videos."""
    monkeypatch.setattr(extract, "load_video_encoder", lambda *which: colour_encoder())
    run(videos, tmp_path / "one")
    return {name: content for name, content in contents(tmp_path / "one").items() if name != "failed.jsonl"}


def features(folder):
    return {name: content for name, content in contents(folder).items() if name != "failed.jsonl"}


@pytest.fixture
def start(cluster):
    """Starts drivers, and ends those that are left."""
    drivers = []

    def popen(videos, output):
        words = [sys.executable, "-m", "tests.makers.on_ray", str(videos), str(output), cluster.address]
        # Elsewhere than the package, as Ray puts the folder of a driver in front of the paths of its workers
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        drivers.append(subprocess.Popen(words, cwd=videos.parent, **pipes))
        return drivers[-1]

    yield popen
    for driver in drivers:
        driver.kill()


def finished(driver):
    out, err = driver.communicate(timeout=100)
    assert driver.returncode == 0, err
    return json.loads(out.splitlines()[-1]), err


def wait_for(driver, log, count):
    """Wait until some videos are done."""
    until = time.monotonic() + 60
    while not log.exists() or len(log.read_text().splitlines()) < count:
        assert driver.poll() is None, driver.communicate()
        assert time.monotonic() < until, "expected videos to be done within a minute"
        time.sleep(0.05)


def workers(cluster):
    """Find the processes of this cluster that do a video now."""
    import psutil

    nodes = [node.all_processes.values() for node in (cluster.head_node, *cluster.worker_nodes)]
    roots = [info.process.pid for processes in nodes for infos in processes for info in infos]
    found = []
    for root in roots:
        with contextlib.suppress(psutil.Error):
            children = psutil.Process(root).children(recursive=True)
            found += [child for child in children if child.cmdline()[:1] == ["ray::hiersum"]]
    return found


def wait_until(true):
    until = time.monotonic() + 60
    while not (found := true()):
        assert time.monotonic() < until
        time.sleep(0.05)
    return found


@pytest.mark.slow
def test_a_node_and_a_worker_die_and_all_is_done_once(cluster, node, start, videos, one_process, tmp_path):
    (videos / "killer.mp4").write_bytes((videos / "3.mp4").read_bytes() + b"ends its worker")
    other, output, log = node(), tmp_path / "out", tmp_path / "out.log"
    driver = start(videos, output)
    wait_for(driver, log, 3)
    cluster.remove_node(other, allow_graceful=False)
    wait_for(driver, log, 5)
    wait_until(lambda: workers(cluster))[0].kill()
    report, err = finished(driver)
    assert features(output) == one_process
    assert Counter(log.read_text().split()) == Counter(f"{i}.mp4" for i in range(12))
    assert list(report["videos"]) == [str(video) for video in find_videos([videos])[0] if video.stem.isdigit()]
    assert set(report["failed"]) == {f"{videos}/broken.mp4", f"{videos}/killer.mp4"}
    assert "expected a worker that lives through it, found 3 that did not" in report["failed"][f"{videos}/killer.mp4"]
    failed = [json.loads(line)["video"] for line in (output / "failed.jsonl").read_text().splitlines()]
    assert sorted(failed) == sorted(report["failed"])
    assert err.splitlines()[-1].startswith("14 of 14 videos, 2 failed, ")
    assert [file.name for file in output.glob(".ray-*")] == []


@pytest.mark.slow
def test_a_killed_driver_goes_on_and_does_nothing_twice(cluster, node, start, videos, one_process, tmp_path):
    node()
    output, log = tmp_path / "out", tmp_path / "out.log"
    driver = start(videos, output)
    wait_for(driver, log, 4)
    driver.kill()
    driver.wait()
    wait_until(lambda: not workers(cluster))  # what they had begun is not finished
    report, _ = finished(start(videos, output))
    assert features(output) == one_process
    assert Counter(log.read_text().split()) == Counter(f"{i}.mp4" for i in range(12))
    assert sum(video["found"] for video in report["videos"].values()) >= 3


@pytest.mark.slow
def test_nodes_that_cannot_do_the_work_are_named_and_the_others_do_it(
    cluster, node, start, videos, one_process, tmp_path
):
    for name, line in {"old": "__version__ = '0.0.1'", "none": "raise ModuleNotFoundError('No module here')"}.items():
        (tmp_path / name / "hiersum_hf").mkdir(parents=True)
        (tmp_path / name / "hiersum_hf" / "__init__.py").write_text(line)
        node(env_vars={"PYTHONPATH": str(tmp_path / name)})
    full = node()
    (tmp_path / "out.full").write_text(full.node_id)
    report, err = finished(start(videos, tmp_path / "out"))
    assert features(tmp_path / "out") == one_process
    assert list(report["failed"]) == [f"{videos}/broken.mp4"]
    for reason in ("found version 0.0.1. Install it.", "ModuleNotFoundError: No module here", "expected room for it"):
        assert err.count(reason) == 1, err


@pytest.mark.slow
def test_an_encoder_on_a_gpu_gives_what_one_process_gives(cluster, node, videos, tmp_path, monkeypatch):
    """Ray believes in GPUs that it is told of; the encoder behind computes on the processor here."""
    node(num_gpus=1)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    settings = FrameSettings(str(write_sentence_clip(tmp_path / "clip")), 2.0)
    given = find_videos([videos])[0], tmp_path / "ray", settings
    report = on_ray.extract_on_ray(*given, runtime="torch", address=cluster.address)
    extract.extract(given[0], tmp_path / "one", settings, "cpu", runtime="torch")
    assert features(tmp_path / "ray") == features(tmp_path / "one")
    assert len(report["videos"]) == 12


@pytest.mark.slow
def test_summaries_are_those_of_one_process(cluster, tmp_path, capsys):
    pytest.importorskip("efficientnet_lite_pytorch", reason="the offline extra is not installed")
    for i in range(2):
        write_video(tmp_path / "videos" / f"{i}.mp4", brightness=60 * i, seconds=3)
    (tmp_path / "videos" / "broken.mp4").write_text("no video")
    words = ["summarize", str(tmp_path / "videos"), "--json", "--device", "cpu", "--output"]
    assert main([*words, str(tmp_path / "ray"), "--engine", "ray", "--address", cluster.address]) == 1
    on_cluster = capsys.readouterr()
    assert main([*words, str(tmp_path / "one")]) == 1
    alone = capsys.readouterr()
    assert sorted(on_cluster.out.splitlines()) == sorted(alone.out.splitlines())
    assert "1 of 3 videos failed: broken.mp4" in on_cluster.err
    for i in range(2):
        assert contents(tmp_path / "ray" / str(i)) == contents(tmp_path / "one" / str(i))
    assert main([*words, str(tmp_path / "ray"), "--engine", "ray", "--address", cluster.address]) == 1
    assert "2 finished before" in capsys.readouterr().err


def test_a_worker_has_its_encoder_again_after_a_long_video(monkeypatch):
    """A network that scores hours lets go of the encoders; one loaded anew would be the worker's own."""
    theirs, seen = colour_encoder(), []

    def summarize_long(args, video, scorer, folders):
        seen.append(scorer.video_encoder)
        scorer.release_encoders()
        return 1.0

    scorer = Scorer(HierSumFeatureExtractor("colour", ""))
    monkeypatch.setattr(on_ray, "worker_encoder", lambda *given: theirs)
    monkeypatch.setattr("hiersum_hf.inference.scorer.open_scorer", lambda *given: scorer)
    monkeypatch.setattr(summarize, "_summarize", summarize_long)
    words = dict.fromkeys(("model", "level", "dtype", "fast", "runtime", "subtitles", "description"))
    work = summarize._worker(Namespace(output="out", **words), ["an actor"])
    for _ in range(2):
        work((Path("a.mp4"), (), {}, {}))
    assert seen == [theirs, theirs]
