"""What the tests of all families share: read a config once, make it small, compare its settings."""
import copy
import functools
from pathlib import Path

import mmengine.config.utils
import pytest
from mmengine import Config

CONFIGS = Path(__file__).parents[2] / 'configs'
WIDTH = 4
MISSING = '(not set)'


@pytest.fixture(autouse=True, scope='session')
def read_the_model_index_once():
    """mmengine parses the 50 files of mmseg's index for each 'mmseg::' that it meets."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mmengine.config.utils, 'load',
                      functools.lru_cache(maxsize=None)(mmengine.config.utils.load))
        yield


@pytest.fixture(scope='session')
def read(read_the_model_index_once):
    """Read a config, 'lrn/NAME' or a path; from its file once in all tests."""
    once = functools.lru_cache(maxsize=None)(Config.fromfile)

    def read(name):
        path = name if isinstance(name, Path) else CONFIGS / f'{name}.py'
        return copy.deepcopy(once(path))

    return read


@pytest.fixture(scope='session')
def narrow():
    """Keep what a config composes, with few channels, 50 layers of a ResNet and small images.

    The tests need not train a VGG-16. What is made small is pinned by the tests of settings.
    """
    return _narrow


@pytest.fixture(scope='session')
def pinned():
    """Compare settings of a resolved config with a table of the paper.

    A row is (place in the paper, path in the config, value). In a path, a part that names a class
    picks the entry of this ``type`` from a list, of which there may be one; where a config sets
    nothing the value is '(not set)'.
    """

    def pinned(cfg, *tables):
        rows = [row for table in tables for row in table]
        found = {path: _plain(_at(cfg, path.split('.'))) for _, path, _ in rows}
        assert found == {path: _plain(value) for _, path, value in rows}

    return pinned


def _at(value, path):
    for part in path:
        if isinstance(value, (list, tuple)):
            if part.isdigit():
                value = value[int(part)] if int(part) < len(value) else MISSING
            else:
                found = [entry for entry in value if entry['type'] == part]
                assert len(found) < 2, f'{len(found)} entries of the type {part}'
                value = found[0] if found else MISSING
        elif hasattr(value, 'get'):
            value = value.get(part, MISSING)
        else:
            return MISSING
    return value


def _plain(value):
    if hasattr(value, 'items'):  # mmengine adds '_scope_' where a config inherits from mmseg's
        return {key: _plain(entry) for key, entry in value.items() if key != '_scope_'}
    return tuple(map(_plain, value)) if isinstance(value, (list, tuple)) else value


def _narrow(cfg):
    if cfg.model.type == 'SemanticEdgeDetector':  # small as it is
        return cfg
    if cfg.model.type == 'PixelBoxInstanceSegmentor':
        for network in filter(None, (cfg.model.localization, cfg.model.get('semantic'))):
            init_cfg = network.get('init_cfg')
            _narrow(Config(dict(model=network)))
            network.update(init_cfg=init_cfg)
        return cfg
    model, backbone, head = cfg.model, cfg.model.backbone, cfg.model.decode_head
    if backbone.type == 'VGG':
        backbone.base_channels = WIDTH
        maps = [WIDTH * (1, 2, 4, 8, 8, 8)[i] for i in backbone.get('out_indices', range(6))]
        several = isinstance(head.in_channels, (list, tuple))
        head.in_channels = maps if several else maps[0]
        if 'size' in model.data_preprocessor.get('test_cfg', {}):
            model.data_preprocessor.update(size=(40, 56), test_cfg=dict(size=(64, 64)))
        if 'channels' in head and 'out_indices' in backbone:  # fully connected layers
            head.channels = WIDTH
            if isinstance(head.loss_decode.get('class_weight'), str):  # a file made from the data
                head.loss_decode.class_weight = [1.] * head.num_classes
    else:
        _narrow_residual_network(model, backbone, head)
        model.data_preprocessor.pop('size_divisor', None)
        model.data_preprocessor.size = (40, 56)
    model.pretrained = None
    backbone.init_cfg = None
    losses = head.get('loss_decode') if isinstance(head, dict) else None
    for loss in losses if isinstance(losses, list) else []:
        loss.pop('init_cfg', None)  # a file that another training makes
    return cfg


def _narrow_residual_network(model, backbone, head):
    if backbone.type in ('EfficientNetLite', 'HRNet'):  # small as they are
        return
    if backbone.type == 'Xception':
        backbone.base_channels = WIDTH // 2
    else:  # a ResNet
        backbone.update(
            base_channels=WIDTH, stem_channels=WIDTH, depth=min(backbone.depth, 50))
    top_channels = WIDTH * (8 if backbone.depth < 50 else 32)
    heads = [(head, top_channels)]
    if model.get('auxiliary_head'):
        heads.append((model.auxiliary_head, top_channels // 2))
    for one, channels in heads:
        one.in_channels = channels
        few = dict(channels=WIDTH, hidden_channels=WIDTH, c1_channels=WIDTH,
                   c1_in_channels=top_channels // 8)
        one.update({key: value for key, value in few.items() if key in one})
