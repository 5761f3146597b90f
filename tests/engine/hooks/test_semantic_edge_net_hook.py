"""The network is trained before the model, stored beside the run and handed to its losses."""
import random
import re

import numpy as np
import pytest
import torch
from semantic_edge_net_runs import (
    BRIEF,
    CE,
    ENOUGH,
    SEMEDA,
    Maps,
    hook_of,
    loss_of,
    make_model,
    make_runner,
    run,
    same,
    some_net,
    stored,
    weights_of,
)

from mmseg_ext.engine.hooks import SemanticEdgeNetHook, semantic_edge_net_hook
from mmseg_ext.models import SemanticEdgeDetector


@pytest.mark.parametrize('loss_decode', [SEMEDA, [CE, SEMEDA], [CE, dict(type='SEMEDALoss')]],
                         ids=['alone', 'in a list', 'number of classes of the head'])
def test_the_network_is_trained_on_the_labels_and_stored_beside_the_run(
        loss_decode, tmp_path, recwarn):
    model = make_model(loss_decode)
    run(model, tmp_path)
    loss = loss_of(model.decode_head)
    assert loss.is_ready and same(weights_of(loss), stored(tmp_path / 'semantic_edge_net.pth'))
    assert not any('was not trained' in str(warning.message) for warning in recwarn)
    # the training step behind it neither changed nor stored it
    checkpoint = torch.load(tmp_path / 'iter_1.pth', weights_only=False)['state_dict']
    assert list(checkpoint) == list(make_model(CE).state_dict())


def test_how_well_it_finds_edges_is_logged_and_a_training_that_was_too_short_warns(tmp_path):
    warning = 'finds the edges badly: raise iterations of SemanticEdgeNetHook'
    enough = run(make_model(SEMEDA), tmp_path / 'enough', ENOUGH)
    (score, ) = re.findall(r'for 80 iterations; F of its edges is (\S+)\.', enough)
    assert 0.95 < float(score) <= 1 and warning not in enough
    assert warning in run(make_model(SEMEDA), tmp_path / 'brief', BRIEF)


def test_the_log_says_what_is_done_before_it_is_done_and_how_far_it_is(tmp_path):
    maps = Maps()
    runner, messages = make_runner(make_model(SEMEDA), tmp_path, ENOUGH, maps), []
    runner.logger.info = lambda message, *args: messages.append((maps.taken, message))
    hook_of(runner).before_train(runner)
    taken, message = messages[0]
    assert taken == 0 and re.search(
        r'does not exist\. It is trained now, before iteration 1: 24 label maps .* 80 steps\. .* '
        'minutes on a CPU', message)
    told = [message for _, message in messages]
    maps_told = [m for m in told if re.search(r'label map \d+ of 24, about \d+ s left', m)]
    steps_told = [int(step) for m in told
                  for step in re.findall(r'step (\d+) of 80, loss \d\.\d+, about \d+ s left', m)]
    assert len(maps_told) == 2 and steps_told == list(range(8, 80, 8))
    assert 'was trained for 80 iterations' in told[-1]


def test_no_random_number_of_the_training_is_used_up(tmp_path):
    """Python's, numpy's and torch's: else the run depends on whether the file was there."""
    runner = make_runner(make_model(SEMEDA), tmp_path)
    assert runner.train_loop  # building it draws a seed
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    hook_of(runner).before_train(runner)
    assert (tmp_path / 'semantic_edge_net.pth').exists()
    assert states == (
        random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())


def test_the_network_ignores_what_the_head_ignores(tmp_path, monkeypatch):
    made = []

    class Recorded(SemanticEdgeDetector):

        def __init__(self, *args, **kwargs):
            made.append(kwargs['ignore_index'])
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(semantic_edge_net_hook, 'SemanticEdgeDetector', Recorded)
    model = make_model([CE, SEMEDA])
    model.decode_head.ignore_index = 2
    run(model, tmp_path)
    assert made == [2]


def test_the_file_has_the_classes_of_the_data_set(tmp_path):
    run(make_model(SEMEDA), tmp_path)
    meta = torch.load(tmp_path / 'semantic_edge_net.pth', weights_only=True)['meta']
    assert meta['dataset_meta']['classes'] == ('cat', 'dog', 'horse')


