import numpy as np
import pytest
import torch

from mmseg_ext.ops import extension_loaded, region_to_pixel, transpose_index

IMPLEMENTATIONS = ['reference'] + (['cpp'] if extension_loaded() else [])
# cell 0 lies in regions 0 and 1, cell 1 in none, cell 2 in all three
INDPTR, INDICES = torch.tensor([0, 2, 2, 5]), torch.tensor([0, 1, 0, 1, 2])
SCORES = torch.tensor([[1., 5.], [2., 4.], [3., -6.]])


def random_regions(regions=7, cells=20, seed=0):
    member = np.random.default_rng(seed).random((cells, regions)) < 0.3
    indptr = torch.tensor([0, *member.sum(1).cumsum()])
    return member, indptr, torch.from_numpy(member.nonzero()[1])


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_by_hand(implementation):
    scores = SCORES.clone().requires_grad_()
    pixels = region_to_pixel(scores, INDPTR, INDICES, implementation=implementation)
    # a cell in no region has the lowest score of the image
    assert pixels.tolist() == [[2, 5], [-6, -6], [3, 5]]
    pixels[[0, 2]].sum().backward()
    assert scores.grad.tolist() == [[0, 2], [1, 0], [1, 0]]


@pytest.mark.parametrize('decay', [0.0, 0.3, 1.0])
def test_it_is_the_ranked_mean_of_the_regions_of_each_cell(decay):
    member, indptr, indices = random_regions()
    scores = np.random.default_rng(1).standard_normal((7, 4))
    expected = np.full((20, 4), scores.min())
    for s, c in np.ndindex(expected.shape):
        ranked = np.sort(scores[member[s], c])[::-1]
        if len(ranked):
            weight = decay ** np.arange(len(ranked))  # 0 ** 0 is 1
            expected[s, c] = (weight * ranked).sum() / weight.sum()
    pixels = region_to_pixel(torch.from_numpy(scores), indptr, indices, decay=decay)
    np.testing.assert_allclose(pixels.numpy(), expected, rtol=1e-12)


def test_a_small_decay_comes_close_to_the_maximum():
    _, indptr, indices = random_regions()
    scores = torch.randn(7, 4, dtype=torch.float64)
    soft = region_to_pixel(scores, indptr, indices, decay=1e-9)
    torch.testing.assert_close(soft, region_to_pixel(scores, indptr, indices), rtol=0, atol=1e-7)


@pytest.mark.parametrize('decay', [0.0, 0.5])
def test_gradcheck(decay):
    _, indptr, indices = random_regions()
    scores = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x: region_to_pixel(x, indptr, indices, decay=decay), scores)


def test_without_regions_all_is_zero():
    pixels = region_to_pixel(torch.zeros(0, 3), torch.zeros(5).long(), torch.zeros(0).long())
    assert pixels.shape == (4, 3) and pixels.eq(0).all()


def test_wrong_decay_is_refused():
    with pytest.raises(ValueError, match=r'in \[0, 1\], got 2'):
        region_to_pixel(SCORES, INDPTR, INDICES, decay=2)


def test_the_transposed_index_lists_the_regions_of_each_cell():
    member, indptr, indices = random_regions()
    by_region = member.T
    region_indptr = torch.tensor([0, *by_region.sum(1).cumsum()])
    region_indices = torch.from_numpy(by_region.nonzero()[1])
    transposed = transpose_index(region_indptr, region_indices, 20)
    assert torch.equal(transposed[0], indptr) and torch.equal(transposed[1], indices)
    back = transpose_index(*transposed, 7)
    assert torch.equal(back[0], region_indptr) and torch.equal(back[1], region_indices)


@pytest.mark.parametrize('indptr, indices, message', [
    ([0, 2], [0, 5], 'indices must be {}, 0 to 1'), ([0, 3], [0, 1], 'rise from 0'),
    ([0., 2.], [0, 1], 'must be integers, got torch.float32')])
def test_an_index_that_leads_out_is_refused(indptr, indices, message):
    index = torch.tensor(indptr), torch.tensor(indices)
    with pytest.raises(ValueError, match=message.format('regions')):
        region_to_pixel(SCORES[:2], *index, decay=0.5)
    with pytest.raises(ValueError, match=message.format('cells')):
        transpose_index(*index, 2)
