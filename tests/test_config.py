import subprocess
import sys
from pathlib import Path

import mmseg
import pytest

from mmseg_ext import config, config_path

STOCK_TRAIN = Path(mmseg.__file__).parent / '.mim/tools/train.py'
QUICKSTART = 'quickstart/lrn_vgg11bn-w16_1xb4-800_scenes-128x128.py'


def test_another_project_inherits_one_of_ours_with_the_tool_of_mmseg(tmp_path):
    """Which has not imported mmseg_ext when it reads the config; a list may name several bases."""
    (tmp_path / 'mine.py').write_text(f"""
_base_ = [__import__('mmseg_ext').config_path({QUICKSTART!r})]
model = dict(backbone=dict(base_channels=4), decode_head=dict(in_channels=[4, 8, 16, 32, 32, 32]))
data = dict(num_workers=0, persistent_workers=False, dataset=dict(num_images=2, size=(32, 32)))
train_dataloader = dict(batch_size=2, **data)
val_dataloader = data
train_cfg = dict(max_iters=1, val_interval=1)
""")
    run = subprocess.run([sys.executable, '-W', 'ignore', str(STOCK_TRAIN), 'mine.py'],
                         cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    assert 'mIoU_s6' in run.stdout + run.stderr
    assert (tmp_path / 'work_dirs/mine/iter_1.pth').is_file()


def test_the_folder_of_all_configs_has_the_tools_beside_it():
    assert (Path(config_path()) / QUICKSTART).is_file()
    assert (Path(config_path()).parent / 'tools/train.py').is_file()


def test_a_name_that_is_not_there_gets_similar_ones():
    with pytest.raises(FileNotFoundError, match=f"no config 'quickstart/lrn.py'.*{QUICKSTART}"):
        config_path('quickstart/lrn.py')


def test_a_folder_that_was_not_installed_gets_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(config, 'CONFIGS', str(tmp_path / 'no'))
    with pytest.raises(FileNotFoundError, match='pip install --no-build-isolation'):
        config_path(QUICKSTART)
