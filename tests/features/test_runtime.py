"""A runtime is for speed alone: features that differ from PyTorch's would spoil every checkpoint trained on those."""

import logging
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from hiersum_hf.cli.main import main
from hiersum_hf.datasets.readers.folder import FolderReader
from hiersum_hf.datasets.readers.open import open_reader
from hiersum_hf.features import runtime
from hiersum_hf.features.runtime import PACKAGES, choose_runtime
from hiersum_hf.features.video_encoder import OFFLINE_VIDEO_ENCODER, load_video_encoder
from hiersum_hf.inference.scorer import load_scorer
from tests.makers.encoders import write_sentence_clip


def installed(name):
    return all(map(find_spec, PACKAGES[name]))


faster = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.skipif(not installed(name), reason=f"{name} is not installed"))
        for name in ("onnx", "openvino")
    ],
)
needs_onnx = pytest.mark.skipif(not installed("onnx"), reason="onnx is not installed")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return str(write_sentence_clip(tmp_path_factory.mktemp("clip")))


@pytest.fixture
def exports(tmp_path, monkeypatch):
    """Exports in a folder of the test's own."""
    monkeypatch.setattr("huggingface_hub.cached_assets_path", lambda *_: tmp_path)
    return tmp_path


def pictures(n, size=(40, 56), seed=0):
    return list(np.random.default_rng(seed).integers(0, 256, (n, *size, 3), dtype=np.uint8))


