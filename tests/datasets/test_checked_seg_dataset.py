import pickle

import numpy as np
import pytest
from mmseg.datasets.transforms import LoadAnnotations
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


# ---------------------------------------------- files of 16 bits, and what cannot be decoded

def write_wide(path, array, dtype=np.uint16):
    Image.fromarray(np.asarray(array, dtype=dtype)).save(path)


def labels_of(root, label, **kwargs):
    make_files(root, names=('a', ))
    write_wide(root / 'seg/train/a.png', label)
    return TwoClasses(data_root=str(root), pipeline=LOAD, **kwargs)[0]['gt_seg_map']


def test_a_file_of_16_bits_with_class_numbers_loads_right(tmp_path):
    label = np.array([[0, 1, 255], [1, 1, 0]])
    assert labels_of(tmp_path, label).tolist() == label.tolist()


@pytest.mark.parametrize('label, found', [
    ([[0, 256], [256, 0]], 'label value 256 in 2 pixels, but .* all are multiples of 256'),
    ([[0, 256], [512, 65280]], '256 in 1 pixels and 2 values more.* all are multiples of 256'),
    ([[1, 0], [1, 257]], '257 in 1 pixels, but .* write files of 8 bits'),
    ([[0, 65535], [1, 1]], '65535 in 1 pixels')])
@pytest.mark.parametrize('label_map', [None, dict(classes=('thing', ))])
def test_a_file_of_16_bits_whose_values_do_not_fit_8_is_refused(tmp_path, label, found, label_map):
    """Cut to 8 bits they would be 0, 1 and 255: two classes and ignored."""
    with pytest.raises(ValueError, match=f"seg/train/a.png' holds the {found}"
                       if found.startswith('label') else f"a.png' holds the label value {found}"):
        labels_of(tmp_path, label, metainfo=label_map)


def test_a_file_of_32_bits_is_read_as_one_of_16(tmp_path):
    make_files(tmp_path, names=('a', 'b'))
    for name, label in (('a', [[0, 1], [1, 0]]), ('b', [[0, 256], [1, 0]])):
        write_wide(tmp_path / f'seg/train/{name}.tif', label, np.int32)
    dataset = TwoClasses(data_root=str(tmp_path), pipeline=LOAD, seg_map_suffix='.tif')
    assert dataset[0]['gt_seg_map'].tolist() == [[0, 1], [1, 0]]
    with pytest.raises(ValueError, match="b.tif' holds the label value 256"):
        dataset[1]


class DividesBy256(LoadAnnotations):
    """mmseg's, but for the decoding."""

    def _load_seg_map(self, results):
        results['gt_seg_map'] = np.array(Image.open(results['seg_map_path'])) // 256
        results['seg_fields'].append('gt_seg_map')


def test_a_loader_of_ones_own_may_read_files_of_16_bits(tmp_path):
    make_files(tmp_path, names=('a', 'b'))
    write_wide(tmp_path / 'seg/train/a.png', [[0, 256]])
    write_wide(tmp_path / 'seg/train/b.png', [[0, 512]])
    dataset = TwoClasses(data_root=str(tmp_path), pipeline=[LOAD[0], DividesBy256()])
    assert dataset[0]['gt_seg_map'].tolist() == [[0, 1]]
    with pytest.raises(ValueError, match='label value 2 in 1 pixels'):
        dataset[1]


@pytest.mark.parametrize('content', [b'', b'no image'], ids=['empty', 'damaged'])
@pytest.mark.parametrize('name', ['img/train/b.jpg', 'seg/train/b.png'])
def test_a_file_that_cannot_be_decoded_is_named(tmp_path, name, content):
    make_files(tmp_path)
    (tmp_path / name).write_bytes(content)
    dataset = TwoClasses(data_root=str(tmp_path), pipeline=LOAD)
    assert dataset[0]['img'].shape == (4, 6, 3)
    with pytest.raises((ValueError, AssertionError), match=name):
        dataset[1]


# ---------------------------------------------- another number for what is ignored

def test_classes_left_out_are_ignored_by_the_number_that_is_asked_for(tmp_path):
    make_files(tmp_path, names=('a', ))
    write(tmp_path / 'seg/train/a.png', [[0, 1, 254], [1, 1, 1]])
    dataset = TwoClasses(data_root=str(tmp_path), pipeline=LOAD, ignore_index=254,
                         metainfo=dict(classes=('thing', )))
    assert dataset[0]['gt_seg_map'].tolist() == [[254, 0, 254], [0, 0, 0]]
    assert dataset.metainfo['label_map'] == {0: 254, 1: 0}


@pytest.mark.parametrize('options, message', [
    (dict(ignore_index=254, reduce_zero_label=True), 'ignore_index=254.*turns 0 into 255'),
    (dict(ignore_index=-100, metainfo=dict(classes=('thing', ))), '-100.*one of 0..255')])
def test_a_number_that_mmsegs_loading_cannot_give_is_refused(tmp_path, options, message):
    make_files(tmp_path)
    with pytest.raises(ValueError, match=message):
        TwoClasses(data_root=str(tmp_path), pipeline=LOAD, **options)
    TwoClasses(data_root=str(tmp_path), pipeline=LOAD[:1], **options)  # no labels, no question


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
