import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS

from mmseg_ext.benchmarks import bootstrapping
from mmseg_ext.registry import BENCHMARKS

SHAPE = (2, 4, 40, 56)


@pytest.mark.parametrize('share', [0.01, 0.2])
def test_threshold_keeps_about_the_share_with_a_gap_around_it(share):
    logits, labels = bootstrapping.sample_logits(SHAPE, 'clustered', 'cpu')
    thresh, kept = bootstrapping.threshold_for(logits, labels, share)
    p = logits.detach().double().softmax(1).gather(1, labels.clamp(max=3)[:, None])[:, 0]
    p = p[labels != 255]
    assert (p < thresh).sum() == kept == pytest.approx(share * p.numel(), rel=0.05, abs=1)
    assert (p / thresh - 1).abs().min() > 1e-5


def test_scattered_pixels_are_the_clustered_ones_in_another_order():
    clustered, scattered = (bootstrapping.sample_logits(SHAPE, where, 'cpu')
                            for where in ('clustered', 'scattered'))
    losses = [F.cross_entropy(*x, ignore_index=255, reduction='none').detach().flatten(1)
              for x in (clustered, scattered)]
    assert torch.allclose(losses[0].sort().values, losses[1].sort().values)

    def neighbours_alike(loss):
        hard = (loss > loss.median()).float()
        return (hard[:, 1:] == hard[:, :-1]).float().mean()

    assert neighbours_alike(losses[0]) > 0.8 > 0.6 > neighbours_alike(losses[1])


def test_parity_notices_a_single_pixel_more(monkeypatch):
    case = BENCHMARKS.get('bootstrapping_2x19x512x1024_keep_1_in_10')('cpu', small=True)
    case.parity()
    real = bootstrapping.bootstrapped_cross_entropy

    def one_more(logits, labels, thresh, min_kept):
        p = logits.detach().softmax(1).gather(1, labels.clamp(max=logits.size(1) - 1)[:, None])
        kept = ((p[:, 0] < thresh) & (labels != 255)).sum().item()
        return real(logits, labels, min_kept=kept + 1)

    monkeypatch.setattr(bootstrapping, 'bootstrapped_cross_entropy', one_more)
    with pytest.raises(AssertionError, match='op does not keep the same pixels'):
        case.parity()


def test_the_networks_of_the_fcrn_comparison_have_one_stride(monkeypatch):
    backbones = []
    monkeypatch.setattr(bootstrapping, 'training_step',
                        lambda backbone, *args: backbones.append(backbone) or len)
    BENCHMARKS.get('fcrn_training_step')('cpu', small=True)
    networks = [MODELS.build(dict(backbone)) for backbone in backbones]
    sizes = {network(torch.zeros(2, 3, 64, 64))[3].shape[2:] for network in networks}
    assert len(networks) == 3 and sizes == {(8, 8)}
