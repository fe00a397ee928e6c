"""The name under which the pipeline's copy in a checkpoint imports `hiersum_hf.inference.source`."""

from hiersum_hf.inference.source import InputReader


__all__ = ["InputReader"]
