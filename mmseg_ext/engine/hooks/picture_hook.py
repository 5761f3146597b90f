from typing import Optional, Tuple

import cv2
import numpy as np
import torch.nn as nn
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import Runner
from mmseg.engine.hooks import SegVisualizationHook
from mmseg.structures import SegDataSample
from torch import Tensor


class PictureHook(SegVisualizationHook):
    """Base of the hooks that draw pictures of their own.

    Such a hook takes the place of mmseg's ``SegVisualizationHook`` in
    ``default_hooks.visualization`` and has its arguments, so
    ``tools/test.py CONFIG CHECKPOINT --show-dir DIR`` draws, into ``DIR/vis_data/vis_image``. The
    images are taken from the batch, not from disk, so data sets without files can be drawn.

    Args:
        draw (bool): Whether to draw at all.
        interval (int): Draw every this many.
        kwargs: Other arguments of mmseg's ``SegVisualizationHook``.

    Raises:
        ValueError: If ``interval`` is not at least 1.
    """

    def __init__(self, draw: bool = False, interval: int = 50, **kwargs) -> None:
        if interval < 1:
            raise ValueError(f'{type(self).__name__} interval must be at least 1, got {interval}.')
        super().__init__(draw=draw, interval=interval, **kwargs)

    def find_segmentor(self, runner: Runner) -> Tuple[nn.Module, bool]:
        """Give the model without wrappers, and whether one of these is test-time augmentation."""
        model, is_augmented = runner.model, False
        while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
            is_augmented |= isinstance(model, BaseTTAModel)
            model = model.module
        return model, is_augmented

    def add_picture(self, runner: Runner, title: str, picture: np.ndarray,
                    sample: SegDataSample) -> None:
        """Store a picture of an image, (H, W, 3) uint8 RGB, and show it if that is asked for.

        The name of its file is ``title``, the name of the image and the iteration.
        """
        name = sample.img_path.replace('\\', '/').rpartition('/')[2].rpartition('.')[0]
        self.add_titled(runner, f'{title}_{name}', picture)

    def add_titled(self, runner: Runner, title: str, picture: np.ndarray) -> None:
        """Store a picture under its title alone, otherwise as ``add_picture``."""
        # In a test the training loop is a config; runner.iter would build it, with its data set.
        has_loop = not isinstance(getattr(runner, '_train_loop', runner), (dict, type(None)))
        step = runner.iter if has_loop else 0
        self._visualizer.add_image(title, picture, step=step)
        if self.show:
            self._visualizer.show(picture, win_name=title, wait_time=self.wait_time)


def to_rgb(image: Tensor, size: Tuple[int, int]) -> np.ndarray:
    """Turn an image of a batch, (3, H, W) uint8 BGR, into one to draw on: (*size, 3) uint8 RGB."""
    image = np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy())
    return cv2.resize(image, size[::-1])[..., ::-1]


def truth_of(sample: SegDataSample) -> Optional[np.ndarray]:
    """The label map of an image, (H, W), or None where it has none."""
    return sample.gt_sem_seg.data[0].cpu().numpy() if 'gt_sem_seg' in sample else None
