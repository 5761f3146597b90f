"""Two trainings and a test of the joint config, by the tools."""
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAME = 'vgg11bn-w16_1xb4-800_scenes-128x128'
SMALL = ['train_cfg.max_iters=2', 'train_cfg.val_interval=2', 'default_hooks.checkpoint.interval=2',
         'train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False',
         *(f'{split}_dataloader.{option}' for split in ('val', 'test') for option in (
             'num_workers=0', 'persistent_workers=False', 'dataset.num_images=2'))]


def run(folder, tool, config, *arguments, options=()):
    return subprocess.run(
        [sys.executable, '-W', 'ignore', str(ROOT / f'tools/{tool}.py'),
         str(ROOT / f'configs/instances/{config}_{NAME}.py'), *arguments, '--cfg-options', *SMALL,
         *options], cwd=folder, capture_output=True, text=True)


def test_a_joint_config_is_tested_after_two_trainings(tmp_path):
    """Four processes, each of which imports mmseg: more than ten seconds."""
    checkpoint = f'work_dirs/localization_{NAME}/iter_2.pth'
    train = run(tmp_path, 'train', 'localization')
    assert train.returncode == 0, train.stderr
    assert 'mAPr_vol' in train.stdout + train.stderr  # validated with true semantics
    missing = run(tmp_path, 'test', 'instances', checkpoint)
    sentence = missing.stderr.strip().splitlines()[-1]
    assert sentence.startswith('error: the checkpoint of the semantic network, work_dirs/fcn_')
    assert 'make it by python' in sentence
    train = run(tmp_path, 'train', 'fcn')
    assert train.returncode == 0, train.stderr
    weights = f'model.semantic.init_cfg.checkpoint=work_dirs/fcn_{NAME}/iter_2.pth'
    test = run(tmp_path, 'test', 'instances', checkpoint, '--show-dir', 'pictures',
               options=[weights, 'default_hooks.visualization.interval=1'])
    assert test.returncode == 0, test.stderr
    (file, ) = (path for path in tmp_path.glob(f'work_dirs/instances_{NAME}/*/*.json'))
    found = json.loads(file.read_text())
    assert {'mAPr_50', 'mAPr_70', 'mAPr_vol', 'mnc/mAPr_50', 'mIoU'} <= set(found)
    assert len(list(tmp_path.rglob('test_instances_*.png'))) == 2
