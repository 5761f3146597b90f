import importlib.util
import os.path as osp

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from mmseg_ext.datasets.sift_flow_dataset import SIFTFlowDataset

TOOL = osp.join(osp.dirname(__file__), '../../tools/convert_siftflow.py')
spec = importlib.util.spec_from_file_location('convert_siftflow_tool', TOOL)
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)

SCENES = 'spatial_envelope_256x256_static_8outdoorcategories'
CLASSES = SIFTFlowDataset.METAINFO['classes']
LABELS = np.arange(34).reshape(2, 17)  # unlabelled, then each class
CONVERTED = [[255, *range(16)], [*range(16, 33)]]


def write_mat(folder, name, label=LABELS, names=CLASSES):
    content = dict(S=label.astype(float))
    if names:
        content['names'] = np.array(names, dtype=object).reshape(-1, 1)  # a cell array of MATLAB
    savemat(folder / f'SemanticLabels/{SCENES}/{name}.mat', content)


@pytest.fixture
def release(tmp_path):
    """Two training images, one test image, one that the release has no labels for."""
    folder = tmp_path / 'release'
    for kind in ('Images', 'SemanticLabels'):
        (folder / kind / SCENES).mkdir(parents=True)
    for name in ('coast_bea3', 'forest_for15', 'street_par29', 'highway_bost181'):
        Image.new('RGB', (17, 2)).save(folder / f'Images/{SCENES}/{name}.jpg')
        if name != 'highway_bost181':
            write_mat(folder, name)
    (folder / 'TestSet1.txt').write_text(f'{SCENES}\\forest_for15.jpg\r\n')
    return folder


def names_of(dataset):
    return [osp.basename(dataset[i]['img_path']) for i in range(len(dataset))]


def test_converted_folders_are_read_by_the_dataset_after_a_second_run_too(release, tmp_path):
    target = tmp_path / 'out'
    for _ in range(2):
        tool.main([str(release), str(target)])
    load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
    train, test = (
        SIFTFlowDataset(data_root=str(target), split=split, pipeline=load)
        for split in ('train', 'test'))
    assert names_of(train) == ['coast_bea3.jpg', 'street_par29.jpg']
    assert names_of(test) == ['forest_for15.jpg']
    for item in (train[0], train[1], test[0]):
        assert item['gt_seg_map'].tolist() == CONVERTED


def test_a_file_without_names_is_read(release):
    write_mat(release, 'coast_bea3', names=None)
    assert tool.read_label(
        release / f'SemanticLabels/{SCENES}/coast_bea3.mat').tolist() == CONVERTED


@pytest.mark.parametrize('names', [CLASSES[:-1], CLASSES[::-1]])
def test_other_classes_are_refused(release, names):
    write_mat(release, 'street_par29', names=names)
    with pytest.raises(
            SystemExit, match=f'street_par29.mat. names the {len(names)} classes {names[0]}, .*33'):
        tool.main([str(release), str(release / 'out')])


@pytest.mark.parametrize('value', [34, -1])
def test_values_that_are_no_class_are_refused(release, value):
    write_mat(release, 'street_par29', label=np.array([[value, 1, 2]]))
    low, high = min(value, 1), max(value, 2)
    with pytest.raises(SystemExit, match=f'street_par29.mat. holds the values {low} to {high}'):
        tool.main([str(release), str(release / 'out')])


def test_a_mat_file_of_something_else_is_refused(release):
    savemat(release / f'SemanticLabels/{SCENES}/coast_bea3.mat', dict(T=LABELS))
    with pytest.raises(SystemExit, match="coast_bea3.mat. holds no label map 'S'"):
        tool.main([str(release), str(release / 'out')])


@pytest.mark.parametrize('path, problem', [
    ('TestSet1.txt', 'TestSet1.txt. does not exist'),
    (f'SemanticLabels/{SCENES}/coast_bea3.mat', 'coast_bea3.mat. does not exist'),
    (f'Images/{SCENES}/forest_for15.jpg', "image 'forest_for15' named in .*1 of 1 are missing"),
])
def test_a_missing_file_is_named_with_what_to_unpack(release, path, problem):
    (release / path).unlink()
    with pytest.raises(SystemExit, match=f'{problem}.*: unpack http.*SiftFlowDataset.zip'):
        tool.main([str(release), str(release / 'out')])


def test_a_folder_without_the_release_is_named(tmp_path):
    with pytest.raises(SystemExit, match='holds no image .*: unpack http.*SiftFlowDataset.zip'):
        tool.main([str(tmp_path), str(tmp_path / 'out')])
