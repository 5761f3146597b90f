"""Pictures of SEMEDA: how certain a prediction is, and how its edge network sees it.

Figures 6 and 7 of `SEMEDA: Enhancing Segmentation Precision with Semantic Edge Aware Loss
<https://doi.org/10.1016/j.patcog.2020.107557>`_. Shapes: H x W pixels, C classes, D channels.
"""
from typing import Optional, Sequence, Tuple, Union

import cv2
import numpy as np
import torch
from torch import Tensor

from mmseg_ext.ops.semantic_edges import semantic_edges

from .tiles import (
    LEGEND_HEIGHT,
    Size,
    Tile,
    best_filter,
    colorize,
    grid,
    legend,
    map_colours,
    resize,
    tile_size,
    truth_tile,
    write,
)

Array = Union[np.ndarray, Tensor]
#: How far the probabilities of a pixel may be from 1 in sum, for half precision.
TOLERANCE = 1e-2
SCALE_LENGTH = 120  # of the colours of entropy, in pixels


def draw_entropy(probabilities: Array) -> np.ndarray:
    """Draw the entropy of each pixel's prediction: blue is certain, red is a guess.

    Takes probabilities (C, H, W) of at least two classes, gives an RGB picture (H, W, 3) uint8. The
    colours run from 0 to log C.
    """
    return _heat(relative_entropy(probabilities))


def relative_entropy(probabilities: Array) -> np.ndarray:
    """Compute the entropy of each pixel's prediction as a share of the largest there is, log C.

    Takes probabilities (C, H, W) of at least two classes and raises a ValueError for anything else.
    Gives (H, W) float32: 0 where one class has it all, 1 where all have the same.
    """
    p = torch.as_tensor(probabilities).detach().float()
    if p.ndim != 3 or len(p) < 2:
        raise ValueError('Entropy needs probabilities (C, H, W) of at least 2 classes, '
                         f'but an array {tuple(p.shape)} was given.')
    # negated, so that NaN is wrong as well
    if not ((p >= 0).all() and ((p.sum(dim=0) - 1).abs() <= TOLERANCE).all()):
        raise ValueError('Entropy is that of probabilities, which are positive and sum to 1 over '
                         'the classes: take the softmax of logits, and look whether they are NaN.')
    return (torch.special.entr(p).sum(dim=0) / np.log(len(p))).cpu().numpy()


def draw_embedding(feature: Array) -> np.ndarray:
    """Draw a channel (H, W) of an embedding, from its smallest value (dark) to its largest.

    Gives an RGB picture (H, W, 3) uint8, dark all over where there is but one value.
    """
    return _glow(_to_unit(_to_numpy(feature)))


def draw_entropy_sheet(image: np.ndarray,
                       truth: np.ndarray,
                       predictions: Sequence[Tuple[str, Array]],
                       palette: Sequence[Sequence[int]],
                       classes: Optional[Sequence[str]] = None,
                       tile_width: int = 480) -> np.ndarray:
    """Draw predictions of one image below their entropy, as Fig. 7 compares networks.

    The first column is the image and its labels. Each other column is a network: the entropy of its
    prediction, with the mean over the image in per cent of log C, and the prediction. Below are the
    colours of entropy and the names of the classes.

    Args:
        image (np.ndarray): RGB image, (H, W, 3) uint8.
        truth (np.ndarray): Labels, (H, W).
        predictions (Sequence[tuple[str, np.ndarray | Tensor]]): Name of each network, which
            may be empty, and its probabilities, (C, H, W).
        palette (Sequence[Sequence[int]]): RGB colour of each class, 0 to 255. Other labels of
            the ground truth are striped.
        classes (Sequence[str], optional): Names of the classes. Defaults to None: their numbers.
        tile_width (int): Width of a tile in pixels. Entropy is averaged where a tile is smaller
            than the image. Defaults to 480.

    Returns:
        np.ndarray: RGB picture, uint8.

    Raises:
        ValueError: If a network gives no probabilities of at least two classes.
    """
    size = tile_size(truth, tile_width)
    above = [('image', resize(image, size, best_filter(image, size)))]
    below = [truth_tile(truth, palette, size)]
    labels = [truth]
    for name, probabilities in predictions:
        entropy = relative_entropy(probabilities)
        labels.append(_to_numpy(torch.as_tensor(probabilities).argmax(dim=0)).astype(np.int64))
        suffix = f': {name}' if name else ''
        above.append((f'entropy, mean {entropy.mean():.1%}{suffix}',
                      _heat(resize(entropy, size, best_filter(entropy, size)))))
        below.append((f'prediction{suffix}', _paint(labels[-1], palette, size)))
    picture = grid(_fitted(above + below, size), len(above), size)
    num_classes = len(predictions[0][1])
    return np.concatenate([picture, _entropy_scale(num_classes, picture.shape[1]),
                           legend(_present(labels), palette, classes, picture.shape[1])])


