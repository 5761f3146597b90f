import importlib.util
import os.path as osp
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn

from mmseg_ext.engine import launch

TOOL = osp.join(osp.dirname(__file__), '../../tools/gradient_share.py')

spec = importlib.util.spec_from_file_location('gradient_share_tool', TOOL)
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)


class FixedNetwork:
    """Predicts the same logits for every batch, with a head that has the given losses."""

    def __init__(self, logits, *losses):
        self.logits = logits
        self.decode_head = nn.Module()
        self.decode_head.loss_decode = nn.ModuleList(map(MODELS.build, losses))
        self.decode_head.ignore_index = 255
        self.decode_head.out_channels = min(3, logits.shape[1])

    def data_preprocessor(self, batch, training):
        assert training
        return batch

    def encode_decode(self, inputs, metas):
        height, width = metas[0]['img_shape']  # mmseg's heads cut the padding off
        return self.logits[..., :height, :width]


CROSS_ENTROPY = dict(type='CrossEntropyLoss', avg_non_ignore=True)
SOBEL = dict(type='SobelEdgeLoss', loss_weight=4.)


@pytest.fixture
def look_at(monkeypatch):
    """Look at two batches of an image of 2x4 pixels; the last column is padding."""

    def look(logits, labels, *losses):
        sample = SegDataSample(gt_sem_seg=PixelData(data=labels), metainfo=dict(img_shape=(2, 3)))
        batch = dict(inputs=torch.zeros(1, 3, 2, 4), data_samples=[sample])

        class Loader(list):
            dataset = SimpleNamespace(metainfo=dict(classes=('a', 'b', 'c')))

        monkeypatch.setattr(Runner, 'build_dataloader', lambda *args, **kwargs: Loader([batch] * 5))
        network = logits if isinstance(logits, FixedNetwork) else FixedNetwork(logits, *losses)
        return tool.look_at(network, Config(dict(train_dataloader=dict())), 2)

    return look


LABELS = torch.tensor([[[0, 1, 2, 255], [2, 0, 255, 255]]])


def test_the_gradient_of_the_cross_entropy_is_twice_what_is_left_to_one(look_at):
    logits = torch.randn(1, 3, 2, 4, dtype=torch.float64)
    pixels = look_at(logits, LABELS, CROSS_ENTROPY)
    assert list(pixels.gradients) == ['loss_ce']
    torch.testing.assert_close(
        pixels.gradients['loss_ce'], 2 / 5 * (1 - pixels.probabilities.double()))


def test_ignored_pixels_and_padding_are_left_out(look_at):
    logits = torch.randn(1, 3, 2, 4)
    pixels = look_at(logits, LABELS, CROSS_ENTROPY)
    p = logits[0].softmax(dim=0)
    expected = torch.stack([p[0, 0, 0], p[1, 0, 1], p[2, 0, 2], p[2, 1, 0], p[0, 1, 1]] * 2)
    assert torch.equal(pixels.probabilities, expected)
    assert pixels.labels.tolist() == [0, 1, 2, 2, 0] * 2
    wrong = (logits.argmax(dim=1) != LABELS)[LABELS < 255]
    assert torch.equal(pixels.wrong, torch.cat([wrong] * 2))


def test_of_several_stages_the_last_counts(look_at):
    stages = torch.randn(1, 6, 2, 4)
    pixels, last = (look_at(logits, LABELS, CROSS_ENTROPY) for logits in (stages, stages[:, 3:]))
    assert torch.equal(pixels.probabilities, last.probabilities)
    assert torch.equal(pixels.gradients['loss_ce'], last.gradients['loss_ce'])


def test_losses_of_one_name_are_added_as_mmseg_adds_them(look_at):
    logits = torch.randn(1, 3, 2, 4)
    one, two = (look_at(logits, LABELS, *[CROSS_ENTROPY] * n) for n in (1, 2))
    assert list(two.gradients) == ['loss_ce']
    torch.testing.assert_close(two.gradients['loss_ce'], 2 * one.gradients['loss_ce'])


