"""The order of levels and videos, as index lists, without a model."""

import math
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate.data_loader import BatchSamplerShard
from hypothesis import given, settings
from hypothesis import strategies as st

from hiersum_hf.records import row_counts
from hiersum_hf.training.callbacks import planned_parent_steps
from hiersum_hf.training.sampler import AlternatingBatchSampler, steps_of_global_step


def levels(sampler, epochs=1):
    """Level of every batch, each batch checked to have one level."""
    seen = []
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        for batch in sampler:
            assert len({level for level, _ in batch}) == 1
            seen.append(batch[0][0])
    return seen


def test_m_child_steps_then_one_parent_step():
    sampler = AlternatingBatchSampler(range(12), range(4), batch_size=2, child_steps=3)
    assert levels(sampler) == ["child", "child", "child", "parent"] * 2


def test_the_levels_run_on_over_epochs_even_if_an_epoch_is_shorter_than_m():
    """With m = 5 and 2 child steps an epoch, no parent step would ever come."""
    sampler = AlternatingBatchSampler(range(4), range(4), batch_size=2, child_steps=5)
    assert len(sampler) == 3
    assert levels(sampler, epochs=4) == (["child"] * 5 + ["parent"]) * 2


def test_accumulated_and_distributed_batches_of_a_step_have_one_level():
    sampler = AlternatingBatchSampler(range(16), range(16), batch_size=2, child_steps=1, batches_per_step=4)
    assert levels(sampler) == ["child"] * 4 + ["parent"] * 4 + ["child"] * 4 + ["parent"] * 4


def test_more_parent_than_child_steps():
    sampler = AlternatingBatchSampler(range(4), range(4), batch_size=2, child_steps=1, parent_steps=2)
    assert levels(sampler) == ["child", "parent", "parent"] * 2


@pytest.mark.parametrize("schedule", ["child", "parent", "joint"])
def test_single_levels(schedule):
    sampler = AlternatingBatchSampler(range(5), range(3), batch_size=2, schedule=schedule)
    assert levels(sampler) == [schedule] * (2 if schedule == "parent" else 3)
    pool = 3 if schedule == "parent" else 5
    drawn = []
    for epoch in range(pool):
        sampler.set_epoch(epoch)
        drawn += [index for batch in sampler for _, index in batch]
    assert all(sorted(drawn[i : i + pool]) == list(range(pool)) for i in range(0, len(drawn) - pool + 1, pool))
    assert [sampler.steps_before(7, level) for level in ("child", "parent", "joint")].count(0) == 2
    assert sampler.steps_before(7, schedule) == 7


def test_the_defaults_are_those_of_the_signature():
    sampler = AlternatingBatchSampler(range(9), range(4), 2)
    told = AlternatingBatchSampler(range(9), range(4), 2, "alternate", 1, 1, 1, 0, 50, None, None)
    told.set_epoch(0)
    assert list(sampler) == list(told)
    assert sampler.window == 50
    adaptive = AlternatingBatchSampler(range(9), range(4), 2, "adaptive", plan=[25])
    assert [adaptive.level(step) for step in (48, 49)] == ["child", "parent"]


def test_batch_mates_of_like_length_come_from_fifty_batches():
    """Lengths that count the videos: sorted, the first hundred drawn are pairs of one pass's first hundred videos."""
    videos = 120
    mixed = AlternatingBatchSampler(range(videos), [], 2, "child")
    grouped = AlternatingBatchSampler(range(videos), [], 2, "child", lengths=np.arange(videos))
    order = [index for batch in mixed for _, index in batch]
    parts = sorted(order[:100]), sorted(order[100:])
    wanted = {tuple(part[i : i + 2]) for part in parts for i in range(0, len(part), 2)}
    assert {tuple(index for _, index in batch) for batch in grouped} == wanted


def test_a_missing_part_of_a_record_counts_as_no_rows():
    records = [SimpleNamespace(texts=None), SimpleNamespace(texts=("a", "b")), SimpleNamespace(texts=())]
    assert row_counts(records, "texts").tolist() == [0, 2, 0]


