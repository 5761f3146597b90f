from typing import Optional

import mmcv
import mmengine.fileio as fileio
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from ..numbered_map import NumberedMap


@TRANSFORMS.register_module()
class LoadInstanceAnnotations(BaseTransform):
    """Load the instance map of an image, right behind ``LoadAnnotations``.

    In a file 0 is no instance, 255 is ignored, and every other number is one instance, in parts
    that need not touch. Files of 8 bits hold 254 instances, those of 16 bits 65,534.

    In the pipeline the numbers stay as they are: 255 is no instance, as mmseg's ``RandomRotate``
    fills label maps with 255. ``Resize``, ``RandomFlip``, ``RandomCrop`` and ``RandomRotate`` of
    mmseg move the map as they move the labels. ``RandomResize`` and ``RandomChoiceResize`` need
    ``resize_type='mmseg.Resize'``, else they move ``gt_seg_map`` alone. ``RandomMosaic`` is not
    possible: instances of several images would have one number. ``PackInstanceInputs`` ends the
    pipeline.

    Required Keys:

    - instance_map_path (str), as ``PascalVOCInstanceDataset`` gives it
    - gt_seg_map (np.ndarray): (H, W)

    Added Keys:

    - gt_instance_map (np.ndarray): (H, W) int32
    - instance_scale_factor: what ``scale_factor`` was at this time

    Modified Keys:

    - seg_fields: with 'gt_instance_map'

    Args:
        imdecode_backend (str): Decoder of ``mmcv.imfrombytes``. Defaults to ``'pillow'``, which
            gives the numbers of a PNG with a palette.
        backend_args (dict, optional): Arguments of mmengine's file backend. Defaults to None.

    Raises:
        KeyError: If the labels were not loaded before, or the data set names no instance map.
        ValueError: If the file holds no numbers (H, W), or has another size than the labels.

    Note:
        An image that comes without a path of labels too, as in mmseg's inferencer, passes as it
        is.
    """

    def __init__(self,
                 imdecode_backend: str = 'pillow',
                 backend_args: Optional[dict] = None) -> None:
        self.imdecode_backend = imdecode_backend
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict:
        """Put the instances of the image into the results.

        Args:
            results (dict): Results of the pipeline so far.

        Returns:
            dict: The same with ``gt_instance_map``, which is in ``seg_fields``.
        """
        if 'seg_map_path' not in results and 'instance_map_path' not in results:
            return results
        if 'instance_map_path' not in results:
            raise KeyError(f"LoadInstanceAnnotations: the data set names no instance map of "
                           f"'{results.get('img_path')}' ('instance_map_path'); "
                           'PascalVOCInstanceDataset does.')
        if 'gt_seg_map' not in results:
            raise KeyError('LoadInstanceAnnotations needs the labels of the image: put it right '
                           'behind LoadAnnotations.')
        path = results['instance_map_path']
        data = fileio.get(path, backend_args=self.backend_args)
        instances = mmcv.imfrombytes(data, flag='unchanged', backend=self.imdecode_backend)
        if instances.ndim != 2 or instances.dtype.kind not in 'iu':
            raise ValueError(
                f"'{path}' holds an array of shape {instances.shape} and type {instances.dtype}, "
                'but an instance map holds one whole number per pixel, shape (H, W): a picture of '
                'colours must be converted first.')
        size, expected = instances.shape, results['gt_seg_map'].shape[:2]
        if size != expected:
            raise ValueError(
                f"'{path}' has {size[0]}x{size[1]} pixels, but the labels have {expected[0]}x"
                f"{expected[1]}: the file belongs to another image, or a transform comes between "
                'LoadAnnotations and LoadInstanceAnnotations.')
        results['gt_instance_map'] = instances.astype(np.int32).view(NumberedMap)
        # to tell later whether the image was resized since
        results['instance_scale_factor'] = results.get('scale_factor')
        results['seg_fields'].append('gt_instance_map')
        return results

    def __repr__(self) -> str:
        return (f"{type(self).__name__}(imdecode_backend='{self.imdecode_backend}', "
                f'backend_args={self.backend_args})')
