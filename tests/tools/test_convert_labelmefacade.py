import importlib.util
import os.path as osp

import numpy as np
import pytest
from PIL import Image

from mmseg_ext.datasets.label_me_facade_dataset import LabelMeFacadeDataset

TOOL = osp.join(osp.dirname(__file__), '../../tools/convert_labelmefacade.py')
spec = importlib.util.spec_from_file_location('convert_labelmefacade_tool', TOOL)
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)

# The colours that the README of the data set lists, and what they become.
README = [((0, 0, 0), 255), ((128, 0, 0), 'building'), ((128, 0, 128), 'car'),
          ((128, 128, 0), 'door'), ((128, 128, 128), 'pavement'), ((128, 64, 0), 'road'),
          ((0, 128, 128), 'sky'), ((0, 128, 0), 'vegetation'), ((0, 0, 128), 'window')]
COLOURS = np.array([colour for colour, _ in README], dtype=np.uint8).reshape(3, 3, 3)
CLASSES = LabelMeFacadeDataset.METAINFO['classes']
NUMBERS = np.array([n if n == 255 else CLASSES.index(n) for _, n in README]).reshape(3, 3)


@pytest.fixture
def clone(tmp_path):
    """Two images a split; one name has dots, one label map is stored with a colour table."""
    folder = tmp_path / 'clone'
    for kind in ('images', 'labels'):
        (folder / kind).mkdir(parents=True)
    for split in ('train', 'test'):
        names = [f'{split}__img-10.21op9-p-015t000', f'{split}_b']
        for name in names:
            Image.new('RGB', (3, 3)).save(folder / f'images/{name}.jpg')
            Image.fromarray(COLOURS).save(folder / f'labels/{name}.png')
        Image.fromarray(COLOURS).quantize(9).save(folder / f'labels/{names[1]}.png')
        (folder / f'{split}.txt').write_text(''.join(f'images/{n}.jpg\n' for n in names))
    return folder


def test_the_colours_become_the_classes_that_the_readme_names():
    assert tool.to_classes(COLOURS).tolist() == NUMBERS.tolist()


def test_converted_folders_are_read_by_the_dataset_after_a_second_run_too(clone, tmp_path):
    target = tmp_path / 'out'
    for _ in range(2):
        tool.main([str(clone), str(target)])
    for split_file, split in (('train', 'train'), ('test', 'val')):
        dataset = LabelMeFacadeDataset(
            data_root=str(target), split=split,
            pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')])
        assert [osp.basename(dataset[i]['img_path']) for i in range(len(dataset))] == [
            f'{split_file}__img-10.21op9-p-015t000.jpg', f'{split_file}_b.jpg']
        assert all((dataset[i]['gt_seg_map'] == NUMBERS).all() for i in range(2))


def test_another_colour_is_named_with_the_file(clone):
    Image.fromarray(COLOURS + np.uint8(1)).save(clone / 'labels/test_b.png')
    with pytest.raises(SystemExit, match="labels/test_b.png': 9 pixels have colours as 1:1:1"):
        tool.main([str(clone), str(clone / 'out')])


@pytest.mark.parametrize('path', ['test.txt', 'images/train_b.jpg', 'labels/test_b.png'])
def test_a_missing_file_is_named_with_where_to_get_it(clone, path):
    (clone / path).unlink()
    with pytest.raises(SystemExit, match=f'{path}. does not exist: .*github.com/cvjena/labelmefac'):
        tool.main([str(clone), str(clone / 'out')])
