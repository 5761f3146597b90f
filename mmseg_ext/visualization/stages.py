from typing import Optional, Sequence

import cv2
import numpy as np

from .tiles import colorize, grid, resize, tile_size


def draw_stages(image: np.ndarray,
                stages: np.ndarray,
                palette: Sequence[Sequence[int]],
                truth: Optional[np.ndarray] = None,
                tile_width: int = 240) -> np.ndarray:
    """Draw a strip of input, ground truth and stages (Fig. 5 of the LRN paper).

    Args:
        image (np.ndarray): RGB image, (H, W, 3) uint8.
        stages (np.ndarray): Label maps of K stages, coarse to fine, (K, H, W).
        palette (Sequence[Sequence[int]]): RGB colour of each class, 0 to 255.
        truth (np.ndarray, optional): Label map, (H, W).
        tile_width (int): Width of each picture of the strip in pixels; smaller ones are enlarged by
            repeating pixels, so that single pixels stay visible. Defaults to 240.

    Returns:
        np.ndarray: RGB strip, uint8, all pictures with a caption above.
    """
    tiles = [('input', image)]
    if truth is not None:
        tiles.append(('truth', colorize(truth, palette)))
    tiles += [(f's_{k}', colorize(stage, palette)) for k, stage in enumerate(stages, start=1)]

    size = tile_size(image, tile_width)
    tiles = [(caption, resize(tile, size, cv2.INTER_NEAREST)) for caption, tile in tiles]
    return grid(tiles, len(tiles), size)
