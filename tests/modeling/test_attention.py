"""Attention by a list of pairs gives what the mask gives, in linear memory and without waiting for the device."""

import pytest
import torch

from hiersum_hf.modeling import attention_hiersum, modeling_hiersum
from hiersum_hf.modeling.attention_hiersum import align, alignment_mask, attend, channels, count_pairs, list_pairs
from tests.makers.batches import random_batch, without_labels
from tests.makers.models import tiny_model


LEVELS = ("child", "parent", "joint")


def made_up(level, dtype=torch.float32, scale=3.0, frames=40, texts=7):
    """Two videos, one padded, with overlapping, empty and whole-video spans; attention's input of large scale."""
    generator = torch.Generator().manual_seed(0)
    length = 2 + frames + texts
    qkv = [torch.randn(2, length, 4, 8, generator=generator, dtype=dtype) * scale for _ in range(3)]
    video_mask, text_mask = torch.ones(2, frames, dtype=torch.bool), torch.ones(2, texts, dtype=torch.bool)
    video_mask[1, 25:], text_mask[1, 5:] = False, False
    spans = torch.tensor([[0, 9], [5, 20], [5, 20], [7, 7], [39, 40], [0, 25], [0, 40]]).expand(2, -1, -1).clone()
    if level == "parent":
        spans[:] = torch.tensor([0, frames])
    return [x.requires_grad_() for x in qkv], (video_mask, text_mask, spans)


def by_mask(qkv, masks, restrict=True):
    mask = alignment_mask(*masks, restrict)[:, None]
    query, key, value = (x.transpose(1, 2) for x in qkv)
    weights = (query @ key.transpose(-1, -2) * 0.3).masked_fill(~mask, -torch.inf)
    return (weights.softmax(-1) @ value).transpose(1, 2)


def by_pairs(qkv, masks, level, spare=0):
    num_pairs = int(count_pairs(*masks, level).sum()) + spare
    return attend(*qkv, 0.3, align(*masks, level, num_pairs))


def real_rows(masks):
    cls = torch.ones(2, 1, dtype=torch.bool)
    return torch.cat([cls, masks[0], cls, masks[1]], dim=1)


@pytest.fixture(params=[True, False], ids=["kernel", "sink"])
def kernel(request, monkeypatch):
    """With the CPU's kernel that tells its log-normaliser, and without, as on other devices."""
    if not request.param:
        monkeypatch.setattr(attention_hiersum, "CPU_FUSED", None)
    return request.param


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("scale", [0.1, 3.0, 30.0])  # 30: logits of thousands, where a plain sum of exponentials ends
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-11)])
def test_output_and_gradients_are_those_of_the_mask(level, scale, dtype, tolerance, kernel):
    qkv, masks = made_up(level, dtype, scale)
    rows = real_rows(masks)
    found = []
    for output in (by_mask(qkv, masks), by_pairs(qkv, masks, level), by_pairs(qkv, masks, level, spare=13)):
        grads = torch.autograd.grad(output[rows].sin().sum(), qkv)
        found.append([output[rows], *(grad / scale for grad in grads)])
    worst = max(1.0, *(grad.abs().max().item() for grad in found[0]))
    if kernel and scale > 10:
        tolerance *= 10  # a log-normaliser of thousands has steps of 2e-4 in float32
    torch.testing.assert_close(found[1], found[0], atol=tolerance * worst, rtol=0)
    torch.testing.assert_close(found[2], found[1])


@pytest.mark.parametrize("level", LEVELS)
def test_without_gradients_pairs_are_looked_up_in_parts(level, kernel, monkeypatch):
    qkv, masks = made_up(level)
    looked_up, look_up = [], attention_hiersum.look_up
    monkeypatch.setattr(
        attention_hiersum, "look_up", lambda x, tokens: looked_up.append(len(tokens)) or look_up(x, tokens)
    )
    monkeypatch.setattr(attention_hiersum, "PAIRS_AT_ONCE", 9)
    with torch.no_grad():
        found = by_pairs(qkv, masks, level)
    assert max(looked_up, default=9) == 9
    torch.testing.assert_close(found[real_rows(masks)], by_mask(qkv, masks)[real_rows(masks)], atol=1e-4, rtol=0)