def test_of_a_cascade_the_last_head_counts(look_at):
    logits = torch.randn(1, 3, 2, 4)
    network = FixedNetwork(logits, CROSS_ENTROPY)
    network.decode_head = nn.ModuleList([nn.Module(), network.decode_head])
    plain, cascade = look_at(logits, LABELS, CROSS_ENTROPY), look_at(network, LABELS)
    assert torch.equal(plain.gradients['loss_ce'], cascade.gradients['loss_ce'])


def test_one_logit_is_a_sentence(look_at):
    with pytest.raises(SystemExit, match='error: the head has one logit for each pixel'):
        look_at(torch.randn(1, 1, 2, 4), LABELS, CROSS_ENTROPY)


def test_labels_without_a_class_are_a_sentence(look_at):
    with pytest.raises(SystemExit, match='error: 2 training batches have no labelled pixel'):
        look_at(torch.randn(1, 3, 2, 4), torch.full_like(LABELS, 255), CROSS_ENTROPY)


def test_the_sum_of_losses_has_the_gradient_of_their_sum(look_at):
    logits = torch.randn(1, 3, 2, 4)
    pixels = look_at(logits, LABELS, CROSS_ENTROPY, SOBEL)
    leaf = logits.clone().requires_grad_()
    losses = [MODELS.build(loss)(leaf, LABELS, ignore_index=255) for loss in (CROSS_ENTROPY, SOBEL)]
    sum(losses).backward()
    assert list(pixels.gradients) == ['loss_ce', 'loss_sobel', 'sum']
    expected = leaf.grad.abs().sum(dim=1)[LABELS < 255]
    torch.testing.assert_close(pixels.gradients['sum'], torch.cat([expected] * 2))


def test_the_table_gives_the_shares_of_groups_of_pixels():
    pixels = tool.Pixels(
        ('sky', 'pole'), labels=torch.tensor([0, 1, 0, 0]),
        probabilities=torch.tensor([.9, .1, .8, .4]),
        wrong=torch.tensor([False, True, False, True]),
        gradients=dict(loss_ce=torch.tensor([1., 9., 2., 8.])))
    lines = tool.share_table(pixels, [5, 50]).splitlines()  # 5 % of 4 pixels is one
    assert [line.split() for line in lines] == [
        ['per', 'cent', 'of', 'pixels', 'loss_ce'],
        ['hardest', '5', '%', '25.0', '45.0'],
        ['hardest', '50', '%', '50.0', '85.0'],
        ['wrong', '50.0', '85.0'],
        ['sky', '75.0', '55.0'],
        ['pole', '25.0', '45.0']]


@pytest.fixture
def checkpoint(tiny_config, tmp_path):
    torch.manual_seed(0)
    path = str(tmp_path / 'a.pth')
    torch.save(dict(state_dict=MODELS.build(Config.fromfile(tiny_config).model).state_dict()), path)
    return path


def test_every_checkpoint_sees_the_same_crops(tiny_config, checkpoint):
    cfg = launch.read_config(str(tiny_config))
    network, _ = launch.load_segmentor(cfg, checkpoint)
    first, second = (tool.look_at(network, cfg, 2) for _ in range(2))
    assert torch.equal(first.probabilities, second.probabilities)


def test_every_checkpoint_has_a_table_with_every_class(tiny_config, checkpoint, capsys):
    tool.main([str(tiny_config), checkpoint, checkpoint, '--percent', '2.5', '100'])
    lines = capsys.readouterr().out.splitlines()
    assert lines.count(checkpoint) == 2
    table = [line.split() for line in lines[lines.index(checkpoint) + 1:][:4 + 12]]
    assert table[2][-2:] == ['100.0', '100.0']
    assert sum(float(line[-1]) for line in table[4:]) == pytest.approx(100, abs=0.5)


def test_semeda_without_an_edge_network_is_a_sentence(tiny_config, checkpoint):
    with pytest.raises(SystemExit, match='SEMEDALoss has no edge network; name its file'):
        tool.main([str(tiny_config), checkpoint, '--cfg-options',
                   'model.decode_head.loss_decode.type=SEMEDALoss'])


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
