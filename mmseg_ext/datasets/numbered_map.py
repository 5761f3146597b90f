"""Cells of regions, and instances, as one of the label maps that a pipeline moves."""
import numpy as np

#: What mmseg's rotation and padding write into label maps. No cell and no instance has this number.
NO_NUMBER = 255


class NumberedMap(np.ndarray):
    """A map (H, W) of numbers that was put into a pipeline and not computed anew since.

    Only the type differs from a plain array. What NumPy makes of it (a crop, a flip, a copy) keeps
    the type, what OpenCV makes of it (resized, rotated) is a plain array. So after a crop, when
    sizes tell nothing any more, it still shows whether ``Resize`` has forgotten the map.
    """


def skip_no_number(numbers: np.ndarray) -> np.ndarray:
    """Leave out ``NO_NUMBER``: numbers from there on become one higher."""
    return numbers + (numbers >= NO_NUMBER).astype(numbers.dtype)
