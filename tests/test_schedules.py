"""p over epochs and the covariance's refresh over steps."""

from __future__ import annotations

import inspect

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.dropout import TECHNIQUES, schedules
from core.dropout.schedules import LONGEST_INTERVAL, SCHEDULES, p_at, refresh_every

NAMES = list(SCHEDULES)


def course(name: str, p: float = 0.5, epochs: int = 6) -> list[float]:
    return [p_at(name, p, epoch, epochs) for epoch in range(epochs)]


def test_the_schedules_of_the_specification_are_there() -> None:
    assert {"constant", "alternate", "early", "late", "linear"} <= set(SCHEDULES)
    for schedule in SCHEDULES.values():
        assert inspect.getdoc(schedule)


def test_constant() -> None:
    assert course("constant") == [0.5] * 6


def test_alternate_has_p_in_even_epochs_and_0_between() -> None:
    assert course("alternate") == [0.5, 0, 0.5, 0, 0.5, 0]
    assert course("alternate", epochs=5) == [0.5, 0, 0.5, 0, 0.5]


def test_early_and_late_are_each_others_complement() -> None:
    assert course("early") == [0.5, 0.5, 0.5, 0, 0, 0]
    assert course("late") == [0, 0, 0, 0.5, 0.5, 0.5]
    for epochs in range(1, 12):
        early, late = course("early", epochs=epochs), course("late", epochs=epochs)
        assert [a + b for a, b in zip(early, late, strict=True)] == [0.5] * epochs
        assert early == sorted(early, reverse=True)


def test_linear_moves_evenly_between_0_and_p() -> None:
    values = course("linear", p=0.5, epochs=6)
    assert values == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])


@given(
    st.sampled_from(NAMES),
    st.floats(0, 1),
    st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n - 1), st.just(n))),
)
def test_every_schedule_gives_a_probability_up_to_p(name: str, p: float, at: tuple[int, int]) -> None:
    value = p_at(name, p, *at)
    assert 0 <= value <= p
    if name != "linear":
        assert value in (0, p)
    for technique in TECHNIQUES.values():
        if not technique.wraps_layer and technique.name != "variational":
            technique(value)


@pytest.mark.parametrize("name", NAMES)
def test_one_epoch_is_enough(name: str) -> None:
    assert p_at(name, 0.5, 0, 1) in (0, 0.5)


def test_an_unknown_schedule_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ValueError, match=r"'earlier'.*constant, alternate, early, late, linear"):
        p_at("earlier", 0.5, 0, 10)


def test_techniques_that_learn_their_noise_know_only_on_and_off() -> None:
    assert set(schedules.ON_OFF) == set(SCHEDULES) - {"linear"}
    for name in schedules.ON_OFF:
        assert set(course(name)) <= {0, 0.5}


@pytest.mark.parametrize(
    ("epochs", "growth", "expected"),
    [
        (1.0, 1.0, [50, 50, 50, 50, 50]),
        (0.1, 1.0, [5, 5, 5, 5, 5]),
        (1.0, 2.0, [50, 50, 100, 100, 200]),
        (0.02, 3.0, [1, 81, 81, 243, 243]),
        (3.0, 2.0, [150, 150, 150, 150, 300]),
    ],
)
def test_the_refresh_interval_in_forwards(epochs: float, growth: float, expected: list[int]) -> None:
    assert [schedules.refresh_every(epochs, growth, epoch, 50) for epoch in range(5)] == expected


@pytest.mark.parametrize(
    ("first", "growth", "expected"),
    [
        (1, 2.0, [0, 1, 3, 7, 15]),
        (2, 1.0, [0, 2, 4, 6, 8, 10, 12, 14]),
        (2, 3.0, [0, 2, 8]),
        (1, 1.5, [0, 1, 2.5, 4.75, 8.125, 13.1875]),
    ],
)
def test_the_covariance_is_estimated_after_ever_longer_intervals(
    first: float, growth: float, expected: list[float]
) -> None:
    steps, estimates = 16, []
    layer = TECHNIQUES["dropcorr"](0.5)
    for epoch in range(16):
        layer.refresh_every = schedules.refresh_every(first, growth, epoch, steps)
        for step in range(steps):
            layer(torch.randn(4, 8))
            if layer.age == 1:
                estimates.append(epoch + step / steps)
    assert estimates == expected


def test_the_refresh_interval_stays_a_whole_number_of_at_least_one() -> None:
    assert schedules.refresh_every(0.001, 1.0, 0, 10) == 1
    huge = schedules.refresh_every(1.0, 10.0, 300, 10)
    assert isinstance(huge, int)
    TECHNIQUES["dropcorr"](0.5, refresh_every=huge)


def test_a_growing_interval_never_overflows() -> None:
    assert refresh_every(1.0, 2.0, 7, 14) == 4 * 14
    assert refresh_every(0.5, 1.0, 9, 14) == 7
    assert refresh_every(1.0, 2.0, 10**9, 14) == refresh_every(1.0, 1e308, 2, 14) == 14 * LONGEST_INTERVAL
