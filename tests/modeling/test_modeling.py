"""The network: who sees whom, that nothing leaks between videos, that every weight can learn."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from hiersum_hf import HierSumConfig, HierSumModel
from hiersum_hf.modeling.losses_hiersum import hard_negatives, score_correlation_loss
from hiersum_hf.modeling.modeling_hiersum import (
    HierSumMLP,
    alignment_mask,
    cover_frames,
    moving_average,
    relative_places,
    sinusoidal_positions,
)
from tests.makers.batches import random_batch, without_labels
from tests.makers.models import tiny_model


LEVELS = ("child", "parent", "joint")
# What the paper does not have
OURS = {
    "center_features": True, "relative_position": True, "linear_path": True, "smooth_s": 4.5, "sample_fps": 2.0,
    "score_loss": "correlation",
}  # fmt: skip


def test_mask_written_out_by_hand_for_three_frames_and_two_overlapping_sentences():
    """Frames 0-1 under sentence 0, 1-2 under sentence 1: rows are queries, [CLS_V, f0, f1, f2, CLS_T, s0, s1]."""
    mask = alignment_mask(
        torch.ones(1, 3, dtype=torch.bool), torch.ones(1, 2, dtype=torch.bool), torch.tensor([[[0, 2], [1, 3]]])
    )
    expected = torch.tensor(
        [
            [1, 1, 1, 1, 0, 0, 0],
            [1, 1, 1, 1, 0, 1, 0],
            [1, 1, 1, 1, 0, 1, 1],
            [1, 1, 1, 1, 0, 0, 1],
            [0, 0, 0, 0, 1, 1, 1],
            [0, 1, 1, 0, 1, 1, 1],
            [0, 0, 1, 1, 1, 1, 1],
        ]
    )
    assert torch.equal(mask[0].int(), expected.int())


def test_mask_hides_padding_and_can_be_switched_off():
    video_mask, text_mask = torch.tensor([[True, True, False]]), torch.tensor([[True, False]])
    spans = torch.tensor([[[0, 1], [0, 3]]])
    restricted = alignment_mask(video_mask, text_mask, spans)[0]
    assert not restricted[:, 3].any()
    assert not restricted[:, 6].any()
    free = alignment_mask(video_mask, text_mask, spans, restrict=False)[0]
    assert free[1:3, 5].all()  # both real frames see the real sentence
    assert free[5, 1:3].all()
    assert not free[5, 3]
    assert not free[0, 5], "CLS rows stay as they are"


def test_frames_take_the_mean_or_sum_of_the_sentences_that_cover_them():
    rows = torch.tensor([[1.0, 0.0], [0.0, 3.0], [5.0, 5.0]])
    spans = torch.tensor([[[0, 2], [1, 3], [2, 2]]])  # the last one is empty
    mask = torch.ones(1, 3, dtype=torch.bool)
    mean = cover_frames(rows, spans, mask, 4, "mean")[0]
    assert torch.allclose(mean, torch.tensor([[1.0, 0.0], [0.5, 1.5], [0.0, 3.0], [0.0, 0.0]]))
    total = cover_frames(rows, spans, mask, 4, "sum")[0]
    assert torch.allclose(total, torch.tensor([[1.0, 0.0], [1.0, 3.0], [0.0, 3.0], [0.0, 0.0]]))


def test_places_in_the_video_written_out_by_hand():
    mask = torch.arange(12) < torch.tensor([[10], [2]])
    places = relative_places(mask)
    torch.testing.assert_close(places[0, :10, 0], torch.arange(10) / 10 + 0.05)
    torch.testing.assert_close(places[1, :2], torch.tensor([[0.25, 0.0625, 0, 0], [0.75, 0.5625, 0, 0]]))
    assert relative_places(torch.ones(1, 40, dtype=torch.bool))[0, :, 2:].sum(0).tolist() == [2, 2]


def test_the_moving_average_takes_real_frames_alone():
    logits = torch.tensor([[1.0, 2.0, 6.0, 9.0], [3.0, 5.0, 100.0, 100.0]])
    found = moving_average(logits, torch.arange(4) < torch.tensor([[4], [2]]), 3)
    torch.testing.assert_close(found[0], torch.tensor([1.5, 3.0, 17 / 3, 7.5]))
    torch.testing.assert_close(found[1, :2], torch.tensor([4.0, 4.0]))


@pytest.mark.parametrize(("smooth_s", "width"), [(4.5, 9), (4.0, 9), (0.4, 1), (1.0, 3)])
def test_logits_are_averaged_over_seconds(smooth_s, width):
    """At two frames a second; the losses see the averaged logits."""
    batch = random_batch(((20, 3), (14, 0)))
    plain, smooth = tiny_model().eval(), tiny_model(smooth_s=smooth_s, sample_fps=2.0, score_loss="correlation").eval()
    smooth.load_state_dict(plain.state_dict())
    with torch.no_grad():
        expected = moving_average(plain(**batch).frame_logits, batch["video_mask"], width)
        smooth.config.smooth_passes = 2
        torch.testing.assert_close(smooth(**batch).frame_logits, moving_average(expected, batch["video_mask"], width))
        smooth.config.smooth_passes = 1
        output = smooth(**batch)
    torch.testing.assert_close(output.frame_logits, expected)
    loss = score_correlation_loss(expected, batch["replay_scores"], batch["video_mask"])
    torch.testing.assert_close(output.losses["score"], loss)


def test_the_transformer_adds_nothing_to_the_linear_path_at_the_start():
    model, batch = tiny_model(linear_path=True).eval(), random_batch(((9, 3),))
    _, frames = model.encoder.embeddings(
        *(batch[name] for name in ("video_features", "video_mask", "text_features", "text_mask", "text_spans"))
    )
    torch.testing.assert_close(model(**batch).frame_logits, model.linear_path(frames)[..., 0])


def test_what_all_frames_of_a_video_share_is_taken_off():
    model, batch = tiny_model(center_features=True).eval(), random_batch(((9, 3), (4, 1)))
    expected = model(**batch).frame_logits
    shifted = batch | {"video_features": batch["video_features"] + torch.randn(2, 1, batch["video_features"].shape[-1])}
    torch.testing.assert_close(model(**shifted).frame_logits, expected, atol=1e-5, rtol=0)


def test_sinusoid_starts_as_large_as_a_learned_table():
    table = sinusoidal_positions(2000, 64, 0.02 * 2**0.5, torch.device("cpu"))
    assert table.square().mean().sqrt() == pytest.approx(0.02, rel=1e-5)
    assert torch.equal(table[0, 0::2], torch.zeros(32))


def test_a2summ_sized_network_has_its_number_of_parameters():
    """Without it, converted BLiSS checkpoints could not fit."""
    config = HierSumConfig(share_layers=True, position_embedding_type="learned", max_segments=200)
    own = ("replay_head", "logit_scale")
    model = HierSumModel(config)
    assert sum(p.numel() for n, p in model.named_parameters() if not any(word in n for word in own)) == 1_834_242


def test_initial_scales():
    model = tiny_model(video_dim=400, hidden_size=64)
    embeddings = model.encoder.embeddings
    assert embeddings.video_projection.weight.std().item() == pytest.approx(400**-0.5, rel=0.05)
    assert embeddings.segment.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert model.encoder.layers[0].video_mlp.fc1.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert model.inter_logit_scale.exp().item() == pytest.approx(1 / 0.07, rel=1e-5)


@pytest.mark.parametrize("attn", ["eager", "sdpa"])
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize(
    "changes", [{}, {"alignment_mask": False}, {"segment_reduction": "sum", "segment_offset": 1}, OURS]
)
def test_no_result_depends_on_padding_or_batch_mates(trained, attn, level, dtype, tolerance, changes):
    model = trained(attn, **changes).to(dtype)
    lengths = ((250, 30), (9, 3), (5, 2), (7, 0))
    batch = without_labels(random_batch(lengths, dtype=dtype))
    together = model(**batch, level=level)
    for i, (num_frames, num_texts) in enumerate(lengths):
        alone = model(
            **{name: t[i : i + 1, : num_frames if "video" in name else num_texts] for name, t in batch.items()},
            level=level,
        )
        pairs = [(together.frame_logits[i, :num_frames], alone.frame_logits[0]),
                 (together.replay_scores[i, :num_frames], alone.replay_scores[0]),
                 (together.video_embedding[i], alone.video_embedding[0]),
                 (together.text_embedding[i], alone.text_embedding[0])]  # fmt: skip
        if level != "parent":
            pairs.append((together.sentence_logits[i, :num_texts], alone.sentence_logits[0]))
        for ours, theirs in pairs:
            torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=0)


@pytest.fixture(scope="module")
def trained():
    """Networks that have taken 30 optimiser steps, so that weights are not at their start."""
    known = {}

    def make(attn, **changes):
        key = str(sorted(changes.items()))
        if key not in known:
            model = tiny_model(**changes).train()
            optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
            for step in range(30):
                model(**random_batch(seed=step), level=LEVELS[step % 3]).loss.backward()
                optimizer.step()
                optimizer.zero_grad()
            known[key] = model.state_dict()
        model = tiny_model(attn, **changes)
        model.load_state_dict(known[key])
        return model

    return make


@pytest.mark.parametrize("level", LEVELS)
def test_eager_and_sdpa_agree(trained, level):
    batch = random_batch()
    outputs = [trained(attn)(**batch, level=level) for attn in ("eager", "sdpa")]
    mask = batch["video_mask"]
    torch.testing.assert_close(outputs[0].frame_logits[mask], outputs[1].frame_logits[mask], atol=1e-5, rtol=0)
    torch.testing.assert_close(outputs[0].loss, outputs[1].loss, atol=1e-5, rtol=0)


def test_flash_attention_is_refused_because_it_would_drop_the_mask():
    with pytest.raises((ValueError, ImportError)):
        tiny_model("flash_attention_2")


def test_sdpa_makes_no_attention_matrix():
    """Long videos would not fit: no float tensor of (B, H, L, L)."""

    class Largest(TorchDispatchMode):
        size = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **kwargs or {})
            for tensor in out if isinstance(out, tuple | list) else (out,):
                if isinstance(tensor, torch.Tensor) and tensor.is_floating_point():
                    self.size = max(self.size, tensor.numel())
            return out

    batch = random_batch(((300, 20), (300, 20)))
    sizes = {}
    for attn in ("sdpa", "eager"):
        model = tiny_model(attn).train()
        with Largest() as seen:
            model(**batch).loss.backward()
        sizes[attn] = seen.size
    heads_times_square = 2 * 4 * 322 * 322
    assert sizes["eager"] >= heads_times_square
    assert sizes["sdpa"] < heads_times_square


def test_output_attentions_follow_the_mask_and_hidden_states_are_there():
    batch = without_labels(random_batch())
    output = tiny_model("eager")(**batch, output_attentions=True, output_hidden_states=True)
    length = 2 + 9 + 3
    assert [tuple(h.shape) for h in output.hidden_states] == [(2, length, 16)] * 3
    assert [tuple(a.shape) for a in output.attentions] == [(2, 4, length, length)] * 2
    mask = alignment_mask(batch["video_mask"], batch["text_mask"], batch["text_spans"])
    assert (output.attentions[0].masked_select(~mask[:, None]) == 0).all()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("changes", [{}, {"share_layers": True}, OURS])
def test_every_parameter_learns(level, changes):
    """But the key bias (softmax does not see it) and, at parent level, the sentence head."""
    model = tiny_model(inter_weight=0.1, negative_ratio=1, negative_dilation=0, **changes)
    torch.nn.init.normal_(model.frame_head.output.weight)  # with a linear path it starts at 0 and learns first
    batch = random_batch(((12, 5), (10, 4)))
    model(**batch, level=level).loss.backward()
    for name, parameter in model.named_parameters():
        if "k_proj.bias" in name:
            assert parameter.grad.abs().max() < 1e-6
        elif level == "parent" and name.startswith("sentence_head"):
            assert parameter.grad is None
        else:
            assert parameter.grad.abs().max() > 1e-8, name


def test_gradient_checkpointing_gives_the_same_gradients():
    batch = random_batch()
    gradients = []
    for checkpointing in (False, True):
        model = tiny_model(hidden_dropout=0.0, head_dropout=0.0).train()
        if checkpointing:
            model.gradient_checkpointing_enable()
        model(**batch).loss.backward()
        gradients.append([p.grad for p in model.parameters()])
    torch.testing.assert_close(*gradients)


def test_losses_come_back_by_name_and_sum_with_their_weights():
    weights = {"focal_weight": 0.4, "score_weight": 3.0, "inter_weight": 0.3, "intra_weight": 0.7, "replay_weight": 2.0}
    model = tiny_model(**weights, score_loss="centered_mse", negative_dilation=0)
    output = model(**random_batch())
    assert set(output.losses) == {"frame_focal", "sentence_focal", "score", "replay_mse", "inter", "intra"}
    weights = {
        "frame_focal": 0.4, "sentence_focal": 0.4, "score": 3.0, "replay_mse": 2.0, "inter": 0.3, "intra": 0.7
    }  # fmt: skip
    assert output.loss.item() == pytest.approx(sum(w * output.losses[n].item() for n, w in weights.items()), rel=1e-6)
    assert "sentence_focal" not in model(**random_batch(), level="parent").losses
    assert model(**without_labels(random_batch())).loss is None


def test_parent_text_loss_learns_sentences_at_parent_level():
    model = tiny_model(parent_text_loss=True)
    assert "sentence_focal" in model(**random_batch(), level="parent").losses


@pytest.mark.parametrize("level", LEVELS)
def test_positions_without_a_label_are_no_hard_negatives(level):
    """At joint level the description has no labels: the video must not be pushed away from it."""
    batch = random_batch(((9, 3),))
    unlabelled = batch | {
        "frame_labels": batch["frame_labels"].clone(),
        "sentence_labels": batch["sentence_labels"].clone(),
    }
    unlabelled["frame_labels"][0, 2:] = -100
    unlabelled["sentence_labels"][0, 1:] = -100
    model = tiny_model(negative_dilation=0, negative_ratio=1)
    frames = model(**unlabelled, level=level)
    index, valid = hard_negatives(
        frames.frame_logits, batch["frame_labels"] == 1, unlabelled["frame_labels"] != -100, 1, 0
    )
    assert index[valid].tolist() == [1], "frame 1 is the only labelled negative"
    only = intra_contrast_loss_of(model, unlabelled, level)
    assert frames.losses["intra"].item() == pytest.approx(only, rel=1e-5)


def intra_contrast_loss_of(model, batch, level):
    """The intra term of one video, worked out from the model's own embeddings with frame 1 as the only negative."""
    seen = {}
    handle = model.encoder.register_forward_hook(
        lambda _, __, out: seen.update(video=out[0][0, 1:], text=out[1][0, 1:])
    )
    model(**batch, level=level)
    handle.remove()
    frames, texts = (torch.nn.functional.normalize(x, dim=-1) for x in (seen["video"], seen["text"]))
    scale = model.intra_logit_scale.exp()
    key = texts[0] if level != "parent" else torch.nn.functional.normalize(seen["text"].mean(0), dim=-1)
    positive, negative = scale * frames[0] @ key, scale * frames[0] @ frames[1]
    video_side = torch.nn.functional.softplus(negative - positive).item()
    return video_side if level == "parent" else video_side / 2  # the text side has no negatives: 0


