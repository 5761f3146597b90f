import pickle

import numpy as np
import pytest
from PIL import Image

from mmseg_ext.datasets.checked_seg_dataset import CheckedSegDataset, check_label_values


class TwoClasses(CheckedSegDataset):
    METAINFO = dict(classes=('ground', 'thing'), palette=[[0, 0, 0], [255, 0, 0]])
    LAYOUTS = (('img/{split}', 'seg/{split}'), ('{split}_images', '{split}_labels'))
    HOW_TO_GET = 'To get it: buy it.'


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, dtype=np.uint8)).save(path)


def make_files(root, names=('a', 'b'), img='img/train', seg='seg/train', suffix='.jpg', label=0):
    for name in names:
        write(root / img / f'{name}{suffix}', np.zeros((4, 6, 3)))
        write(root / seg / f'{name}.png', np.full((4, 6), label))


LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]


@pytest.mark.parametrize('img, seg', [('img/train', 'seg/train'),
                                      ('train_images', 'train_labels')])
@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
def test_layout_and_suffix_are_found_without_being_named(tmp_path, img, seg, suffix):
    make_files(tmp_path, img=img, seg=seg, suffix=suffix)
    dataset = TwoClasses(data_root=str(tmp_path))
    assert [dataset[i]['img_path'] for i in range(len(dataset))] == [
        str(tmp_path / img / f'{n}{suffix}') for n in 'ab'
    ]
    assert dataset[1]['seg_map_path'] == str(tmp_path / seg / 'b.png')


def test_split_chooses_the_folders(tmp_path):
    make_files(tmp_path)
    make_files(tmp_path, names=('v', ), img='img/val', seg='seg/val')
    dataset = TwoClasses(data_root=str(tmp_path), split='val')
    assert [dataset[i]['seg_map_path'] for i in range(len(dataset))
            ] == [str(tmp_path / 'seg/val/v.png')]


def test_data_prefix_wins_over_layout_and_ann_file_limits_it(tmp_path):
    make_files(tmp_path)
    make_files(tmp_path, names=('c', 'd'), img='pictures', seg='masks')
    (tmp_path / 'list.txt').write_text('d\n')
    dataset = TwoClasses(
        data_root=str(tmp_path),
        data_prefix=dict(img_path='pictures', seg_map_path='masks'),
        ann_file='list.txt')
    assert len(dataset) == 1
    assert dataset[0]['img_path'] == str(tmp_path / 'pictures/d.jpg')


def test_missing_data_root_is_named_with_the_layout_and_the_source(tmp_path):
    root = str(tmp_path / 'nowhere')
    with pytest.raises(FileNotFoundError) as error:
        TwoClasses(data_root=root)
    message = str(error.value)
    assert f"TwoClasses: the data_root '{root}' does not exist" in message
    assert 'img/<split>/ and seg/<split>/, or <split>_images/ and <split>_labels/' in message
    assert message.endswith('To get it: buy it.')


def test_missing_image_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="image folder '.*img/train' does not exist"):
        TwoClasses(data_root=str(tmp_path))


def test_missing_label_folder_is_named(tmp_path):
    write(tmp_path / 'img/train/a.jpg', np.zeros((4, 6, 3)))
    with pytest.raises(FileNotFoundError, match="label folder '.*seg/train' does not exist"):
        TwoClasses(data_root=str(tmp_path))


def test_label_folder_left_out_of_data_prefix_is_named_in_training(tmp_path):
    make_files(tmp_path)
    with pytest.raises(FileNotFoundError, match='names no label folder'):
        TwoClasses(data_root=str(tmp_path), data_prefix=dict(img_path='img/train'))


def test_missing_ann_file_is_named(tmp_path):
    make_files(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"ann_file\) '.*none.txt' does not exist"):
        TwoClasses(data_root=str(tmp_path), ann_file='none.txt')


@pytest.mark.parametrize('img_suffix', [None, '.bmp'])
def test_image_folder_without_images_is_named(tmp_path, img_suffix):
    make_files(tmp_path)
    (tmp_path / 'img/train/a.jpg').unlink()
    (tmp_path / 'img/train/b.jpg').unlink()
    expected = r'\.bmp' if img_suffix else r'\.jpg or \*\.png'
    with pytest.raises(FileNotFoundError, match=f"img/train' holds no image '\\*{expected}'"):
        TwoClasses(data_root=str(tmp_path), img_suffix=img_suffix)


