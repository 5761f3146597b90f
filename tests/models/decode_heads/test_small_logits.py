"""Heads of ours that compute their losses from small logits, in any segmentor."""
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmseg_ext.models.decode_heads import FCRNHead, LRNHead

BOOTSTRAP = dict(type='BootstrapPixelSampler', thresh=0.3, min_kept=60)


def samples(size=(37, 45)):
    torch.manual_seed(0)
    labels = torch.randint(5, (2, 1, *size))
    labels[:, :, :9] = 255
    return [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]


def losses_and_slopes(head, logits):
    logits = [x.double().requires_grad_() for x in logits]
    losses = head.loss_by_feat(logits if len(logits) > 1 else logits[0], samples())
    total = sum(value for name, value in losses.items() if 'loss' in name)
    return losses, torch.autograd.grad(total, logits, allow_unused=True)


def compare(head, logits, monkeypatch):
    """With large logits first, then without the function that makes them."""
    assert head.takes_small_logits
    head.takes_small_logits = False
    expected = losses_and_slopes(head, logits)
    head.takes_small_logits = True
    for module in ('mmseg.models.decode_heads.decode_head',
                   'mmseg_ext.models.decode_heads.stagewise_decode_head'):
        monkeypatch.setattr(f'{module}.resize', None)
    torch.testing.assert_close(losses_and_slopes(head, logits), expected, check_dtype=False)


@pytest.mark.parametrize('sampler', [None, BOOTSTRAP])
def test_fcrn_at_full_resolution(sampler, monkeypatch):
    compare(FCRNHead(8, num_classes=5, sampler=sampler), [torch.randn(2, 5, 5, 6)], monkeypatch)


def test_fcrn_on_its_grid_has_nothing_to_enlarge():
    assert not FCRNHead(8, num_classes=5, label_stride=8).takes_small_logits


@pytest.mark.parametrize('options', [
    dict(), dict(sampler=BOOTSTRAP), dict(stage_weights=(1, 0.5, 0)),
    dict(loss_decode=[dict(type='CrossEntropyLoss', avg_non_ignore=True),
                      dict(type='BootstrappedCrossEntropyLoss', min_kept=50)])])
def test_lrn_whose_stages_are_compared_with_whole_label_maps(options, monkeypatch):
    head = LRNHead([4, 4, 4], num_classes=5, supervision='logits', **options)
    compare(head, [torch.randn(2, 5, 5, 6), torch.randn(2, 5, 10, 12), torch.randn(2, 5, 19, 23)],
            monkeypatch)


def test_lrn_with_labels_of_the_size_of_each_stage_has_nothing_to_enlarge():
    assert not LRNHead([4, 4], num_classes=5).takes_small_logits


def test_a_loss_that_needs_large_logits_gets_them():
    head = LRNHead([4, 4], num_classes=5, supervision='logits',
                   loss_decode=dict(type='SobelEdgeLoss'))
    assert not head.takes_small_logits
    head.loss_by_feat([torch.randn(2, 5, 5, 6), torch.randn(2, 5, 10, 12)], samples())


def test_a_hook_that_listens_to_a_loss_gets_large_logits():
    """As HardPixelVisualizationHook does in the iterations that it logs."""
    for head, logits in ((FCRNHead(8, num_classes=5, sampler=BOOTSTRAP, loss_decode=dict(
            type='ClassWeightedCrossEntropyLoss')), torch.randn(2, 5, 5, 6)),
                         (LRNHead([4, 4], num_classes=5, supervision='logits'),
                          [torch.randn(2, 5, 5, 6), torch.randn(2, 5, 10, 12)])):
        sizes = []
        handle = head.loss_decode.register_forward_pre_hook(
            lambda loss, args, sizes=sizes: sizes.append(args[0].shape[2:]))
        head.loss_by_feat(logits, samples())
        assert set(sizes) == {(37, 45)}
        handle.remove()
        sizes.clear()
        head.loss_by_feat(logits, samples())
        assert not sizes
