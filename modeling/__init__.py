"""The files that travel with every checkpoint, installed as `hiersum_hf.modeling`."""

if __name__ != "hiersum_hf.modeling":
    raise ImportError(
        f"This package was imported as {__name__!r}: every class would exist twice. "
        "Import `hiersum_hf.modeling` instead."
    )
