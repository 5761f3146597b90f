from types import SimpleNamespace

import cv2
import pytest
import torch
from mmseg.registry import DATASETS, MODELS
from mmseg.visualization import SegLocalVisualizer

from mmseg_ext.engine import InstanceVisualizationHook
from mmseg_ext.models.segmentors.pixel_box_instance_segmentor import moved_scores

THINGS = (6, 7, 8)
MODEL = dict(
    type='PixelBoxInstanceSegmentor',
    min_size=4,
    localization=dict(
        type='EncoderDecoder',
        data_preprocessor=dict(type='SegDataPreProcessor', size=(48, 64)),
        backbone=dict(type='VGG', depth=11, base_channels=2, out_indices=(2, )),
        decode_head=dict(
            type='LocalizationHead', in_channels=8, in_index=0, num_classes=12,
            kernel_size=3, dilation=1, background=[c for c in range(12) if c not in THINGS])))


@pytest.fixture
def run_hook(tmp_path, request):
    """Test a model on batches of one scene; returns the pictures and the last result."""
    name = f'visualizer_instances_{request.node.name}'
    SegLocalVisualizer.get_instance(
        name, vis_backends=[dict(type='LocalVisBackend')], save_dir=str(tmp_path))

    def run(batches=1, mode='test', flip=False, **kwargs):
        hook = InstanceVisualizationHook(**kwargs)
        hook._visualizer.dataset_meta = dict(classes=[f'class {c}' for c in range(12)])
        dataset = DATASETS.build(dict(type='ScenesDataset', num_images=1, size=(48, 64), pipeline=[
            dict(type='RandomFlip', prob=float(flip)), dict(type='PackInstanceInputs')]))
        torch.manual_seed(0)
        model = MODELS.build(MODEL).eval()
        runner = SimpleNamespace(model=model, iter=0)
        hook.before_run(runner)
        for i in range(batches):
            item = dataset[0]
            batch = dict(inputs=[item['inputs']], data_samples=[item['data_samples']])
            hook._before_iter(runner, i, batch, mode)
            with torch.no_grad():
                outputs = model.test_step(dict(batch))
            runner.iter = i
            hook._after_iter(runner, i, batch, outputs, mode)
            assert ('votes' in outputs[0]) == (mode != 'train' and kwargs.get('draw', False)
                                               and i % hook.interval == 0)
        return sorted(tmp_path.rglob('*.png')), item['inputs']

    return run


@pytest.mark.parametrize('flip', [False, True])
def test_a_picture_shows_the_image_as_it_was_before_a_flip(run_hook, flip):
    (path, ), image = run_hook(draw=True, interval=1, flip=flip)
    assert path.name == 'test_instances_seed0_000000_0.png'
    image = image.flip(2) if flip else image
    drawn = cv2.imread(str(path))[18:18 + 360:15, :480:15]
    expected = image[:, ::2, ::2].permute(1, 2, 0).numpy()
    assert abs(drawn.astype(int) - expected).mean() < 1


@pytest.mark.parametrize('kwargs, count', [
    (dict(draw=True, interval=2), 2),
    (dict(draw=False, interval=1), 0),
    (dict(draw=True, interval=1, mode='train'), 0),
])
def test_how_often_it_draws(run_hook, kwargs, count):
    assert len(run_hook(batches=3, **kwargs)[0]) == count


def test_another_model_is_refused():
    with pytest.raises(ValueError, match='needs a PixelBoxInstanceSegmentor, got Linear'):
        InstanceVisualizationHook().before_run(SimpleNamespace(model=torch.nn.Linear(1, 1)))


def test_scores_are_moved_to_the_centres_of_their_boxes():
    classes = torch.tensor([[1, 1, 0, 2]])
    scores = torch.tensor([[.5, .25, .9, .75]])
    boxes = {1: torch.tensor([[2., 0, 4, 1]]).T.view(4, 1, 1).expand(4, 1, 4),
             2: torch.tensor([[7., 0, 9, 1]]).T.view(4, 1, 1).expand(4, 1, 4)}
    assert moved_scores(classes, scores, boxes.__getitem__, (1, 2)).tolist() == [[0, 0, 0, .75]]
