import itertools
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.model import BaseTTAModel, MMDistributedDataParallel
from mmengine.runner import Runner
from mmseg.registry import DATASETS, MODELS
from mmseg.visualization import SegLocalVisualizer
from torch import nn
from torch.utils.data import DataLoader

import mmseg_ext.datasets  # noqa: F401  (registers the data set and its transforms)
from mmseg_ext.engine import RegionVisualizationHook
from mmseg_ext.engine.hooks import region_visualization_hook

NUMBERS = itertools.count()


class Mean(nn.Module):
    """A backbone without weights: the mean colour of cells of 8x8 pixels."""

    def forward(self, inputs):
        return [nn.functional.avg_pool2d(inputs, 8, ceil_mode=True)]


def make_model(**head):
    torch.manual_seed(0)
    model = MODELS.build(ConfigDict(
        type='EncoderDecoder', backbone=dict(type=Mean), test_cfg=dict(mode='whole'),
        decode_head=dict(
            dict(type='RegionHead', in_channels=3, in_index=0, channels=8, num_classes=12, stride=8,
                 roi_layer=dict(type='FreeFormRoIPool', output_size=2),
                 init_cfg=dict(type='Normal', layer='Linear', std=1.)), **head),
        data_preprocessor=dict(type='SegDataPreProcessor', size_divisor=1, mean=[120.] * 3,
                               std=[60.] * 3)))
    model.init_weights()
    return model.eval()


def make_dataset(*transforms, size=(32, 96), num_images=4):
    regions = dict(type='GenerateRegions', scale=20, min_size=20)
    return DATASETS.build(dict(type='ScenesDataset', num_images=num_images, size=size,
                               serialize_data=False,  # which would collect garbage each time
                               pipeline=[regions, *transforms, dict(type='PackRegionInputs')]))


@pytest.fixture
def make_hook(tmp_path):
    """A hook and the parts of a runner that it uses."""

    def make(model, **kwargs):
        visualizer = SegLocalVisualizer.get_instance(
            f'regions_{next(NUMBERS)}', vis_backends=[dict(type='LocalVisBackend')],
            save_dir=str(tmp_path))
        visualizer.dataset_meta = make_dataset().metainfo
        hook = RegionVisualizationHook(**dict(dict(draw=True, interval=1), **kwargs))
        messages = []
        runner = SimpleNamespace(model=model, iter=7, _train_loop=None,
                                 logger=SimpleNamespace(warning=messages.append))
        hook.before_run(runner)
        return hook, runner, messages

    return make


def validate(hook, runner, dataset, batch_size=1, mode='val'):
    """Validate; gives the outputs of the model, and how many hooks the head had in each batch."""
    outputs, num_hooks = [], []
    model = getattr(runner.model, 'module', runner.model)
    getattr(hook, f'before_{mode}_epoch')(runner)
    for i, batch in enumerate(DataLoader(dataset, batch_size, collate_fn=pseudo_collate)):
        getattr(hook, f'before_{mode}_iter')(runner, i, batch)
        num_hooks.append(len(model.decode_head._forward_hooks))
        with torch.no_grad():
            samples = runner.model.test_step(batch)
        getattr(hook, f'after_{mode}_iter')(runner, i, batch, samples)
        outputs += samples
        assert not model.decode_head._forward_hooks
    getattr(hook, f'after_{mode}_epoch')(runner)
    return outputs, num_hooks


@pytest.fixture
def drawn(monkeypatch):
    """What the hook calls ``draw_winners`` with, and what ``winning_regions``."""
    calls = []

    def keep_scores(scores, regions, prediction):
        calls.append(dict(scores=scores, prediction=prediction))
        return winning_regions(scores, regions, prediction)

    def keep(image, prediction, winners, regions, palette, **kwargs):
        calls[-1].update(image=image, winners=winners, regions=regions, **kwargs)
        return draw_winners(image, prediction, winners, regions, palette, **kwargs)

    winning_regions = region_visualization_hook.winning_regions
    draw_winners = region_visualization_hook.draw_winners
    monkeypatch.setattr(region_visualization_hook, 'winning_regions', keep_scores)
    monkeypatch.setattr(region_visualization_hook, 'draw_winners', keep)
    return calls


