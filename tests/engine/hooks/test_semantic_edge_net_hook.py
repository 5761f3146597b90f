import atexit
import itertools
import logging
import os
import random
import re
import sys
import traceback

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.dataset import pseudo_collate
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn
from torch.utils.data import DataLoader

from mmseg_ext.compat import leave_process_group
from mmseg_ext.engine.hooks import SemanticEdgeNetHook, semantic_edge_net_hook
from mmseg_ext.models import SemanticEdgeDetector, SemanticEdgeNet

RUN_NUMBERS = itertools.count()
CE = dict(type='CrossEntropyLoss')
SEMEDA = dict(type='SEMEDALoss', num_classes=3)
BRIEF = dict(num_maps=8, iterations=2, lr=1e-2)
ENOUGH = dict(num_maps=24, iterations=80, lr=2e-2)


class Cells(nn.Module):
    """A backbone without weights: the mean colour of cells of 4x4 pixels."""

    def forward(self, inputs):
        return [F.avg_pool2d(inputs, 4)]


class Maps(list):
    """Images and smooth label maps of three classes; counts how often one is taken.

    Taking one draws random numbers of all kinds, as transforms do.
    """
    taken = 0
    metainfo = dict(classes=('cat', 'dog', 'horse'))

    def __init__(self, number=24, size=16):
        generator = torch.Generator().manual_seed(0)
        coarse = torch.randn(number, 3, 4, 4, generator=generator)
        labels = F.interpolate(coarse, (size, size), mode='bilinear', align_corners=False).argmax(1)
        super().__init__(
            dict(inputs=torch.rand(3, size, size), data_samples=SegDataSample(
                gt_sem_seg=PixelData(data=label[None]))) for label in labels)

    def __getitem__(self, index):
        self.taken += 1
        random.random(), np.random.rand(), torch.rand(1)
        return super().__getitem__(index)


def make_model(loss_decode, auxiliary=None, num_classes=3):
    torch.manual_seed(0)
    heads = [dict(type='FCNHead', in_channels=3, in_index=0, channels=4, num_convs=1,
                  num_classes=num_classes, loss_decode=loss) for loss in (loss_decode, auxiliary)]
    return MODELS.build(dict(
        type='EncoderDecoder', backbone=dict(type=Cells), decode_head=heads[0],
        auxiliary_head=heads[1] if auxiliary else None,
        data_preprocessor=dict(type='SegDataPreProcessor', size_divisor=1)))


def make_runner(model, folder, hook=BRIEF, maps=None, max_iters=1, **kwargs):
    loader = DataLoader(Maps() if maps is None else maps, batch_size=4, collate_fn=pseudo_collate)
    return Runner(
        model, str(folder), train_dataloader=loader,
        train_cfg=dict(by_epoch=False, max_iters=max_iters),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, weight_decay=0.1)),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1)),
        custom_hooks=[] if hook is None else [SemanticEdgeNetHook(**hook)], default_scope='mmseg',
        experiment_name=f'semantic_edge_net_{next(RUN_NUMBERS)}', **kwargs)


def hook_of(runner):
    return next(hook for hook in runner.hooks if isinstance(hook, SemanticEdgeNetHook))


def run(model, folder, *args, **kwargs):
    """Train; gives what was logged."""
    runner, messages = make_runner(model, folder, *args, **kwargs), []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    runner.logger.addHandler(handler)
    runner.train()
    return '\n'.join(messages)


def loss_of(head):
    return head.loss_decode[-1] if isinstance(head.loss_decode, nn.ModuleList) else head.loss_decode


def weights_of(loss):
    return [value.clone() for value in loss.edge_net.buffers()]


def same(weights, others):
    return all(torch.equal(*pair) for pair in zip(weights, others))


def some_net(filename, classes=('cat', 'dog', 'horse'), **kwargs):
    """A network that is not trained, stored in a file."""
    net = SemanticEdgeNet(3, **kwargs)
    if classes:
        net.expect_classes(classes)
    net.save(str(filename))
    return net


def stored(filename):
    return list(torch.load(filename, weights_only=True)['state_dict'].values())


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


