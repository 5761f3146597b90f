import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mmseg_ext import tools
from mmseg_ext.tools import tool_command

ROOT = Path(__file__).resolve().parents[1]


def test_in_a_checkout_the_command_has_the_paths_of_the_readme(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert tool_command('train.py', 'configs/a.py') == 'python tools/train.py configs/a.py'
    assert tool_command('dist_train.sh', 'CONFIG', '2') == 'tools/dist_train.sh CONFIG 2'


def test_in_another_folder_the_command_runs_as_it_stands(monkeypatch, tmp_path):
    """A folder that has tools of its own, as mmseg has, is no checkout of this package."""
    (tmp_path / 'tools').mkdir()
    monkeypatch.chdir(tmp_path)
    python, path, option = shlex.split(tool_command('plot_trimap.py', '--help'))
    assert (python, option) == ('python', '--help') and os.path.isabs(path)
    subprocess.run([sys.executable, path, option], check=True, stdout=subprocess.DEVNULL)
    config = shlex.split(tool_command('train.py', 'configs/semeda/edges_1xb8-2k_camvid.py'))[-1]
    assert Path(config).is_file()


@pytest.mark.parametrize('folder', ['site-packages', 'site packages'])
def test_an_installed_package_has_its_tools_inside(monkeypatch, tmp_path, folder):
    tool = tmp_path / folder / 'mmseg_ext/.mim/tools/train.py'
    tool.parent.mkdir(parents=True)
    tool.touch()
    monkeypatch.setattr(tools, 'MIM', str(tool.parents[1]))
    assert shlex.split(tool_command('train.py')) == ['python', str(tool)]


def test_a_package_that_was_not_installed_has_its_tools_in_the_checkout(monkeypatch, tmp_path):
    monkeypatch.setattr(tools, 'MIM', str(tmp_path / 'no'))
    assert tool_command('train.py') == 'python tools/train.py'
