from typing import Optional, Sequence, Tuple

import cv2
import numpy as np

from .tiles import (
    CAPTION_HEIGHT,
    Size,
    best_filter,
    colorize,
    corner,
    grid,
    map_colours,
    resize,
    stripe,
    tile_size,
    write,
)

ROW_HEIGHT = 22  # of a class among the bars
NAME_WIDTH = 100
NUMBERS_WIDTH = 130
GREY = (170, 170, 170)
SHARES_CAPTION = 'share of the labelled (grey) and of the kept pixels'


def draw_hard_pixels(image: np.ndarray,
                     truth: np.ndarray,
                     prediction: np.ndarray,
                     kept: np.ndarray,
                     probability: np.ndarray,
                     palette: Sequence[Sequence[int]],
                     classes: Optional[Sequence[str]] = None,
                     threshold: Optional[float] = None,
                     ignore_index: int = 255,
                     tile_width: int = 480) -> np.ndarray:
    """Draw which pixels of an image online bootstrapping keeps, and of which classes they are.

    Two rows of three tiles with a caption each: image, ground truth and prediction; the kept pixels
    in the colour of their true class over a pale image, the probability p_y of the true class, and
    the bars of :func:`draw_class_shares`. Pixels without a label are striped.

    Args:
        image (np.ndarray): RGB image, (H, W, 3) uint8.
        truth (np.ndarray): Labels, (H, W).
        prediction (np.ndarray): Predicted labels, (H, W).
        kept (np.ndarray): The kept pixels, (H, W) bool.
        probability (np.ndarray): p_y, (H, W), 0 to 1.
        palette (Sequence[Sequence[int]]): RGB colour of each class, 0 to 255.
        classes (Sequence[str], optional): Names of the classes. Defaults to None: their numbers.
        threshold (float, optional): The p_y that separates the kept pixels from the others, marked
            in the scale of colours. Defaults to None: no mark.
        ignore_index (int): Label of the pixels that do not count. Defaults to 255.
        tile_width (int): Width of a tile in pixels. Small images are enlarged by repeating pixels;
            where large ones shrink, the colour of a kept pixel among others is the stronger, the
            more of them are kept. Defaults to 480.

    Returns:
        np.ndarray: RGB picture, uint8.
    """
    size = tile_size(truth, tile_width)
    unlabelled = resize((truth == ignore_index).astype(np.uint8), size, cv2.INTER_NEAREST) > 0
    colours = colorize(truth, palette)
    num_kept, num_valid = int(kept.sum()), int((truth != ignore_index).sum())
    tiles = [
        ('image', resize(image, size, best_filter(image, size))),
        ('truth (striped: no label)',
         stripe(resize(colours, size, cv2.INTER_NEAREST), unlabelled)),
        ('prediction', resize(colorize(prediction, palette), size, cv2.INTER_NEAREST)),
        (f'kept: {num_kept} of {num_valid} labelled pixels, {_share(num_kept, num_valid):.1%}',
         stripe(_kept_over_image(image, kept, colours, size), unlabelled)),
        ('probability of the true class', stripe(_heat(probability, size), unlabelled)),
        (SHARES_CAPTION,
         draw_class_shares(*class_counts(truth, kept, len(palette), ignore_index), palette, classes,
                           size)),
    ]
    picture = grid(tiles, 3, size)
    x, y = corner(4, 3, size)  # the probability
    _draw_scale(picture[y - CAPTION_HEIGHT:y, x:x + tile_width], threshold)
    return picture


def class_counts(truth: np.ndarray, kept: np.ndarray, num_classes: int,
                 ignore_index: int = 255) -> Tuple[np.ndarray, np.ndarray]:
    """Count the labelled and the kept pixels of each class, (C,) each, in maps of any shape."""
    return (np.bincount(truth[truth != ignore_index], minlength=num_classes),
            np.bincount(truth[kept], minlength=num_classes))


