from abc import abstractmethod
from typing import Dict, Union

import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness

from mmseg_ext.ops import RegionSet
from mmseg_ext.ops.hierarchical_regions import COLOUR_SPACES

from ..numbered_map import NumberedMap, skip_no_number


class RegionSource(BaseTransform):
    """Base of ``GenerateRegions`` and ``LoadRegions``; arguments and keys as described there."""

    def __init__(self,
                 colour_space: str = 'rgb',
                 scale: float = 100.,
                 sigma: float = 0.8,
                 min_size: int = 100,
                 overlapping: bool = True) -> None:
        if colour_space not in (*COLOUR_SPACES, 'random'):
            raise ValueError(f"colour_space must be one of {COLOUR_SPACES} or 'random', got "
                             f'{colour_space!r}.')
        for name, value in (('scale', scale), ('sigma', sigma), ('min_size', min_size)):
            if not value >= 0:
                raise ValueError(f'{name} must not be negative, got {value}.')
        self.colour_space = colour_space
        self.scale = scale
        self.sigma = sigma
        self.min_size = min_size
        self.overlapping = overlapping

    @property
    def settings(self) -> Dict[str, Union[float, int]]:
        """What ``hierarchical_regions`` is called with, beside the colour space."""
        return dict(scale=float(self.scale), sigma=float(self.sigma), min_size=int(self.min_size))

    @abstractmethod
    def find_regions(self, results: dict, colour_space: str) -> RegionSet:
        """Give the regions of the image at its present size, cells numbered from 0."""

    def transform(self, results: dict) -> dict:
        """Put the regions of the image into the results.

        Args:
            results (dict): Results of the pipeline so far.

        Returns:
            dict: The same with ``region_cells``, which is in ``seg_fields``, and ``region_index``.
        """
        regions = self.find_regions(results, self._choose_colour_space())
        if not self.overlapping:  # each cell is a region
            edges = np.arange(regions.num_cells + 1)
            regions = RegionSet(regions.cells, edges, edges[:-1])
        results['region_cells'] = skip_no_number(regions.cells).view(NumberedMap)
        results['region_index'] = regions.indptr, skip_no_number(regions.indices)
        # to tell later whether the image was resized since
        results['region_scale_factor'] = results.get('scale_factor')
        fields = results.setdefault('seg_fields', [])
        if 'region_cells' not in fields:
            fields.append('region_cells')
        return results

    @cache_randomness
    def _choose_colour_space(self) -> str:
        if self.colour_space == 'random':
            return COLOUR_SPACES[np.random.randint(len(COLOUR_SPACES))]
        return self.colour_space

    def __repr__(self) -> str:
        arguments = ', '.join(f'{name}={value!r}' for name, value in vars(self).items()
                              if not name.startswith('_'))
        return f'{type(self).__name__}({arguments})'
