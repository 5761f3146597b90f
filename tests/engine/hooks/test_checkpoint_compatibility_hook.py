import itertools

import pytest
import torch
from mmengine.model import BaseModel, BaseTTAModel, MMDistributedDataParallel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from mmseg_ext.engine.hooks import CheckpointCompatibilityHook

RUN_NUMBERS = itertools.count()


class Head(nn.Module):

    def __init__(self, num_classes):
        super().__init__()
        self.num_classes = num_classes
        self.norm = nn.BatchNorm2d(4)
        self.conv_seg = nn.Conv2d(4, num_classes, 1)


class Net(BaseModel):

    def __init__(self, num_classes=11):
        super().__init__()
        self.backbone = nn.Conv2d(3, 4, 1)
        self.decode_head = Head(num_classes)

    def forward(self, inputs, mode='tensor'):
        head = self.decode_head
        return dict(loss=head.conv_seg(head.norm(self.backbone(inputs))).square().mean())


class TTA(BaseTTAModel):

    def merge_preds(self, data_samples_list):
        return data_samples_list


class Renaming(Net):
    """Reads checkpoints of its older self, in which the backbone was called ``trunk``."""

    def _load_from_state_dict(self, state_dict, *args):
        for name in [name for name in state_dict if name.startswith('trunk.')]:
            state_dict[name.replace('trunk.', 'backbone.')] = state_dict.pop(name)
        super()._load_from_state_dict(state_dict, *args)


@pytest.fixture
def make_runner(tmp_path):
    """A runner whose ``load_from`` holds the given content; training for one iteration."""

    def make(model, checkpoint, train=False, resume=False):
        torch.save(checkpoint, tmp_path / 'given.pth')
        training = {} if not train else dict(
            train_dataloader=DataLoader([dict(inputs=torch.rand(3, 2, 2))] * 2, batch_size=2),
            train_cfg=dict(by_epoch=False, max_iters=1),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.)))
        return Runner(model, str(tmp_path), load_from=str(tmp_path / 'given.pth'), resume=resume,
                      custom_hooks=[CheckpointCompatibilityHook()],
                      experiment_name=f'hook_{next(RUN_NUMBERS)}', **training)

    return make


def test_fitting_checkpoint_is_loaded_for_a_test(make_runner):
    source, model = Net(), Net()
    make_runner(model, dict(state_dict=source.state_dict())).load_or_resume()
    torch.testing.assert_close(model.state_dict(), source.state_dict())


def test_prefix_and_missing_counters_pass_as_in_mmengine(make_runner):
    source, model = Net(), Net()
    weights = {f'module.{name}': value for name, value in source.state_dict().items()
               if not name.endswith('num_batches_tracked')}
    make_runner(model, weights).load_or_resume()  # without 'state_dict' around it as well
    torch.testing.assert_close(model.state_dict(), source.state_dict())


def test_checkpoint_with_old_names_that_the_model_translates_fits(make_runner):
    source, model = Net(), Renaming()
    weights = {name.replace('backbone.', 'trunk.'): value
               for name, value in source.state_dict().items()}
    make_runner(model, dict(state_dict=weights)).load_or_resume()
    torch.testing.assert_close(model.backbone.weight, source.backbone.weight)


def test_counts_and_examples_of_another_model_are_named(make_runner):
    weights = Net().state_dict()
    weights['neck.weight'] = weights.pop('backbone.weight')
    weights['backbone.bias'] = torch.zeros(5)
    with pytest.raises(RuntimeError, match=(
            r'cannot be tested with this model: parameters missing: 1 \(such as backbone.weight\), '
            r'parameters unexpected: 1 \(such as neck.weight\), parameters of another shape: 1 '
            r'\(such as backbone.bias: \(5,\) in the checkpoint, \(4,\) in the model\)\. Use')):
        make_runner(Net(), dict(state_dict=weights)).load_or_resume()


@pytest.mark.parametrize('wrap', [Net, lambda n: TTA(module=Net(n))], ids=['plain', 'tta'])
def test_other_number_of_classes_is_named(make_runner, wrap):
    with pytest.raises(RuntimeError, match='the checkpoint has 21 classes, the model 11'):
        make_runner(wrap(11), dict(state_dict=Net(21).state_dict())).load_or_resume()


def test_number_of_classes_comes_from_the_data_set_where_no_classifier_tells(make_runner):
    weights = Net().state_dict()
    weights['backbone.bias'] = torch.zeros(21)
    checkpoint = dict(state_dict=weights, meta=dict(dataset_meta=dict(classes=['a'] * 21)))
    with pytest.raises(RuntimeError, match='the checkpoint has 21 classes, the model 11'):
        make_runner(Net(), checkpoint).load_or_resume()


def test_resuming_needs_every_weight(make_runner):
    runner = make_runner(Net(), dict(state_dict=Net(21).state_dict()), train=True, resume=True)
    with pytest.raises(RuntimeError, match='cannot be resumed with this model: .*shape: 2'):
        runner.train()


def test_fine_tuning_takes_what_fits_and_warns_once(make_runner, tmp_path):
    source, model = Net(21), Net()
    runner = make_runner(model, dict(state_dict=source.state_dict()), train=True)
    runner.train()
    torch.testing.assert_close(model.backbone.weight, source.backbone.weight)
    log = next(tmp_path.glob('*/*.log')).read_text()
    assert log.count('fits this model in part') == 1
    assert 'of another shape: 2 (such as decode_head.conv_seg.weight: (21, 4, 1, 1)' in log


def test_fine_tuning_from_nothing_is_refused(make_runner):
    runner = make_runner(Net(), dict(state_dict=dict(weight=torch.zeros(1))), train=True)
    with pytest.raises(RuntimeError, match='nothing for this model to start from: .*missing: 8 '
                       '.* Leave load_from out'):
        runner.train()


def test_wrapped_model_is_compared_by_its_own_names(make_runner, tmp_path):
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    try:
        source, model = Net(), MMDistributedDataParallel(Net())
        make_runner(model, dict(state_dict=source.state_dict())).load_or_resume()
        torch.testing.assert_close(model.module.state_dict(), source.state_dict())
        with pytest.raises(RuntimeError, match='21 classes'):
            make_runner(model, dict(state_dict=Net(21).state_dict())).load_or_resume()
    finally:
        torch.distributed.destroy_process_group()
