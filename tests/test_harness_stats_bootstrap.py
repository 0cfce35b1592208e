import math

import numpy as np
import pytest
from scipy import stats

from harness.stats.agreement import spearman
from harness.stats.bootstrap import BootstrapInterval, bootstrap_interval
from harness.stats.intervals import Floats, Interval


def mean(values: Floats) -> float:
    return float(values.mean())


def mean_difference(a: Floats, b: Floats) -> float:
    return float((a - b).mean())


def test_it_is_scipys_percentile_bootstrap() -> None:
    values = np.random.default_rng(1).gamma(2.0, size=80)
    ours = bootstrap_interval(mean, values, resamples=20_000)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=1).confidence_interval
    assert isinstance(ours, Interval)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=0.01)


def test_columns_are_drawn_together() -> None:
    a = np.random.default_rng(2).normal(size=50)
    found = bootstrap_interval(mean_difference, a + 3, a)
    assert (found.low, found.estimate, found.high) == pytest.approx((3, 3, 3))


def test_the_same_seed_gives_the_same_interval_and_another_another() -> None:
    values = np.arange(30.0)
    assert bootstrap_interval(mean, values) == bootstrap_interval(mean, values)
    assert bootstrap_interval(mean, values) != bootstrap_interval(mean, values, seed=1)


def test_a_wider_level_gives_a_wider_interval() -> None:
    values = np.arange(30.0)
    narrow, wide = bootstrap_interval(mean, values, level=0.5), bootstrap_interval(mean, values, level=0.99)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_draws_without_a_number_are_counted_and_left_out() -> None:
    a, b = np.array([1.0, 1.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0, 4.0])
    found = bootstrap_interval(spearman, a, b, resamples=4000)
    assert found.undefined / 4000 == pytest.approx(0.75**4, abs=0.03)  # the 2 is not drawn
    assert -1 <= found.low <= found.estimate <= found.high <= 1


@pytest.mark.parametrize("values", [np.array([]), np.full(5, 2.0)])
def test_what_is_not_defined_has_no_interval(values: Floats) -> None:
    found = bootstrap_interval(spearman, values, values)
    assert all(map(math.isnan, (found.estimate, found.low, found.high)))


def test_a_statistic_that_is_never_defined_on_draws_has_no_bounds() -> None:
    values = np.array([1.0, 2.0, 3.0])

    def only_as_given(drawn: Floats) -> float:
        return 1.0 if drawn is values else math.nan

    found = bootstrap_interval(only_as_given, values, resamples=10)
    assert (found.estimate, found.undefined) == (1.0, 10)
    assert math.isnan(found.low)


def test_one_item_or_one_group_has_no_bounds() -> None:
    alone = BootstrapInterval(7.0, -math.inf, math.inf)
    assert bootstrap_interval(mean, np.array([7.0])) == alone
    assert bootstrap_interval(mean, np.array([6.0, 8.0]), groups=np.array(["q", "q"])) == alone


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="same number of items"):
        bootstrap_interval(mean_difference, np.ones(3), np.ones(4))


def test_items_that_belong_together_are_drawn_together() -> None:
    rng = np.random.default_rng(3)
    once = rng.normal(size=40)
    often = np.repeat(once, 5)  # 200 rows, but only 40 things are known
    apart, together = bootstrap_interval(mean, once), bootstrap_interval(mean, often, groups=np.repeat(range(40), 5))
    assert together.high - together.low == pytest.approx(apart.high - apart.low, rel=0.1)
    naive = bootstrap_interval(mean, often)
    assert naive.high - naive.low < 0.6 * (together.high - together.low)


def test_groups_of_different_size_may_stand_in_any_order() -> None:
    values, groups = np.array([1.0, 5.0, 1.0, 1.0, 5.0]), np.array(["x", "y", "x", "x", "y"])
    seen: set[float] = set()

    def noting(drawn: Floats) -> float:
        seen.add(round(mean(drawn), 6))
        return mean(drawn)

    bootstrap_interval(noting, values, groups=groups, resamples=200)
    assert seen == {1.0, 5.0, 2.6}


def test_it_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(4)
    found = [bootstrap_interval(mean, rng.exponential(size=60), resamples=200) for _ in range(300)]
    inside = np.mean([i.low <= 1 <= i.high for i in found])
    assert 0.89 <= inside <= 0.98
