"""The name under which cards pushed before 0.1.0 import `hiersum_hf.load_checkpoint`."""

from hiersum_hf.scoring.checkpoint import load_checkpoint


__all__ = ["load_checkpoint"]
