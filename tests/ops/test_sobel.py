import pytest
import torch

from mmseg_ext.ops import sobel

KERNELS = ([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], [[-1, -2, -1], [0, 0, 0], [1, 2, 1]])
# a pixel, a row, a column, the least with an inside, and several maps
SHAPES = [(1, 1, 1, 1), (1, 2, 1, 5), (2, 1, 4, 1), (1, 1, 3, 3), (2, 3, 6, 5)]


def by_loops(maps):
    """Both kernels around each pixel; beyond the border are the pixels at the border."""
    n, c, h, w = maps.shape
    output = maps.new_zeros(n, 2 * c, h, w)
    for k, kernel in enumerate(KERNELS):
        for y in range(h):
            for x in range(w):
                for i in range(3):
                    for j in range(3):
                        row, column = min(max(y + i - 1, 0), h - 1), min(max(x + j - 1, 0), w - 1)
                        output[:, k * c:(k + 1) * c, y, x] += kernel[i][j] * maps[..., row, column]
    return output


def random_maps(shape, dtype=torch.float64):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(0))


def test_by_hand():
    output = sobel(torch.tensor([[[[0., 0., 0.], [0., 1., 0.], [0., 0., 0.]],
                                  [[5., 5., 7.], [5., 5., 7.], [5., 5., 7.]]]]))
    assert output[0, 0].tolist() == [[1, 0, -1], [2, 0, -2], [1, 0, -1]]
    assert output[0, 1].tolist() == [[0, 8, 8], [0, 8, 8], [0, 8, 8]]
    assert output[0, 2].tolist() == [[1, 2, 1], [0, 0, 0], [-1, -2, -1]]
    assert output[0, 3].eq(0).all()


@pytest.mark.parametrize('shape', SHAPES, ids=str)
def test_output_and_gradient_are_those_of_loops(shape):
    maps = random_maps(shape).requires_grad_()
    output, expected = sobel(maps), by_loops(maps)
    torch.testing.assert_close(output, expected)
    received = random_maps(output.shape)
    torch.testing.assert_close(torch.autograd.grad(output, maps, received),
                               torch.autograd.grad(expected, maps, received))


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_sums_are_of_single_precision_at_least(dtype):
    """Rounded to the type once, as the sums of whole numbers below are exact in float32."""
    maps = (random_maps((2, 3, 6, 5)) * 200).round().to(dtype).requires_grad_()
    output = sobel(maps)
    assert output.dtype == dtype
    assert torch.equal(output, by_loops(maps.detach().double()).to(dtype))
    received = (random_maps(output.shape) * 200).round().to(dtype)
    gradient, = torch.autograd.grad(output, maps, received)
    exact = maps.detach().double().requires_grad_()
    expected, = torch.autograd.grad(by_loops(exact), exact, received.double())
    assert gradient.dtype == dtype and torch.equal(gradient, expected.to(dtype))


def test_a_constant_map_has_no_edges_at_its_border_either():
    assert sobel(torch.full((1, 2, 4, 5), 0.1)).eq(0).all()


def test_a_map_that_changes_in_one_direction_has_no_edges_in_the_other():
    """Exactly none, although the kernels are made of differences along the diagonals."""
    columns = torch.rand(1, 1, 1, 9).expand(1, 1, 7, 9)
    across, down = sobel(columns).chunk(2, dim=1)
    assert down.eq(0).all() and across.ne(0).any()
    across, down = sobel(columns.mT).chunk(2, dim=1)
    assert across.eq(0).all() and down.ne(0).any()


def test_channels_and_images_do_not_mix():
    maps = random_maps((2, 3, 6, 5))
    output = sobel(maps)
    for n in range(2):
        for c in range(3):
            assert torch.equal(output[n, c::3], sobel(maps[n:n + 1, c:c + 1])[0])


def test_gradcheck_twice():
    maps = random_maps((1, 2, 4, 3)).requires_grad_()
    assert torch.autograd.gradcheck(sobel, maps)
    assert torch.autograd.gradgradcheck(sobel, maps)


def test_nothing_is_kept_for_the_backward_pass():
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(kept.append, lambda tensor: tensor):
        sobel(torch.rand(1, 2, 4, 3, requires_grad=True))
    assert not kept


def test_views_and_channels_last():
    maps = random_maps((2, 3, 6, 5))
    for other in (maps.mT.contiguous().mT, maps.contiguous(memory_format=torch.channels_last)):
        assert torch.equal(sobel(other), sobel(maps))


@pytest.mark.parametrize('shape', [(0, 3, 4, 5), (2, 0, 4, 5), (2, 3, 0, 5), (2, 3, 4, 0)],
                         ids=str)
def test_empty_maps(shape):
    maps = torch.zeros(shape, requires_grad=True)
    output = sobel(maps)
    assert output.shape == (shape[0], 2 * shape[1], *shape[2:])
    output.sum().backward()
    assert maps.grad.shape == shape


def test_autocast_leaves_the_type_alone():
    maps = random_maps((1, 2, 4, 3), torch.float32)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        output = sobel(maps)
    assert torch.equal(output, sobel(maps))


def test_compile():
    maps = random_maps((1, 2, 4, 3)).requires_grad_()

    def loss(maps):
        return sobel(maps).abs().sum()

    compiled = torch.compile(loss, backend='aot_eager', fullgraph=True)
    torch.testing.assert_close(torch.autograd.grad(compiled(maps), maps),
                               torch.autograd.grad(loss(maps), maps))


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match=r'\(N, C, H, W\), got torch.float32 \(3, 4\)'):
        sobel(torch.zeros(3, 4))
    with pytest.raises(ValueError, match='floating-point tensor .* got torch.int64'):
        sobel(torch.zeros(1, 2, 3, 4).long())
