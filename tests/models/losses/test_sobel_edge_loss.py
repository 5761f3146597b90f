import pytest
import torch
from mmengine.structures import PixelData
from mmseg.models.decode_heads import FCNHead
from mmseg.structures import SegDataSample

from mmseg_ext.models import SobelEdgeLoss

KERNELS = torch.tensor([[[-1., 0, 1], [-2, 0, 2], [-1, 0, 1]],
                        [[-1, -2, -1], [0, 0, 0], [1, 2, 1]]]).double()


def batch(ignored=True):
    generator = torch.Generator().manual_seed(0)
    pred = torch.randn(2, 3, 6, 5, generator=generator, dtype=torch.float64)
    label = torch.randint(0, 3, (2, 6, 5), generator=generator)
    if ignored:
        label[0, :2] = 255
    return pred, label


def by_loop(pred, label):
    """Distance of each pixel: Sobel of prediction and of truth, apart, channel by channel."""
    distance = torch.zeros(label.shape, dtype=torch.float64)
    for n in range(len(pred)):
        known = label[n] != 255
        for c in range(pred.size(1)):
            maps = pred[n].softmax(dim=0)[c] * known, (label[n] == c).double()
            for kernel in KERNELS:
                ours, theirs = (respond(map, kernel) for map in maps)
                distance[n] += (ours - theirs).abs() / (2 * pred.size(1)) * known
    return distance


def respond(map, kernel):
    height, width = map.shape
    output = torch.zeros_like(map)
    for y in range(height):
        for x in range(width):
            for i in range(3):
                for j in range(3):
                    row, column = min(max(y + i - 1, 0), height - 1), min(max(x + j - 1, 0),
                                                                          width - 1)
                    output[y, x] += kernel[i, j] * map[row, column]
    return output


def test_it_is_the_distance_of_the_two_maps_after_sobels_kernels():
    pred, label = batch()
    each = by_loop(pred, label)
    loss = SobelEdgeLoss(loss_weight=4.)
    torch.testing.assert_close(loss(pred, label), 4 * each.sum() / (label != 255).sum())
    torch.testing.assert_close(loss(pred, label, reduction_override='none'), 4 * each)
    torch.testing.assert_close(loss(pred, label, reduction_override='sum'), 4 * each.sum())
    torch.testing.assert_close(loss(pred, label, avg_factor=10), 4 * each.sum() / 10)


def test_pixel_weights_are_factors_that_do_not_change_the_number_of_pixels():
    pred, label = batch()
    weight = torch.rand(label.shape, dtype=torch.float64)
    expected = (by_loop(pred, label) * weight).sum() / (label != 255).sum()
    torch.testing.assert_close(SobelEdgeLoss()(pred, label, weight=weight), expected)


def test_a_step_by_hand():
    """Truth 0 0 1 1, prediction 0 1 1 1: each class is off by 4 at two pixels, across."""
    label = torch.tensor([[[0, 0, 1, 1]]])
    pred = 100. * torch.tensor([[1., 0, 0, 0], [0, 1, 1, 1]]).view(1, 2, 1, 4)
    each = SobelEdgeLoss()(pred, label, reduction_override='none')
    # of 2 classes and 2 kernels: the step of 4 lies at pixels 1 and 2, was found at 0 and 1
    torch.testing.assert_close(each, torch.tensor([[[2., 0., 2., 0.]]]))


def test_a_perfect_prediction_has_no_loss():
    pred, label = batch()
    right = torch.stack([label == c for c in range(3)], dim=1)
    assert SobelEdgeLoss()(100. * right - 50., label).item() == pytest.approx(0, abs=1e-12)


def test_the_gradient_is_right_and_not_zero():
    pred, label = batch()
    pred.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: SobelEdgeLoss()(x, label), pred)
    SobelEdgeLoss()(pred, label).backward()
    assert (pred.grad.abs().amax(dim=1)[label != 255] > 0).all()


@pytest.mark.parametrize('value', [1e4, float('inf'), float('nan')], ids=str)
def test_ignored_pixels_have_no_effect_on_value_or_gradient(value):
    pred, label = batch()
    other = pred.clone()
    other[0, :, :2] = value
    results = []
    for logits in (pred, other):
        loss = SobelEdgeLoss()(logits.requires_grad_(), label)
        results.append((loss.detach(), *torch.autograd.grad(loss, logits)))
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=0)
    assert results[0][1][0, :, :2].eq(0).all()


def test_another_label_can_be_ignored():
    pred, label = batch()
    expected = SobelEdgeLoss()(pred, label)
    torch.testing.assert_close(
        SobelEdgeLoss()(pred, label.masked_fill(label == 255, -1), ignore_index=-1), expected)


def test_half_precision_and_autocast_give_a_float32_loss():
    pred, label = batch()
    half = pred.bfloat16().requires_grad_()
    loss = SobelEdgeLoss()(half, label)
    loss.backward()
    assert loss.dtype == torch.float32 and half.grad.dtype == torch.bfloat16
    with torch.autocast('cpu', dtype=torch.bfloat16):
        under_autocast = SobelEdgeLoss()(half.detach(), label)
    torch.testing.assert_close(under_autocast, loss.detach())
    torch.testing.assert_close(loss.double(), SobelEdgeLoss()(pred, label), rtol=0.01, atol=0)


def test_it_compiles():
    pred, label = batch()
    compiled = torch.compile(SobelEdgeLoss(), backend='aot_eager')
    results = []
    for loss in (SobelEdgeLoss(), compiled):
        value = loss(pred.requires_grad_(), label)
        results.append((value.detach(), *torch.autograd.grad(value, pred)))
    torch.testing.assert_close(results[1], results[0])


@pytest.mark.parametrize('several', [False, True], ids=['alone', 'in a list'])
def test_a_head_has_it_alone_or_beside_cross_entropy(several):
    torch.manual_seed(0)
    ours = dict(type='SobelEdgeLoss', loss_weight=2.)
    head = FCNHead(in_channels=4, channels=4, num_convs=1, num_classes=3,
                   loss_decode=[dict(type='CrossEntropyLoss'), ours] if several else ours).eval()
    feature, (_, label) = torch.randn(2, 4, 6, 5), batch()
    samples = [SegDataSample(gt_sem_seg=PixelData(data=one[None])) for one in label]
    losses = head.loss((feature, ), samples, {})
    expected = 2 * by_loop(head((feature, )).double(), label).sum() / (label != 255).sum()
    torch.testing.assert_close(losses['loss_sobel'].double(), expected, rtol=1e-5, atol=0)
    assert ('loss_ce' in losses) == several


def test_a_label_that_is_no_class_is_refused():
    pred, label = batch()
    label[1, 2, 3] = 7
    with pytest.raises(ValueError, match='labels hold 7, which is neither one of the 3 classes'):
        SobelEdgeLoss()(pred, label)
