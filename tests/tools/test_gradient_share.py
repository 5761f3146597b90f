import importlib.util
import os.path as osp

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_ext.engine import launch

TOOL = osp.join(osp.dirname(__file__), '../../tools/gradient_share.py')

spec = importlib.util.spec_from_file_location('gradient_share_tool', TOOL)
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)


class FixedNetwork:
    """Predicts the same logits for every batch."""

    def __init__(self, logits):
        self.logits = logits

    def data_preprocessor(self, batch, training):
        assert training
        return batch

    def encode_decode(self, inputs, metas):
        return self.logits


def test_shares_are_those_of_the_gradient_that_autograd_gives():
    torch.manual_seed(0)
    logits = (4 * torch.randn(50, 5, dtype=torch.float64)).requires_grad_()
    labels = torch.randint(5, (50, ))
    F.cross_entropy(logits, labels, reduction='sum').backward()
    gradient = logits.grad.abs().sum(dim=1).sort(descending=True).values
    expected = [100 * (gradient[:n].sum() / gradient.sum()).item() for n in (1, 5, 20, 50)]
    probabilities = logits.detach().softmax(dim=1)[range(50), labels]
    shares = tool.gradient_shares(probabilities, [0.5, 10, 40, 100])  # half a pixel is rounded up
    assert shares == pytest.approx(expected)


def test_ignored_pixels_are_left_out(monkeypatch):
    labels = torch.tensor([[[0, 1, 255], [2, 0, 255]]])
    logits = torch.randn(1, 3, 2, 3)
    sample = SegDataSample(gt_sem_seg=PixelData(data=labels))
    batch = dict(inputs=torch.zeros(1, 3, 2, 3), data_samples=[sample])
    monkeypatch.setattr(Runner, 'build_dataloader', lambda *args, **kwargs: [batch] * 5)
    cfg = Config(dict(train_dataloader=dict()))
    found = tool.true_class_probabilities(FixedNetwork(logits), cfg, 2)
    p = logits[0].softmax(dim=0)
    assert torch.equal(found, torch.stack([p[0, 0, 0], p[1, 0, 1], p[2, 1, 0], p[0, 1, 1]] * 2))
    labels.fill_(255)
    with pytest.raises(SystemExit, match='error: 2 training batches have no labelled pixel'):
        tool.true_class_probabilities(FixedNetwork(logits), cfg, 2)


@pytest.fixture
def checkpoint(tiny_config, tmp_path):
    torch.manual_seed(0)
    path = str(tmp_path / 'a.pth')
    torch.save(dict(state_dict=MODELS.build(Config.fromfile(tiny_config).model).state_dict()), path)
    return path


def test_every_checkpoint_sees_the_same_crops(tiny_config, checkpoint):
    cfg = launch.read_config(str(tiny_config))
    network, _ = launch.load_segmentor(cfg, checkpoint)
    first, second = (tool.true_class_probabilities(network, cfg, 2) for _ in range(2))
    assert torch.equal(first, second)


def test_the_table_has_a_line_for_each_checkpoint(tiny_config, checkpoint, capsys):
    tool.main([str(tiny_config), checkpoint, checkpoint, '--percent', '2.5', '100'])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[-3:]]
    assert lines[0] == ['checkpoint', '2.5', '%', '100', '%']
    assert [(line[0], line[-2:]) for line in lines[1:]] == [(checkpoint, ['100', '%'])] * 2


@pytest.mark.parametrize('arguments, message', [
    (['--batches', '0'], '--batches must be at least 1, got 0'),
    (['--percent', '0'], '--percent must be above 0'), (['--percent', '101'], 'at most 100')])
def test_what_makes_no_sense_is_refused(tiny_config, arguments, message, capsys):
    with pytest.raises(SystemExit):
        tool.main([str(tiny_config), 'a.pth', *arguments])
    assert message in capsys.readouterr().err


def test_a_checkpoint_of_another_network_is_refused(tiny_config, tmp_path):
    path = str(tmp_path / 'other.pth')
    torch.save(dict(state_dict={'fc.weight': torch.zeros(1)}, meta={}), path)
    with pytest.raises(SystemExit, match='other.pth does not fit the model of .*tiny.py'):
        tool.main([str(tiny_config), path])
