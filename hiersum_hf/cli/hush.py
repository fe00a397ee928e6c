"""Keep the noise of libraries off the terminal."""


def hush() -> None:
    """Show no bars of weights that are loaded or written, but still those of downloads."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, enable_progress_bars
    from transformers.utils.logging import disable_progress_bar

    shown = not are_progress_bars_disabled()
    disable_progress_bar()  # type: ignore[no-untyped-call]
    if shown:
        enable_progress_bars()
