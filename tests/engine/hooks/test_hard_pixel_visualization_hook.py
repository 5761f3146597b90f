import itertools
import json
from types import SimpleNamespace

import cv2
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import MessageHub
from mmengine.model import BaseTTAModel, MMDistributedDataParallel
from mmengine.runner import Runner
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from mmseg.visualization import SegLocalVisualizer
from torch import nn
from torch.utils.data import DataLoader, Dataset

from mmseg_ext.engine import HardPixelVisualizationHook
from mmseg_ext.engine.hard_pixel_statistics import true_class_probability

CLASSES, PALETTE = ('sky', 'car', 'pole'), [[200, 0, 0], [0, 200, 0], [0, 0, 200]]
CE = dict(type='CrossEntropyLoss')
OWN = dict(type='BootstrappedCrossEntropyLoss', min_kept=20)
NUMBERS = itertools.count()


class Cells(nn.Module):
    """A backbone without weights: the mean colour of cells of 8x8 pixels."""

    def forward(self, inputs):
        return [nn.functional.avg_pool2d(inputs.float(), 8)]


def make_model(loss_decode=OWN, sampler=None, label_stride=None):
    torch.manual_seed(0)
    head = dict(type='FCRNHead', in_channels=3, num_classes=3, kernel_size=1, dilation=1,
                init_cfg=dict(type='Normal', layer='Conv2d', std=1.), label_stride=label_stride,
                loss_decode=loss_decode, sampler=sampler)
    model = MODELS.build(ConfigDict(
        type='EncoderDecoder', backbone=dict(type=Cells), decode_head=head,
        test_cfg=dict(mode='whole'), data_preprocessor=dict(
            type='SegDataPreProcessor', size_divisor=1, mean=[0] * 3, std=[255] * 3)))
    model.init_weights()
    return model


def make_sample(seed, size=(32, 48)):
    generator = torch.Generator().manual_seed(seed)
    sample = SegDataSample(metainfo=dict(
        ori_shape=size, img_shape=size, pad_shape=size, img_path=f'no/such/file_{seed}.jpg'))
    labels = torch.randint(0, 3, (1, *size), generator=generator)
    labels[:, :5] = 255
    sample.gt_sem_seg = PixelData(data=labels)
    return dict(inputs=torch.randint(0, 256, (3, *size), generator=generator).byte(),
                data_samples=sample)


def collate(samples):
    return {name: [sample[name] for sample in samples] for name in samples[0]}


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


def train(hook, runner, iterations=1, batch_size=2):
    """Run training iterations; gives the losses, and how many hooks the loss had in each."""
    hook.before_train(runner)
    losses, num_hooks = [], []
    model = runner.model
    head = getattr(model, 'module', model).decode_head
    loss = head.loss_decode[-1] if isinstance(head.loss_decode, nn.ModuleList) else head.loss_decode
    for runner.iter in range(iterations):
        batch = collate([make_sample(10 * runner.iter + i) for i in range(batch_size)])
        before = len(loss._forward_pre_hooks)
        hook.before_train_iter(runner, runner.iter, batch)
        num_hooks.append(len(loss._forward_pre_hooks) - before)
        batch = getattr(model, 'module', model).data_preprocessor(batch, True)
        losses.append(model(**batch, mode='loss'))
        hook.after_train_iter(runner, runner.iter, batch, losses[-1])
        assert len(loss._forward_pre_hooks) == before
    return losses, num_hooks


def scalar(runner, name):
    return runner.message_hub.get_scalar(name).current()


def brute_force(logits, labels, min_kept=None, thresh=None):
    """Kept pixels of one set, as (p_y, label) pairs in order, and the labels of all valid ones."""
    probability = true_class_probability(logits, labels).flatten().tolist()
    pairs = sorted((p, y) for p, y in zip(probability, labels.flatten().tolist()) if y != 255)
    below = [pair for pair in pairs if thresh is not None and pair[0] < thresh]
    kept = below if min_kept is None or len(below) > min_kept else pairs[:min_kept]
    return kept, [y for _, y in pairs]


def table_rows(runner):
    return [[cell.strip() for cell in line.split('|')[1:-1]]
            for line in runner.logger[-1].splitlines() if '|' in line][1:]


@pytest.mark.parametrize('model', [
    dict(),
    dict(label_stride=8, loss_decode=dict(OWN, min_kept=9)),
    dict(loss_decode=[dict(CE), OWN]),
    dict(loss_decode=dict(OWN, thresh=0.2)),
    dict(loss_decode=CE, sampler=dict(type='BootstrapPixelSampler', min_kept=20)),
], ids=['loss', 'grid of labels', 'beside another loss', 'threshold', 'sampler'])
def test_training_statistics_equal_a_count_by_hand(make_hook, model):
    net = make_model(**model)
    hook, runner = make_hook(net)
    train(hook, runner)

    batch = net.data_preprocessor(collate([make_sample(0), make_sample(1)]), True)
    labels = net.decode_head._stack_batch_gt(batch['data_samples'])[:, 0]
    logits = nn.functional.interpolate(
        net.decode_head(net.extract_feat(batch['inputs'])), labels.shape[1:], mode='bilinear')
    kept, valid = brute_force(logits, labels, hook.selection.min_kept, hook.selection.thresh)
    assert len(kept) >= 9
    assert scalar(runner, 'train/kept_fraction') == pytest.approx(len(kept) / len(valid))
    threshold = max(kept[-1][0], hook.selection.thresh or 0)
    assert scalar(runner, 'train/kept_threshold') == pytest.approx(threshold, rel=1e-4)
    for c, row in enumerate(table_rows(runner)):
        shares = valid.count(c) / len(valid), [y for _, y in kept].count(c) / len(kept)
        assert row[:3] == [CLASSES[c]] + [f'{100 * share:.2f}' for share in shares]


