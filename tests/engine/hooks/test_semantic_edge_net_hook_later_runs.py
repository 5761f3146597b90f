"""Runs that find a network: one that goes on, one that is resumed, one that has another's file."""
import pytest
import torch
from semantic_edge_net_runs import (
    CE,
    SEMEDA,
    Maps,
    loss_of,
    make_model,
    make_runner,
    run,
    same,
    some_net,
    stored,
    weights_of,
)


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


def test_the_file_of_one_run_serves_as_that_of_another(tmp_path):
    first = make_model(SEMEDA)
    run(first, tmp_path / 'first')
    file = dict(type='Pretrained', checkpoint=str(tmp_path / 'first/semantic_edge_net.pth'))
    second = make_model(dict(SEMEDA, init_cfg=file))
    run(second, tmp_path / 'second')
    first, second = (weights_of(loss_of(model.decode_head)) for model in (first, second))
    assert same(first, second) and not list((tmp_path / 'second').glob('semantic*'))
