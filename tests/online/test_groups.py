"""Statistics of groups by hand."""

from __future__ import annotations

import math

import pytest
import torch

from prefopt.online.groups import Groups

INDEX = torch.tensor([5, 3, 5, 3, 5, 5])
VALUES = torch.tensor([2.0, 7, 1, math.nan, 2, 3])


def test_representative():
    """Group 5 is rows 0, 2, 4, 5 and group 3 rows 1 and 3; their first scored rows are 0 and 1."""
    assert Groups.of(INDEX, VALUES).representative.tolist() == [True, True, False, False, False, False]


def test_representative_of_an_unscored_group():
    """No row of the group is scored: nobody speaks for it."""
    assert Groups.of(torch.zeros(2), torch.full((2,), math.nan)).representative.tolist() == [False, False]


def test_below():
    """Group 5 sorted: 1, 2, 2, 3: a 2 has one row below and two alike, the 3 has three below. Group 3: 7 alone."""
    below, alike = Groups.of(INDEX, VALUES).below(VALUES)
    scored = [0, 1, 2, 4, 5]
    assert below[scored].tolist() == [1, 0, 0, 1, 3]
    assert alike[scored].tolist() == [2, 1, 1, 2, 1]


def test_columns():
    """Column 0 of group 5 is 1, 3, 5, 6: sum 15, largest 6; of group 3 it is 2, row 3 being unscored."""
    groups = Groups.of(INDEX, VALUES)
    values = torch.tensor([[1.0, 0], [2, 1], [3, 0], [40, 9], [5, 2], [6, 0]])
    assert groups.column_total(values).tolist() == [[15, 2], [2, 1], [15, 2], [2, 1], [15, 2], [15, 2]]
    assert groups.column_largest(values).tolist() == [[6, 2], [2, 1], [6, 2], [2, 1], [6, 2], [6, 2]]


def test_centred_and_z_score():
    """Group 5: 2, 1, 2, 3: mean 2, squares 0, 1, 0, 1, unbiased variance 2/3: +-1 / (.8165 + .1) = +-1.0911.

    Group 3 has one scored row, the same as itself: exactly 0, though its deviation is unknown; it compares nothing.
    """
    groups = Groups.of(INDEX, VALUES)
    assert groups.centred(VALUES)[[0, 1, 2, 4, 5]].tolist() == [0, 0, -1, 0, 1]
    scores = groups.z_score(VALUES, 1, 0.1)[[0, 1, 2, 4, 5]].tolist()
    assert scores == pytest.approx([0, 0, -1.0911, 0, 1.0911], abs=5e-5)
    assert groups.compared.tolist() == [True, False, True, False, True, True]


def test_equal_values_are_centred_without_rounding():
    """0.1 three times: a mean in binary may differ from it in the last digit; the answer is 0 all the same."""
    tenths = torch.full((3,), 0.1)
    groups = Groups.of(torch.zeros(3), tenths)
    assert groups.centred(tenths).tolist() == groups.z_score(tenths, 0, 0.0).tolist() == [0, 0, 0]