@pytest.mark.parametrize("global_step", [2, 3, 6, 11])
def test_the_papers_global_step(global_step):
    """Every g-th step is a parent step; a reader who copies g for m would train another mixture."""
    child, parent = steps_of_global_step(global_step)
    sampler = AlternatingBatchSampler(range(8), range(8), 2, child_steps=child, parent_steps=parent)
    parents = [step for step in range(40) if sampler.level(step) == "parent"]
    assert parents == list(range(global_step - 1, 40, global_step))


def test_the_ends_of_the_papers_global_step():
    assert steps_of_global_step(0) == (1, 0), "child level only"
    assert steps_of_global_step(1) == (0, 1), "parent level only"
    with pytest.raises(ValueError, match="must not be negative, got -1"):
        steps_of_global_step(-1)


def test_parent_steps_of_a_window_are_spread_evenly():
    plan = [5, 5, 2, 9]
    sampler = AlternatingBatchSampler(range(8), range(8), 2, "adaptive", window=10, plan=plan)
    letters = "".join(sampler.level(step)[0] for step in range(40))
    assert letters == "cp" * 10 + "ccccp" * 2 + "c" + "p" * 9
    assert [sampler.steps_before(step, "parent") for step in (0, 10, 20, 25, 40)] == [0, 5, 10, 11, 21]


def test_a_step_that_is_not_planned_is_an_error_and_no_guess():
    """A guessed level would differ from what the plan says later, and a resumed run would see other videos."""
    sampler = AlternatingBatchSampler(range(8), range(8), 2, "adaptive", window=3, plan=[1, 1])
    assert sampler.level(5) == "parent"
    with pytest.raises(ValueError, match="Step 6 was asked for, but only the first 6 steps are planned"):
        sampler.level(6)
    sampler.plan.append(2)
    assert [sampler.level(step) for step in (6, 7, 8)] == ["child", "parent", "parent"]


