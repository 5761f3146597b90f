"""Statistics of training: which pixels the loss keeps, and where the selection comes from."""
import pytest
import torch
from hard_pixel_runs import (
    CE,
    CLASSES,
    OWN,
    brute_force,
    collate,
    make_model,
    make_sample,
    scalar,
    table_rows,
    train,
)
from mmengine.model import MMDistributedDataParallel
from torch import nn


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
    results = []
    for log_interval in (2, 100):
        model = make_model()
        # with a listener the logits are resized before the loss, measured or not: equal to the bit
        model.decode_head.loss_decode.register_forward_pre_hook(lambda *args: None)
        results.append(train(*make_hook(model, log_interval=log_interval), iterations=3)[0])
    torch.testing.assert_close(*results, rtol=0, atol=0)


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