@pytest.mark.parametrize('head', [dict(), dict(softmax_first=True), dict(features='tied')])
def test_the_score_of_the_winner_is_the_score_of_the_pixel(make_hook, drawn, head):
    """The order of the images in a batch, of their regions and of the axes: all is in here."""
    hook, runner, _ = make_hook(make_model(**head))
    outputs, _ = validate(hook, runner, make_dataset(), batch_size=2)
    assert len(drawn) == len(outputs) == 4
    for call, sample in zip(drawn, outputs):
        winners, prediction = call['winners'], sample.pred_sem_seg.data[0].numpy()
        expected = sample.seg_logits.data.max(dim=0).values.numpy()
        np.testing.assert_allclose(call['scores'][winners, prediction], expected, rtol=1e-5)
        assert len(np.unique(winners)) > 1


def test_with_decay_the_winner_has_the_highest_score_all_the_same(make_hook, drawn):
    hook, runner, _ = make_hook(make_model(decay=0.5))
    validate(hook, runner, make_dataset())
    for call in drawn:
        cells, indptr, indices = (part.numpy() for part in call['regions'])
        winner, label = call['winners'][30, 40], call['prediction'][30, 40]
        contain = [r for r in range(len(indptr) - 1)
                   if cells[30, 40] in indices[indptr[r]:indptr[r + 1]]]
        assert winner in contain
        assert call['scores'][winner, label] == call['scores'][contain, label].max()


def test_image_and_truth_are_those_of_the_batch(make_hook, drawn):
    dataset = make_dataset(num_images=2)
    hook, runner, _ = make_hook(make_model())
    validate(hook, runner, dataset)
    for call, item in zip(drawn, dataset):
        rgb = item['inputs'].numpy()[::-1].transpose(1, 2, 0)  # inputs are BGR
        np.testing.assert_array_equal(call['image'], rgb)
        np.testing.assert_array_equal(call['truth'], item['data_samples'].gt_sem_seg.data[0])


@pytest.mark.parametrize('direction', ['horizontal', 'vertical'])
def test_images_that_are_tested_flipped_are_drawn_as_they_were(make_hook, drawn, direction):
    hook, runner, _ = make_hook(make_model())
    flip = dict(type='RandomFlip', prob=1., direction=direction)
    outputs, _ = validate(hook, runner, make_dataset(flip, num_images=1))
    (call, ), (item, ) = drawn, make_dataset(num_images=1)
    np.testing.assert_array_equal(call['image'][..., ::-1], item['inputs'].permute(1, 2, 0))
    # regions of the flipped image, found before it was flipped, on the image as it was
    np.testing.assert_array_equal(call['regions'].cells, item['data_samples'].regions.cells)
    scores = call['scores'][call['winners'], outputs[0].pred_sem_seg.data[0].numpy()]
    np.testing.assert_allclose(scores, outputs[0].seg_logits.data.amax(dim=0), rtol=1e-5)


def test_images_that_are_tested_at_another_size_are_drawn_at_their_own(make_hook, drawn):
    hook, runner, _ = make_hook(make_model())
    resize = dict(type='Resize', scale=(60, 20), keep_ratio=True)
    validate(hook, runner, make_dataset(resize, num_images=1))
    (call, ) = drawn
    assert call['image'].shape == (32, 96, 3) and call['winners'].shape == (32, 96)
    assert tuple(call['regions'].cells.shape) == (20, 60)


@pytest.mark.parametrize('kwargs, batch_size, images, num_hooks', [
    (dict(interval=3), 1, [0, 3], [1, 0, 0, 1]),
    (dict(interval=3), 2, [0, 3], [1, 1]),
    (dict(interval=10), 2, [0], [1, 0]),
    (dict(draw=False), 1, [], [0, 0, 0, 0]),
])
def test_how_often_it_draws_and_listens_to_the_head(make_hook, tmp_path, kwargs, batch_size, images,
                                                    num_hooks):
    hook, runner, _ = make_hook(make_model(), **kwargs)
    for mode in ('val', 'test'):  # counted anew each time
        assert validate(hook, runner, make_dataset(), batch_size, mode)[1] == num_hooks
    assert {path.name for path in tmp_path.rglob('*.png')} == {
        f'{mode}_regions_seed0_{i:06d}_0.png' for mode in ('val', 'test') for i in images}


