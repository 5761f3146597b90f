from typing import Optional, Sequence

import cv2
import numpy as np

from .tiles import best_filter, grid, map_colours, nearest, resize, tile_size, write

GOLDEN = 0.618034  # hues that far apart are told from all others before
OPACITY = 0.55


def draw_instances(image: np.ndarray,
                   masks: np.ndarray,
                   labels: np.ndarray,
                   scores: np.ndarray,
                   boxes: np.ndarray,
                   votes: np.ndarray,
                   truth: Optional[np.ndarray] = None,
                   classes: Optional[Sequence[str]] = None,
                   tile_width: int = 480) -> np.ndarray:
    """Draw instances over their image, and where the pixels say that the instances' centres are.

    Tiles with a caption each: image, true instances, predicted instances with class and score,
    where there is room for them, and the map of moved pixels, in which the instances are maxima
    (Fig. 1 of the bootstrapping paper).
    Each instance has a colour of its own. Of overlapping masks the one with the higher score is
    seen.

    Args:
        image (np.ndarray): RGB image, (H, W, 3) uint8.
        masks (np.ndarray): Predicted instances, those with the highest scores first, (Q, H, W)
            bool.
        labels (np.ndarray): Their classes, (Q,).
        scores (np.ndarray): (Q,).
        boxes (np.ndarray): Predicted boxes, x1, y1, x2, y2 in pixels, (Q, 4).
        votes (np.ndarray): Sum of the scores that were moved to each pixel, (H, W).
        truth (np.ndarray, optional): Numbers of the true instances, 0 for none, (H, W). Defaults
            to None: no tile.
        classes (Sequence[str], optional): Names of the classes. Defaults to None: their numbers.
        tile_width (int): Width of a tile in pixels. Defaults to 480.

    Returns:
        np.ndarray: RGB picture, uint8.
    """
    size = tile_size(image, tile_width)
    scale = size[0] / image.shape[1]
    shown = resize(image, size, best_filter(image, size))
    found = np.zeros(image.shape[:2], np.int64)
    for number in range(len(masks), 0, -1):
        found[masks[number - 1]] = number
    tiles = [('image', shown)]
    if truth is not None:
        count = len(np.unique(truth[truth > 0]))
        tiles.append((f'truth: {count} instances', _overlay(shown, truth)))
    predicted = _overlay(shown, found)
    for label, score, box in zip(labels, scores, boxes):
        x1, y1, x2, _ = (np.clip(box, 0, np.tile(image.shape[1::-1], 2)) * scale).astype(int)
        name = classes[label] if classes else str(label)
        _label(predicted, f'{name} {score:.2f}', x1, y1, x2 - x1)
    tiles.append((f'prediction: {len(masks)} instances', predicted))
    # a root, as a centre has up to all pixels of its instance and others only few
    heat = np.sqrt(votes / max(votes.max(initial=0), 1e-9))
    heat = cv2.dilate(heat.astype(np.float32), np.ones((3, 3), np.uint8))
    tiles.append(('where the scores of the pixels are moved to',
                  resize(map_colours(heat, cv2.COLORMAP_INFERNO), size, cv2.INTER_NEAREST)))
    return grid(tiles, 2, size)


def _overlay(image: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Fill the instances of a map (h, w) over an image, with their outlines."""
    numbers = nearest(numbers, image.shape[:2])
    hues = numbers * GOLDEN % 1 * 180
    colours = np.stack([hues, np.full_like(hues, 220), np.full_like(hues, 255)], axis=-1)
    colours = cv2.cvtColor(colours.astype(np.uint8), cv2.COLOR_HSV2RGB)
    inside = (numbers > 0)[..., None]
    picture = np.where(inside, (1 - OPACITY) * image + OPACITY * colours, image).astype(np.uint8)
    border = np.zeros(numbers.shape, bool)
    border[:, 1:] |= numbers[:, 1:] != numbers[:, :-1]
    border[1:] |= numbers[1:] != numbers[:-1]
    picture[border] = 255
    return picture


def _label(picture: np.ndarray, text: str, x: int, y: int, room: int) -> None:
    """Write a text on black, inside of the picture, unless its instance is narrower."""
    width, height = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.4, 1)[0]
    if width > room:
        return
    x = max(0, min(x, picture.shape[1] - width - 2))
    y = max(height + 3, min(y + height + 3, picture.shape[0] - 2))
    cv2.rectangle(picture, (x, y - height - 3), (x + width + 2, y + 2), (0, 0, 0), cv2.FILLED)
    write(picture, text, x + 1, y - 1, scale=0.4, colour=(255, 255, 255))
