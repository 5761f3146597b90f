"""What the tiles of the pictures have in common. A size is (width, height), as OpenCV has it."""
from typing import Tuple

import cv2
import numpy as np

Size = Tuple[int, int]


def best_filter(array: np.ndarray, size: Size) -> int:
    """Average where a map (H, W, ...) gets smaller, repeat its pixels where it does not."""
    return cv2.INTER_AREA if array.shape[1] > size[0] else cv2.INTER_NEAREST


def resize(array: np.ndarray, size: Size, interpolation: int) -> np.ndarray:
    """OpenCV's ``resize``, of any array (H, W, ...)."""
    return cv2.resize(np.ascontiguousarray(array), size, interpolation=interpolation)


def stripe(tile: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Cover pixels with grey diagonals, which no class looks like."""
    y, x = np.indices(where.shape)
    stripes = np.where((x + y) // 3 % 2, 110, 200).astype(np.uint8)
    return np.where(where[..., None], stripes[..., None], tile)


def write(picture: np.ndarray,
          text: str,
          x: int,
          y: int,
          scale: float = 0.45,
          colour: Tuple[int, int, int] = (0, 0, 0)) -> None:
    """Write a text whose lower left corner is at (x, y)."""
    cv2.putText(picture, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)