def test_without_restriction_every_frame_sees_every_text():
    qkv, masks = made_up("child")
    rows = real_rows(masks)
    torch.testing.assert_close(by_pairs(qkv, masks, "parent")[rows], by_mask(qkv, masks, restrict=False)[rows])


def test_pairs_written_out_by_hand():
    """Three frames, the last one padding; text 0 on frames 0-1, text 1 on none, text 2 on 1-2: a list of 6 for 4."""
    video_mask, text_mask = torch.tensor([[True, True, False]]), torch.ones(1, 3, dtype=torch.bool)
    spans = torch.tensor([[[0, 2], [2, 2], [1, 3]]])
    count = count_pairs(video_mask, text_mask, spans, "child")
    assert count.tolist() == [[2, 0, 2]]
    assert count_pairs(video_mask, text_mask, spans, "joint").tolist() == [[0, 0, 2]], "text 0 covers all real frames"
    frame, text, bias = list_pairs(count, spans, video_mask, 6)
    assert frame[:4].tolist() == [1, 2, 2, 3]  # tokens: CLS_V, three frames, CLS_T, three texts
    assert text[:4].tolist() == [5, 5, 7, 7]
    assert bias.tolist() == [0, 0, 0, -torch.inf, -torch.inf, -torch.inf]
    assert list_pairs(count, spans, video_mask, 3)[2].isnan().all(), "one too few"
    assert count_pairs(video_mask, text_mask, spans.flip(-1), "child").tolist() == [[0, 0, 0]], "they end before"


@pytest.mark.parametrize(
    ("dtype", "level", "used", "width"),
    [(torch.float32, "child", 2, 2), (torch.float32, "joint", 5, 8), (torch.bfloat16, "child", 3, 8),
     (torch.bfloat16, "joint", 6, 8)],
)  # fmt: skip
def test_channels_tell_the_sink_in_full_and_fill_a_fast_width(dtype, level, used, width):
    (query, *_), masks = made_up(level)
    alignment = align(*masks, level, 99)
    sink = torch.randn(query.shape[:3], generator=torch.Generator().manual_seed(0)) * 50
    of_query, of_key, of_sink = channels(sink, alignment, query.to(dtype))
    assert of_query.shape == of_key.shape == (2, 49, 4, width)
    assert of_sink.shape == (2, 1, 4, width)
    assert not of_query[..., used:].any()
    assert not of_key[..., used:].any()
    told = (of_query.float() * of_sink.float()).sum(-1)
    torch.testing.assert_close(told, sink, atol=2e-3, rtol=0)  # 50 in bfloat16 alone: to 0.2


def test_a_list_too_short_is_never_taken_for_a_result():
    qkv, masks = made_up("child")
    assert by_pairs(qkv, masks, "child", spare=-1).isnan().any()


@pytest.fixture
def unmasked(monkeypatch):
    """Every length goes by the list of pairs, as long ones do."""
    monkeypatch.setattr(modeling_hiersum, "UNMASKED_FROM", 0)
    monkeypatch.setattr(modeling_hiersum, "LIST_COST", 0)