def draw_class_shares(labelled: np.ndarray,
                      kept: np.ndarray,
                      palette: Sequence[Sequence[int]],
                      classes: Optional[Sequence[str]] = None,
                      size: Optional[Size] = None,
                      caption: str = '') -> np.ndarray:
    """Draw for each class its share of the labelled pixels over its share of the kept ones.

    The last paragraph of section 2.2 of the bootstrapping paper made visible: a coloured bar longer
    than the grey one above it is a class that bootstrapping gives more weight than its size would.

    Args:
        labelled (np.ndarray): Number of labelled pixels of each class, (C,).
        kept (np.ndarray): Number of kept pixels of each class, (C,).
        palette (Sequence[Sequence[int]]): RGB colour of each class, 0 to 255.
        classes (Sequence[str], optional): Names of the classes. Defaults to None: their numbers.
        size (tuple[int, int], optional): Width and height of the picture. Where there is no room
            for all classes, those with the most kept pixels are drawn. Defaults to
            None: 480 wide, with room for all.
        caption (str): Written above. Defaults to ``''``: the bars alone.

    Returns:
        np.ndarray: RGB picture, uint8.
    """
    present = np.flatnonzero(labelled)
    width, height = size or (480, max(1, len(present)) * ROW_HEIGHT)
    left_out = 0
    if len(present) * ROW_HEIGHT > height:
        left_out = len(present) - max(1, height // ROW_HEIGHT - 1)  # one row to say so
        # Stable, so that the choice among equals does not depend on the machine.
        by_kept = np.argsort(-kept[present], kind='stable')
        present = present[np.sort(by_kept[:len(present) - left_out])]

    shares = [(_share(labelled[c], labelled.sum()), _share(kept[c], kept.sum())) for c in present]
    longest = max([max(pair) for pair in shares], default=1.)
    room = max(0, width - NAME_WIDTH - NUMBERS_WIDTH)
    picture = np.full((height, width, 3), 255, dtype=np.uint8)
    for row, (c, (before, after)) in enumerate(zip(present, shares)):
        y = row * ROW_HEIGHT
        write(picture, classes[c][:14] if classes else str(c), 2, y + 14, 0.4)
        for top, bottom, share, colour in ((3, 8, before, GREY), (9, 18, after, palette[c])):
            end = NAME_WIDTH + round(room * share / longest)
            corners = (NAME_WIDTH, y + top), (end, y + bottom)
            cv2.rectangle(picture, *corners, [int(value) for value in colour], cv2.FILLED)
            cv2.rectangle(picture, *corners, (90, 90, 90))  # pale classes on white
        write(picture, f'{before:.1%} -> {after:.1%}', NAME_WIDTH + room + 6, y + 14, 0.4)
    if left_out:
        write(picture, f'and {left_out} more classes', 2, len(present) * ROW_HEIGHT + 14, 0.4)
    if caption:
        above = np.full((CAPTION_HEIGHT, width, 3), 255, dtype=np.uint8)
        write(above, caption, 2, CAPTION_HEIGHT - 5)
        picture = np.concatenate([above, picture])
    return picture


def _share(part: int, whole: int) -> float:
    return float(part / whole) if whole else 0.


def _kept_over_image(image: np.ndarray, kept: np.ndarray, colours: np.ndarray,
                     size: Size) -> np.ndarray:
    """Kept pixels in their colour over a pale grey image."""
    shrink = best_filter(image, size)
    fraction = resize(kept.astype(np.float32), size, shrink)[..., None]
    colour = resize(colours * kept[..., None].astype(np.float32), size, shrink)
    colour = colour / np.maximum(fraction, 1e-6)
    grey = resize(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY), size, shrink)
    pale = 255 - 0.3 * (255 - grey[..., None].astype(np.float32))
    alpha = np.sqrt(fraction)  # single kept pixels of a large image stay visible
    return (alpha * colour + (1 - alpha) * pale).round().clip(0, 255).astype(np.uint8)


def _heat(probability: np.ndarray, size: Size) -> np.ndarray:
    """Colours of p_y: the lower, the brighter."""
    probability = np.nan_to_num(probability.astype(np.float32), nan=0.)
    probability = resize(probability, size, best_filter(probability, size))
    return map_colours(1 - probability, cv2.COLORMAP_INFERNO)


def _draw_scale(caption: np.ndarray, threshold: Optional[float]) -> None:
    """Draw the colours of p_y from 0 to 1 into a caption, with a mark at the threshold."""
    length, right = 100, caption.shape[1] - 14
    bar = np.linspace(0, 1, length)[None].repeat(CAPTION_HEIGHT - 8, axis=0)
    caption[4:-4, right - length:right] = _heat(bar, bar.shape[::-1])
    write(caption, '0', right - length - 10, CAPTION_HEIGHT - 5)
    write(caption, '1', right + 3, CAPTION_HEIGHT - 5)
    if threshold is not None and np.isfinite(threshold):
        mark = right - length + round(min(max(threshold, 0), 1) * (length - 1))
        caption[1:-1, mark - 1:mark + 2] = (0, 160, 0)
        write(caption, f't = {threshold:.2f}', right - length - 78, CAPTION_HEIGHT - 5, 0.45,
               (0, 130, 0))