def test_a_class_agnostic_network_is_trained_as_one_apart_from_the_usual(tmp_path):
    model = make_model(SEMEDA, auxiliary=dict(SEMEDA, class_agnostic=True))
    log = run(model, tmp_path, ENOUGH)
    assert log.count('was trained') == 2
    maps = torch.eye(3)[:, :, None, None].expand(-1, -1, 9, 9)
    apart = []
    for head in (model.decode_head, model.auxiliary_head):
        inside = [layer[:, :, 4, 4] for layer in loss_of(head).edge_net(maps)]
        apart.append(max((layer - layer[:1]).abs().max() for layer in inside))
    assert apart[0] > 0.1 and apart[1] < 1e-5
    with pytest.raises(ValueError, match='class_agnostic=True, but class_agnostic=False is asked'):
        make_runner(make_model(SEMEDA), tmp_path,
                    dict(BRIEF, filename='semantic_edge_net_2.pth')).train()


def test_losses_of_a_size_share_one_training(tmp_path):
    model = make_model([CE, SEMEDA], auxiliary=SEMEDA)
    log = run(model, tmp_path)
    assert log.count('was trained') == 1 and len(list(tmp_path.glob('semantic*'))) == 1
    first, second = (weights_of(loss_of(head))
                     for head in (model.decode_head, model.auxiliary_head))
    assert same(first, second)


def test_losses_of_two_sizes_are_trained_apart(tmp_path):
    model = make_model(SEMEDA, auxiliary=dict(SEMEDA, channels=(8, 32)))
    log = run(model, tmp_path, dict(BRIEF, filename='edges.pth'))
    assert log.count('was trained') == 2
    for head, name in ((model.decode_head, 'edges.pth'), (model.auxiliary_head, 'edges_2.pth')):
        assert same(weights_of(loss_of(head)), stored(tmp_path / name))


def test_nothing_happens_without_the_loss(tmp_path):
    model, maps = make_model(CE), Maps()
    log = run(model, tmp_path, maps=maps)
    assert maps.taken == 4  # of the training itself
    assert not list(tmp_path.glob('semantic*')) and 'edge network' not in log


@pytest.mark.parametrize('several', [False, True], ids=['alone', 'in a list'])
def test_a_loss_with_a_file_of_its_own_keeps_it(several, tmp_path):
    given = some_net(tmp_path / 'given.pth')
    ours = dict(SEMEDA, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'given.pth')))
    model = make_model([CE, ours] if several else ours, auxiliary=SEMEDA)
    log = run(model, tmp_path / 'run')
    assert same(weights_of(loss_of(model.decode_head)), given.parameters())
    auxiliary = weights_of(loss_of(model.auxiliary_head))
    assert same(auxiliary, stored(tmp_path / 'run/semantic_edge_net.pth'))
    assert not same(auxiliary, given.parameters()) and log.count('was trained') == 1


@pytest.mark.parametrize('loss, error, message', [
    (dict(SEMEDA, num_classes=21), ValueError, 'num_classes=21, but the logits .* have 3'),
    (dict(SEMEDA, init_cfg=dict(type='Pretrained', checkpoint='gone.pth')), FileNotFoundError,
     "no semantic edge network 'gone.pth'")])
def test_what_cannot_work_is_refused_before_training(loss, error, message, tmp_path):
    with pytest.raises(error, match=message):
        make_runner(make_model([CE, loss]), tmp_path).train()


@pytest.mark.parametrize('options, message', [
    (dict(num_maps=0), 'num_maps must be a whole number of at least 1, got 0'),
    (dict(iterations=1e3), 'iterations must be a whole number of at least 1, got 1000.0'),
    (dict(lr=-0.1), 'lr must be a positive number, got -0.1'),
    (dict(max_wait='long'), "max_wait must be a positive number, got 'long'")])
def test_a_number_that_makes_no_sense_is_refused_when_it_is_built(options, message):
    with pytest.raises(ValueError, match=f'SemanticEdgeNetHook {message}'):
        SemanticEdgeNetHook(**options)


@pytest.mark.filterwarnings('ignore:SEMEDALoss compares')
def test_the_log_of_a_run_without_the_hook_says_that_it_is_missing(tmp_path):
    log = run(make_model([CE, SEMEDA]), tmp_path, hook=None)
    assert log.count('features of a network that was not trained. Add custom_hooks') == 1


def test_a_data_set_of_another_number_of_classes_is_told(tmp_path):
    maps = Maps()
    maps.metainfo = dict(classes=('cat', 'dog'))
    with pytest.warns(UserWarning, match='has 2 classes, the semantic edge network 3'):
        run(make_model(SEMEDA), tmp_path, maps=maps)