def difference(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()


def only(*names):
    """A `find_spec` that finds these packages alone."""
    return lambda name: name if name in ("torch", *names) else None


@pytest.mark.parametrize(
    ("packages", "device", "dtype", "expected"),
    [
        ((), "cpu", "float32", "torch"),
        (("onnxruntime",), "cpu", "float32", "torch"),  # it cannot export
        (("onnxruntime", "onnx"), "cpu", "float32", "onnx"),
        (("openvino", "onnx"), "cpu", "float32", "openvino"),
        (("onnxruntime", "openvino", "onnx"), "cpu", "float32", "onnx"),
        (("onnxruntime", "onnx"), "cpu", "float16", "torch"),
        (("onnxruntime", "onnx"), "cuda:1", "float32", "torch"),
        (("onnxruntime", "onnx"), "mps", "float32", "torch"),
    ],
)
def test_the_fastest_that_is_installed_is_taken(monkeypatch, packages, device, dtype, expected):
    monkeypatch.setattr(runtime, "find_spec", only(*packages))
    assert choose_runtime(None, device, dtype) == expected
    assert choose_runtime("torch", device, dtype) == "torch"


def test_a_missing_runtime_is_named_with_the_command_that_installs_it(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(runtime, "find_spec", only("onnxruntime"))
    with pytest.raises(
        ImportError, match=r"'openvino' needs the packages openvino and onnx: pip install \"hiersum-hf\[op"
    ):
        load_scorer(runtime="openvino")
    with pytest.raises(ImportError, match=r"'onnx' needs the package onnx: pip install \"hiersum-hf\[onnx\]\""):
        load_video_encoder(OFFLINE_VIDEO_ENCODER, runtime="onnx")
    with pytest.raises(ImportError, match="'onnx' needs"):
        open_reader("folder", tmp_path, runtime="onnx")
    (tmp_path / "a.mp4").write_bytes(b"")
    assert main(["extract", str(tmp_path), "--output", str(tmp_path / "out"), "--runtime", "onnx"]) == 2
    assert 'pip install "hiersum-hf[onnx]"' in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("asked", "device", "dtype", "told"),
    [
        ("tensorrt", "cpu", "float32", "runtime: expected one of torch, onnx, openvino, found 'tensorrt'"),
        ("onnx", "cuda:0", "float32", "expected 'torch' on device 'cuda:0' with dtype 'float32', found 'onnx'"),
        ("openvino", "cpu", "float16", "expected 'torch' on device 'cpu' with dtype 'float16', found 'openvino'"),
    ],
)
def test_a_runtime_that_does_not_fit_is_refused(monkeypatch, asked, device, dtype, told):
    monkeypatch.setattr(runtime, "find_spec", only("onnxruntime", "openvino", "onnx"))
    with pytest.raises(ValueError, match=told):
        choose_runtime(asked, device, dtype)


@faster
def test_efficientnet_features_are_those_of_pytorch(name):
    pytest.importorskip("efficientnet_lite_pytorch", reason="the offline extra is not installed")
    ours, expected = (load_video_encoder(OFFLINE_VIDEO_ENCODER, runtime=one) for one in (name, "torch"))
    assert (ours.encoder_id, ours.dim) == (expected.encoder_id, 1280)
    batch = [
        *pictures(1),
        np.kron(pictures(1, (4, 6))[0], np.ones((30, 40, 1), np.uint8)),
        np.zeros((9, 16, 3), np.uint8),
    ]
    assert difference(ours.encode(batch), expected.encode(batch)) < 1e-5


@faster
def test_features_of_a_clip_are_those_of_pytorch_at_any_batch_size(name, clip):
    ours, expected = (load_video_encoder(clip, runtime=one) for one in (name, "torch"))
    batch = pictures(17)
    found = ours.encode(batch)
    assert (found.dtype, found.shape, type(ours.embed(batch))) == (np.float32, (17, 12), torch.Tensor)
    for n in (1, 2, 17):
        assert difference(ours.encode(batch[:n]), expected.encode(batch[:n])) < 1e-5


@faster
@pytest.mark.parametrize("kind", ["Siglip", "ChineseCLIP"])
def test_other_towers_are_exported_too(name, kind, tmp_path):
    import transformers

    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    configs = small | {"vocab_size": 10}, small | {"image_size": 32, "patch_size": 16}
    config = getattr(transformers, f"{kind}Config")(text_config=configs[0], vision_config=configs[1])
    getattr(transformers, f"{kind}Model")(config).save_pretrained(tmp_path)
    settings = (
        '{"image_processor_type": "%sImageProcessor", "size": {"height": 32, "width": 32}, "do_center_crop": false}'
    )
    (tmp_path / "preprocessor_config.json").write_text(settings % kind)
    ours, expected = (load_video_encoder(str(tmp_path), runtime=one) for one in (name, "torch"))
    assert difference(ours.encode(pictures(3)), expected.encode(pictures(3))) < 1e-5


@needs_onnx
def test_an_export_is_made_once_and_found_by_content(exports, clip, monkeypatch):
    expected = load_video_encoder(clip, runtime="onnx").encode(pictures(2))
    (file,) = exports.iterdir()
    made = file.read_bytes()
    with monkeypatch.context() as no_export:
        no_export.setattr(runtime, "_export", None)
        assert np.array_equal(load_video_encoder(clip, runtime="onnx").encode(pictures(2)), expected)
    monkeypatch.setattr(runtime, "version", lambda package: "another")
    load_video_encoder(clip, runtime="onnx")
    assert len(list(exports.iterdir())) == 2
    assert file.read_bytes() == made


@needs_onnx
@pytest.mark.parametrize("damage", ["empty", "cut off", "another network", "other weights"])
def test_a_damaged_export_is_made_anew(exports, clip, damage, tmp_path_factory):
    expected = load_video_encoder(clip, runtime="onnx").encode(pictures(2))
    (file,) = exports.iterdir()
    content = file.read_bytes()
    if damage == "another network":
        load_video_encoder(str(write_sentence_clip(tmp_path_factory.mktemp("other"), dim=8)), runtime="onnx")
        (other,) = {*exports.iterdir()} - {file}
        other.replace(file)
    else:
        middle = len(content) // 2
        weights = bytes(byte ^ 1 for byte in content[middle : middle + 64])
        damaged = {"empty": b"", "cut off": content[:middle]}
        damaged["other weights"] = content[:middle] + weights + content[middle + 64 :]
        file.write_bytes(damaged[damage])
    assert difference(load_video_encoder(clip, runtime="onnx").encode(pictures(2)), expected) < 1e-4
    assert list(exports.iterdir()) == [file]
    if damage != "other weights":  # those that change no feature by 1e-4 may stay
        assert len(file.read_bytes()) == len(content)


def wrong_numbers(file):
    return lambda pixels: torch.ones(len(pixels), 12)


def wrong_shape(file):
    return lambda pixels: torch.ones(len(pixels), 13)


def no_numbers(file):
    return lambda pixels: torch.full((len(pixels), 12), torch.nan)


def no_processor(file):
    raise RuntimeError("this processor\nis not supported.")


@pytest.mark.parametrize(
    ("opened", "found"),
    [
        (wrong_numbers, "found: other numbers, by "),
        (wrong_shape, r"found: shape \(3, 13\) instead of \(3, 12\)"),
        (no_numbers, "found: other numbers, by nan"),
        (no_processor, "found: this processor is not supported. Take the runtime 'torch'"),
    ],
)
def test_a_runtime_that_fails_here_is_refused_by_name_and_else_replaced(
    exports, clip, opened, found, monkeypatch, caplog
):
    monkeypatch.setattr(runtime, "find_spec", only("onnxruntime", "onnx"))
    monkeypatch.setattr(runtime, "version", lambda package: "any")
    monkeypatch.setattr(runtime, "_export", lambda network, traced, file: file.write_bytes(b""))
    monkeypatch.setattr(runtime, "_onnxruntime", opened)
    with pytest.raises(ValueError, match=found) as error:
        load_video_encoder(clip, runtime="onnx")
    assert str(error.value).startswith(f"{clip}: expected the features of PyTorch by the runtime 'onnx'")
    with caplog.at_level(logging.WARNING):
        features = load_video_encoder(clip).encode(pictures(2))
    assert "PyTorch computes them, more slowly." in caplog.text
    assert np.array_equal(features, load_video_encoder(clip, runtime="torch").encode(pictures(2)))


def test_a_full_disk_leaves_no_half_export(exports, clip, monkeypatch, caplog):
    def fill(*args, **kwargs):
        args[2].write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(runtime, "find_spec", only("onnxruntime", "onnx"))
    monkeypatch.setattr(runtime, "version", lambda package: "any")
    monkeypatch.setattr("torch.onnx.export", fill)
    with pytest.raises(ValueError, match="expected room for it, found none"):
        load_video_encoder(clip, runtime="onnx")
    assert load_video_encoder(clip).encode(pictures(1)).shape == (1, 12)
    assert list(exports.iterdir()) == []


def test_prepare_hands_the_runtime_on_and_refuses_it_where_nothing_is_encoded(tmp_path):
    assert open_reader("folder", tmp_path, runtime="torch")[0].runtime == "torch"
    assert repr(FolderReader(tmp_path, runtime="torch")) == repr(FolderReader(tmp_path)), "the features are the same"
    with pytest.raises(ValueError, match="--runtime: expected with folder, howto; found with tvsum"):
        open_reader("tvsum", tmp_path, runtime="torch")
