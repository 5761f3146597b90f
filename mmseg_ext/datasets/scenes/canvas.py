"""The sheet that a scene is painted on: colour and label stay together, stroke by stroke."""
from typing import Sequence, Tuple

import cv2
import numpy as np

from .classes import CLASSES, IGNORED

# Fractional bits of the polygon corners that go to OpenCV.
_SHIFT = 4


def _corners(points: np.ndarray) -> np.ndarray:
    """Pixel coordinates as the fixed-point numbers that OpenCV draws with."""
    return np.rint(points * (1 << _SHIFT) - (1 << _SHIFT) / 2).astype(np.int32)


def _interleave(colours: np.ndarray, elements: np.ndarray) -> np.ndarray:
    """(3, h, w) colours and (h, w) elements as (h, w, 4) uint8."""
    planes = np.minimum(colours, 255).astype(np.uint8)
    return cv2.merge((*planes, elements))


class Canvas:
    """An image in which every pixel also knows which element it shows.

    The sheet has four channels: blue, green, red and the number of an element. What is
    painted later covers colour *and* element, so occlusion needs no bookkeeping: the label map
    and the instance map are two table look-ups at the end. Elements 0 ... C-1 are the classes
    themselves; each object and each ignored thing takes a number of its own.

    Points are columns and rows in pixels, 0.5 is the centre of the first; lengths are pixels,
    colours are BGR. What reaches over the border is cut.
    """

    #: Element of unlabelled pixels that belong to no object.
    IGNORED_STUFF = len(CLASSES)
    #: Element of unlabelled pixels that belong to an object.
    IGNORED_THING = len(CLASSES) + 1

    def __init__(self, size: Tuple[int, int]) -> None:
        self.size = size
        self.pixels = np.zeros((size[0], size[1], 4), dtype=np.uint8)
        self._labels = np.full(256, IGNORED, dtype=np.uint8)
        self._labels[:len(CLASSES)] = np.arange(len(CLASSES))
        self._next = len(CLASSES) + 2

    @property
    def elements(self) -> np.ndarray:
        """(H, W) uint8 view of the element channel."""
        return self.pixels[..., 3]

    def new_object(self, label: int) -> int:
        """Take a number for a new object of a class; `IGNORED_THING` when none is left."""
        if self._next > 255:
            return self.IGNORED_THING
        self._labels[self._next] = label
        self._next += 1
        return self._next - 1

    def polygon(self, points: np.ndarray, colour: Sequence[int], element: int) -> None:
        """Fill a convex polygon, (n, 2)."""
        cv2.fillConvexPoly(self.pixels, _corners(points), (*colour, element), cv2.LINE_8, _SHIFT)

    def polygons(self, points: np.ndarray, colours: Sequence[Sequence[int]],
                 elements: Sequence[int]) -> None:
        """Fill m convex polygons with n corners each, (m, n, 2), one after the other."""
        for corners, colour, element in zip(_corners(points), colours, elements):
            cv2.fillConvexPoly(self.pixels, corners, (*colour, element), cv2.LINE_8, _SHIFT)

    def polyline(self, points: np.ndarray, colour: Sequence[int], element: int,
                 width: float) -> None:
        """Draw a line through points, (n, 2), at least one pixel wide."""
        cv2.polylines(self.pixels, [_corners(points)], False, (*colour, element),
                      max(1, int(round(width))), cv2.LINE_8, _SHIFT)

    def disk(self, centre: Sequence[float], radius: float, colour: Sequence[int], element: int,
             width: float = -1) -> None:
        """Draw a disk, or a ring if it has a width."""
        centre = tuple(int(round((c - 0.5) * (1 << _SHIFT))) for c in centre)
        thickness = -1 if width < 0 else max(1, int(round(width)))
        cv2.circle(self.pixels, centre, int(round(radius * (1 << _SHIFT))), (*colour, element),
                   thickness, cv2.LINE_8, _SHIFT)

    def patch(self, top: int, left: int, mask: np.ndarray, colours: np.ndarray,
              element: int) -> None:
        """Paint colours (3, h, w), float BGR >= 0, where a mask (h, w) says so.

        Values above 255 are clipped. Row `top` and column `left` may lie outside of the image.
        """
        y0, x0 = max(-top, 0), max(-left, 0)
        y1 = min(mask.shape[0], self.size[0] - top)
        x1 = min(mask.shape[1], self.size[1] - left)
        if y0 >= y1 or x0 >= x1:
            return
        target = self.pixels[top + y0:top + y1, left + x0:left + x1]
        chosen = mask[y0:y1, x0:x1].view(np.uint8)
        painted = _interleave(colours[:, y0:y1, x0:x1], np.full_like(chosen, element))
        cv2.copyTo(painted, chosen, target)

    def rows(self, top: int, colours: np.ndarray, elements: np.ndarray) -> None:
        """Paint rows from `top` on: colours (3, h, W) as in `patch`, elements (h, W) uint8."""
        self.pixels[top:top + elements.shape[0]] = _interleave(colours, elements)

    def ignore_outlines(self, label: int, width: int) -> None:
        """Turn the outermost `width` pixels of all objects of a class into unlabelled pixels."""
        elements = np.ascontiguousarray(self.elements)
        kernel = np.ones((2 * width + 1, 2 * width + 1), dtype=np.uint8)
        edge = cv2.morphologyEx(elements, cv2.MORPH_GRADIENT, kernel) > 0
        objects = (elements > self.IGNORED_THING) & (cv2.LUT(elements, self._labels) == label)
        self.elements[edge & objects] = self.IGNORED_THING

    def maps(self) -> Tuple[np.ndarray, np.ndarray]:
        """The label map and the instance map, (H, W) uint8 each.

        Labels are 255 where unlabelled. Instances are 0 where there is no object, 1 ... n for the
        objects that can be seen, far ones first, and 255 for an object's unlabelled pixels.
        """
        elements = np.ascontiguousarray(self.elements)
        seen = cv2.calcHist([elements], [0], None, [256], [0, 256]).ravel() > 0
        seen[:self.IGNORED_THING + 1] = False
        instances = np.where(seen, np.cumsum(seen), 0).astype(np.uint8)
        instances[self.IGNORED_THING] = IGNORED
        return cv2.LUT(elements, self._labels), cv2.LUT(elements, instances)
