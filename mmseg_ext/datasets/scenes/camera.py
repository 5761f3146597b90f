"""A pinhole camera that looks along a straight, flat street."""
from typing import Tuple

import numpy as np


class Camera:
    """Projects street coordinates to pixels.

    Street coordinates are metres: X to the right of the camera, Y above the ground, Z ahead of
    the camera. `horizon` and `vanishing` are fractions of the image's height and width, `focal` of
    its shorter side, so that a street looks the same at any size; `height` is metres above the
    ground.
    """

    def __init__(self, size: Tuple[int, int], horizon: float, vanishing: float, focal: float,
                 height: float) -> None:
        self.size = size
        self.horizon = horizon * size[0]
        self.vanishing = vanishing * size[1]
        self.focal = focal * min(size)
        self.height = height
        #: np.ndarray: (H,) centres of the pixel rows.
        self.rows = np.arange(size[0], dtype=np.float32) + 0.5
        #: np.ndarray: (W,) centres of the pixel columns.
        self.columns = np.arange(size[1], dtype=np.float32) + 0.5

    def scale(self, depth: float) -> float:
        """Pixels per metre at a depth Z in metres."""
        return self.focal / depth

    def project(self, points: np.ndarray) -> np.ndarray:
        """Project points (..., 3), metres with Z > 0, to columns and rows (..., 2) in pixels.

        0.5 is the centre of the first pixel.
        """
        scale = self.focal / points[..., 2]
        pixels = np.empty((*points.shape[:-1], 2))
        pixels[..., 0] = self.vanishing + points[..., 0] * scale
        pixels[..., 1] = self.horizon + (self.height - points[..., 1]) * scale
        return pixels
