"""Processes that cannot import the package."""

NO_PACKAGE = """
import importlib.util, json, sys
sys.path[:] = [p for p in sys.path if p not in ("", {repo!r})]
sys.meta_path[:] = [f for f in sys.meta_path if "editable" not in repr(f).lower()]
assert importlib.util.find_spec("hiersum_hf") is None, "the package must not be importable here"
import numpy as np, torch
"""
