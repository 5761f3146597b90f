import importlib.util
import os.path as osp

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from mmseg_ext.datasets import PascalVOCInstanceDataset

TOOL = osp.join(osp.dirname(__file__), '../../tools/convert_sbd.py')
spec = importlib.util.spec_from_file_location('convert_sbd_tool', TOOL)
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)

# two persons and a sofa, which the file of classes has one column wider
INSTANCES = np.array([[0, 1, 1, 2], [3, 3, 0, 2], [3, 3, 0, 0]])
CATEGORIES = [15, 15, 18]
LABELS = np.array([[0, 15, 15, 15], [18, 18, 18, 15], [18, 18, 18, 0]])
LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
        dict(type='LoadInstanceAnnotations')]
NAMES = ('2008_000001', '2008_000002', '2009_000003')


def write_mats(folder, name, instances=INSTANCES, categories=CATEGORIES, labels=LABELS):
    """The structures of SBD; theirs have a field of boundaries too."""
    inst = dict(Segmentation=instances.astype(np.uint8), Boundaries=np.zeros(1),
                Categories=np.array(categories, dtype=float).reshape(-1, 1))
    savemat(folder / f'dataset/inst/{name}.mat', dict(GTinst=inst))
    savemat(folder / f'dataset/cls/{name}.mat',
            dict(GTcls=dict(Segmentation=labels.astype(np.uint8), CategoriesPresent=[15, 18])))


@pytest.fixture
def release(tmp_path):
    """SBD with three images; VOC lists two, one in each split, and one that SBD does not have."""
    folder = tmp_path / 'benchmark_RELEASE'
    for kind in ('img', 'inst', 'cls'):
        (folder / 'dataset' / kind).mkdir(parents=True)
    for name in NAMES:
        Image.new('RGB', (4, 3)).save(folder / f'dataset/img/{name}.jpg')
        write_mats(folder, name)
    (folder / 'dataset/train.txt').write_text(f'{NAMES[1]}\n')  # its own lists are not used
    lists = tmp_path / 'VOC2012/ImageSets/Main'
    lists.mkdir(parents=True)
    (lists / 'train.txt').write_text(f'{NAMES[0]}\n2008_000009\n')
    (lists / 'val.txt').write_text(f'{NAMES[2]}\r\n')
    return folder


def run(release):
    target = release.parent / 'out'
    tool.main([str(release), str(release.parent / 'VOC2012'), str(target)])
    return target


def test_converted_folders_are_read_by_the_dataset_after_a_second_run_too(release, capsys):
    for _ in range(2):
        target = run(release)
    said = capsys.readouterr().out
    assert 'train: 1 images; the papers have 5623' in said
    assert 'val: 1 images; the papers have 5732' in said
    for split, name in (('train', NAMES[0]), ('val', NAMES[2])):
        dataset = PascalVOCInstanceDataset(data_root=str(target), split=split, pipeline=LOAD)
        assert [osp.basename(info['img_path']) for info in dataset] == [f'{name}.jpg']
        item = dataset[0]
        assert item['gt_seg_map'].tolist() == LABELS.tolist()
        assert item['gt_instance_map'].tolist() == INSTANCES.tolist()
    picture = Image.open(target / f'SegmentationClass/{NAMES[0]}.png')
    assert picture.mode == 'P' and picture.getpalette()[45:48] == [192, 128, 128]


def test_inside_of_an_instance_its_category_counts_and_differences_are_reported(release, capsys):
    labels = LABELS.copy()
    labels[0, 1:3] = 9
    for name in NAMES:
        write_mats(release, name, labels=labels)
    target = run(release)
    found = np.array(Image.open(target / f'SegmentationClass/{NAMES[0]}.png'))
    assert found.tolist() == LABELS.tolist()
    assert 'another class in dataset/cls: 4' in capsys.readouterr().out


def test_no_instance_gets_the_number_255(release, tmp_path):
    inst = tmp_path / 'inst.mat'
    numbers = np.arange(301).reshape(7, 43)
    savemat(inst, dict(GTinst=dict(Segmentation=numbers, Categories=np.full((300, 1), 3))))
    savemat(tmp_path / 'cls.mat', dict(GTcls=dict(Segmentation=np.full((7, 43), 3))))
    _, instances, differ = tool.read_maps(inst, tmp_path / 'cls.mat')
    assert instances.dtype == np.uint16 and differ == 0
    assert instances.ravel().tolist() == [n for n in range(302) if n != 255]


@pytest.mark.parametrize('change, problem', [
    (dict(instances=INSTANCES + 1), "inst.*mat' holds the instances 1 to 4, but names .* of 3"),
    (dict(categories=[15, 21, 3]), "inst.*mat' holds the classes 3 to 21, but must hold 1 to 20"),
    (dict(categories=[15, 0, 3]), "inst.*mat' holds the classes 0 to 15, but must hold 1 to 20"),
    (dict(labels=LABELS + 3), "cls.*mat' holds the classes 3 to 21, but must hold 0 to 20"),
    (dict(labels=LABELS[:2]), r"inst.*mat' has the shape \(3, 4\), but .*cls.*\(2, 4\)"),
])
def test_a_file_of_something_else_is_refused(release, change, problem):
    write_mats(release, NAMES[0], **change)
    with pytest.raises(SystemExit, match=problem):
        run(release)


@pytest.mark.parametrize('folder, content, problem', [
    ('inst', dict(GTcls=1), "holds no GTinst.Categories: it must be a file of 'dataset/inst'"),
    ('cls', dict(GTcls=dict(Boundaries=1)), "holds no GTcls.Segmentation: .* 'dataset/cls' of SBD"),
])
def test_a_mat_file_without_the_structure_is_refused(release, folder, content, problem):
    savemat(release / f'dataset/{folder}/{NAMES[0]}.mat', content)
    with pytest.raises(SystemExit, match=problem):
        run(release)


@pytest.mark.parametrize('path, problem', [
    (f'dataset/img/{NAMES[0]}.jpg', "img/2008_000001.jpg' does not exist: unpack benchmark.tgz"),
    (f'dataset/cls/{NAMES[2]}.mat', "cls/2009_000003.mat' does not exist: unpack benchmark.tgz"),
    ('../VOC2012/ImageSets/Main/val.txt', "val.txt' does not exist: unpack http://host.robots"),
])
def test_a_missing_file_is_named_with_what_to_unpack(release, path, problem):
    (release / path).unlink()
    with pytest.raises(SystemExit, match=problem):
        run(release)


def test_a_folder_without_the_release_is_named(tmp_path):
    with pytest.raises(SystemExit, match=r"inst' holds no \*.mat: unpack https://www2.eecs.*bench"):
        tool.main([str(tmp_path)] * 3)
