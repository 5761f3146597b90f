from typing import Optional, Sequence

import cv2
import numpy as np

GAP = 4  # white pixels between two tiles
CAPTION_HEIGHT = 18


def colorize(label_map: np.ndarray, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Paint a label map.

    Args:
        label_map (np.ndarray): Labels, (H, W), of any number of classes.
        palette (Sequence[Sequence[int]]): RGB colour of each class, 0 to 255.

    Returns:
        np.ndarray: RGB picture, (H, W, 3) uint8. Labels outside the palette, such as ignored
        pixels, are white: 255 is so unless it is a class of the palette.
    """
    table = np.full((len(palette) + 1, 3), 255, dtype=np.uint8)
    table[:-1] = palette
    inside = (label_map >= 0) & (label_map < len(palette))
    return table[np.where(inside, label_map, len(palette)).astype(np.intp)]


def draw_stages(image: np.ndarray,
                stages: np.ndarray,
                palette: Sequence[Sequence[int]],
                truth: Optional[np.ndarray] = None,
                tile_width: int = 240) -> np.ndarray:
    """Draw a strip of input, truth and stages (Fig. 5 of the LRN paper).

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

    height, width = image.shape[:2]
    tile_height = max(1, round(tile_width * height / width))
    strip = np.full((CAPTION_HEIGHT + tile_height, len(tiles) * (tile_width + GAP) - GAP, 3),
                    255, dtype=np.uint8)
    for i, (caption, tile) in enumerate(tiles):
        x = i * (tile_width + GAP)
        strip[CAPTION_HEIGHT:, x:x + tile_width] = cv2.resize(
            np.ascontiguousarray(tile), (tile_width, tile_height), interpolation=cv2.INTER_NEAREST)
        cv2.putText(strip, caption, (x + 2, CAPTION_HEIGHT - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.45,
                    (0, 0, 0), 1, cv2.LINE_AA)
    return strip
