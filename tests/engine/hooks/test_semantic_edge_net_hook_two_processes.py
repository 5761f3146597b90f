"""Two processes that train on CPU cores: this file is also what each of them runs."""
import atexit
import os
import sys
import traceback

import torch
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import init_default_scope
from semantic_edge_net_runs import (
    CE,
    SEMEDA,
    Maps,
    loss_of,
    make_model,
    make_runner,
    same,
    weights_of,
)

from mmseg_ext.engine.cpu_training import leave_process_group


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
