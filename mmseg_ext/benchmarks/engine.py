"""Benchmark cases of the hooks that are not of one paper."""
from types import SimpleNamespace

import torch
from mmengine.logging import MMLogger
from mmseg.registry import HOOKS, MODELS

from .case import Case, benchmark


@benchmark('CheckpointCompatibilityHook')
def checkpoint_compatibility_hook(device: str, small: bool = False) -> Case:
    """Checking that a checkpoint fits, against loading it, which mmengine does afterwards."""
    torch.manual_seed(0)
    depth, width = (11, 2) if small else (16, 64)
    model = MODELS.build(dict(type='VGG', depth=depth, base_channels=width)).to(device)
    weights = {name: torch.randn_like(value) for name, value in model.state_dict().items()}
    hook = HOOKS.build(dict(type='CheckpointCompatibilityHook'))
    runner = SimpleNamespace(
        model=model, _train_loop=None, _resume=False, logger=MMLogger.get_current_instance())

    def ours() -> None:
        hook.after_load_checkpoint(runner, dict(state_dict=weights))

    def load() -> None:
        model.load_state_dict(weights)

    def parity() -> None:
        for run in (ours, load):
            for value in model.state_dict().values():
                value.zero_()
            run()
            assert all(torch.equal(value, weights[name])
                       for name, value in model.state_dict().items())

    num_bytes = sum(value.nbytes for value in weights.values())
    return Case(
        inputs=f'VGG-{depth}, {num_bytes / 1e6:.1f} MB of weights',
        phase='checking',
        runs={'ours': ours, 'PyTorch: load_state_dict': load},
        floor_bytes=dict(checking=2 * num_bytes),
        parity=parity)
