from types import SimpleNamespace

import pytest
from hard_pixel_runs import CLASSES, NUMBERS, PALETTE
from mmengine.logging import MessageHub
from mmseg.visualization import SegLocalVisualizer

from mmseg_ext.engine import HardPixelVisualizationHook


class Log(list):
    """Keeps the messages of a logger."""
    info = warning = list.append


@pytest.fixture
def make_hook(tmp_path):
    """A hook and the parts of a runner that it uses."""

    def make(model, **kwargs):
        name = f'hard_pixels_{next(NUMBERS)}'
        visualizer = SegLocalVisualizer.get_instance(
            name, vis_backends=[dict(type='LocalVisBackend')], save_dir=str(tmp_path))
        visualizer.dataset_meta = dict(classes=CLASSES, palette=PALETTE)
        runner = SimpleNamespace(model=model, iter=0, message_hub=MessageHub.get_instance(name),
                                 logger=Log(), _train_loop=None)
        hook = HardPixelVisualizationHook(**kwargs)
        hook.before_run(runner)
        return hook, runner

    return make