def test_a_second_run_reads_the_file_and_trains_nothing(tmp_path):
    given = some_net(tmp_path / 'semantic_edge_net.pth')
    model, maps = make_model(SEMEDA), Maps()
    log = run(model, tmp_path, maps=maps)
    assert same(weights_of(loss_of(model.decode_head)), given.parameters())
    assert 'is read from' in log and 'was trained' not in log
    assert maps.taken < 2 * 4 + 1  # of the training itself


def test_a_run_that_trains_the_network_and_one_that_finds_it_go_on_the_same(tmp_path):
    weights = []
    for _ in range(2):
        model = make_model([CE, SEMEDA])  # whose dropout draws random numbers
        runner = make_runner(model, tmp_path, max_iters=2)
        torch.manual_seed(0)
        runner.train()
        weights.append([p.detach().clone() for p in model.decode_head.parameters()])
    assert same(*weights)


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


def test_a_run_that_is_resumed_finds_the_network_again(tmp_path):
    first, second = make_model([CE, SEMEDA]), make_model([CE, SEMEDA])
    run(first, tmp_path)
    log = run(second, tmp_path, max_iters=2, resume=True,
              load_from=str(tmp_path / 'iter_1.pth'))
    assert 'resumed epoch: 0, iter: 1' in log and 'was trained' not in log
    first, second = (weights_of(loss_of(model.decode_head)) for model in (first, second))
    assert same(first, second)


@pytest.fixture
def first_run(tmp_path):
    """The folder of a run that stopped at iteration 1, and its network."""
    model = make_model([CE, SEMEDA])
    run(model, tmp_path / 'first')
    return tmp_path / 'first', weights_of(loss_of(model.decode_head))


def test_a_run_that_is_resumed_in_another_folder_goes_on_with_its_network(first_run, tmp_path):
    folder, before = first_run
    model = make_model([CE, SEMEDA])
    log = run(model, tmp_path / 'second', max_iters=2, resume=True,
              load_from=str(folder / 'iter_1.pth'))
    assert 'is the one in the checkpoint' in log and 'was trained' not in log
    assert same(weights_of(loss_of(model.decode_head)), before)
    assert same(stored(tmp_path / 'second/semantic_edge_net.pth'), before)


@pytest.mark.parametrize('where', ['work directory', 'init_cfg'])
def test_a_run_is_not_resumed_with_another_network(where, first_run, tmp_path):
    filename, loss = tmp_path / 'second/semantic_edge_net.pth', SEMEDA
    filename.parent.mkdir()
    some_net(filename)
    if where == 'init_cfg':
        loss = dict(SEMEDA, init_cfg=dict(type='Pretrained', checkpoint=str(filename)))
    runner = make_runner(make_model([CE, loss]), tmp_path / 'second', max_iters=2, resume=True,
                         load_from=str(first_run[0] / 'iter_1.pth'))
    with pytest.raises(ValueError, match=(
            "began with another semantic edge network than the one in '.*second/semantic_edge_net"
            r"\.pth'\. Delete that file, or leave init_cfg out.* load_from instead of resume")):
        runner.train()


def test_a_checkpoint_without_its_network_is_resumed_with_a_warning(first_run, tmp_path):
    """As older versions wrote them."""
    checkpoint = torch.load(first_run[0] / 'iter_1.pth', weights_only=False)
    del checkpoint['semantic_edge_nets']
    torch.save(checkpoint, tmp_path / 'old.pth')
    log = run(make_model([CE, SEMEDA]), tmp_path / 'second', max_iters=2, resume=True,
              load_from=str(tmp_path / 'old.pth'))
    assert 'goes on with another network than it began with' in log and 'was trained' in log


def test_fine_tuning_is_a_new_run_with_a_network_of_its_own(first_run, tmp_path):
    model = make_model([CE, SEMEDA])
    given = some_net(tmp_path / 'semantic_edge_net.pth')
    run(model, tmp_path, load_from=str(first_run[0] / 'iter_1.pth'))
    assert same(weights_of(loss_of(model.decode_head)), given.parameters())


def test_the_file_has_the_classes_of_the_data_set(tmp_path):
    run(make_model(SEMEDA), tmp_path)
    meta = torch.load(tmp_path / 'semantic_edge_net.pth', weights_only=True)['meta']
    assert meta['dataset_meta']['classes'] == ('cat', 'dog', 'horse')