def outputs_and_gradients(batch, level, dtype=torch.float32, compiled=False, checkpointing=False, **changes):
    model = tiny_model(hidden_dropout=0.0, head_dropout=0.0, **changes).to(dtype).train()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 2:
                weight.mul_(8)  # so that attention has a say
    if checkpointing:
        model.gradient_checkpointing_enable()
    run = torch.compile(model, backend="aot_eager") if compiled else model
    output = run(**batch, level=level)
    output.loss.backward()
    return output.frame_logits[batch["video_mask"]], [p.grad for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("lengths", [((40, 12), (33, 5), (7, 0)), ((5, 0), (4, 0))])
@pytest.mark.parametrize("changes", [{}, {"alignment_mask": False}])
def test_the_network_computes_the_same(monkeypatch, level, lengths, changes):
    batch = random_batch(lengths)
    expected = outputs_and_gradients(batch, level, **changes)
    monkeypatch.setattr(modeling_hiersum, "UNMASKED_FROM", 0)
    monkeypatch.setattr(modeling_hiersum, "LIST_COST", 0)
    found = outputs_and_gradients(batch, level, **changes)
    torch.testing.assert_close(found[0], expected[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found[1], expected[1], atol=1e-5, rtol=1e-4)


def test_the_list_is_in_use(unmasked, monkeypatch):
    calls = []
    monkeypatch.setattr(modeling_hiersum, "attend", lambda *args: calls.append(1) or attend(*args))
    batch = random_batch()
    tiny_model()(**batch)
    assert len(calls) == 2
    tiny_model("eager")(**batch)
    tiny_model(attention_dropout=0.1).train()(**batch)
    assert len(calls) == 2, "attention weights and their dropout need the plain path"


@pytest.mark.parametrize("way", [pytest.param("compiled", marks=pytest.mark.slow), "checkpointing"])
def test_compiled_and_checkpointed_are_the_same(unmasked, way):
    batch = random_batch() | {"num_pairs": 40}
    expected = outputs_and_gradients(batch, "child")
    torch.testing.assert_close(outputs_and_gradients(batch, "child", **{way: True}), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("level", LEVELS)
def test_no_result_depends_on_padding_or_batch_mates(unmasked, level):
    model, batch = tiny_model(), without_labels(random_batch(((50, 9), (9, 3), (7, 0))))
    together = model(**batch, level=level)
    for i, (frames, texts) in enumerate(((50, 9), (9, 3), (7, 0))):
        one = {name: x[i : i + 1, : frames if "video" in name else texts] for name, x in batch.items()}
        alone = model(**one, level=level)
        torch.testing.assert_close(together.frame_logits[i, :frames], alone.frame_logits[0], atol=1e-6, rtol=0)
        torch.testing.assert_close(together.text_embedding[i], alone.text_embedding[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near(level, dtype, kernel):
    qkv, masks = made_up(level, scale=1.0)
    half = [x.detach().to(dtype) for x in qkv]
    rows = real_rows(masks)
    exact = by_mask([x.float() for x in half], masks)[rows]
    error = (by_pairs(half, masks, level)[rows].float() - exact).abs().max()
    assert error < (0.03 if dtype == torch.bfloat16 else 0.004)


def test_mixed_precision_trains(unmasked, kernel):
    model = tiny_model().train()
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(**random_batch(), num_pairs=40).loss
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_long_lists_of_pairs_take_the_mask(monkeypatch):
    """Texts that all lie on everything are N x M pairs: the mask is smaller."""
    monkeypatch.setattr(modeling_hiersum, "UNMASKED_FROM", 0)
    monkeypatch.setattr(modeling_hiersum, "attend", None)
    batch = random_batch(((9, 3),)) | {"text_spans": torch.tensor([[[0, 9]] * 3])}
    assert torch.isfinite(tiny_model()(**batch).loss)
    with pytest.raises(TypeError):  # two pairs are few
        tiny_model()(**batch | {"text_spans": torch.tensor([[[0, 1], [1, 2], [2, 2]]])})


@pytest.mark.parametrize("level", LEVELS)
def test_a_training_step_never_waits_for_the_device(unmasked, level, kernel):
    """With the number of pairs given, nothing is read back: no `.item()`, no `nonzero`."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = tiny_model().to(device).train()
    batch = {name: x.to(device) for name, x in random_batch().items()} | {"num_pairs": 40}
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as trace:
        model(**batch, level=level).loss.backward()
    names = {event.key for event in trace.key_averages()}
    fused = "aten::_scaled_dot_product_flash_attention_for_cpu" if device == "cpu" else "scaled_dot_product_attention"
    assert any(fused in name for name in names)
    assert not names & {"aten::item", "aten::_local_scalar_dense", "aten::nonzero", "aten::is_nonzero"}


def test_memory_grows_with_length_not_its_square():
    """The largest tensor of a step is one of (tokens x 4D) or (pairs x 3D)."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        size = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **kwargs or {})
            for tensor in out if isinstance(out, tuple | list) else (out,):
                if isinstance(tensor, torch.Tensor):
                    self.size = max(self.size, tensor.numel())
            return out

    frames, texts = 2100, 300
    spans = torch.arange(texts)[None, :, None] * 7 + torch.tensor([0, 7])
    batch = {"video_features": torch.randn(1, frames, 12), "text_features": torch.randn(1, texts, 10)}
    model = tiny_model(num_attention_heads=1).train()
    with Largest() as seen:
        model(**batch, text_spans=spans, frame_labels=torch.ones(1, frames).long()).loss.backward()
    assert seen.size <= 2 * 64 * (frames + texts + 2)
