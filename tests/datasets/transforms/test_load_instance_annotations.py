import numpy as np
import pytest
from mmseg.registry import TRANSFORMS
from PIL import Image

from mmseg_ext.datasets.numbered_map import NumberedMap
from mmseg_ext.datasets.transforms import LoadInstanceAnnotations

SIZE = (6, 9)


@pytest.fixture
def results(tmp_path):
    """What LoadAnnotations gives."""
    return dict(img_path='a.jpg', seg_map_path='a.png', gt_seg_map=np.zeros(SIZE, np.uint8),
                seg_fields=['gt_seg_map'], instance_map_path=str(tmp_path / 'instances.png'))


def numbers(dtype, highest):
    return np.linspace(0, highest, SIZE[0] * SIZE[1]).astype(dtype).reshape(SIZE)


@pytest.mark.parametrize('dtype, highest', [(np.uint8, 255), (np.uint16, 65535)])
def test_the_numbers_of_a_file_stay_as_they_are(results, dtype, highest):
    Image.fromarray(numbers(dtype, highest)).save(results['instance_map_path'])
    loaded = TRANSFORMS.build(dict(type='LoadInstanceAnnotations'))(dict(results, scale_factor=2))
    np.testing.assert_array_equal(loaded['gt_instance_map'], numbers(dtype, highest))
    assert loaded['gt_instance_map'].dtype == np.int32
    assert type(loaded['gt_instance_map']) is NumberedMap
    assert loaded['seg_fields'] == ['gt_seg_map', 'gt_instance_map']
    assert loaded['instance_scale_factor'] == 2


def test_an_image_without_any_path_of_ground_truth_passes(results):
    image = dict(img_path='a.jpg')
    assert LoadInstanceAnnotations()(dict(image)) == image
    del results['instance_map_path']
    with pytest.raises(KeyError, match="names no instance map of 'a.jpg'"):
        LoadInstanceAnnotations()(results)


def test_it_comes_behind_the_labels(results):
    Image.fromarray(numbers(np.uint8, 9)).save(results['instance_map_path'])
    del results['gt_seg_map']
    with pytest.raises(KeyError, match='put it right behind LoadAnnotations'):
        LoadInstanceAnnotations()(results)


def test_it_reads_through_mmengines_backends(results):
    Image.fromarray(numbers(np.uint8, 9)).save(results['instance_map_path'])
    load = LoadInstanceAnnotations(imdecode_backend='cv2', backend_args=dict(backend='local'))
    np.testing.assert_array_equal(load(results)['gt_instance_map'], numbers(np.uint8, 9))
    assert "imdecode_backend='cv2'" in repr(load)


@pytest.mark.parametrize('values, message', [
    (np.zeros((*SIZE, 3), np.uint8), r"instances.png' holds an array of shape \(6, 9, 3\) and"),
    (np.zeros((6, 8), np.uint8), "png' has 6x8 pixels, but the labels have 6x9: .*another image"),
])
def test_a_file_of_something_else_is_refused(results, values, message):
    Image.fromarray(values).save(results['instance_map_path'])
    with pytest.raises(ValueError, match=message):
        LoadInstanceAnnotations()(results)
