"""Settings that pytest and libraries read when they are imported."""

import os
import tempfile

import pytest


pytest.register_assert_rewrite("tests.makers")
CACHE = tempfile.TemporaryDirectory(prefix="hiersum-tests-")
# Not the user's folders, which would grow with every run
os.environ |= {"HF_DATASETS_CACHE": CACHE.name, "HF_ASSETS_CACHE": CACHE.name}
