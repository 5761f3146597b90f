import importlib.util
import os
import os.path as osp

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

from mmseg_ext.models import SemanticEdgeNet

TOOL = osp.join(osp.dirname(__file__), '../../tools/show_semeda.py')
NUM_CLASSES = 12

spec = importlib.util.spec_from_file_location('show_semeda_tool', TOOL)
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)


@pytest.fixture
def make_model(tiny_config, tmp_path):
    """A model with random weights: ``make(name, ...)`` gives the paths of config and checkpoint."""
    def make(name, seed=0, **entries):
        cfg = Config.fromfile(tiny_config)
        cfg.merge_from_dict(entries)
        config, checkpoint = tmp_path / f'{name}.py', tmp_path / f'{name}.pth'
        cfg.dump(config)
        torch.manual_seed(seed)
        model = MODELS.build(cfg.model)
        model.init_weights()
        torch.save(dict(state_dict=model.state_dict(), meta={}), checkpoint)
        return str(config), str(checkpoint)

    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield make
    torch.set_num_threads(num_threads)


@pytest.fixture
def make_edge_net(tmp_path):
    """Random weights as SemanticEdgeNetHook writes them: ``make(name)`` gives network and path."""
    def make(name='edges', seed=1, **kwargs):
        torch.manual_seed(seed)
        net = SemanticEdgeNet(**{'num_classes': NUM_CLASSES, **kwargs})
        path = str(tmp_path / f'{name}.pth')
        net.save(path)
        return net, path

    return make


def semeda(**kwargs):
    """Entries of a config that trains with the loss."""
    return {'model.decode_head.loss_decode': [
        dict(type='CrossEntropyLoss'), dict(type='SEMEDALoss', num_classes=NUM_CLASSES, **kwargs)]}


@pytest.fixture
def drawn(monkeypatch):
    """The arguments of the sheets that are drawn, by kind."""
    calls = dict(entropy=[], embedding=[])

    def keep(kind):
        draw = getattr(tool, f'draw_{kind}_sheet')

        def draw_and_keep(*args):
            calls[kind].append(args)
            return draw(*args, tile_width=48)

        monkeypatch.setattr(tool, f'draw_{kind}_sheet', draw_and_keep)

    keep('entropy')
    keep('embedding')
    return calls


def test_pictures_are_of_images_evenly_from_the_whole_set(make_model, tmp_path, capsys):
    out = tmp_path / 'out'
    tool.main([*make_model('a'), '--images', '3', '--out-dir', str(out)])
    names = sorted(os.listdir(out))
    assert names == [f'seed0_{i:06d}_entropy.png' for i in (0, 4, 7)]
    assert cv2.imread(str(out / names[0])).shape[1] == 2 * 480 + 4
    printed = capsys.readouterr().out
    assert f'3 of 8 images in {out}' in printed
    assert 'no embeddings: the model has no SEMEDALoss' in printed and '--edge-net' in printed


def test_the_files_hold_what_is_drawn(make_model, make_edge_net, tmp_path, monkeypatch):
    pictures = {kind: np.full((2, 3, 3), colour, np.uint8)
                for kind, colour in (('entropy', [10, 20, 30]), ('embedding', [40, 50, 60]))}
    for kind, picture in pictures.items():
        monkeypatch.setattr(tool, f'draw_{kind}_sheet', lambda *args, picture=picture: picture)
    _, path = make_edge_net()
    tool.main([*make_model('a'), '--edge-net', path, '--images', '1', '--out-dir', str(tmp_path)])
    for kind, name in (('entropy', 'entropy'), ('embedding', 'embeddings')):
        stored = cv2.imread(str(tmp_path / f'seed0_000000_{name}.png'))
        np.testing.assert_array_equal(stored[..., ::-1], pictures[kind])


def test_models_stand_beside_each_other_in_the_given_order(make_model, tmp_path, drawn):
    first, second = make_model('a_b_c'), make_model('a_d_c', seed=1)
    tool.main([*first, '--against', ':'.join(second), '--images', '1', '--out-dir',
               str(tmp_path / 'out')])
    tool.main([*second, '--images', '1', '--out-dir', str(tmp_path / 'out')])
    both, alone = [[(name, p.numpy()) for name, p in sheet[2]] for sheet in drawn['entropy']]
    assert [name for name, _ in both] == ['b', 'd'] and alone[0][0] == ''
    np.testing.assert_array_equal(both[1][1], alone[0][1])
    assert np.abs(both[0][1] - both[1][1]).max() > 0.01


