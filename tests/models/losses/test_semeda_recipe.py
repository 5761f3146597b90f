"""What SEMEDA costs with a network made by the shipped recipe: that of SemanticEdgeNetHook.

Two networks for 11 classes, from drawn label maps, in 200 of the 2,000 steps (4 s each): F of their
edges is above 0.99 by then.
"""
import logging
import random

import pytest
import torch
import torch.nn.functional as F

from mmseg_ext.engine.hooks import SemanticEdgeNetHook
from mmseg_ext.models import SEMEDALoss

CLASSES = 11
SIDE = 16
#: What is predicted wrongly: 16 pixels left of the boundary, which is in the middle.
WRONG = dict(
    hole=(slice(6, 10), slice(2, 6)), bump=(slice(6, 10), slice(4, 8)),
    corner=(slice(0, 4), slice(0, 4)), shift=(slice(None), 7),
    dots=(slice(1, None, 4), slice(1, 8, 2)))
PRED1, PRED2 = (0.5, 0.25, 0.25), (0.5, 0.45, 0.05)  # cat, dog, horse
PAIRS = torch.tensor([(a, b) for a in range(CLASSES) for b in range(CLASSES) if a != b])


def drawn_maps(number, size, seed):
    coarse = torch.randn(number, CLASSES, 6, 6, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, (size, size), mode='bilinear', align_corners=False).argmax(dim=1)


def by_the_recipe(**kwargs):
    """A loss with its network, and F of the network's edges."""
    with torch.random.fork_rng(devices=[]):
        random.seed(0)
        torch.manual_seed(0)
        loss = SEMEDALoss(CLASSES, **kwargs)
        hook = SemanticEdgeNetHook(iterations=200)
        score = hook._train(loss.edge_net, list(drawn_maps(64, 64, seed=0)), 255,
                            logging.getLogger('recipe'))
    loss.is_ready = True
    return loss, score


@pytest.fixture(scope='module')
def usual():
    return by_the_recipe()


@pytest.fixture(scope='module')
def agnostic():
    return by_the_recipe(class_agnostic=True)


def fixed_prediction():
    label = drawn_maps(2, 48, seed=5)
    logits = torch.randn(2, CLASSES, 48, 48, generator=torch.Generator().manual_seed(6))
    return logits + 3 * F.one_hot(label, CLASSES).permute(0, 3, 1, 2), label


def test_the_size_of_the_loss_against_cross_entropy(usual, agnostic):
    """Lambda 2, 4, 0. The recipe fixes this size: F says nothing about it.

    Seeds 0 to 2 gave 4.0, 3.4 and 3.5; with an initialisation times 0.4 they give 3.0, 2.6 and 3.0.
    A class-agnostic network gave 1.8 and 1.8.
    """
    logits, label = fixed_prediction()
    cross_entropy = F.cross_entropy(logits, label)
    assert 3.2 < usual[0](logits, label) / cross_entropy < 4.6
    assert 1.4 < agnostic[0](logits, label) / cross_entropy < 2.3


