import importlib.util
import os
import os.path as osp

import cv2
import numpy as np
import pytest

from mmseg_ext.visualization import draw_proposals

TOOL = osp.join(osp.dirname(__file__), '../../tools/browse_regions.py')

spec = importlib.util.spec_from_file_location('browse_regions_tool', TOOL)
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)


@pytest.fixture
def config(tmp_path):
    """Config of five scenes; in training with a wrapper, flips and the ground truth's regions."""
    path = tmp_path / 'config.py'
    path.write_text("""
custom_imports = dict(imports=['mmseg_ext'], allow_failed_imports=False)
scenes = dict(type='ScenesDataset', num_images=5, size=(24, 48), serialize_data=False)
find = dict(type='GenerateRegions', colour_space='random', scale=20, min_size=20)
train_dataloader = dict(dataset=dict(type='RepeatDataset', times=1, dataset=dict(
    pipeline=[find, dict(type='RandomFlip', prob=0.5),
              dict(type='PackRegionInputs', gt_regions=True, min_gt_iou=0.1)], **scenes)))
val_dataloader = dict(dataset=dict(
    pipeline=[dict(find, colour_space='rgb'), dict(type='PackRegionInputs')], **scenes))
test_dataloader = dict(dataset=dict(pipeline=[dict(type='PackSegInputs')], **scenes))
""")
    return path


@pytest.fixture
def drawn(monkeypatch):
    """Number of regions and cells of each image that is drawn."""
    counts = []

    def keep(image, regions, truth, palette):
        counts.append((len(regions.indptr) - 1, int(regions.cells.max()) + 1))
        return draw_proposals(image, regions, truth, palette)

    monkeypatch.setattr(tool, 'draw_proposals', keep)
    return counts


def test_pictures_are_of_images_evenly_from_the_whole_set(config, tmp_path, capsys, drawn):
    tool.main([str(config), '--number', '3', '--out-dir', str(tmp_path / 'out')])
    names = sorted(os.listdir(tmp_path / 'out'))
    assert names == [f'{i:05d}_seed0_{i:06d}.png' for i in (0, 2, 4)]
    assert cv2.imread(str(tmp_path / 'out' / names[0])).shape[1] == 3 * 400 + 2 * 4
    numbers = [num_regions for num_regions, _ in drawn]
    assert (f'3 of 5 images in {tmp_path}/out; regions per image: {min(numbers)} to {max(numbers)}'
            in capsys.readouterr().out)


def test_a_set_with_fewer_images_is_drawn_wholly(config, tmp_path):
    tool.main([str(config), '--number', '100', '--out-dir', str(tmp_path / 'out')])
    assert len(os.listdir(tmp_path / 'out')) == 5


def test_the_regions_of_the_ground_truth_are_left_out(config, tmp_path, drawn):
    out = ['--out-dir', str(tmp_path / 'out'), '--colour-space', 'rgb']
    tool.main([str(config), '--split', 'train', *out])
    tool.main([str(config), '--split', 'val', *out])
    assert drawn[:5] == drawn[5:]


def test_the_colour_space_can_be_chosen(config, tmp_path, drawn):
    arguments = [str(config), '--out-dir', str(tmp_path / 'out'), '--number', '2']
    tool.main(arguments)
    tool.main([*arguments, '--colour-space', 'rgb'])
    tool.main([*arguments, '--colour-space', 'hsv'])
    assert drawn[:2] == drawn[2:4] != drawn[4:]


def test_pictures_of_a_random_pipeline_are_the_same_each_time(config, tmp_path):
    for out in ('first', 'second'):
        tool.main([str(config), '--split', 'train', '--number', '3', '--out-dir',
                   str(tmp_path / out)])
    names = os.listdir(tmp_path / 'first')
    assert len(names) == 3
    for name in names:
        assert (tmp_path / 'first' / name).read_bytes() == (tmp_path / 'second' / name).read_bytes()


def test_the_folder_has_the_name_of_the_config_and_the_split():
    args = tool.parse_args(['configs/name.py', '--split', 'train'])
    assert args.out_dir == osp.join('work_dirs', 'name', 'regions_train')


def test_settings_can_be_overridden(config, tmp_path):
    tool.main([str(config), '--out-dir', str(tmp_path / 'out'), '--cfg-options',
               'val_dataloader.dataset.num_images=1'])
    assert len(os.listdir(tmp_path / 'out')) == 1


def test_a_pipeline_without_regions_is_named(config, tmp_path):
    with pytest.raises(SystemExit, match='gives no regions: it needs LoadRegions or Generate'):
        tool.main([str(config), '--split', 'test', '--out-dir', str(tmp_path / 'out')])
    assert not (tmp_path / 'out').exists()


def test_split_without_a_loader_is_refused_with_those_there_are(config):
    with pytest.raises(SystemExit, match=r"no 'other_dataloader'.*'train_dataloader', 'val_data"):
        tool.main([str(config), '--split', 'other'])


def test_less_than_one_image_is_refused(config, capsys):
    with pytest.raises(SystemExit):
        tool.main([str(config), '--number', '0'])
    assert '--number must be at least 1, got 0' in capsys.readouterr().err


def test_missing_files_of_regions_end_the_command_with_the_one_that_makes_them(tmp_path):
    (tmp_path / 'images').mkdir()
    cv2.imwrite(str(tmp_path / 'images/a.jpg'), np.zeros((8, 8, 3), np.uint8))
    dataset = dict(
        type='BaseSegDataset', data_root=str(tmp_path), data_prefix=dict(img_path='images'),
        metainfo=dict(classes=('a', ), palette=[[0, 0, 0]]), pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadRegions', regions_dir=str(tmp_path / 'regions')),
            dict(type='PackRegionInputs')])
    path = tmp_path / 'config.py'
    path.write_text(f'val_dataloader = dict(dataset={dataset})')
    with pytest.raises(SystemExit, match='a.npz.; make the files by: python tools/generate_reg'):
        tool.main([str(path), '--out-dir', str(tmp_path / 'out')])
