"""Fixtures of several folders: the demo set on random projections, real test data, a browser."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import settings

from hiersum_hf import HierSumFeatureExtractor
from hiersum_hf.synthetic import features as synthetic


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