def test_only_the_first_and_every_nth_iteration_is_measured(make_hook):
    hook, runner = make_hook(make_model(), log_interval=3)
    _, num_hooks = train(hook, runner, iterations=7)
    assert num_hooks == [1, 0, 1, 0, 0, 1, 0]
    assert [message.split(':')[0] for message in runner.logger] == [
        f'Hard pixels, iteration {i}' for i in (1, 3, 6)]


def test_measuring_changes_no_loss(make_hook):
    losses, _ = train(*make_hook(make_model(), log_interval=2), iterations=3)
    plain, _ = train(*make_hook(make_model(), log_interval=100), iterations=3)
    torch.testing.assert_close(losses, plain, rtol=0, atol=0)


@pytest.mark.parametrize('model, kwargs, expected', [
    (dict(loss_decode=dict(OWN, thresh=0.6, per_image=True)), {}, (0.6, 20, True)),
    (dict(loss_decode=CE, sampler=dict(type='BootstrapPixelSampler', thresh=0.7)), {},
     (0.7, None, False)),
    (dict(), dict(thresh=0.5), (0.5, None, False)),  # given: nothing is taken from the loss
    (dict(loss_decode=CE), dict(min_kept=7, per_image=True), (None, 7, True)),
])
def test_where_the_selection_comes_from(make_hook, model, kwargs, expected):
    hook, _ = make_hook(make_model(**model), **kwargs)
    assert hook.selection == expected


def test_a_sampler_that_asks_the_loss_does_not_count_twice(make_hook):
    sampler = dict(type='BootstrapPixelSampler', min_kept=20, difficulty='loss')
    hook, runner = make_hook(make_model(loss_decode=CE, sampler=sampler))
    train(hook, runner)
    assert f'of {2 * 27 * 48} labelled pixels' in runner.logger[-1]


def test_a_plain_loss_shows_what_would_be_kept(make_hook):
    hook, runner = make_hook(make_model(loss_decode=CE), min_kept=20)
    train(hook, runner)
    valid = 2 * 27 * 48
    assert scalar(runner, 'train/kept_fraction') == pytest.approx(20 / valid)


def test_per_image_thresholds_are_averaged(make_hook):
    hook, runner = make_hook(make_model(dict(OWN, per_image=True)))
    train(hook, runner)
    assert scalar(runner, 'train/kept_fraction') == pytest.approx(40 / (2 * 27 * 48))
    single = []
    for seed in (0, 1):
        batch = runner.model.data_preprocessor(collate([make_sample(seed)]), True)
        labels = batch['data_samples'][0].gt_sem_seg.data
        logits = nn.functional.interpolate(
            runner.model.encode_decode(batch['inputs'], [s.metainfo for s in batch[
                'data_samples']]), labels.shape[1:], mode='bilinear')
        single.append(brute_force(logits, labels, 20)[0][-1][0])
    assert scalar(runner, 'train/kept_threshold') == pytest.approx(sum(single) / 2, rel=1e-4)


def test_a_head_that_does_not_bootstrap_needs_a_selection(make_hook):
    with pytest.raises(ValueError, match='got FCRNHead with CrossEntropyLoss: .* give the hook'):
        make_hook(make_model(loss_decode=CE))


def test_a_model_without_decode_head_is_named(make_hook):
    with pytest.raises(ValueError, match='needs a model with a decode_head, .* got Linear'):
        make_hook(nn.Linear(1, 1), thresh=0.5)


@pytest.mark.parametrize('kwargs, match', [
    (dict(thresh=1.5), 'thresh .* got 1.5'),
    (dict(min_kept=0), 'min_kept .* got 0'),
    (dict(thresh=0.5, interval=0), 'interval must be at least 1, got 0'),
    (dict(thresh=0.5, log_interval=0), 'log_interval must be at least 1, got 0'),
])
def test_wrong_arguments_are_refused(make_hook, kwargs, match):
    with pytest.raises(ValueError, match=match):
        make_hook(make_model(), **kwargs)


def test_the_head_is_found_below_a_wrapper(make_hook, tmp_path):
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    try:
        hook, runner = make_hook(MMDistributedDataParallel(make_model()))
        _, num_hooks = train(hook, runner)
    finally:
        torch.distributed.destroy_process_group()
    assert num_hooks == [1]
    assert scalar(runner, 'train/kept_fraction') > 0


def test_a_batch_without_labels_is_said_and_leaves_no_number(make_hook):
    hook, runner = make_hook(make_model())
    labels = torch.full((1, 4, 4), 255)
    hook.before_train(runner)
    hook.before_train_iter(runner, 0)
    runner.model.decode_head.loss_decode(torch.zeros(1, 3, 4, 4), labels)
    hook.after_train_iter(runner, 0)
    assert 'no pixel has a label' in runner.logger[-1]
    assert not runner.message_hub.log_scalars


def test_a_loss_that_was_not_called_is_said(make_hook):
    hook, runner = make_hook(make_model())
    hook.before_train(runner)
    hook.before_train_iter(runner, 0)
    hook.after_train_iter(runner, 0)
    assert 'nothing to log' in runner.logger[-1]


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
