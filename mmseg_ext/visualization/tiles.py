"""What the tiles of the pictures have in common. A size is (width, height), as OpenCV has it."""
from typing import Optional, Sequence, Tuple

import cv2
import numpy as np

GAP = 4  # white pixels between two tiles
CAPTION_HEIGHT = 18
LEGEND_HEIGHT, SWATCH = 22, 14

Size = Tuple[int, int]
Tile = Tuple[str, np.ndarray]


def colorize(label_map: np.ndarray, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Paint a label map (H, W) as an RGB picture (H, W, 3) uint8; a palette is RGB, 0 to 255.

    Labels outside the palette, such as ignored pixels, are white: 255 is so unless it is a class of
    the palette.
    """
    table = np.full((len(palette) + 1, 3), 255, dtype=np.uint8)
    table[:-1] = palette
    inside = (label_map >= 0) & (label_map < len(palette))
    return table[np.where(inside, label_map, len(palette)).astype(np.intp)]


def tile_size(array: np.ndarray, width: int) -> Size:
    """Size of a tile of a map (H, W, ...) that is so many pixels wide."""
    return width, max(1, round(width * array.shape[0] / array.shape[1]))


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


def map_colours(values: np.ndarray, colour_map: int) -> np.ndarray:
    """Paint values 0 to 1 in the colours of one of OpenCV's maps, as RGB."""
    values = (values.clip(0, 1) * 255).round().astype(np.uint8)
    return cv2.applyColorMap(values, colour_map)[..., ::-1]


def nearest(array: np.ndarray, shape: Tuple[int, int]) -> np.ndarray:
    """Resize (nearest) to height and width."""
    y, x = (((np.arange(new) + 0.5) * old / new).astype(int)
            for new, old in zip(shape, array.shape))
    return array[y[:, None], x]


def truth_tile(truth: np.ndarray, palette: Sequence[Sequence[int]], size: Size) -> Tile:
    """The ground truth with its caption; pixels without a class are striped."""
    tile = nearest(colorize(truth, palette), size[::-1])
    unlabelled = nearest(truth, size[::-1]) >= len(palette)
    return 'truth' + ' (striped: no label)' * bool(unlabelled.any()), stripe(tile, unlabelled)


def grid(tiles: Sequence[Tile], columns: int, size: Size) -> np.ndarray:
    """Set tiles in rows, captions above."""
    rows = -(-len(tiles) // columns)
    picture = np.full((rows * (CAPTION_HEIGHT + size[1] + GAP) - GAP,
                       columns * (size[0] + GAP) - GAP, 3), 255, dtype=np.uint8)
    for i, (caption, tile) in enumerate(tiles):
        x, y = corner(i, columns, size)
        picture[y:y + size[1], x:x + size[0]] = tile
        write(picture, caption, x + 2, y - 5)
    return picture


def corner(i: int, columns: int, size: Size) -> Tuple[int, int]:
    """Upper left pixel of a tile of the grid."""
    row, column = divmod(i, columns)
    return column * (size[0] + GAP), row * (CAPTION_HEIGHT + size[1] + GAP) + CAPTION_HEIGHT


def legend(labels: np.ndarray, palette: Sequence[Sequence[int]],
           classes: Optional[Sequence[str]], width: int) -> np.ndarray:
    """Name the classes beside their colours, in as many lines as it takes."""
    lines, x = [np.full((LEGEND_HEIGHT, width, 3), 255, dtype=np.uint8)], 2
    for label in labels[labels < len(palette)]:
        name = classes[label] if classes else str(label)
        length = SWATCH + 6 + cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)[0][0] + 16
        if x + length > width and x > 2:
            lines.append(np.full_like(lines[0], 255))
            x = 2
        corners = (x, 5), (x + SWATCH, 5 + SWATCH - 2)
        cv2.rectangle(lines[-1], *corners, [int(value) for value in palette[label]], cv2.FILLED)
        cv2.rectangle(lines[-1], *corners, (90, 90, 90))  # pale classes on white
        write(lines[-1], name, x + SWATCH + 6, LEGEND_HEIGHT - 6)
        x += length
    return np.concatenate(lines)
