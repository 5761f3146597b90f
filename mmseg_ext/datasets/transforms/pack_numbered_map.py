from typing import Optional, Sequence

import numpy as np
from mmseg.datasets.transforms import PackSegInputs

from ..numbered_map import NO_NUMBER, NumberedMap


class PackNumberedMap(PackSegInputs):
    """Base of ``PackRegionInputs`` and ``PackInstanceInputs``: refuses a map that was not moved
    with its image, and pads what ``Pad`` leaves as it was.

    Args:
        meta_keys (Sequence[str], optional): Keys to pack. Defaults to None: those of
            ``PackSegInputs``.
    """

    #: Key of the map, of what ``scale_factor`` was when the map was made, and what the map holds.
    map_key, scale_key, contents = '', '', ''
    #: What to do about labels that do not have the size of the image.
    label_hint = ''

    def __init__(self, meta_keys: Optional[Sequence[str]] = None) -> None:
        if meta_keys is None:
            super().__init__()
        else:
            super().__init__(meta_keys)

    def transform(self, results: dict) -> dict:
        """Pack the results.

        Args:
            results (dict): Results of the pipeline.

        Returns:
            dict: ``inputs`` and ``data_samples``, as ``PackSegInputs`` returns them.
        """
        self._check_order(results)
        for key in results.get('seg_fields', ()):
            results[key] = self._fit(results, key)
        return super().transform(results)

    def _loaded_late(self, results: dict, key: str) -> bool:
        """Whether a map of the original image's size is right: a test loads it after Resize."""
        return False

    def _check_order(self, results: dict) -> None:
        """Refuse what leaves the map at other places though its size may be right."""
        scale = results.get('scale_factor')
        resized = scale is not None and scale != results.get(self.scale_key)
        kept = isinstance(results.get(self.map_key), NumberedMap)
        if resized and tuple(scale) != (1, 1) and kept:
            raise ValueError(
                f'{type(self).__name__}: the image was resized by {tuple(scale)}, the '
                f'{self.contents} were not; '
                "RandomResize and RandomChoiceResize need resize_type='mmseg.Resize', as mmcv's "
                'Resize moves gt_seg_map alone.')
        # a dictionary keeps the order in which keys were added
        keys = list(results)
        if 'pad_shape' in keys:
            later = keys[keys.index('pad_shape'):]
            for key, name in (('scale_factor', 'Resize'), ('flip', 'RandomFlip')):
                if key in later:
                    raise ValueError(
                        f'{type(self).__name__}: Pad, which leaves the {self.contents} as they '
                        f'are, comes before {name}: put it behind.')

    def _fit(self, results: dict, key: str) -> np.ndarray:
        """Give a map the size of the image, if it is only the padding that is missing."""
        label_map, size = results[key], results['img'].shape[:2]
        original = tuple(results.get('ori_shape', size))[:2]
        if label_map.shape[:2] == size:
            return label_map
        if label_map.shape[:2] == original and self._loaded_late(results, key):
            return label_map
        missing = [full - part for full, part in zip(size, label_map.shape)]
        if 'pad_shape' in results and min(missing) >= 0:
            padding = [(0, more) for more in missing] + [(0, 0)] * (label_map.ndim - 2)
            return np.pad(label_map, padding, constant_values=NO_NUMBER)
        hint = (self.label_hint if key == 'gt_seg_map' else
                "RandomResize and RandomChoiceResize need resize_type='mmseg.Resize', and other "
                "transforms have to move all that is listed in results['seg_fields']")
        height, width = label_map.shape[:2]
        raise ValueError(f'{type(self).__name__}: {key} has {height}x{width} pixels, but the image '
                         f'{size[0]}x{size[1]}: {hint}.')