@pytest.mark.parametrize(("videos", "batch"), [(96, 8), (1003, 8), (5, 8), (1, 1)])
def test_batches_of_like_length_show_every_video_once_a_pass(videos, batch):
    """Also where batches straddle passes; batches that lie within one are of like length and in random order."""
    lengths = np.random.default_rng(0).lognormal(5, 0.6, videos).astype(int)
    sampler = AlternatingBatchSampler(range(videos), [], batch, "child", lengths=lengths)
    steps = 3 * videos  # = 3 * batch passes
    drawn = np.array([[sampler._draw("child", step * batch + i) for i in range(batch)] for step in range(steps)])
    passes = drawn.reshape(3 * batch, videos)
    assert all(sorted(one) == list(range(videos)) for one in passes)
    within = [k for k in range(steps) if k * batch // videos == ((k + 1) * batch - 1) // videos]
    if len(within) < 50:
        return
    spread = np.ptp(np.log(lengths[drawn[within]]), axis=1)
    assert np.median(spread) < 0.3, "of random batches the median is 1.7"
    longest = lengths[drawn[within]].max(axis=1)[:10]
    assert list(longest) != sorted(longest)


@pytest.mark.parametrize(
    ("window", "child", "parent", "wanted"),
    [
        (50, 1.0, 1.0, 38),
        (50, 1.5, 1.0, 19),  # 3 / 8.0625 = .372
        (50, 1.0, 2.0, 45),  # 48 / 49, held at .9
        (50, 3.0, 1.0, 5),  # 3 / 84, held at .1
        (3, 1.0, 9.0, 2),  # round(2.7) is 3: one step is left to the child level
        (50, 0.0, 0.0, 38),
        (50, math.nan, 1.0, 38),
    ],
)
def test_share_of_parent_steps_by_hand(window, child, parent, wanted):
    assert planned_parent_steps(window, torch.tensor([[4 * child, 4], [7 * parent, 7]])) == wanted


@settings(max_examples=150)
@given(
    videos=st.integers(1, 40), described=st.integers(1, 40), batch_size=st.integers(1, 6), m=st.integers(1, 6),
    parents=st.integers(1, 3), per_step=st.integers(1, 4), seed=st.integers(0, 99),
)  # fmt: skip
def test_properties(videos, described, batch_size, m, parents, per_step, seed):
    def new():
        return AlternatingBatchSampler(
            range(videos), range(min(described, videos)), batch_size, "alternate", m, parents, per_step, seed
        )

    sampler, drawn = new(), []
    for epoch in range(4):
        sampler.set_epoch(epoch)
        batches = list(sampler)
        assert len(batches) == len(sampler), "the learning-rate schedule and resuming count on the length"
        assert len(batches) % per_step == 0
        drawn += batches
    assert all(len(batch) == batch_size for batch in drawn)
    for step in range(len(drawn) // per_step):
        of_step = drawn[step * per_step : (step + 1) * per_step]
        wanted = "child" if step % (m + parents) < m else "parent"
        assert {level for batch in of_step for level, _ in batch} == {wanted}
    for level, pool in (("child", videos), ("parent", min(described, videos))):
        order = [index for batch in drawn for name, index in batch if name == level]
        assert set(order) <= set(range(pool))
        counts = Counter(order)
        assert max(counts.values(), default=0) - min((counts[i] for i in range(pool)), default=0) <= 1, "fair"
    other = new()
    other.set_epoch(2)
    assert list(other) == drawn[2 * len(sampler) : 3 * len(sampler)], "a resumed run sees what an unbroken one sees"


@settings(max_examples=100)
@given(
    videos=st.integers(1, 30), described=st.integers(1, 30), share=st.integers(1, 3), ranks=st.integers(1, 4),
    accumulation=st.integers(1, 3), window=st.integers(2, 7), split=st.booleans(), even=st.booleans(), data=st.data(),
)  # fmt: skip
def test_ranks_see_one_level_and_share_the_videos(
    videos, described, share, ranks, accumulation, window, split, even, data
):
    """As Accelerate deals batches out (or splits each); a rank at another level would wait for the others for ever."""
    plan = data.draw(st.lists(st.integers(1, window - 1), min_size=200, max_size=200))
    schedule = data.draw(st.sampled_from(["alternate", "adaptive"]))
    per_step, batch_size = (accumulation, share * ranks) if split else (accumulation * ranks, share)
    pools = range(videos), range(min(described, videos))

    def new():
        return AlternatingBatchSampler(*pools, batch_size, schedule, 2, 1, per_step, 7, window, plan)

    whole, dealt = new(), []
    for rank in range(ranks):
        sampler, drawn = new(), []
        shard = BatchSamplerShard(sampler, ranks, rank, split_batches=split, even_batches=even)
        for epoch in range(2):
            sampler.set_epoch(epoch)
            batches = list(shard)
            assert len(batches) == len(shard) == whole.steps_per_epoch * accumulation
            drawn += batches
        dealt.append(drawn)
    together = [item for batches in zip(*dealt, strict=True) for batch in batches for item in batch]
    alone = []
    for epoch in range(2):
        whole.set_epoch(epoch)
        alone += [item for batch in whole for item in batch]
    assert together == alone, "nothing twice, nothing lost"
    steps, videos_per_step = 2 * whole.steps_per_epoch, share * ranks * accumulation
    levels = [whole.level(step) for step in range(steps)]
    assert [level for level, _ in together] == [level for level in levels for _ in range(videos_per_step)]
    if schedule == "adaptive":
        for number in range(steps // window):
            assert levels[number * window : (number + 1) * window].count("parent") == plan[number]
    for level in ("child", "parent"):
        assert [whole.steps_before(step, level) for step in range(steps)] == [
            levels[:step].count(level) for step in range(steps)
        ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parent_pool": []}, "needs videos with a description and its features, found none"),
        ({"child_pool": [], "parent_pool": []}, "needs videos"),
        ({"child_pool": [], "schedule": "child"}, "The child schedule needs videos, found none"),
        ({"child_pool": []}, "The alternate schedule needs videos, found none"),
        ({"child_steps": 0}, "child_steps must be at least 1, got 0"),
        ({"batch_size": -1}, "batch_size must be at least 1"),
        ({"schedule": "adaptive", "parent_pool": []}, "adaptive schedule needs videos with a description"),
        ({"schedule": "zigzag"}, "schedule must be"),
    ],
)
def test_impossible_schedules_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        AlternatingBatchSampler(**{"child_pool": range(3), "parent_pool": range(3), "batch_size": 2} | changes)


def test_the_parent_schedule_needs_descriptions_alone():
    assert levels(AlternatingBatchSampler([], range(3), 2, "parent")) == ["parent"] * 2
