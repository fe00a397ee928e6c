"""The name under which the pipeline's copy in a checkpoint imports `hiersum_hf.inference.for_pipeline`."""

from hiersum_hf.inference.for_pipeline import InputReader


__all__ = ["InputReader"]
