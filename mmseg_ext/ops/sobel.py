"""Sobel's kernels on each channel of a map: what ``SobelEdgeLoss`` compares."""
import torch
import torch.nn.functional as F
from torch import Tensor

from .checks import check_tensors


def sobel(maps: Tensor) -> Tensor:
    r"""Apply Sobel's two kernels to each channel.

    .. math::
        K_x = \begin{bmatrix} -1 & 0 & 1 \\ -2 & 0 & 2 \\ -1 & 0 & 1 \end{bmatrix} \qquad
        K_y = K_x^T

    The baseline of `SEMEDA: Enhancing Segmentation Precision with Semantic Edge Aware Loss
    <https://doi.org/10.1016/j.patcog.2020.107557>`_, section 4.1: Sobel kernels that process each
    class of a soft label map independently. The op is linear, so sobel(S) - sobel(S*) is
    sobel(S - S*), in one call. The paper leaves open how the kernels are scaled and what they see
    beyond the image. Here they are the whole numbers above, which give 4 at both sides of a step
    of 1, and the maps go on as they are at the border, so that the border itself is no edge, as in
    ``semantic_edges``. (With zeros around it, a difference S - S* that is constant would give
    nothing inside of the image and 3 to 4 times itself along the border.)

    Args:
        maps (Tensor): (N, C, H, W); float32, float64, float16 or bfloat16.

    Returns:
        Tensor: (N, 2C, H, W), of the type of the maps: first how each channel changes to the
        right (K_x), then how each changes downwards (K_y). Computed in float32 or, for float64,
        float64.

    Raises:
        ValueError: If the maps are not four-dimensional or no floating-point numbers.

    Note:
        Nothing is kept for the backward pass.

    Example:
        >>> sobel(torch.tensor([[[[0., 0., 1., 1.]]]]))
        tensor([[[[0., 4., 4., 0.]],
        <BLANKLINE>
                 [[0., 0., 0., 0.]]]])
    """
    check_tensors(maps=maps)
    if maps.ndim != 4 or not maps.is_floating_point():
        raise ValueError('maps must be a floating-point tensor (N, C, H, W), got '
                         f'{maps.dtype} {tuple(maps.shape)}.')
    if maps.numel() == 0:
        return torch.cat([maps, maps], dim=1)
    return _Sobel.apply(maps)


class _Sobel(torch.autograd.Function):
    """Sobel's kernels by shifts and additions.

    Both are sums of 2 x 2 pixels, of which then differences along the two diagonals are taken;
    their sum is K_x, their difference K_y. That is less arithmetic than a convolution of each
    channel, which would also keep its padded input. The backward pass is written out because
    autograd would make a full map of zeros for each of the slices.
    """

    @staticmethod
    def forward(ctx, maps):
        total = maps.to(torch.promote_types(maps.dtype, torch.float32))
        total = _sums_of_four(F.pad(total, (1, 1, 1, 1), mode='replicate'))
        falling = total[..., 1:, 1:] - total[..., :-1, :-1]
        rising = total[..., :-1, 1:] - total[..., 1:, :-1]
        del total  # before there is the output
        # sum and difference in one pass
        signs = torch.arange(1, -2, -2, dtype=rising.dtype, device=rising.device)
        output = torch.addcmul(falling[:, None], rising[:, None], signs.view(2, 1, 1, 1))
        return output.flatten(1, 2).to(maps.dtype)

    @staticmethod
    def backward(ctx, gradient):
        """Do the transpose of each step, in the opposite order."""
        across, down = gradient.to(torch.promote_types(gradient.dtype, torch.float32)).chunk(2, 1)
        falling = F.pad(across + down, (1, 1, 1, 1))
        total = falling[..., :-1, :-1] - falling[..., 1:, 1:]
        del falling  # before there is the other one
        rising = F.pad(across - down, (1, 1, 1, 1))
        total.add_(rising[..., 1:, :-1]).sub_(rising[..., :-1, 1:])
        # the border counts for what is beyond it too
        for border in (total[..., 0, :], total[..., -1, :], total[..., 0], total[..., -1]):
            border.mul_(2)
        return _sums_of_four(total).to(gradient.dtype)


def _sums_of_four(maps: Tensor) -> Tensor:
    """Sums of all squares of 2 x 2 pixels."""
    rows = maps[..., :-1, :] + maps[..., 1:, :]
    return rows[..., :-1] + rows[..., 1:]