def of_all_pairs(loss, where, probabilities):
    """Cross entropy and SEMEDA of each ordered pair of classes, a cat left of a dog.

    A few pixels are not certain; for each pair, the horse is the next class that is neither.
    """
    cat, dog = PAIRS.T
    horse = torch.stack([
        next(c % CLASSES for c in range(a + 1, a + 4) if c % CLASSES not in (a, b))
        * torch.ones((), dtype=torch.long) for a, b in PAIRS.tolist()])
    label = cat[:, None, None].repeat(1, SIDE, SIDE)
    label[..., SIDE // 2:] = dog[:, None, None]
    maps = F.one_hot(label, CLASSES).float()
    values = sum(F.one_hot(c, CLASSES) * p for c, p in zip((cat, dog, horse), probabilities))
    maps[:, where[0], where[1]] = values.view(-1, *[1] * (maps[0, where[0], where[1]].ndim - 1),
                                              CLASSES)
    logits = maps.clamp(min=1e-12).log().permute(0, 3, 1, 2)
    entropy = F.cross_entropy(logits, label, reduction='none').mean(dim=(1, 2))
    return entropy, loss(logits, label, reduction_override='none').mean(dim=(1, 2))


def share(higher, lower):
    return (higher > lower).float().mean().item()


def test_of_as_many_wrong_pixels_those_with_more_boundary_cost_more(usual, agnostic):
    """The paper's problem (a), for which cross entropy is blind.

    The same square inside of a region, at its boundary and in the corner of the image makes 4, 3
    and 2 sides of new boundary. Not for all pairs of classes: what the usual network has made of
    one pair is chance. Over three seeds a hole costs more than a bump for 75 to 94 % of the pairs.
    """
    for loss, least in ((usual[0], 0.6), (agnostic[0], 0.95)):
        entropy, cost = {}, {}
        for name, where in WRONG.items():
            entropy[name], cost[name] = of_all_pairs(loss, where, (0.01, 0.98, 0.01))
        values = torch.stack(list(entropy.values()))
        torch.testing.assert_close(values, values[:1].expand_as(values))
        assert share(cost['hole'], cost['bump']) > least
        assert cost['hole'].mean() > 1.02 * cost['bump'].mean() > 1.3 * cost['corner'].mean()
        assert share(cost['bump'], cost['corner']) > 0.95
        assert share(cost['shift'], cost['bump']) > 0.85
        assert share(cost['dots'], cost['hole']) > 0.95


@pytest.mark.parametrize('where', [WRONG['hole'], WRONG['shift']], ids=['hole', 'boundary'])
def test_a_wrong_region_costs_more_than_uncertainty_about_the_same_pixels(usual, where):
    """More than either prediction of the paper's problem (b), in which the cat still wins."""
    _, wrong = of_all_pairs(usual[0], where, (0, 1, 0))
    for prediction in (PRED1, PRED2):
        _, unsure = of_all_pairs(usual[0], where, prediction)
        assert share(wrong, unsure) > 0.98 and wrong.mean() > 1.4 * unsure.mean()


def test_predictions_that_are_equal_for_cross_entropy_are_told_apart(usual):
    """The paper's problem (b); inside of a region it likes the first better, as we do.

    At the boundary the paper likes the second better. The loss does not: it grows with the distance
    from the ground truth, in which the second is farther, at the boundary as well.
    """
    for where in [(slice(8, 9), slice(3, 4)), (slice(8, 9), slice(7, 8)), WRONG['shift']]:
        (entropy1, cost1), (entropy2, cost2) = (
            of_all_pairs(usual[0], where, prediction) for prediction in (PRED1, PRED2))
        torch.testing.assert_close(entropy1, entropy2)
        assert cost2.mean() > 1.03 * cost1.mean()


def insides(net):
    """Features of all layers in the middle of a map of one class, for each class."""
    labels = torch.arange(CLASSES)[:, None, None].expand(-1, 9, 9)
    return [layer[:, :, 4, 4] for layer in net(labels)]


def test_a_class_agnostic_network_finds_edges_and_knows_no_class(usual, agnostic):
    (loss, score), (usual_loss, usual_score) = agnostic, usual
    assert score > 0.99 and usual_score > 0.99
    for ours in insides(loss.edge_net):
        torch.testing.assert_close(ours, ours[:1].expand_as(ours), rtol=0, atol=1e-5)
    first = insides(usual_loss.edge_net)[0]
    assert (first[1:] - first[:1]).abs().mean() > 0.02


def test_with_it_a_wrong_class_costs_nothing_but_at_the_new_edges(usual, agnostic):
    label = torch.full((1, 24, 24), 2)
    logits = 30 * F.one_hot(torch.full((1, 24, 24), 7), CLASSES).permute(0, 3, 1, 2).float()
    inside = (..., slice(3, -3), slice(3, -3))  # of three layers' windows
    costs = [loss(logits, label, reduction_override='none')[inside]
             for loss, _ in (usual, agnostic)]
    assert costs[0].min() > 0.1 and costs[1].max() < 1e-4
