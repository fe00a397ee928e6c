"""Commands as a user types them, with a network as small as can be."""

from hiersum_hf.cli.main import main


TINY = ["--hidden_size", 16, "--num_layers", 1, "--num_attention_heads", 2, "--max_steps", 4, "--use_cpu", True,
        "--disable_tqdm", True]  # fmt: skip
SMALL = [*TINY, "--child_steps_per_parent", 1]


def launch(folder, words, monkeypatch, command="train"):
    """Runs a command in a folder; its exit code."""
    monkeypatch.chdir(folder)
    return main([command, *map(str, words)])
