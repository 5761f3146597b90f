import numpy as np
import torch
from mmengine.structures import PixelData
from mmseg.registry import TRANSFORMS

from ..numbered_map import NO_NUMBER
from .pack_numbered_map import PackNumberedMap


@TRANSFORMS.register_module()
class PackInstanceInputs(PackNumberedMap):
    """Pack an image, its labels and its instances, which ``LoadInstanceAnnotations`` or
    ``ScenesDataset`` gave.

    As mmseg's ``PackSegInputs``, with ``gt_instances`` in the data sample, (1, H, W) int32: 0 where
    there is no instance, the instances from 1 on in the order of their numbers in the pipeline.
    Instances that have no pixel left are dropped. One that is in several parts stays one.

    Required Keys:

    - img
    - gt_seg_map, gt_instance_map, for images with ground truth
    - scale_factor, pad_shape, flip (optional), which tell why a map has another size

    Args:
        meta_keys (Sequence[str], optional): Keys to pack. Defaults to None: those of
            ``PackSegInputs``.

    Raises:
        ValueError: For an image, if a transform has moved it and not its instances or labels, with
            the transform's likely name, or if an instance has a negative number.
        KeyError: If the pipeline gives labels and no instances.

    Note:
        ``Pad`` leaves all maps but ``gt_seg_map`` as they were; instances are padded here, with
        none. For that ``Pad`` has to come after ``Resize`` and ``RandomFlip``. In tests, where
        mmseg loads labels after ``Resize``, labels and instances have the size of the original
        image. An image without labels is packed without ``gt_instances``.
    """

    map_key, scale_key, contents = 'gt_instance_map', 'instance_scale_factor', 'instances'
    label_hint = ('LoadAnnotations and LoadInstanceAnnotations come one behind the other, before '
                  'Resize or, in a test, after it')

    def transform(self, results: dict) -> dict:
        """Pack the results.

        Args:
            results (dict): Results of the pipeline.

        Returns:
            dict: ``inputs`` and ``data_samples``, as ``PackSegInputs`` returns them.
        """
        loaded = 'gt_instance_map' in results
        if 'gt_seg_map' in results and not loaded:
            raise KeyError('PackInstanceInputs: the pipeline gives no instances; it needs '
                           'LoadInstanceAnnotations right behind LoadAnnotations, or '
                           'ScenesDataset.')
        packed = super().transform(results)
        if loaded:
            instances = torch.from_numpy(number_instances(np.asarray(results['gt_instance_map'])))
            packed['data_samples'].gt_instances = PixelData(data=instances[None])
        return packed

    def _loaded_late(self, results: dict, key: str) -> bool:
        # both, or Resize has forgotten one of them
        return results['gt_instance_map'].shape == results['gt_seg_map'].shape


def number_instances(instances: np.ndarray) -> np.ndarray:
    """Number the instances of a pipeline's map (H, W) from 1 on, int32, with 0 for no instance."""
    if instances.min(initial=0) < 0:
        raise ValueError(f'PackInstanceInputs: gt_instance_map holds {instances.min()}, but '
                         'instances have numbers from 1 on.')
    present = np.bincount(instances.ravel(), minlength=NO_NUMBER + 1) > 0
    present[[0, NO_NUMBER]] = False
    return np.where(present, present.cumsum(), 0).astype(np.int32)[instances]
