"""Cells of regions as one of the label maps that a pipeline moves."""
import numpy as np

#: What mmseg's rotation and padding write into label maps. No cell has this number.
NO_CELL = 255


class CellMap(np.ndarray):
    """A cell map (H, W) that was put into a pipeline and not computed anew since.

    Only the type differs from a plain array. What NumPy makes of it (a crop, a flip, a copy) keeps
    the type, what OpenCV makes of it (resized, rotated) is a plain array. So after a crop, when
    sizes tell nothing any more, it still shows whether ``Resize`` has forgotten the map.
    """


def number_cells(cells: np.ndarray) -> np.ndarray:
    """Leave out the number ``NO_CELL``: cells from there on are numbered one higher."""
    return cells + (cells >= NO_CELL).astype(cells.dtype)