def test_image_truth_and_probabilities_belong_together(make_model, tmp_path, drawn):
    """The network sees half of the size; picture and probabilities are those of its classes."""
    half = [dict(type='Resize', scale=(24, 24)), dict(type='PackSegInputs')]
    config, checkpoint = make_model('a', **{'val_dataloader.dataset.pipeline': half})
    tool.main([config, checkpoint, '--images', '1', '--out-dir', str(tmp_path / 'out')])
    (image, truth, ((_, p), ), palette, classes), = drawn['entropy']
    assert image.shape == (24, 24, 3) and image.dtype == np.uint8
    assert p.shape == (NUM_CLASSES, 48, 48) and len(palette) == len(classes) == NUM_CLASSES
    np.testing.assert_allclose(p.sum(dim=0), 1, atol=1e-5)

    cfg = Config.fromfile(config)
    dataset = tool.DATASETS.build(cfg.val_dataloader.dataset)
    item = dataset[0]
    np.testing.assert_array_equal(image[..., ::-1], item['inputs'].numpy().transpose(1, 2, 0))
    np.testing.assert_array_equal(truth, item['data_samples'].gt_sem_seg.data[0])
    model = MODELS.build(cfg.model)
    model.load_state_dict(torch.load(checkpoint)['state_dict'])
    sample = model.eval().test_step(dict(inputs=[item['inputs']],
                                         data_samples=[item['data_samples']]))[0]
    np.testing.assert_array_equal(p.argmax(dim=0), sample.pred_sem_seg.data[0])


def test_embeddings_are_those_of_the_first_prediction_in_the_edge_network(
        make_model, make_edge_net, tmp_path, drawn):
    net, path = make_edge_net()
    tool.main([*make_model('a'), '--against', ':'.join(make_model('b', seed=1)), '--edge-net', path,
               '--images', '1', '--out-dir', str(tmp_path / 'out')])
    assert sorted(os.listdir(tmp_path / 'out')) == [
        'seed0_000000_embeddings.png', 'seed0_000000_entropy.png']
    (image, _, ((_, p), _), *colours), = drawn['entropy']
    (same_image, prediction, layers, *same_colours), = drawn['embedding']
    assert same_image is image and same_colours == colours
    np.testing.assert_array_equal(prediction, p.argmax(dim=0))
    with torch.no_grad():
        expected = net(p[None])
    assert len(layers) == 2
    for layer, wanted in zip(layers, expected):
        torch.testing.assert_close(layer, wanted[0])


@pytest.mark.parametrize('source', ['the hook', 'a hook with a name', 'init_cfg', 'the option'])
def test_the_edge_network_is_that_of_the_training_unless_another_is_given(
        make_model, make_edge_net, source):
    make_edge_net('semantic_edge_net', seed=0, channels=(4, 6))
    net, path = make_edge_net('semantic_edge_net' if source == 'the hook' else 'own',
                              channels=(4, 6))
    entries = semeda(channels=(4, 6))
    if source == 'a hook with a name':
        entries['custom_hooks'] = [dict(type='SemanticEdgeNetHook', filename='own.pth')]
    elif source == 'init_cfg':
        entries = semeda(channels=(4, 6), init_cfg=dict(type='Pretrained', checkpoint=path))
    model = tool.load_model(*make_model('a', **entries), '', None)
    found = tool.find_edge_net(model, path if source == 'the option' else None)
    for name, weight in net.tensors().items():
        assert torch.equal(found.tensors()[name].cpu(), weight)


def test_the_edge_network_in_the_checkpoint_goes_before_the_file_beside_it(
        make_model, make_edge_net, tmp_path, drawn):
    make_edge_net('semantic_edge_net', seed=1)
    net, _ = make_edge_net('other', seed=2)
    config, checkpoint = make_model('a', **semeda())
    content = torch.load(checkpoint)
    torch.save(dict(content, semantic_edge_nets={'decode_head.loss': net.content()}), checkpoint)
    tool.main([config, checkpoint, '--images', '1', '--out-dir', str(tmp_path / 'out')])
    probabilities = torch.as_tensor(drawn['entropy'][0][2][0][1])
    expected = net(probabilities[None])[0][0].detach().numpy()
    np.testing.assert_allclose(np.asarray(drawn['embedding'][0][2][0].cpu()), expected, atol=1e-6)


def test_a_class_agnostic_edge_network_is_drawn_for_a_model_without_the_loss(
        make_model, make_edge_net, tmp_path, drawn):
    _, path = make_edge_net(class_agnostic=True)
    tool.main([*make_model('a'), '--edge-net', path, '--images', '1', '--out-dir', str(tmp_path)])
    assert len(drawn['embedding']) == 1


