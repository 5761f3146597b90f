"""Validation and test: statistics over a data set, pictures; and a run with both."""
import json

import cv2
import pytest
import torch
from hard_pixel_runs import (
    CLASSES,
    NUMBERS,
    OWN,
    PALETTE,
    brute_force,
    collate,
    make_model,
    make_sample,
    scalar,
    table_rows,
    train,
)
from mmengine.model import BaseTTAModel
from mmengine.runner import Runner
from mmseg.structures import SegDataSample
from torch.utils.data import DataLoader, Dataset


def validate(hook, runner, num_images=3, mode='val', size=(32, 48)):
    """Validate; gives the outputs of the model."""
    outputs = []
    getattr(hook, f'before_{mode}_epoch')(runner)
    for i in range(num_images):
        batch = collate([make_sample(i, size)])
        outputs += runner.model.test_step(batch)
        getattr(hook, f'after_{mode}_iter')(runner, i, batch, outputs[-1:])
    getattr(hook, f'after_{mode}_epoch')(runner)
    return outputs


@pytest.mark.parametrize('mode', ['val', 'test'])
def test_statistics_over_a_data_set_equal_a_count_by_hand(make_hook, mode):
    hook, runner = make_hook(make_model(dict(OWN, thresh=0.2)))
    outputs = validate(hook, runner, mode=mode)
    images = [brute_force(sample.seg_logits.data[None], sample.gt_sem_seg.data, 20, 0.2)
              for sample in outputs]
    num_kept, num_valid = (sum(len(image[i]) for image in images) for i in (0, 1))
    assert scalar(runner, f'{mode}/kept_fraction') == pytest.approx(num_kept / num_valid)
    thresholds = [max(kept[-1][0], 0.2) for kept, _ in images]
    assert scalar(runner, f'{mode}/kept_threshold') == pytest.approx(
        sum(thresholds) / 3, rel=1e-4)
    assert float(table_rows(runner)[0][2]) == pytest.approx(
        100 * sum([y for _, y in kept].count(0) for kept, _ in images) / num_kept, abs=0.01)


@pytest.mark.parametrize('kwargs, drawn', [
    (dict(interval=2), [0, 2]),
    (dict(interval=5), [0]),
    (dict(draw=False), []),
])
def test_how_often_it_draws(make_hook, tmp_path, kwargs, drawn):
    validate(*make_hook(make_model(), **kwargs))
    names = {f'val_hard_pixels_file_{i}_0.png' for i in drawn}
    if drawn:
        names.add('val_hard_pixels_classes_0.png')
    assert {path.name for path in tmp_path.rglob('*.png')} == names


def test_the_picture_is_of_the_image_in_the_batch(make_hook, tmp_path):
    hook, runner = make_hook(make_model())
    batch = collate([make_sample(0)])
    batch['inputs'][0][:] = torch.tensor([255, 0, 0])[:, None, None]  # blue: inputs are BGR
    hook.before_val_epoch(runner)
    hook.after_val_iter(runner, 0, batch, runner.model.test_step(batch))
    (path, ) = tmp_path.rglob('*.png')
    assert cv2.imread(str(path))[100, 100].tolist() == [255, 0, 0]


def test_min_kept_of_a_batch_is_a_share_of_an_image(make_hook):
    hook, runner = make_hook(make_model())
    train(hook, runner, batch_size=4)
    validate(hook, runner, size=(64, 96))  # as many pixels as the batch
    assert scalar(runner, 'val/kept_fraction') == pytest.approx(20 / (59 * 96))


def test_points_of_the_label_grid_are_a_share_too(make_hook):
    hook, runner = make_hook(make_model(dict(OWN, min_kept=6, per_image=True), label_stride=8))
    train(hook, runner)  # 6 of 4 x 6 points
    validate(hook, runner)
    assert scalar(runner, 'val/kept_fraction') == pytest.approx(32 * 48 / 4 / (27 * 48))


def test_the_share_travels_in_checkpoints(make_hook):
    hook, runner = make_hook(make_model())
    train(hook, runner, batch_size=4)
    checkpoint = dict(message_hub=runner.message_hub.state_dict())

    hook, runner = make_hook(make_model())
    hook.after_load_checkpoint(runner, checkpoint)
    validate(hook, runner, size=(64, 96), mode='test')
    assert scalar(runner, 'test/kept_fraction') == pytest.approx(20 / (59 * 96))


