"""Output and gradient, by hand and by loops over the positions."""
import numpy as np
import pytest
import torch
from free_form_roi_pool_cases import (
    BINS,
    DTYPES,
    IMPLEMENTATIONS,
    MODES,
    SETTINGS,
    needs_gpu,
    pool_and_gradient,
    random_case,
    range_of_bin,
    whole_numbers,
)
from torch import inf, nan

from mmseg_ext.ops import free_form_roi_pool


def by_loops(input, rois, masks, size, scale, mode, bins, received):
    """Output and gradient, one cell at a time."""
    channels, height, width = input.shape[1:]
    output = np.zeros((len(rois), channels, *size))
    gradient = np.zeros(input.shape)
    for k, i, j in np.ndindex(len(rois), *size):
        image, x1, y1, x2, y2 = rois[k]
        rows = range_of_bin(y1, y2, i, size[0], height, scale[0], bins)
        columns = range_of_bin(x1, x2, j, size[1], width, scale[1], bins)
        cells = [(y, x) for y in rows for x in columns]
        if bins == 'calvin':
            cells.sort(key=lambda cell: cell[::-1])
        weight = 1
        if mode == 'exact':
            cells = [cell for cell in cells if masks is None or masks[k][cell]]
        elif masks is not None:
            weight = masks[k, i, j]
        for d in range(channels):
            values = input[int(image), d]
            winner = None
            for cell in cells:
                if values[cell] > (values[winner] if winner else 0 if bins == 'calvin' else -inf):
                    winner = cell
            if winner:
                output[k, d, i, j] = weight * values[winner]
                gradient[(int(image), d, *winner)] += weight * received[k, d, i, j]
    return output, gradient


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_3x3_by_hand(implementation):
    """The larger numbers are outside of the L; a bin that has nothing of it is 0."""
    map = torch.tensor([[-1., 7, 2], [-4, 5, 3], [-6, -8, -9]]).view(1, 1, 3, 3)
    shape = torch.tensor([[1, 0, 0], [1, 0, 0], [1, 1, 1]]).bool()[None]
    output, gradient = pool_and_gradient(
        map, torch.tensor([[0., 0, 0, 2, 2]]), shape, 2, implementation=implementation,
        received=torch.tensor([[1, 10], [100, 1000]]).view(1, 1, 2, 2))
    assert output[0, 0].tolist() == [[-1, 0], [-4, -8]]
    assert gradient[0, 0].tolist() == [[1, 0, 0], [100, 0, 0], [0, 1000, 0]]


# The digits of a number are its row and column. The box, pixels 1 to 6 and 3 to 9 at half size, is
# from 0.5 to 3.5 and from 1.5 to 5: columns 0-1, 1-2, 2-3 and rows 1-2, 2-3, 3-4.
MAP_5X5 = (10 * torch.arange(5.)[:, None] + torch.arange(5.)).view(1, 1, 5, 5)
BOX_5X5 = torch.tensor([[0., 1, 3, 6, 9]])


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_5x5_by_hand(implementation):
    band = torch.ones(1, 5, 5).tril(1).triu(-1).bool()
    output, gradient = pool_and_gradient(
        MAP_5X5, BOX_5X5, band, 3, 0.5, implementation=implementation,
        received=torch.ones(1, 1, 3, 3))
    assert output[0, 0].tolist() == [[21, 22, 23], [21, 32, 33], [0, 32, 43]]
    assert gradient[0, 0].tolist() == [[0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 2, 1, 1, 0],
                                       [0, 0, 2, 1, 0], [0, 0, 0, 1, 0]]


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_5x5_with_a_mask_on_the_grid_by_hand(implementation):
    grid = torch.tensor([[1, 0, 1], [1, 1, 0], [0, 1, 1]]).bool()[None]
    output, gradient = pool_and_gradient(
        MAP_5X5, BOX_5X5, grid, 3, 0.5, mode='calvin', implementation=implementation,
        received=torch.ones(1, 1, 3, 3))
    assert output[0, 0].tolist() == [[21, 0, 23], [31, 32, 0], [0, 42, 43]]
    assert gradient[0, 0].tolist() == [[0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 1, 0, 1, 0],
                                       [0, 1, 1, 0, 0], [0, 0, 1, 1, 0]]


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_3x3_with_bins_of_the_released_code_by_hand(implementation):
    """Image 5x5, so a scale of 2 / 4: the first box is all cells, the second the last row."""
    map = torch.tensor([[-1., 7, 2], [-4, 5, 7], [-6, -8, -9]]).view(1, 1, 3, 3)
    output, gradient = pool_and_gradient(
        map, torch.tensor([[0., 0, 0, 4, 4], [0, 0, 4, 4, 4]]), None, 2, 0.5, bins='calvin',
        implementation=implementation,
        received=torch.tensor([[[1., 10], [100, 1000]], [[1e4, 1e4], [1e4, 1e4]]])[:, None])
    # both bins of a side have the middle; of 7 and 7 the column further left wins
    assert output[:, 0].tolist() == [[[7, 7], [5, 7]], [[0, 0], [0, 0]]]
    assert gradient[0, 0].tolist() == [[0, 11, 0], [0, 100, 1000], [0, 0, 0]]