def test_labels_are_never_inputs():
    model, batch = tiny_model(), random_batch()
    flipped = batch | {
        "frame_labels": 1 - batch["frame_labels"].clamp(min=0),
        "sentence_labels": batch["sentence_labels"] * 0,
    }
    torch.testing.assert_close(model(**batch).frame_logits, model(**flipped).frame_logits, rtol=0, atol=0)


def test_strange_spans_act_like_their_part_inside_the_video():
    """Subtitle files overlap, run past the end and start before it."""
    model, batch = tiny_model(), without_labels(random_batch(((6, 4),)))
    strange = torch.tensor([[[-5, 2], [4, 99], [3, 3], [5, 2]]])
    clean = torch.tensor([[[0, 2], [4, 6], [0, 0], [0, 0]]])
    torch.testing.assert_close(
        model(**batch | {"text_spans": strange}).frame_logits, model(**batch | {"text_spans": clean}).frame_logits
    )


def test_spans_do_not_matter_at_parent_level():
    """Every text spans the whole video."""
    model, batch = tiny_model(), without_labels(random_batch())
    parent = model(**batch, level="parent").frame_logits
    torch.testing.assert_close(parent, model(**batch | {"text_spans": None}, level="parent").frame_logits)


@pytest.mark.parametrize("level", LEVELS)
def test_runs_without_any_text(level):
    output = tiny_model()(video_features=torch.randn(1, 1, 12), level=level, frame_labels=torch.ones(1, 1).long())
    assert output.frame_logits.shape == (1, 1)
    assert torch.isfinite(output.loss)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_takes_float_features_and_stays_finite(dtype):
    output = tiny_model().to(dtype)(**random_batch())
    assert output.frame_logits.dtype == dtype
    assert output.loss.dtype == torch.float32
    assert torch.isfinite(output.loss)


