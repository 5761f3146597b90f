import math

import torch
from mmseg.registry import TASK_UTILS
from torch import Tensor

#: No decoded side is longer, in pixels: the exponential of a wild prediction stays finite.
LONGEST = 2.0**20


@TASK_UTILS.register_module()
class PixelBoxCoder:
    r"""What a pixel's four numbers say about the box of its instance.

    .. math:: t = \left(\frac{x_c - x}{u}, \frac{y_c - y}{u}, \log\frac{w}{u},
              \log\frac{h}{u}\right)

    for a pixel with its centre at (x, y), and a box of width w and height h around (x_c, y_c);
    ``size='linear'`` has w / u and h / u.

    Source: Wu, Shen, van den Hengel, `Bridging Category-level and Instance-level Semantic Image
    Segmentation <https://arxiv.org/abs/1605.06885>`_, Sec. 2.1, which names the four quantities
    and leaves their units and their order open.

    Args:
        unit (float): u, in pixels. Defaults to 32.
        size (str): ``'log'`` (default) or ``'linear'``.

    Raises:
        ValueError: If an argument is not one of these.

    Note:
        Boxes are relative to the pixel: x1 - x, y1 - y, x2 - x, y2 - y. The pixel in column j has
        its centre at j + 0.5, and a box over the columns 3 to 5 goes from 3 to 6, so w = 3. A
        decoded side has 0 pixels at least and 2^20 at most.

    Example:
        >>> coder = PixelBoxCoder(unit=4, size='linear')
        >>> box = torch.tensor([-1., -3., 5., 1.]).view(4, 1, 1)
        >>> coder.encode(box).flatten()
        tensor([ 0.5000, -0.2500,  1.5000,  1.0000])
        >>> coder.decode(coder.encode(box)).flatten()
        tensor([-1., -3.,  5.,  1.])
    """

    def __init__(self, unit: float = 32., size: str = 'log') -> None:
        if not 0 < unit < math.inf:
            raise ValueError(f'PixelBoxCoder unit must be a positive number of pixels, got {unit}.')
        if size not in ('log', 'linear'):
            raise ValueError(f"PixelBoxCoder size must be 'log' or 'linear', got {size!r}.")
        self.unit = unit
        self.size = size

    def encode(self, boxes: Tensor) -> Tensor:
        """Turn boxes into regression targets.

        Args:
            boxes (Tensor): Relative to their pixels, (..., 4, H, W), with sides above 0.

        Returns:
            Tensor: Same shape.
        """
        x1, y1, x2, y2 = boxes.unbind(dim=-3)
        sides = torch.stack([x2 - x1, y2 - y1], dim=-3) / self.unit
        centre = torch.stack([x1 + x2, y1 + y2], dim=-3) / (2 * self.unit)
        return torch.cat([centre, sides.log() if self.size == 'log' else sides], dim=-3)

    def decode(self, transforms: Tensor) -> Tensor:
        """Turn regressed numbers into boxes.

        Args:
            transforms (Tensor): (..., 4, H, W).

        Returns:
            Tensor: Boxes relative to their pixels, same shape, float32 for half precision.
        """
        # half precision has no 2^20
        transforms = transforms.to(torch.promote_types(transforms.dtype, torch.float32))
        centre, sides = transforms.split(2, dim=-3)
        most = LONGEST / self.unit
        sides = (sides.clamp(max=math.log(most)).exp() if self.size == 'log' else
                 sides.clamp(min=0, max=most))
        return torch.cat([centre - sides / 2, centre + sides / 2], dim=-3) * self.unit
