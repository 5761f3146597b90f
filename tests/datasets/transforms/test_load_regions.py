import io

import numpy as np
import pytest
from mmseg.registry import TRANSFORMS

from mmseg_ext.datasets.regions import files as region_files
from mmseg_ext.datasets.regions.files import read_regions, write_regions
from mmseg_ext.datasets.transforms import GenerateRegions, LoadRegions
from mmseg_ext.ops import hierarchical_regions

COMMAND = r'python tools/generate_regions\.py CONFIG'
SETTINGS = dict(scale=20., sigma=0.8, min_size=20)


@pytest.fixture(scope='module')
def image():
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 200, (12, 16, 3)).repeat(8, axis=0).repeat(8, axis=1)
    return (blocks + rng.integers(0, 40, (96, 128, 3))).astype(np.uint8)


@pytest.fixture(scope='module')
def trees(image):
    rgb = np.ascontiguousarray(image[..., ::-1])
    return {space: hierarchical_regions(rgb, space, **SETTINGS)[:3]
            for space in ('rgb', 'hsv', 'lab')}


@pytest.fixture
def results(image, trees, tmp_path):
    """What LoadImageFromFile gives, and the file of it in 'regions'."""
    write_regions(str(tmp_path / 'regions/a.npz'), trees, SETTINGS)
    return dict(img=image, img_path=str(tmp_path / 'images/a.jpg'), img_shape=image.shape[:2],
                ori_shape=image.shape[:2], seg_fields=[])


@pytest.fixture
def load(tmp_path):
    def build(**kwargs):
        return LoadRegions(str(tmp_path / 'regions'), **{**SETTINGS, **kwargs})
    return build


@pytest.mark.parametrize('space', ['rgb', 'hsv', 'lab'])
@pytest.mark.parametrize('overlapping', [True, False])
def test_loaded_regions_are_those_that_are_generated(results, load, space, overlapping):
    loaded = load(colour_space=space, overlapping=overlapping)(dict(results))
    anew = GenerateRegions(space, overlapping=overlapping, **SETTINGS)(dict(results))
    np.testing.assert_array_equal(loaded['region_cells'], anew['region_cells'])
    assert loaded['region_cells'].dtype == np.int32
    for one, other in zip(loaded['region_index'], anew['region_index']):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == np.int64
    assert loaded['seg_fields'] == ['region_cells']


def test_random_colour_space_follows_numpys_seed(results, load):
    transform = load(colour_space='random')

    def draw():
        np.random.seed(5)
        return [len(transform(dict(results))['region_index'][0]) for _ in range(10)]

    assert draw() == draw() and len(set(draw())) == 3


def test_more_than_65536_cells_and_none_but_one_fit_into_a_file(tmp_path):
    for count in (1, 300, 70000):
        cells = np.arange(count, dtype=np.int32)[None]
        index = np.arange(count + 1), np.arange(count)
        write_regions(str(tmp_path / 'a.npz'), dict(rgb=(cells, *index)), SETTINGS)
        found, settings = read_regions((tmp_path / 'a.npz').read_bytes(), 'rgb')
        assert settings == SETTINGS
        for one, other in zip(found, (cells, *index)):
            np.testing.assert_array_equal(one, other)


def test_a_file_is_written_at_once_or_not_at_all(trees, tmp_path, monkeypatch):
    path = tmp_path / 'regions/a.npz'
    write_regions(str(path), trees, SETTINGS)
    before = path.read_bytes()

    def fail(file, **entries):
        file.write(b'half a file')
        raise KeyboardInterrupt

    monkeypatch.setattr(region_files.np, 'savez_compressed', fail)
    with pytest.raises(KeyboardInterrupt):
        write_regions(str(path), trees, dict(SETTINGS, scale=1.))
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ['a.npz']


def test_files_lie_below_regions_dir_as_images_below_img_dir():
    flat, nested = LoadRegions('r'), LoadRegions('r', img_dir='data/images/')
    assert flat.regions_path('data/images/train/x.y.jpg') == 'r/x.y.npz'
    assert nested.regions_path('data/images/train/x.y.jpg') == 'r/train/x.y.npz'
    with pytest.raises(ValueError, match="'data/other/x.jpg' does not lie below img_dir"):
        nested.regions_path('data/other/x.jpg')


def test_a_missing_file_is_named_with_the_command_that_makes_it(results, load):
    results['img_path'] = 'images/b.jpg'
    with pytest.raises(FileNotFoundError, match=rf"'images/b.jpg' has no .*/b.npz'.*{COMMAND}"):
        load()(results)


def test_other_settings_are_refused_with_both(results, load):
    with pytest.raises(ValueError, match=rf'a.npz.* scale=20, .*asks for scale=30,.*{COMMAND}'):
        load(scale=30)(results)


def test_a_file_for_another_size_is_refused_with_both(results, load):
    results['img'] = results['img'][:, :-1]
    results['ori_shape'] = results['img'].shape[:2]
    with pytest.raises(ValueError, match=rf'is for an image of 96x128 .*has 96x127.*{COMMAND}'):
        load()(results)


@pytest.mark.parametrize('transform', [
    dict(type='mmseg.Resize', scale=(64, 48)),
    dict(type='RandomFlip', prob=0.),
    dict(type='RandomCrop', crop_size=(20, 20)),
])
def test_it_must_come_before_whatever_moves_the_image(results, load, transform):
    moved = TRANSFORMS.build(transform)(results)
    with pytest.raises(ValueError, match='put it right behind LoadImageFromFile'):
        load()(moved)


def test_whatever_is_wrong_with_a_file_is_said_in_one_sentence(results, load, tmp_path):
    """Cut off or changed anywhere, a file is refused or (a byte that nobody reads) right."""
    path = tmp_path / 'regions/a.npz'
    data = path.read_bytes()
    expected = load()(dict(results))
    plain = io.BytesIO()
    np.save(plain, np.arange(3))
    broken = [b'', b'text', plain.getvalue(), *(data[:n] for n in range(0, len(data), 997))]
    for position in range(0, len(data), 61):
        broken.append(data[:position] + bytes([data[position] ^ 0x55]) + data[position + 1:])
    refused = 0
    for content in broken:
        path.write_bytes(content)
        try:
            found = load()(dict(results))
        except ValueError as error:
            refused += 1
            assert 'LoadRegions' in str(error) and 'tools/generate_regions.py' in str(error)
        else:
            assert np.array_equal(found['region_cells'], expected['region_cells'])
            assert np.array_equal(found['region_index'][1], expected['region_index'][1])
    assert refused > len(data) / 997 + 3


def test_a_file_of_another_version_is_refused(results, load, trees, tmp_path, monkeypatch):
    monkeypatch.setattr(region_files, 'VERSION', 0)
    write_regions(str(tmp_path / 'regions/a.npz'), trees, SETTINGS)
    monkeypatch.undo()
    with pytest.raises(ValueError, match=rf'is of version 0, not 1.*{COMMAND}'):
        load()(results)


def test_it_reads_through_mmengines_backends(results, load):
    assert 'region_cells' in load(backend_args=dict(backend='local'))(results)