def test_without_the_edge_network_of_the_training_there_are_no_embeddings(make_model, tmp_path,
                                                                          capsys):
    tool.main([*make_model('a', **semeda()), '--images', '1', '--out-dir', str(tmp_path / 'out')])
    assert os.listdir(tmp_path / 'out') == ['seed0_000000_entropy.png']
    assert f'no embeddings: the edge network of the training, {tmp_path}/semantic_edge_net.pth, ' \
           'does not exist; give one with --edge-net' in capsys.readouterr().out


@pytest.mark.parametrize('models, names', [
    ([('c/lrn_r18.py', 'x.pth')], ['']),
    ([('c/lrn_r18_voc.py', 'x.pth'), ('c/lrn-semeda_r18_voc.py', 'x.pth')], ['lrn', 'lrn-semeda']),
    ([('c/a_r18_b.py', 'x.pth'), ('c/a_b.py', 'x.pth')], ['r18_b', 'b']),
    ([('c/a.py', 'w/s1/iter_9.pth'), ('c/a.py', 'w/s2/iter_9.pth')], ['s1', 's2']),
    ([('a.py', 's1.pth'), ('a.py', 's2.pth'), ('b.py', 's3.pth')], ['a s1', 'a s2', 'b s3']),
], ids=['one', 'configs differ', 'one name within the other', 'checkpoints differ', 'both'])
def test_models_are_called_by_what_they_do_not_share(models, names):
    assert tool.model_names(models) == names


def test_checkpoints_may_have_a_colon_and_the_folder_has_the_name_of_the_config():
    args = tool.parse_args(['configs/a.py', 'a.pth', '--against', 'b.py:https://host/b.pth'])
    assert args.models == [('configs/a.py', 'a.pth'), ('b.py', 'https://host/b.pth')]
    assert args.out_dir == osp.join('work_dirs', 'a', 'semeda')


@pytest.mark.parametrize('options, message', [
    (['--images', '0'], '--images must be at least 1, got 0'),
    (['--against', 'b.pth'], '--against takes CONFIG.py:CHECKPOINT, got b.pth'),
])
def test_wrong_options_are_refused(options, message, capsys):
    with pytest.raises(SystemExit):
        tool.main(['a.py', 'a.pth', *options])
    assert message in capsys.readouterr().err


def test_a_missing_checkpoint_is_refused(make_model):
    config, _ = make_model('a')
    with pytest.raises(SystemExit, match='checkpoint nowhere.pth does not exist; .*train.py'):
        tool.main([config, 'nowhere.pth'])


def test_a_checkpoint_of_another_model_is_refused_with_both_names(make_model):
    config, _ = make_model('a')
    _, other = make_model('b', **{'model.decode_head.channels': 8})
    with pytest.raises(SystemExit, match='b.pth does not fit .*a.py: parameters of another'):
        tool.main([config, other])


def test_a_file_without_an_edge_network_is_refused(make_model):
    config, checkpoint = make_model('a')
    with pytest.raises(SystemExit, match="a.pth' holds no semantic edge network"):
        tool.main([config, checkpoint, '--edge-net', checkpoint])


def test_an_edge_network_of_other_classes_is_refused(make_model, make_edge_net):
    _, path = make_edge_net(num_classes=5)
    with pytest.raises(SystemExit, match="edges.pth' was made for 5 classes.*num_classes=12"):
        tool.main([*make_model('a'), '--edge-net', path])


def test_models_of_other_images_are_refused(make_model, tmp_path):
    other = make_model('b', **{'val_dataloader.dataset.seed': 3})
    with pytest.raises(SystemExit, match='image 0 of b is seed3_000000, not seed0_000000'):
        tool.main([*make_model('a'), '--against', ':'.join(other), '--out-dir',
                   str(tmp_path / 'out')])
    assert not (tmp_path / 'out').exists()


def test_a_config_without_validation_is_refused(make_model):
    config, checkpoint = make_model('a')
    with pytest.raises(SystemExit, match="a.py has no 'val_dataloader'"):
        tool.main([config, checkpoint, '--cfg-options', 'val_dataloader=None'])


def test_a_pipeline_without_the_truth_is_refused(make_model, tmp_path):
    cv2.imwrite(str(tmp_path / 'a.jpg'), np.zeros((48, 48, 3), np.uint8))
    dataset = dict(
        _delete_=True, type='BaseSegDataset', data_prefix=dict(img_path=str(tmp_path)),
        metainfo=dict(classes=('a', ), palette=[[0, 0, 0]]), test_mode=True,
        pipeline=[dict(type='LoadImageFromFile'), dict(type='PackSegInputs')])
    with pytest.raises(SystemExit, match='gives no ground truth: it needs LoadAnnotations'):
        tool.main([*make_model('a', **{'val_dataloader.dataset': dataset})])