def test_long_videos_go_through_the_layers_in_parts(monkeypatch):
    """Without gradients, so that hours need no memory four times as wide as the network; scores are the same."""
    model, batch, seen = tiny_model(), without_labels(random_batch()), []
    whole = model(**batch)
    monkeypatch.setattr("hiersum_hf.modeling.modeling_hiersum.TOKENS_AT_ONCE", 3)
    for module in model.modules():
        if isinstance(module, HierSumMLP):
            module.fc1.register_forward_hook(lambda _, given, __: seen.append(given[0].shape[1]))
    with torch.no_grad():
        parts = model(**batch)
    torch.testing.assert_close(parts.frame_logits, whole.frame_logits.detach())
    assert max(seen) == 3


def test_learned_positions_end_clearly_and_sinusoids_do_not():
    frames = torch.randn(1, 9, 12)
    assert tiny_model()(frames).frame_logits.shape == (1, 9)
    assert tiny_model(position_embedding_type="learned", max_positions=10)(frames).frame_logits.shape == (1, 9)
    with pytest.raises(ValueError, match=r"at most 8 frames.*got 9"):
        tiny_model(position_embedding_type="learned", max_positions=9)(frames)


def test_more_sentences_than_segment_rows():
    assert torch.isfinite(tiny_model(max_segments=2)(**random_batch()).loss)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"video_features": torch.randn(2, 9, 13)},
            r"video_features must have shape \(batch, length, 12\), got \(2, 9, 13\)",
        ),
        ({"text_features": torch.randn(2, 3, 9)}, "text_features must have shape"),
        ({"video_mask": torch.ones(2, 8)}, r"video_mask must have shape \(2, 9\), got \(2, 8\)"),
        ({"text_spans": None}, "text_spans is needed at child level"),
        ({"level": "grandparent"}, "level must be one of child, parent, joint"),
        ({"frame_labels": torch.ones(2, 1)}, r"frame_labels must have shape \(2, 9\), got \(2, 1\)"),
        ({"sentence_labels": torch.ones(3)}, r"sentence_labels must have shape \(2, 3\), got \(3,\)"),
    ],
)
def test_wrong_input_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        tiny_model()(**random_batch() | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hiden_size": 64}, "Did you mean 'hidden_size'"),
        ({"hidden_size": 100}, "multiple of num_attention_heads"),
        ({"hidden_size": "128"}, "hidden_size"),
        ({"position_embedding_type": "rotary"}, "position_embedding_type"),
        ({"head_dropout": 1.0}, "head_dropout must be in"),
        ({"num_attention_heads": 0}, "num_attention_heads must be at least 1"),
        ({"focal_gamma": 0.5}, "focal_gamma must be 0 or at least 1"),
        ({"smooth_s": 4.5}, "smooth_s needs sample_fps, the sampled frames a second, got smooth_s=4.5"),
        ({"smooth_s": -1.0, "sample_fps": 2.0}, "smooth_s must be at least 0"),
        ({"sample_fps": 0.0}, "sample_fps must be above 0"),
        ({"score_loss": "ranks"}, "score_loss"),
        ({"negative_ratio": 0}, "negative_ratio must be at least 1"),
        ({"trained_levels": ["both"]}, "trained_levels may hold"),
    ],
)
def test_wrong_config_is_named(changes, message):
    with pytest.raises(Exception, match=message):
        HierSumConfig(**changes)
