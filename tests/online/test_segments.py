"""Worked numbers of segment policy optimisation."""

from __future__ import annotations

import pytest
import torch

from prefopt import recipes
from prefopt.online.segments import cut_points, segment_advantages, tree_edges, tree_value
from tests.online.samples import advantages, rollouts

NAN = float("nan")
LEAVES = [[1.0, 0.0], [1.0, 1.0]]


def test_chain():
    """V = (.4, .6, .2), score 1: .6 - .4, .2 - .6, 1 - .2 on the tokens from each cut to the next."""
    values = torch.tensor([[0.4, NAN, 0.6, 0.2, NAN]])
    found = segment_advantages(values, torch.ones(1, 5, dtype=torch.bool), torch.tensor([1.0]))
    assert found[0].tolist() == pytest.approx([0.2, 0.2, -0.4, 0.8, 0.8])


def test_before_the_first_cut():
    """Tokens before the first cut get 0, as does a row without a cut; padding is no cut."""
    values = torch.tensor([[NAN, 0.5, NAN], [NAN, NAN, 0.3]])
    mask = torch.tensor([[True, True, True], [True, True, False]])
    found = segment_advantages(values, mask, torch.tensor([1.0, 1.0]))
    assert found.tolist() == [[0, 0.5, 0.5], [0, 0, 0]]


def test_cut_points():
    """Uncertain are tokens 0, 2, 3, 5; with interval 2 the first and the third of them are cuts."""
    probability = torch.tensor([[0.5, 0.95, 0.8, 0.1, 0.9001, 0.89, 0.2]])
    mask = torch.tensor([[True] * 6 + [False]])
    assert cut_points(probability.log(), mask, 2).int().tolist() == [[1, 0, 0, 1, 0, 0, 0]]
    assert cut_points(probability.log(), mask).int().tolist() == [[1, 0, 0, 0, 0, 0, 0]]


def test_tree():
    """Leaves ((1, 0), (1, 1)): V = (.5, 1), root .75; edges -.25, .25, leaves .5, -.5, 0, 0."""
    assert tree_value(LEAVES) == 0.75
    assert [edge[2] for edge in tree_edges(LEAVES)] == [-0.25, 0.5, -0.5, 0.25, 0, 0]
    scaled = [edge[2] for edge in tree_edges(LEAVES, "normalised")]
    assert scaled == pytest.approx([-1, 1, -1, 1, 0, 0], abs=1e-6)


@pytest.mark.parametrize("siblings", ["centred", "normalised"])
def test_edges_are_completions_in_groups_of_siblings(siblings):
    """The recipe on rows (group = parent, reward = V(child)) gives the advantages of the edges; zeros are left out."""
    edges = tree_edges(LEAVES, siblings)
    names = sorted({parent for parent, _, _ in edges})
    batch = rollouts([value for _, value, _ in edges], [names.index(parent) for parent, _, _ in edges])
    prepared = recipes.build("segment_tree", siblings=siblings, whitened=False).prepare(batch)
    assert prepared.advantages[:, 0].tolist() == pytest.approx([advantage for _, _, advantage in edges], abs=1e-6)
    assert (prepared.weights[:, 0] > 0).tolist() == [True, True, True, True, False, False]


def test_certain_tokens_are_left_out():
    """p = (.5, .95, .8): two of three tokens count, 1/2 each, and the statistics of whitening are theirs.

    V = (.4, .9, .7), score 1: A = (.5, -.2, .3); whitened over (.5, .3): mean .4, sd .1414: +-.7071.
    """
    logps = torch.tensor([[0.5, 0.95, 0.8]]).log()
    batch = rollouts([1.0], lengths=[3], logps=logps, cutpoint_values=torch.tensor([[0.4, 0.9, 0.7]]))
    prepared = recipes.build("segment_chain").prepare(batch)
    assert prepared.weights[0].tolist() == [0.5, 0, 0.5]
    assert prepared.advantages[0, [0, 2]].tolist() == pytest.approx([0.7071, -0.7071], abs=1e-4)
    plain = advantages("segment_chain", batch, whitened=False)[0].tolist()
    assert plain == pytest.approx([0.5, -0.2, 0.3])


def test_all_certain_falls_back_to_all_tokens():
    """log pi = 0, so both tokens have probability 1 > .9: a mean over both, 1/2 each."""
    batch = rollouts([1.0], lengths=[2], cutpoint_values=torch.tensor([[0.4, 0.9]]))
    assert recipes.build("segment_chain").prepare(batch).weights[0].tolist() == [0.5, 0.5]
