"""A2Summ's checkpoints of the BLiSS network: the same logits after conversion, and nothing run that a file asks for."""

import os
import runpy
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_model
from torch import nn

from hiersum_hf.scoring.checkpoint import load_checkpoint
from tests.makers.a2summ import DT, DV, HEADS, LAYERS, ROWS, D, random_state


SCRIPT = Path(__file__).parents[2] / "scripts" / "convert_a2summ_checkpoint.py"
SPANS = [(2, 5), (0, 3), (4, 4), (3, 8)]  # unsorted, overlapping, one empty; the last frame has none
ENCODERS = ("--video-encoder", "made-up-frames", "--text-encoder", "made-up-texts")


def expected_logits(state, video, text, spans, cls_row=0):
    """A2Summ's network on one video, token by token in float64: frame logits (N,), sentence logits (M,)."""
    w = {name: value.double() for name, value in state.items()}

    def linear(x, name):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(x, name):
        centred = x - x.mean(-1, keepdim=True)
        scale = (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return centred / scale * w[f"{name}.weight"] + w[f"{name}.bias"]

    def tokens(features, side):
        x = torch.cat([w[f"cls_token_{side}"][0], linear(features.double(), f"proj_fc_{side}.0")])
        return x + w[f"pos_embed_{side}"][0, : len(x)] + w[f"type_{side}"][0]

    n, m = len(video), len(text)
    segment = w["pos_embed_segment"][0]
    frames, sentences = tokens(video, "video"), tokens(text, "text")
    sentences = sentences + segment[cls_row : cls_row + m + 1]
    sees = torch.zeros(n + m + 2, n + m + 2, dtype=torch.bool)
    sees[: n + 1, : n + 1] = True
    sees[n + 1 :, n + 1 :] = True
    for j, (start, end) in enumerate(spans):
        for f in range(start, end):
            frames[1 + f] += segment[j]
            sees[1 + f, n + 2 + j] = sees[n + 2 + j, 1 + f] = True
    x = torch.cat([frames, sentences])
    for i in range(LAYERS):
        layer = f"multiway_list.{i}."
        q, k, v = (linear(norm(x, f"{layer}norm1_fused"), f"{layer}attn_fusion.{name}") for name in "qkv")
        heads = []
        for h in range(HEADS):
            part = slice(h * D // HEADS, (h + 1) * D // HEADS)
            logits = q[:, part] @ k[:, part].T / (D / HEADS) ** 0.5
            heads.append(logits.masked_fill(~sees, -torch.inf).softmax(-1) @ v[:, part])
        x = x + linear(torch.cat(heads, -1), f"{layer}attn_fusion.m")
        halves = []
        for side, half in (("video", x[: n + 1]), ("text", x[n + 1 :])):
            inner = linear(norm(half, f"{layer}norm2_{side}"), f"{layer}ffn_{side}.fc1")
            inner = inner * 0.5 * (1 + torch.erf(inner / 2**0.5))
            halves.append(half + linear(inner, f"{layer}ffn_{side}.fc2"))
        x = torch.cat(halves)
    return tuple(
        linear(linear(norm(half, f"norm_{side}"), f"fc_{side}.0").clamp(min=0), f"fc_{side}.3")[1:, 0]
        for side, half in (("video", x[: n + 1]), ("text", x[n + 1 :]))
    )


@pytest.fixture
def convert(tmp_path, monkeypatch, capsys):
    """Runs the script on a state dict or a file; (exit code, stdout, stderr, folder)."""

    def run(content, *flags, output="converted"):
        source = content if isinstance(content, Path) else tmp_path / "a2summ.pth"
        if source is not content:
            torch.save(content, source)
        monkeypatch.setattr(sys, "argv", [SCRIPT.name, str(source), str(tmp_path / output), *flags])
        with pytest.raises(SystemExit) as done:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        return done.value.code, *capsys.readouterr(), tmp_path / output

    return run


@torch.no_grad()
def both_logits(state, folder, cls_row=0):
    generator = torch.Generator().manual_seed(1)
    video, text = torch.randn(9, DV, generator=generator), torch.randn(4, DT, generator=generator)
    model, _ = load_checkpoint(folder)
    output = model(video[None], text_features=text[None], text_spans=torch.tensor([SPANS]))
    return (output.frame_logits[0], output.sentence_logits[0]), expected_logits(state, video, text, SPANS, cls_row)


@pytest.mark.parametrize("shared", [True, False])
def test_a_converted_checkpoint_gives_a2summs_logits(convert, shared):
    """Its users' published figures would not come out otherwise."""
    state = random_state(shared)
    code, out, err, folder = convert(state, *ENCODERS)
    assert code == 0, err
    found, expected = both_logits(state, folder)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.double(), theirs, atol=1e-5, rtol=0)
    _, shifted = both_logits(state, folder, cls_row=1)
    assert (found[1] - shifted[1]).abs().max() > 1e-2, "the row of the text's CLS token must matter here"
    model, extractor = load_checkpoint(folder)
    assert (model.config.share_layers, len(model.encoder.layers)) == ((True, 1) if shared else (False, LAYERS))
    assert (model.config.trained_levels, model.config.default_level) == (["child"], "child")
    assert (extractor.video_encoder, extractor.normalize_features) == ("made-up-frames", False)
    assert f"mapped: {len(state)} of" in out
    assert "`replay_head.output.weight`" in out
    assert "left over: nothing" in out
    assert (folder / "modeling_hiersum.py").is_file()


@pytest.mark.parametrize("key", ["model_state_dict", "state_dict", "model"])
def test_weights_are_found_where_training_scripts_put_them(convert, key):
    state = random_state()
    wrapped = {"epoch": 3, key: {f"module.{name}": value for name, value in state.items()}}
    wrapped[key]["module.logit_scale"] = torch.tensor(2.66)
    code, out, err, folder = convert(wrapped, *ENCODERS)
    assert code == 0, err
    assert "left over: `logit_scale`" in out
    card = (folder / "README.md").read_text()
    assert "left over: `logit_scale`" in card
    assert "license: unknown" in card, "the weights are not the project's"
    found, expected = both_logits(state, folder)
    torch.testing.assert_close(found[0].double(), expected[0], atol=1e-5, rtol=0)


def test_safetensors_that_store_shared_layers_once_keep_their_depth(convert, tmp_path):
    state = random_state(shared=True)
    network = nn.Module()
    for name, value in state.items():
        module = network
        *path, last = name.split(".")
        for part in path:
            if not hasattr(module, part):
                module.add_module(part, nn.Module())
            module = getattr(module, part)
        module.register_buffer(last, value)
    source = tmp_path / "a2summ.safetensors"
    save_model(network, str(source))
    with safe_open(source, "pt") as file:
        assert "multiway_list.2.attn_fusion.q.weight" not in file.keys()  # noqa: SIM118 (not a dict)
    code, _, err, folder = convert(source, *ENCODERS)
    assert code == 0, err
    found, expected = both_logits(state, folder)
    torch.testing.assert_close(found[1].double(), expected[1], atol=1e-5, rtol=0)


def test_features_of_bliss_need_no_flags(convert):
    code, _, err, folder = convert(random_state(dv=512, dt=768))
    assert code == 0, err
    _, extractor = load_checkpoint(folder)
    assert (extractor.video_encoder, extractor.text_encoder) == ("bliss-clip", "bliss-roberta")


class Hostile:
    """Runs code when it is unpickled by anything but a safe loader."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_file_that_could_run_code_is_refused_and_runs_none(convert, tmp_path):
    code, _, err, folder = convert({"model": random_state(), "best": Hostile(tmp_path / "made")})
    assert code == 2
    assert "could run code" in err
    assert "mkdir: refused" in err
    assert not (tmp_path / "made").exists()
    assert not folder.exists()


def test_files_that_are_no_checkpoint_are_named(convert, tmp_path):
    torch.save(random_state(), tmp_path / "whole.pth")
    files = {
        "page.pth": b"<!DOCTYPE html><html>Sign in</html>",
        "empty.pth": b"",
        "half.pth": (tmp_path / "whole.pth").read_bytes()[:5000],
        "noise.pth": b"\x80\x02" + bytes(range(200)),
        "short.safetensors": b"\xff" * 8 + b"{",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        code, _, err, folder = convert(tmp_path / name)
        assert code == 2, name
        assert f"{tmp_path / name}: expected" in err
        assert not folder.exists()
    code, _, err, _ = convert(tmp_path / "none.pth")
    assert code == 2
    assert "none.pth" in err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"multiway_list.1.ffn_text.fc1.weight": torch.zeros(D, D)}, f"({D}, {D}) instead of ({4 * D}, {D})"),
        ({"fc_video.3.weight": torch.zeros(2, D)}, f"fc_video.3.weight (2, {D}) instead of (1, {D})"),
        ({"pos_embed_text": torch.zeros(1, 7, D)}, f"pos_embed_text (7, {D}) instead of ({ROWS}, {D})"),
        ({"type_text": torch.zeros(D)}, f"type_text ({D},) instead of (1, {D})"),
        ({"proj_fc_text.0.weight": torch.zeros(D)}, f"two dimensions in proj_fc_text.0.weight ({D},)"),
        ({"cls_token_text": None}, "missing cls_token_text"),
        ({"multiway_list.1.norm1_fused.bias": None}, "missing multiway_list.1.norm1_fused.bias"),
        ({"multiway_list.7.norm1_fused.bias": torch.zeros(D)}, "missing multiway_list.3."),
        ({"norm_video.bias": torch.full((D,), torch.nan)}, "infinity in norm_video.bias"),
    ],
)  # fmt: skip
def test_another_network_is_refused_by_the_names_that_do_not_fit(convert, changes, message):
    state = {name: value for name, value in (random_state() | changes).items() if value is not None}
    code, _, err, folder = convert(state, *ENCODERS)
    assert code == 2
    assert message in err
    assert not folder.exists()


def test_what_the_file_cannot_tell_must_fit(convert):
    for flags, message in (
        ((), "--video-encoder"),
        ((*ENCODERS, "--heads", "5"), "multiple of num_attention_heads"),
        ((*ENCODERS, "--sample-fps", "0"), "--sample-fps"),
    ):
        code, _, err, _ = convert(random_state(), *flags)
        assert code == 2
        assert message in err
    code, _, err, _ = convert({"epoch": 3}, *ENCODERS)
    assert code == 2
    assert "found a dict of epoch" in err


def test_nothing_is_overwritten(convert, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "config.json").write_text("mine")
    code, _, err, _ = convert(random_state(), *ENCODERS, output="taken")
    assert code == 2
    assert "new or empty folder" in err
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["config.json"]
    assert (tmp_path / "taken" / "config.json").read_text() == "mine"
