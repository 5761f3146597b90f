from types import SimpleNamespace

import cv2
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from mmseg.visualization import SegLocalVisualizer

from mmseg_ext.engine import StageVisualizationHook

PALETTE = [[200, 0, 0], [0, 200, 0]]


@pytest.fixture
def run_hook(tmp_path, request):
    """Run the hook on batches of one image; returns the pictures that it wrote."""
    name = f'visualizer_{request.node.name}'
    SegLocalVisualizer.get_instance(
        name, vis_backends=[dict(type='LocalVisBackend')], save_dir=str(tmp_path))

    def run(batches=1, mode='test', **kwargs):
        hook = StageVisualizationHook(**kwargs)
        hook._visualizer.dataset_meta = dict(classes=('a', 'b'), palette=PALETTE)
        image = torch.zeros(3, 20, 30, dtype=torch.uint8)
        image[0] = 255  # blue: the channels of an input are BGR
        sample = SegDataSample(metainfo=dict(ori_shape=(40, 60), img_path='no/such/file.jpg'))
        sample.gt_sem_seg = PixelData(data=torch.ones(1, 40, 60, dtype=torch.long))
        sample.stage_sem_seg = PixelData(data=torch.zeros(2, 40, 60, dtype=torch.uint8))
        for i in range(batches):
            hook._after_iter(SimpleNamespace(iter=i), i, dict(inputs=[image]), [sample], mode)
        return sorted(tmp_path.rglob('*.png'))

    return run


def test_a_picture_shows_input_truth_and_stages(run_hook):
    (path, ) = run_hook(draw=True, interval=1)
    assert path.name == 'test_file_0.png' and path.parent.name == 'vis_image'
    row = cv2.imread(str(path))[100, :, ::-1]
    assert row[120].tolist() == [0, 0, 255]
    assert row[244 + 120].tolist() == PALETTE[1]
    assert row[2 * 244 + 120].tolist() == row[3 * 244 + 120].tolist() == PALETTE[0]


@pytest.mark.parametrize('kwargs, count', [
    (dict(draw=True, interval=2), 2),
    (dict(draw=False, interval=1), 0),
    (dict(draw=True, interval=1, mode='train'), 0),
])
def test_how_often_it_draws(run_hook, kwargs, count):
    assert len(run_hook(batches=4, **kwargs)) == count
