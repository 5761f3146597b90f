import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Keep the convolutions of a model in PyTorch's memory format ``torch.channels_last``.

    The maps of a network follow its weights, so the data stay as they are. Values are the same to
    rounding, and so are checkpoints. On a CPU depthwise convolutions gain most.

    Note:
        The weights change in place, before a checkpoint is read and after the optimizer was made;
        both keep the format.
    """

    def before_run(self, runner: Runner) -> None:
        """Change the format of the model's weights of four dimensions."""
        runner.model.to(memory_format=torch.channels_last)
