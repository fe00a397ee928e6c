"""Fixtures of several folders: the demo set, real test data, a browser, a Hub, a bucket, a Ray cluster."""

import logging
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import settings

from hiersum_hf import HierSumFeatureExtractor
from hiersum_hf.synthetic import features as synthetic
from tests.makers.encoders import colour_encoder
from tests.makers.hub_server import HubServer
from tests.makers.store import access_to


REPO = Path(__file__).parents[1]
WITH_ENCODERS = ("hiersum_hf.inference.extract", "hiersum_hf.inference.scorer")  # they load those of frames

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
settings.register_profile("same everywhere", derandomize=True, database=None, deadline=None)
settings.load_profile("same everywhere")


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Folder of real data that is not part of the project."""
    folder = os.environ.get("HIERSUM_TEST_DATA")
    if not folder:
        pytest.skip("HIERSUM_TEST_DATA is not set: no real data here")
    return Path(folder).resolve()  # tests go to other folders


@pytest.fixture(scope="session")
def demo_records():
    """60 videos of the demo's latent process with random projections for features."""
    bank, embed, encoders = synthetic.random_features()
    return [synthetic.to_record(synthetic.make_video(i), bank, embed, encoders) for i in range(60)]


@pytest.fixture(scope="session")
def demo_extractor() -> HierSumFeatureExtractor:
    return HierSumFeatureExtractor("random-projection", "random-projection", 32, 32, synthetic.SAMPLE_FPS)


@pytest.fixture
def browser():
    """A headless Chromium: HIERSUM_TEST_BROWSER, or one that is installed."""
    driver = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    path = os.environ.get("HIERSUM_TEST_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("no Chromium here: set HIERSUM_TEST_BROWSER to one")
    with driver.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path)
        yield chromium
        chromium.close()


@pytest.fixture
def few_demo_videos(monkeypatch):
    """The demo set in a moment: a few videos, random projections instead of encoders."""

    def missing(name):
        raise ImportError(f"{name}: not for this test")

    few = {"train": 70, "validation": 3, "test": 3}
    for module in ("synthetic.demo", "datasets.parts"):
        monkeypatch.setattr(f"hiersum_hf.{module}.DEMO_VIDEOS", few)
    monkeypatch.setattr("hiersum_hf.synthetic.demo.load_video_encoder", missing)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The Hub of this process, until the test is over."""
    with HubServer() as server:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.url)
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "none"))
        monkeypatch.setenv("HF_TOKEN", "writer")
        yield server


@pytest.fixture(scope="module")
def s3_server():
    """The address of an S3 server on this machine."""
    moto = pytest.importorskip("moto.server", reason="moto is not installed")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def s3(s3_server, monkeypatch, tmp_path):
    """An empty bucket, as s3fs sees it."""
    s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed")
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in access_to(s3_server).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("hiersum_hf.datasets.fetch.CACHE", tmp_path / "kept")
    for module in WITH_ENCODERS:
        monkeypatch.setattr(f"{module}.load_video_encoder", lambda *which: colour_encoder())
    s3fs.S3FileSystem.clear_instance_cache()
    store = s3fs.S3FileSystem()
    if store.exists("bucket"):
        store.rm("bucket", recursive=True)
    store.mkdir("bucket")
    yield store
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def cluster(s3_server, s3, tmp_path, monkeypatch):
    """A Ray cluster whose driver does no work, a node with access to the bucket, and what adds others."""
    pytest.importorskip("ray", reason="the ray extra is not installed")
    from ray.cluster_utils import Cluster

    from hiersum_hf.features.video_encoder import load_video_encoder
    from hiersum_hf.files.remote import MARK

    for name, value in {"PYTHONPATH": str(REPO), "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}.items():
        monkeypatch.setenv(name, value)
    for module in WITH_ENCODERS:
        monkeypatch.setattr(f"{module}.load_video_encoder", load_video_encoder)  # workers have no other
    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    (tmp_path / "scratch").mkdir()
    here = {"TMPDIR": str(tmp_path / "scratch")}
    started.add_node(num_cpus=1, env_vars=access_to(s3_server) | here)
    yield started
    assert not [*(tmp_path / "scratch").glob(f"{MARK}*")]
    started.shutdown()
