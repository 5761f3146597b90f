import importlib.util
import os.path as osp

import numpy as np
import pytest
from mmengine.registry import DefaultScope
from PIL import Image
from scipy.io import savemat

from mmseg_ext.datasets.sunrgbd_dataset import SUNRGBDDataset

TOOL = osp.join(osp.dirname(__file__), '../../tools/convert_sunrgbd.py')
spec = importlib.util.spec_from_file_location('convert_sunrgbd_tool', TOOL)
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)

CHAIR, WALL = (SUNRGBDDataset.METAINFO['classes'].index(c) for c in ('chair', 'wall'))


def cells(strings):  # a cell array of MATLAB
    return np.array(strings, dtype=object)


def write_scene(folder, seglabel, names):
    (folder / 'image').mkdir(parents=True)
    Image.new('RGB', (3, 2)).save(folder / 'image/0001.jpg')
    savemat(folder / 'seg.mat', dict(seglabel=np.array(seglabel, np.uint16), names=cells(names)))


@pytest.fixture
def download(tmp_path):
    write_scene(tmp_path / 'SUNRGBD/kv1/a', [[1, 2, 0], [3, 3, 3]], ['chair', 'chair 2', 'wall'])
    write_scene(tmp_path / 'SUNRGBD/kv2/b', [[1, 1, 1], [1, 2, 2]], ['statue', 'Wall'])
    (tmp_path / 'SUNRGBDtoolbox/traintestSUNRGBD').mkdir(parents=True)
    savemat(
        tmp_path / 'SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat',
        dict(alltrain=cells(['/n/data/SUNRGBD/kv1/a']), alltest=cells(['/n/data/SUNRGBD/kv2/b'])))
    return tmp_path


def test_instances_of_a_class_are_merged_and_other_names_become_background():
    seglabel = np.array([[0, 1, 2], [3, 4, 4]])
    label, unplaced = tool.merge_instances(seglabel, ['Night Stand', 'night_stand2', 'cup', 'bag'])
    assert label.tolist() == [[0, 32, 32], [0, 37, 37]]
    assert unplaced == {'cup': 1}


def test_converted_folders_are_read_by_the_dataset(download, tmp_path, capsys):
    target = tmp_path / 'out'
    tool.main([str(download), str(target)])
    assert '1 names are not among the 37 classes' in capsys.readouterr().out
    expected = dict(
        train=[[CHAIR, CHAIR, 255], [WALL, WALL, WALL]], test=[[255] * 3, [255, WALL, WALL]])
    for split, label in expected.items():
        with DefaultScope.overwrite_default_scope('mmseg'):
            dataset = SUNRGBDDataset(
                data_root=str(target), split=split, pipeline=[dict(type='LoadAnnotations')])
        assert len(dataset) == 1
        assert dataset[0]['gt_seg_map'].tolist() == label


def test_missing_toolbox_is_named_with_what_to_unpack(tmp_path):
    with pytest.raises(SystemExit, match='allsplit.mat. does not exist: unpack SUNRGBD.zip and'):
        tool.main([str(tmp_path), str(tmp_path / 'out')])


def test_scene_without_labels_is_named(download):
    (download / 'SUNRGBD/kv2/b/seg.mat').unlink()
    with pytest.raises(SystemExit, match='SUNRGBD/kv2/b. holds no .* seg.mat'):
        tool.main([str(download), str(download / 'out')])