@pytest.mark.parametrize('where', ['work directory', 'init_cfg'])
def test_a_network_for_other_classes_is_refused(where, tmp_path):
    some_net(tmp_path / 'semantic_edge_net.pth', ('dog', 'cat', 'horse'))
    loss, folder = SEMEDA, tmp_path
    if where == 'init_cfg':
        file = str(tmp_path / 'semantic_edge_net.pth')
        loss, folder = dict(SEMEDA, init_cfg=dict(type='Pretrained', checkpoint=file)), 'other'
    with pytest.raises(ValueError, match=(
            "semantic_edge_net.pth' was made for other classes or another order of them: class 0 "
            "is 'dog' there and 'cat' in the data set")):
        make_runner(make_model([CE, loss]), tmp_path / folder).train()


def test_a_file_without_names_of_classes_is_read_with_a_warning(tmp_path):
    given = some_net(tmp_path / 'semantic_edge_net.pth', classes=None)
    model = make_model(SEMEDA)
    with pytest.warns(UserWarning, match="semantic_edge_net.pth' does not tell the classes"):
        run(model, tmp_path)
    assert same(weights_of(loss_of(model.decode_head)), given.parameters())


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


def test_the_file_of_one_run_serves_as_that_of_another(tmp_path):
    first = make_model(SEMEDA)
    run(first, tmp_path / 'first')
    file = dict(type='Pretrained', checkpoint=str(tmp_path / 'first/semantic_edge_net.pth'))
    second = make_model(dict(SEMEDA, init_cfg=file))
    run(second, tmp_path / 'second')
    first, second = (weights_of(loss_of(model.decode_head)) for model in (first, second))
    assert same(first, second) and not list((tmp_path / 'second').glob('semantic*'))


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


# each starts two processes: 5 s alone
def test_with_two_processes_the_first_one_trains_and_both_have_its_network(
        tmp_path, run_in_two_processes):
    outputs = run_in_two_processes(__file__, tmp_path)
    assert sum(output.count('was trained') for output in outputs) == 1
    assert sum(output.count('The 1 other processes wait') for output in outputs) == 1
    trained, *losses = (torch.load(tmp_path / f'{name}.pth', weights_only=True)
                        for name in ('semantic_edge_net', 'loss_0', 'loss_1'))
    assert all(same(loss, trained['state_dict'].values()) for loss in losses)
    heads = [torch.load(tmp_path / f'head_{rank}.pth', weights_only=True) for rank in range(2)]
    assert same(heads[0].values(), heads[1].values())


def test_with_two_processes_both_end_when_the_first_one_fails(tmp_path, run_in_two_processes):
    outputs = run_in_two_processes(__file__, tmp_path, 'broken', codes=[1, 1])
    first, second = sorted(outputs, key=lambda output: 'could not make' in output)
    assert 'OSError: a label map that cannot be read' in first
    assert ('RuntimeError: Process 0 could not make the semantic edge network: OSError: a label '
            'map that cannot be read') in second


class BrokenMaps(Maps):
    """The first process cannot read its label maps; the others would not notice."""

    def __getitem__(self, index):
        if os.environ['RANK'] == '0':
            raise OSError('a label map that cannot be read')
        return super().__getitem__(index)


def train_as_one_of_two(work_dir, broken=None):
    """What each of the two processes of the tests above does, with other random weights."""
    init_default_scope('mmseg')
    torch.distributed.init_process_group('gloo')
    atexit.register(leave_process_group)
    rank = int(os.environ['RANK'])
    model = make_model([CE, SEMEDA])
    for value in loss_of(model.decode_head).edge_net.buffers():
        value.fill_(rank)
    wrapped = MMDistributedDataParallel(model, broadcast_buffers=False)  # as a Runner wraps it
    make_runner(wrapped, work_dir, maps=BrokenMaps() if broken else None,
                launcher='pytorch').train()
    torch.save(weights_of(loss_of(model.decode_head)), f'{work_dir}/loss_{rank}.pth')
    torch.save(dict(model.decode_head.conv_seg.state_dict()), f'{work_dir}/head_{rank}.pth')


if __name__ == '__main__':
    code = 0
    try:
        train_as_one_of_two(*sys.argv[1:])
    except (OSError, RuntimeError):
        traceback.print_exc()
        code = 1
    sys.exit(code)  # behind the handler: a traceback would refer to the group, which is left now