def test_images_without_a_truth_are_drawn(make_hook, drawn):
    hook, runner, _ = make_hook(make_model())
    items = list(make_dataset(num_images=1))
    del items[0]['data_samples'].gt_sem_seg
    validate(hook, runner, items)
    assert drawn[0]['truth'] is None


@pytest.mark.parametrize('model', [nn.Linear(1, 1), SimpleNamespace(decode_head=nn.Linear(1, 1))])
def test_another_head_is_named(make_hook, model):
    with pytest.raises(ValueError, match='needs a model with a RegionHead as decode_head, got .* '
                       'with (NoneType|Linear): for other heads take SegVisualizationHook'):
        make_hook(model)


def test_an_interval_below_one_is_refused(make_hook):
    with pytest.raises(ValueError, match='interval must be at least 1, got 0'):
        make_hook(make_model(), interval=0)


def test_the_head_is_found_below_a_wrapper(make_hook, tmp_path):
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    try:
        hook, runner, _ = make_hook(MMDistributedDataParallel(make_model()))
        validate(hook, runner, make_dataset(num_images=1))
    finally:
        torch.distributed.destroy_process_group()
    assert len(list(tmp_path.rglob('*.png'))) == 1


def test_test_time_augmentation_is_left_alone_and_the_log_says_so(make_hook, tmp_path):

    class TTA(BaseTTAModel):

        def merge_preds(self, data_samples_list):
            return [samples[0] for samples in data_samples_list]

    hook, runner, messages = make_hook(TTA(module=make_model()))
    views = [dict(inputs=[item['inputs']] * 2, data_samples=[item['data_samples']] * 2)
             for item in make_dataset(num_images=1)]
    _, num_hooks = validate(hook, runner, views)
    assert num_hooks == [0] and not list(tmp_path.rglob('*.png'))
    assert len(messages) == 1 and 'nothing with test-time augmentation' in messages[0]


def test_a_head_that_was_not_called_is_said(make_hook, tmp_path):
    hook, runner, messages = make_hook(make_model())
    batch = pseudo_collate(list(make_dataset(num_images=1)))
    hook.before_val_epoch(runner)
    hook.before_val_iter(runner, 0, batch)
    hook.after_val_iter(runner, 0, batch, batch['data_samples'])
    assert len(messages) == 1 and 'nothing to draw' in messages[0]
    assert not runner.model.decode_head._forward_hooks and not list(tmp_path.rglob('*.png'))


def test_a_run_writes_pictures_where_the_visualizer_writes(tmp_path):
    dataset = make_dataset(num_images=3)
    runner = Runner(
        make_model(), str(tmp_path), default_scope='mmseg',
        test_dataloader=DataLoader(dataset, 1, collate_fn=pseudo_collate), test_cfg={},
        test_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU']),
        # a test does not look for the training data
        train_dataloader=dict(), train_cfg=dict(by_epoch=False, max_iters=2),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
        default_hooks=dict(
            visualization=dict(type='RegionVisualizationHook', draw=True, interval=2)),
        visualizer=dict(type='SegLocalVisualizer', name=f'v{next(NUMBERS)}',
                        vis_backends=[dict(type='LocalVisBackend')],
                        save_dir=str(tmp_path / 'shown')),
        experiment_name=f'regions_{next(NUMBERS)}')
    runner.test()
    names = ['test_regions_seed0_000000_0.png', 'test_regions_seed0_000002_0.png']
    paths = sorted(tmp_path.rglob('*.png'))
    assert [path.name for path in paths] == names
    assert all((tmp_path / 'shown') in path.parents for path in paths)
    assert cv2.imread(str(paths[0])) is not None