def draw_embedding_sheet(image: np.ndarray,
                         prediction: np.ndarray,
                         layers: Sequence[Array],
                         palette: Sequence[Sequence[int]],
                         classes: Optional[Sequence[str]] = None,
                         num_maps: int = 3,
                         tile_width: int = 480) -> np.ndarray:
    """Draw a prediction and its embeddings in the edge network, as Fig. 6 does.

    The first column is the image and the prediction; beside the image are maps of the first layer,
    beside the prediction maps of the second. The paper does not say which maps it shows: these
    are those most like the edges of the prediction, or most unlike (by correlation, of either
    sign). The caption of each tells its values, from dark to bright.

    Args:
        image (np.ndarray): RGB image, (H, W, 3) uint8.
        prediction (np.ndarray): Predicted labels, (H, W).
        layers (Sequence[np.ndarray | Tensor]): Embeddings of two layers, (D, H, W) each.
        palette (Sequence[Sequence[int]]): RGB colour of each class, 0 to 255.
        classes (Sequence[str], optional): Names of the classes. Defaults to None: their numbers.
        num_maps (int): Maps of each layer, if it has as many channels. Defaults to 3.
        tile_width (int): Width of a tile in pixels. Defaults to 480.

    Returns:
        np.ndarray: RGB picture, uint8.
    """
    size = tile_size(prediction, tile_width)
    num_maps = min(num_maps, *(len(layer) for layer in layers))
    firsts = [('image', resize(image, size, best_filter(image, size))),
              ('prediction', _paint(prediction, palette, size))]
    tiles = []
    for number, (first, layer) in enumerate(zip(firsts, layers), start=1):
        tiles.append(first)
        layer = _to_numpy(layer)
        for channel in _most_like_edges(layer, prediction)[:num_maps]:
            feature = layer[channel]
            caption = (f'layer {number}, channel {channel}: {feature.min():.2f} to '
                       f'{feature.max():.2f}')
            values = _to_unit(feature)
            tiles.append((caption, _glow(resize(values, size, best_filter(values, size)))))
    picture = grid(_fitted(tiles, size), 1 + num_maps, size)
    below = legend(_present([prediction]), palette, classes, picture.shape[1])
    return np.concatenate([picture, below])


def _most_like_edges(layer: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Channels, (D,), by the size of their correlation with the edges of the prediction."""
    edges = semantic_edges(torch.as_tensor(prediction)[None])[0].numpy().astype(np.float32)
    edges -= edges.mean()
    spread = layer.std(axis=(1, 2))
    product = np.abs((layer * edges).mean(axis=(1, 2)))
    # a constant map, such as a dead ReLU gives, comes last
    likeness = np.divide(product, spread, out=np.full_like(product, -np.inf), where=spread > 0)
    # stable, so that the choice among equals does not depend on the machine
    return np.argsort(-likeness, kind='stable')


def _to_numpy(array: Array) -> np.ndarray:
    return torch.as_tensor(array).detach().float().cpu().numpy()


def _to_unit(feature: np.ndarray) -> np.ndarray:
    """The values from 0 (smallest) to 1 (largest); 0 where all are the same."""
    low, high = feature.min(), feature.max()
    return (feature - low) / (high - low if high > low else 1)


def _heat(values: np.ndarray) -> np.ndarray:
    """Colours of 0 (blue) to 1 (red)."""
    return map_colours(values, cv2.COLORMAP_JET)


def _glow(values: np.ndarray) -> np.ndarray:
    """Colours of 0 (dark) to 1 (bright)."""
    return map_colours(values, cv2.COLORMAP_INFERNO)


def _paint(labels: np.ndarray, palette: Sequence[Sequence[int]], size: Size) -> np.ndarray:
    return resize(colorize(labels, palette), size, cv2.INTER_NEAREST)


def _present(label_maps: Sequence[np.ndarray]) -> np.ndarray:
    """All labels that there are, rising."""
    return np.unique(np.concatenate([np.unique(labels) for labels in label_maps]))


def _fitted(tiles: Sequence[Tile], size: Size) -> Sequence[Tile]:
    """The tiles with captions that end before the next tile's begin."""
    return [(_shorten(caption, size[0] - 8), tile) for caption, tile in tiles]


def _shorten(text: str, width: int) -> str:
    """Cut a text that is wider than so many pixels, and show it by three dots."""
    def is_wide(text: str) -> bool:
        return cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)[0][0] > width

    if is_wide(text):
        while text and is_wide(f'{text}...'):
            text = text[:-1]
        text += '...'
    return text


def _entropy_scale(num_classes: int, width: int) -> np.ndarray:
    """The colours of entropy in a line below the tiles."""
    line = np.full((LEGEND_HEIGHT, width, 3), 255, dtype=np.uint8)
    write(line, 'entropy:  0', 2, LEGEND_HEIGHT - 6)
    left = 92
    bar = np.linspace(0, 1, SCALE_LENGTH)[None].repeat(LEGEND_HEIGHT - 10, axis=0)
    room = line[6:-4, left:left + SCALE_LENGTH]
    room[:] = _heat(bar)[:, :room.shape[1]]  # small tiles have little
    write(line, f'log {num_classes} = 100%', left + SCALE_LENGTH + 6, LEGEND_HEIGHT - 6)
    return line
