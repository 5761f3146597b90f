"""Street scenes that are drawn from a seed: a data set without files."""
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np
from mmcv.transforms import LoadAnnotations, LoadImageFromFile
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from .numbered_map import NumberedMap
from .scenes import CLASSES, PALETTE, THING_CLASSES, draw_scene
from .scenes.classes import IGNORED
from .scenes.draw_scene import check_number, check_size


@DATASETS.register_module()
class ScenesDataset(BaseSegDataset):
    """Street scenes with labels and instances, drawn when they are asked for; nothing is read.

    Twelve classes: three of countable objects that cover each other (car, pedestrian, cyclist),
    thin ones (pole, lane marking), rare ones (sign, traffic light) and textured surfaces under
    changing light. About 1.5 % of the pixels are unlabelled (255): wires, what is too far away to
    tell, in some scenes the outlines of cars and the camera's own bonnet.

    A scene follows from `seed` and its index alone, in any process and order, and the global random
    states are neither read nor changed. By convention `seed=0` is for training and `seed=1` for
    validation: different seeds share no scene. The set lets every pipeline run anywhere; results
    on it say nothing about photographs.

    A pipeline starts with the picture already there, so it has no `LoadImageFromFile` and no
    `LoadAnnotations`:

    Required Keys of its first transform, all of them given:

    - img (np.ndarray): (H, W, 3) uint8, BGR
    - img_shape, ori_shape (tuple[int, int]): (H, W)
    - img_path (str): a name such as 'scenes/seed0_000012.png'; there is no such file
    - gt_seg_map (np.ndarray): (H, W) uint8 class indices, `ignore_index` where unlabelled
    - gt_instance_map (np.ndarray): (H, W) uint8; 0 no object, 1 ... n the objects, far ones first,
      255 unlabelled pixels of objects
    - seg_fields (list[str]): both maps, so that mmseg's transforms move them together
    - label_map, reduce_zero_label, sample_idx: as in any mmseg data set

    `get_data_info` draws nothing: it returns these keys without the three arrays, the shapes and
    `seg_fields`, and in `scene` the two numbers that `draw_scene` takes.

    Args:
        num_images (int): Number of scenes. Defaults to 500.
        size (tuple[int, int]): Height and width of the scenes in pixels, at least 16. A test
            pipeline needs no `Resize`: ask for the size here. Defaults to (256, 256).
        seed (int): Number of the street set, 0 ... 2**32 - 1. Defaults to 0.
        metainfo (dict, optional): With `classes`, the classes to keep: pixels of the others become
            unlabelled, and so do their objects. Defaults to None, all classes.
        ignore_index (int): Value of unlabelled pixels in `gt_seg_map`. Defaults to 255.
        reduce_zero_label (bool): Make class 0 unlabelled and lower the others by one, as mmseg
            does. Defaults to False.
        pipeline (list): Transforms. Defaults to ().
        indices (int | Sequence[int], optional): Scenes to keep: the first few, or the ones listed.
            Defaults to None, all.
        serialize_data (bool): Passed to mmengine's `BaseDataset`. Defaults to True.
        test_mode (bool): Passed to `BaseDataset`. Defaults to False.
        lazy_init (bool): Passed to `BaseDataset`. Defaults to False.
        max_refetch (int): Passed to `BaseDataset`. Defaults to 1000.

    Raises:
        ValueError: If `num_images`, `size` or `seed` is out of range, or the pipeline loads files.

    Examples:
        >>> dataset = ScenesDataset(num_images=10, size=(120, 160), seed=1)
        >>> sample = dataset[3]
        >>> sample['img'].shape, sample['gt_seg_map'].shape, sample['gt_instance_map'].shape
        ((120, 160, 3), (120, 160), (120, 160))
    """

    METAINFO = dict(classes=CLASSES, palette=[list(colour) for colour in PALETTE],
                    thing_classes=THING_CLASSES)

    def __init__(self,
                 num_images: int = 500,
                 size: Tuple[int, int] = (256, 256),
                 seed: int = 0,
                 metainfo: Optional[dict] = None,
                 ignore_index: int = 255,
                 reduce_zero_label: bool = False,
                 pipeline: Sequence[Union[dict, Callable]] = (),
                 indices: Optional[Union[int, Sequence[int]]] = None,
                 serialize_data: bool = True,
                 test_mode: bool = False,
                 lazy_init: bool = False,
                 max_refetch: int = 1000) -> None:
        if not isinstance(num_images, int) or num_images < 1:
            raise ValueError(
                f'num_images must be an integer of at least 1, but {num_images!r} was given.')
        check_size(size)
        check_number('seed', seed)
        self.num_images = num_images
        self.size = tuple(size)
        self.seed = seed
        super().__init__(
            metainfo=metainfo,
            ignore_index=ignore_index,
            reduce_zero_label=reduce_zero_label,
            pipeline=list(pipeline),
            indices=indices,
            serialize_data=serialize_data,
            test_mode=test_mode,
            lazy_init=lazy_init,
            max_refetch=max_refetch)
        loaders = [
            type(transform).__name__ for transform in self.pipeline.transforms
            if isinstance(transform, (LoadImageFromFile, LoadAnnotations))
        ]
        if loaders:
            raise ValueError(
                f'ScenesDataset draws its pictures and has no files to load, but its pipeline has '
                f'{" and ".join(loaders)}: drop it from the pipeline.')

    def load_data_list(self) -> List[Dict[str, Any]]:
        """List the scenes.

        Returns:
            list[dict]: Name and numbers of each scene.
        """
        return [
            dict(
                img_path=f'scenes/seed{self.seed}_{index:06d}.png',
                scene=(self.seed, index),
                label_map=self.label_map,
                reduce_zero_label=self.reduce_zero_label,
                seg_fields=[]) for index in range(self.num_images)
        ]

    def prepare_data(self, idx: int) -> Any:
        """Draw a scene and send it through the pipeline.

        Args:
            idx (int): Position in the data set.

        Returns:
            Any: What the pipeline makes of the scene.
        """
        results = self.get_data_info(idx)
        image, labels, instances = draw_scene(*results['scene'], size=self.size)
        labels = self._relabel()[labels]
        instances[(instances > 0) & (labels == IGNORED)] = IGNORED
        labels[labels == IGNORED] = self.ignore_index
        results.update(
            img=image,
            img_shape=image.shape[:2],
            ori_shape=image.shape[:2],
            gt_seg_map=labels,
            gt_instance_map=instances.view(NumberedMap),
            seg_fields=['gt_seg_map', 'gt_instance_map'])
        return self.pipeline(results)

    def _relabel(self) -> np.ndarray:
        """The (256,) table from drawn labels to those of this data set, 255 where unlabelled."""
        table = np.full(256, IGNORED, dtype=np.uint8)
        table[:len(CLASSES)] = np.arange(len(CLASSES))
        for old, new in (self.label_map or {}).items():
            table[old] = new
        if self.reduce_zero_label:
            # In uint8, class 0 wraps around to 255; 255 itself stays.
            table[table != IGNORED] -= 1
        return table