@pytest.mark.parametrize('bins, winner', [('mmcv', (0, 2)), ('calvin', (2, 0))])
@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_the_first_of_equal_cells_wins_by_row_or_as_released_by_column(
        implementation, bins, winner):
    mask = torch.ones(1, 3, 3).bool()
    mask[0, :2, :2] = False
    _, gradient = pool_and_gradient(
        torch.ones(1, 1, 3, 3), torch.tensor([[0., 0, 0, 2, 2]]), mask, 1, bins=bins,
        implementation=implementation, received=torch.ones(1, 1, 1, 1))
    assert gradient.nonzero().tolist() == [[0, 0, *winner]]


@pytest.mark.parametrize('setting', SETTINGS, ids=str)
@pytest.mark.parametrize('ties', [False, True], ids=['', 'ties'])
@pytest.mark.parametrize('bins', BINS)
@pytest.mark.parametrize('mode', MODES)
def test_output_and_gradient_are_those_of_loops(mode, bins, ties, setting):
    case = random_case(setting, mode, ties=ties)
    received = whole_numbers((24, 2, *setting[1]))
    expected = by_loops(*(x.numpy() for x in case[:3]), *case[3:], mode, bins, received.numpy())
    for implementation in IMPLEMENTATIONS:
        found = pool_and_gradient(
            *case, mode, bins, received=received, implementation=implementation)
        for x, y in zip(found, expected):
            np.testing.assert_array_equal(x.numpy(), y, err_msg=implementation)


@pytest.mark.parametrize('dtype', DTYPES, ids=str)
@pytest.mark.parametrize('bins', BINS)
@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_types_give_the_same_numbers(implementation, bins, dtype):
    case = random_case(SETTINGS[0], seed=1)
    expected = pool_and_gradient(*case, bins=bins, implementation=implementation)
    found = pool_and_gradient(
        case[0].to(dtype), *case[1:], bins=bins, implementation=implementation)
    for x, y in zip(found, expected):
        assert x.dtype == dtype and torch.equal(x.double(), y)


@pytest.mark.parametrize('bins', BINS)
@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_full_masks_are_box_pooling(implementation, bins):
    input, rois, masks, size, scale = random_case(SETTINGS[1])
    full = torch.ones_like(masks)
    expected = pool_and_gradient(
        input, rois, None, size, scale, bins=bins, implementation=implementation)
    for mode, ones in [('exact', full), ('calvin', full[:, :1, :1].expand(-1, *size)),
                       ('calvin', None)]:
        found = pool_and_gradient(
            input, rois, ones, size, scale, mode, bins, implementation=implementation)
        assert torch.equal(found[0], expected[0]) and torch.equal(found[1], expected[1])


@needs_gpu
@pytest.mark.parametrize('bins', BINS)
@pytest.mark.parametrize('dtype', DTYPES, ids=str)
@pytest.mark.parametrize('setting', SETTINGS, ids=str)
def test_a_gpu_gives_the_numbers_of_a_cpu(setting, dtype, bins):
    input, rois, masks, size, scale = random_case(setting)
    expected = pool_and_gradient(input, rois, masks, size, scale, bins=bins)
    found = pool_and_gradient(
        input.to('cuda', dtype), rois.cuda(), masks.cuda(), size, scale, bins=bins)
    for x, y in zip(found, expected):
        assert x.dtype == dtype and torch.equal(x.double().cpu(), y)


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_nan_is_a_maximum_and_minus_infinity_a_value(implementation):
    map = torch.tensor([[-inf, -inf], [nan, 3.]]).view(1, 1, 2, 2)
    output, gradient = pool_and_gradient(
        map, torch.tensor([[0., 0, 0, 1, 0], [0, 0, 0, 1, 1], [0, 1, 0, 1, 1]]), None, 1,
        implementation=implementation, received=torch.tensor([1., 10, 100]).view(3, 1, 1, 1))
    np.testing.assert_array_equal(output.flatten(), [-inf, nan, 3])
    assert gradient[0, 0].tolist() == [[1, 0], [10, 100]]


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('bins', BINS)
@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_no_boxes_and_no_cells(implementation, bins, mode):
    input, rois, masks, size, scale = random_case(SETTINGS[0], mode)

    def pool(rois, masks):
        return pool_and_gradient(
            input, rois, masks, size, scale, mode, bins, implementation=implementation)

    output, gradient = pool(rois[:0], masks[:0])
    assert output.shape == (0, 2, 3, 4) and gradient.eq(0).all()
    output, gradient = pool(rois, torch.zeros_like(masks))
    assert output.shape == (24, 2, 3, 4) and output.eq(0).all() and gradient.eq(0).all()
    outside = torch.tensor([[0., -50, -50, -20, -20], [0, 900, 900, 999, 999]])
    for ones in (None, torch.ones_like(masks[:2])):
        output, gradient = pool(outside, ones)
        assert output.eq(0).all() and gradient.eq(0).all()


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('bins', BINS)
@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_gradcheck(implementation, bins, mode):
    input, rois, masks, size, scale = random_case(SETTINGS[0], mode, count=9)
    # all different and none at 0, where the maximum has a corner
    input = input[:, :1]
    input = torch.randperm(input.numel(), generator=torch.manual_seed(0)).view_as(input) - 80.5
    assert torch.autograd.gradcheck(
        lambda x: free_form_roi_pool(
            x, rois, masks, size, scale, mode, bins, implementation=implementation),
        input.double().requires_grad_())


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_autocast_changes_nothing(implementation):
    input, *rest = random_case(SETTINGS[0])
    expected = pool_and_gradient(input.float(), *rest, implementation=implementation)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = pool_and_gradient(input.float(), *rest, implementation=implementation)
    for x, y in zip(found, expected):
        assert x.dtype == torch.float32 and torch.equal(x, y)