def test_image_without_label_is_named_in_training(tmp_path):
    make_files(tmp_path)
    (tmp_path / 'seg/train/b.png').unlink()
    with pytest.raises(
            FileNotFoundError, match=r"img/train/b.jpg' has no label map .*\(1 of 2 are missing"):
        TwoClasses(data_root=str(tmp_path))


def test_image_listed_but_absent_is_named(tmp_path):
    make_files(tmp_path)
    (tmp_path / 'list.txt').write_text('a\nz\n')
    with pytest.raises(FileNotFoundError, match="img/train/z.jpg' named in '.*list.txt'"):
        TwoClasses(data_root=str(tmp_path), ann_file='list.txt', img_suffix='.jpg')


def test_prediction_needs_no_labels_but_evaluation_does(tmp_path):
    write(tmp_path / 'img/test/a.jpg', np.zeros((4, 6, 3)))
    settings = dict(data_root=str(tmp_path), split='test', test_mode=True)
    assert TwoClasses(pipeline=LOAD[:1], **settings)[0]['img'].shape == (4, 6, 3)
    with pytest.raises(FileNotFoundError, match="label folder '.*seg/test' does not exist"):
        TwoClasses(pipeline=LOAD, **settings)


def test_lazy_init_looks_for_no_files():
    dataset = TwoClasses(data_root='nowhere', lazy_init=True)
    assert dataset.metainfo['classes'] == ('ground', 'thing')


@pytest.mark.parametrize('test_mode', [False, True])
def test_label_value_outside_the_classes_is_named_with_file_and_pixels(tmp_path, test_mode):
    make_files(tmp_path)
    label = np.zeros((4, 6))
    label[0, :3] = 2
    label[1, 0] = 7
    label[2, 0] = 255
    write(tmp_path / 'seg/train/b.png', label)
    dataset = TwoClasses(data_root=str(tmp_path), pipeline=LOAD, test_mode=test_mode)
    assert dataset[0]['gt_seg_map'].max() == 0
    with pytest.raises(
            ValueError, match=r"seg/train/b.png' holds the label value 2 in 3 pixels, 7 in 1 pixel"
            r'.* only 0\.\.1, the 2 classes, and 255'):
        dataset[1]


def test_whole_label_map_is_checked_before_the_crop(tmp_path):
    label = np.zeros((4, 6))
    label[3, 5] = 9
    make_files(tmp_path, names=('a', ))
    write(tmp_path / 'seg/train/a.png', label)
    crop = dict(type='Resize', scale=(1, 1))
    with pytest.raises(ValueError, match='9 in 1 pixel'):
        TwoClasses(data_root=str(tmp_path), pipeline=LOAD + [crop])[0]


def test_dataset_with_its_check_can_go_to_a_worker_and_into_a_subset(tmp_path):
    make_files(tmp_path, label=5)
    dataset = TwoClasses(data_root=str(tmp_path), pipeline=LOAD)
    for copied in (pickle.loads(pickle.dumps(dataset)), dataset.get_subset([1])):
        with pytest.raises(ValueError, match='5 in 24 pixels'):
            copied[0]


def test_values_up_to_the_last_class_and_the_ignored_one_pass():
    check_label_values(np.array([[0, 10, 255]], dtype=np.uint8), 11)
    check_label_values(np.array([[0, 10, 99]], dtype=np.int64), 11, ignore_index=99)


@pytest.mark.parametrize('label, ignore_index, found', [
    (np.array([[11, 11]], dtype=np.uint8), 255, 'the label map holds the label value 11 in 2 pix'),
    (np.array([[0, 255]], dtype=np.uint8), 99, 'value 255 in 1 pixels'),
    (np.array([[0, -1]], dtype=np.int64), 255, 'value -1 in 1 pixels'),
    (np.arange(20, 28, dtype=np.uint8)[None], 255, 'and 3 values more'),
    (np.zeros((2, 2, 3), dtype=np.uint8), 255, r'has the shape \(2, 2, 3\)'),
])
def test_wrong_label_map_is_refused(label, ignore_index, found):
    with pytest.raises(ValueError, match=found):
        check_label_values(label, 11, ignore_index)
