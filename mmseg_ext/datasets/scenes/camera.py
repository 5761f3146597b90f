"""A pinhole camera that looks along a straight, flat street."""
from typing import Tuple

import numpy as np


class Camera:
    """Projects street coordinates to pixels.

    Street coordinates are metres: X to the right of the camera, Y above the ground, Z ahead of
    the camera. Every distance in pixels is proportional to the shorter image side, so that a
    street looks the same at any size.

    Args:
        size (tuple[int, int]): Height and width of the image in pixels.
        horizon (float): Row of the horizon as a fraction of the image height.
        vanishing (float): Column where the street vanishes, as a fraction of the image width.
        focal (float): Focal length as a fraction of the shorter image side.
        height (float): Height of the camera above the ground in metres.
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
        """Pixels per metre at a depth.

        Args:
            depth (float): Z in metres.

        Returns:
            float: Pixels per metre.
        """
        return self.focal / depth

    def project(self, points: np.ndarray) -> np.ndarray:
        """Project points of the street into the image.

        Args:
            points (np.ndarray): (..., 3) X, Y, Z in metres, Z > 0.

        Returns:
            np.ndarray: (..., 2) column and row in pixels; 0.5 is the centre of the first pixel.
        """
        scale = self.focal / points[..., 2]
        pixels = np.empty((*points.shape[:-1], 2))
        pixels[..., 0] = self.vanishing + points[..., 0] * scale
        pixels[..., 1] = self.horizon + (self.height - points[..., 1]) * scale
        return pixels
