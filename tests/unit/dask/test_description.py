"""What a scheduler says of itself is shown only as far as it can be true."""

import math

import pytest

from launcher.dask.description import _seconds


@pytest.mark.parametrize("value", [10**400, -1, math.inf, math.nan, True, "12", None, [], 2**60])
def test_a_time_that_cannot_be_one_is_not_shown(value):
    assert _seconds(value) is None


@pytest.mark.parametrize(("value", "seconds"), [(0, 0.0), (12, 12.0), (3.5, 3.5)])
def test_a_time_is_shown_as_it_is(value, seconds):
    assert _seconds(value) == seconds
