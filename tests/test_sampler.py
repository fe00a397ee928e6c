"""The order of levels and videos, as index lists, without a model."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hiersum_hf.sampler import AlternatingBatchSampler


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


@settings(max_examples=150, deadline=None)
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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parent_pool": []}, "needs videos with a description, found none"),
        ({"child_pool": [], "parent_pool": []}, "needs videos"),
        ({"child_steps": 0}, "child_steps must be at least 1, got 0"),
        ({"batch_size": -1}, "batch_size must be at least 1"),
        ({"schedule": "zigzag"}, "schedule must be"),
    ],
)
def test_impossible_schedules_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        AlternatingBatchSampler(**{"child_pool": range(3), "parent_pool": range(3), "batch_size": 2} | changes)
