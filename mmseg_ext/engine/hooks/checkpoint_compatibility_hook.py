"""A hook that refuses a checkpoint of another model."""
import re
from collections import OrderedDict
from typing import Any, Dict, List, Optional, Tuple

import torch
from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import BaseLoop, Runner
from mmseg.registry import HOOKS
from torch import nn

Shapes = Dict[str, Tuple[torch.Size, torch.Size]]


@HOOKS.register_module()
class CheckpointCompatibilityHook(Hook):
    """Say in one sentence that a checkpoint does not fit the model, where mmengine goes on.

    mmengine loads the weights that fit, leaves the others as initialised and logs a list of
    names; a test then reports the numbers of a network that is partly random.

    - Testing, validating and resuming: every weight has to fit, or a RuntimeError is raised.
    - Training with ``load_from`` (fine-tuning): a part may fit, which is logged once with the
      numbers. No weight at all that fits raises a RuntimeError.

    Prefixes ``module.`` in the checkpoint and wrappers around the model are looked through, and
    missing counters of batch norm (``num_batches_tracked``) are let pass, all as mmengine does.

    Note:
        The weights are loaded here to learn what fits, because modules may rename old names while
        they load; mmengine loads them again right after.
    """

    # Before any other hook changes the checkpoint or the model.
    priority = 'VERY_HIGH'

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare the checkpoint with the model; a RuntimeError says what does not fit."""
        model = runner.model
        while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
            model = model.module
        sentence, num_lacking = self.load(model, checkpoint)
        if not sentence:
            return

        # Runner.train builds its loop before it loads; in Runner.test and Runner.val there is
        # only its config.
        is_training = isinstance(runner._train_loop, BaseLoop)
        if not is_training or runner._resume:
            purpose = 'resumed' if is_training else 'tested'
            raise RuntimeError(f'The checkpoint cannot be {purpose} with this model: {sentence}. '
                               'Use the config that it was trained with.')
        if num_lacking >= self.num_weights(model):
            raise RuntimeError(f'The checkpoint has nothing for this model to start from: '
                               f'{sentence}. Leave load_from out or name another checkpoint.')
        runner.logger.warning(f'The checkpoint fits this model in part, the rest stays as '
                              f'initialised: {sentence}.')

    @classmethod
    def load(cls, model: nn.Module, checkpoint: dict) -> Tuple[str, int]:
        """Load the weights of a checkpoint that fit a model without wrappers.

        Gives a sentence about what does not fit, empty if all does, and the number of weights that
        the model did not get.
        """
        state_dict = checkpoint.get('state_dict', checkpoint)
        given = OrderedDict((re.sub(r'^module\.', '', name), value)
                            for name, value in state_dict.items())
        given._metadata = getattr(state_dict, '_metadata', {})  # versions of the modules
        missing, unexpected, reshaped = cls.load_what_fits(model, given)
        sentence = cls.describe(missing, unexpected, reshaped)
        classes = cls.class_counts(checkpoint, model, reshaped)
        if classes is not None:
            sentence += f'; the checkpoint has {classes[0]} classes, the model {classes[1]}'
        return sentence, len(missing) + len(reshaped)

    @staticmethod
    def load_what_fits(model: nn.Module,
                       given: 'OrderedDict[str, Any]') -> Tuple[List[str], List[str], Shapes]:
        """Load the weights that fit and name those that do not.

        Gives names that are missing in the checkpoint, names that the model does not have, and, by
        name, the two shapes (checkpoint, model) where they differ.
        """
        wanted = model.state_dict()
        reshaped = {
            name: (given[name].shape, wanted[name].shape)
            for name in wanted
            if name in given and given[name].shape != wanted[name].shape
        }
        fitting = given.copy()
        fitting._metadata = given._metadata
        for name in reshaped:
            del fitting[name]
        result = model.load_state_dict(fitting, strict=False)
        missing = [
            name for name in result.missing_keys
            if name not in reshaped and not name.endswith('num_batches_tracked')
        ]
        return missing, list(result.unexpected_keys), reshaped

    @staticmethod
    def num_weights(model: nn.Module) -> int:
        """Number of weights that a checkpoint has to bring, which leaves counters out."""
        return sum(not name.endswith('num_batches_tracked') for name in model.state_dict())

    @staticmethod
    def describe(missing: List[str], unexpected: List[str], reshaped: Shapes) -> str:
        """Counts and one example each of what does not fit."""
        parts = []
        if missing:
            parts.append(f'parameters missing: {len(missing)} (such as {missing[0]})')
        if unexpected:
            parts.append(f'parameters unexpected: {len(unexpected)} (such as {unexpected[0]})')
        if reshaped:
            name, (old, new) = next(iter(reshaped.items()))
            parts.append(f'parameters of another shape: {len(reshaped)} (such as {name}: '
                         f'{tuple(old)} in the checkpoint, {tuple(new)} in the model)')
        return ', '.join(parts)

    @staticmethod
    def class_counts(checkpoint: dict, model: nn.Module,
                     reshaped: Shapes) -> Optional[Tuple[int, int]]:
        """Number of classes of checkpoint and model, where these are known and differ."""
        for name, (old, new) in reshaped.items():
            if '.conv_seg.' in name and old[0] != new[0]:  # mmseg's name of the classifier
                return old[0], new[0]
        classes = checkpoint.get('meta', {}).get('dataset_meta', {}).get('classes')
        num_classes = getattr(getattr(model, 'decode_head', None), 'num_classes', None)
        if reshaped and classes and num_classes and len(classes) != num_classes:
            return len(classes), num_classes
        return None
