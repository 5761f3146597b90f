import importlib.util
import os.path as osp

import numpy as np
import pytest
from PIL import Image

from mmseg_ext.datasets.helen_dataset import HELENDataset

TOOL = osp.join(osp.dirname(__file__), '../../tools/convert_helen.py')
spec = importlib.util.spec_from_file_location('convert_helen_tool', TOOL)
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)

# Lists as in the release, with blanks around the comma, and an empty line at the end.
LISTS = dict(exemplars=['232194_1', '1629243_1'], tuning=['13602254_1'], testing=['296814969_3'])
LABEL = np.arange(12, dtype=np.uint8).reshape(3, 4) % 11


def write_maps(release, name, label=LABEL):
    """Soft maps: the class of a pixel has 130 of 255, background has the rest."""
    folder = release / 'labels' / name
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(11):
        probability = np.where(label == number, 130, 125 if number == 0 else 0)
        Image.fromarray(probability.astype(np.uint8)).save(folder / f'{name}_lbl{number:02d}.png')


@pytest.fixture
def release(tmp_path):
    folder = tmp_path / 'release'
    (folder / 'images').mkdir(parents=True)
    for list_name, names in LISTS.items():
        lines = [f'{i} , {name}\r\n' for i, name in enumerate(names, 1)]
        (folder / f'{list_name}.txt').write_text(''.join(lines) + '\n')
        for name in names:
            Image.new('RGB', (4, 3)).save(folder / f'images/{name}.jpg')
            write_maps(folder, name)
    return folder


def run(release, target, *options):
    tool.main([str(release), str(target), *options])


@pytest.fixture
def target(tmp_path):
    return tmp_path / 'out'


def test_the_highest_map_wins_and_of_equal_ones_the_lowest_label():
    #                   background, equal, all zero, last, rounding of soft maps
    maps = [np.array([[200, 100, 0, 0, 84]], np.uint8), np.array([[55, 100, 0, 0, 85]], np.uint8),
            np.array([[0, 100, 0, 255, 86]], np.uint8)]
    label = tool.to_classes(maps)
    assert label.dtype == np.uint8
    assert label.tolist() == [[0, 0, 0, 2, 2]]


@pytest.mark.parametrize('name', ['../escape', '/tmp/escape', '..', '.', 'a/b', r'a\b', 'C:x'])
def test_a_name_that_leads_out_of_the_folders_is_refused(release, target, name):
    with open(release / 'tuning.txt', 'a') as file:
        file.write(f'2 , {name}\n')
    with pytest.raises(SystemExit, match=r"tuning.txt' names the image '.*without separators"):
        run(release, target)
    assert not target.exists()


@pytest.mark.parametrize('workers', [1, 3])
def test_converted_folders_are_read_by_the_dataset(release, target, workers):
    run(release, target, '--workers', str(workers))
    load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
    for split, names in (('train', LISTS['exemplars']), ('test', LISTS['testing']
                                                         + LISTS['tuning'])):
        dataset = HELENDataset(data_root=str(target), split=split, pipeline=load)
        assert {osp.basename(item['img_path']) for item in dataset} == {f'{n}.jpg' for n in names}
        assert all((item['gt_seg_map'] == LABEL).all() for item in dataset)
    assert (target / 'labels/test/tuning/13602254_1.png').is_file()
    assert (target / 'labels/test/testing/296814969_3.png').is_file()


def test_a_second_run_writes_only_what_is_missing(release, target, capsys):
    run(release, target)
    assert capsys.readouterr().out.endswith('\n4 faces written\n')
    lost, kept = (target / f'labels/train/{name}.png' for name in LISTS['exemplars'])
    lost.unlink()
    kept.write_bytes(b'as it was')
    (target / 'images/test/tuning/13602254_1.jpg').unlink()
    run(release, target)
    assert capsys.readouterr().out.endswith('\n2 faces written\n')
    assert (np.asarray(Image.open(lost)) == LABEL).all()
    assert kept.read_bytes() == b'as it was'


def test_a_write_that_breaks_off_leaves_no_file_and_the_next_run_makes_it(
        release, target, monkeypatch):

    def break_off(source, path):
        path.write_bytes(b'half')
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tool.shutil, 'copyfile', break_off)
        for folder in ('images/train', 'labels/train'):
            (target / folder).mkdir(parents=True)
        with pytest.raises(KeyboardInterrupt):
            tool.convert_face(release, target, tool.Face('232194_1', 'train'))
    assert list((target / 'images/train').iterdir()) == []
    run(release, target)
    assert (target / 'images/train/232194_1.jpg').read_bytes() == (
        release / 'images/232194_1.jpg').read_bytes()


@pytest.mark.parametrize('path', [
    'testing.txt', 'images/13602254_1.jpg', 'labels/232194_1/232194_1_lbl07.png'])
def test_a_missing_file_is_named_with_what_to_unpack(release, target, path):
    (release / path).unlink()
    with pytest.raises(
            SystemExit, match=f'{path}. does not exist: unpack SmithCVPR2013_dataset_resized.zip'):
        run(release, target)


def test_an_empty_list_is_named(release, target):
    (release / 'tuning.txt').write_text('\n')
    with pytest.raises(SystemExit, match='tuning.txt. names no image: unpack'):
        run(release, target)


@pytest.mark.parametrize('keep', [0, 40])
def test_a_broken_map_is_named(release, target, keep):
    path = release / 'labels/1629243_1/1629243_1_lbl03.png'
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(SystemExit, match='1629243_1_lbl03.png. cannot be read .*unpack the rel'):
        run(release, target)


def test_maps_of_another_size_than_the_image_are_refused(release, target):
    write_maps(release, '1629243_1', np.zeros((6, 8), int))
    with pytest.raises(SystemExit, match='1629243_1_lbl00.png. has 6x8 .*its image 3x4, but'):
        run(release, target)


def test_no_worker_is_refused(release, target, capsys):
    with pytest.raises(SystemExit):
        run(release, target, '--workers', '0')
    assert '--workers must be at least 1, got 0' in capsys.readouterr().err