def test_without_a_known_batch_min_kept_counts_in_an_image_and_the_log_says_so(make_hook):
    hook, runner = make_hook(make_model())
    hook.after_load_checkpoint(runner, dict(state_dict={}))
    validate(hook, runner)
    assert scalar(runner, 'val/kept_fraction') == pytest.approx(20 / (27 * 48))
    assert 'min_kept, 20, counts in each image' in runner.logger[0]


def test_images_without_a_truth_are_passed_over(make_hook, tmp_path):
    hook, runner = make_hook(make_model())
    batch = collate([make_sample(0)])
    del batch['data_samples'][0].gt_sem_seg
    hook.before_test_epoch(runner)
    hook.after_test_iter(runner, 0, batch, runner.model.test_step(batch))
    hook.after_test_epoch(runner)
    assert 'no pixel has a label' in runner.logger[-1]
    assert not list(tmp_path.rglob('*.png'))


def test_test_time_augmentation_is_left_alone_and_the_log_says_so(make_hook, tmp_path):

    class TTA(BaseTTAModel):

        def merge_preds(self, data_samples_list):
            return data_samples_list

    hook, runner = make_hook(TTA(module=make_model()))
    hook.before_test_epoch(runner)
    hook.after_test_iter(runner, 0, dict(inputs=[[torch.zeros(3, 8, 8)]]), [SegDataSample()])
    hook.after_test_epoch(runner)
    assert len(runner.logger) == 1 and 'augmentation' in runner.logger[0]
    assert not list(tmp_path.rglob('*.png'))


class Samples(Dataset):
    METAINFO = dict(classes=CLASSES, palette=PALETTE)
    metainfo = METAINFO

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return make_sample(index)


def test_a_run_writes_pictures_and_scalars_and_a_test_goes_on_from_its_checkpoint(tmp_path):
    loader = DataLoader(Samples(), batch_size=2, collate_fn=collate)
    evaluation = dict(dataloader=DataLoader(Samples(), batch_size=1, collate_fn=collate),
                      cfg={}, evaluator=dict(type='IoUMetric', iou_metrics=['mIoU']))

    def make_runner(**kwargs):
        hook = dict(type='HardPixelVisualizationHook', interval=3, log_interval=2)
        return Runner(make_model(dict(OWN, thresh=0.01)), str(tmp_path),
                      custom_hooks=[hook], default_scope='mmseg',
                      default_hooks=dict(
                          logger=dict(type='LoggerHook', interval=2),
                          checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2)),
                      visualizer=dict(type='SegLocalVisualizer', name=f'v{next(NUMBERS)}',
                                      vis_backends=[dict(type='LocalVisBackend')]),
                      experiment_name=f'hard_pixels_{next(NUMBERS)}', **kwargs)

    runner = make_runner(
        train_dataloader=loader, train_cfg=dict(by_epoch=False, max_iters=2, val_interval=2),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
        **{f'val_{name}': value for name, value in evaluation.items()})
    runner.train()
    names = {path.name for path in tmp_path.rglob('*.png')}
    assert names == {f'val_hard_pixels_{name}_2.png' for name in ('file_0', 'file_3', 'classes')}
    lines = [json.loads(line) for line in next(tmp_path.rglob('scalars.json')).open()]
    for name in ('kept_fraction', 'kept_threshold'):
        assert sum(name in line for line in lines) == 2  # of training, of validation
    validated = scalar(runner, 'val/kept_fraction')
    assert validated == pytest.approx(10 / (27 * 48))  # 20 of a batch of two images

    runner = make_runner(load_from=str(tmp_path / 'iter_2.pth'),
                         train_dataloader=dict(), train_cfg=dict(by_epoch=False, max_iters=2),
                         optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
                         **{f'test_{name}': value for name, value in evaluation.items()})
    runner.test()  # the training data are not looked for
    assert scalar(runner, 'test/kept_fraction') == validated
    assert any(path.name == 'test_hard_pixels_file_0_0.png' for path in tmp_path.rglob('*.png'))
