import io
from functools import partial
from typing import Callable, Dict, List, Optional, Sequence, Tuple

import cv2
import mmengine.fileio as fileio
import numpy as np
from mmcv.transforms import LoadAnnotations, LoadImageFromFile
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations as EightBitLoadAnnotations
from PIL import Image, UnidentifiedImageError

from .transforms import LoadInstanceAnnotations

#: What the files of a folder are called.
_MAPS = dict(seg_map_path='label map', instance_map_path='instance map')


def check_label_values(label: np.ndarray,
                       num_classes: int,
                       ignore_index: int = 255,
                       source: str = 'the label map') -> None:
    """Raise a ValueError unless every pixel of a label map (H, W) is a class 0..C-1 or ignored.

    The label map is taken as it is after loading. The message names the ``source``, mostly its
    file, the wrong values and how many pixels hold them.
    """
    if label.ndim != 2:
        raise ValueError(
            f'{source} has the shape {label.shape}, but a label map holds one class number '
            'per pixel, shape (H, W): a picture of colours must be converted first.')
    wrong = (label >= num_classes) & (label != ignore_index)
    if label.dtype.kind == 'i':
        wrong |= (label < 0) & (label != ignore_index)
    if wrong.any():
        values, pixels = np.unique(label[wrong], return_counts=True)
        found = ', '.join(f'{v} in {n} pixels' for v, n in zip(values[:5], pixels[:5]))
        more = f' and {len(values) - 5} values more' if len(values) > 5 else ''
        raise ValueError(
            f'{source} holds the label value {found}{more}, but after loading (label_map, '
            f'reduce_zero_label) only 0..{num_classes - 1}, the {num_classes} classes, and '
            f'{ignore_index}, ignored, are allowed: correct the file or the classes.')


def _check_loaded_labels(results: dict, num_classes: int, ignore_index: int) -> dict:
    check_label_values(results['gt_seg_map'], num_classes, ignore_index,
                       repr(results['seg_map_path']))
    return results


def _check_file_fits_8_bits(results: dict, backend_args: Optional[dict]) -> dict:
    """Raise if mmseg's ``LoadAnnotations``, which keeps 8 bits, would change values of a file."""
    path = results['seg_map_path']
    local = not backend_args or backend_args.get('backend') == 'local'
    # Pillow reads no more than the header here; a server has to be asked for the whole file.
    source = path if local else io.BytesIO(fileio.get(path, backend_args=backend_args))
    try:
        picture = Image.open(source)
    except UnidentifiedImageError:  # another decoder may know it, or say so
        return results
    with picture:
        if picture.mode[0] not in 'IF':  # I: integers of 16 or 32 bits, F: floating point
            return results
        label = np.array(picture)
    wrong = ~np.isin(label, np.arange(256))
    if wrong.any():
        values, pixels = np.unique(label[wrong], return_counts=True)
        more = f' and {len(values) - 1} values more' if len(values) > 1 else ''
        advice = ('write files of 8 bits, or load them by a subclass of LoadAnnotations.'
                  if (label % 256).any() else 'all are multiples of 256, divide them by 256.')
        raise ValueError(
            f"'{path}' holds the label value {values[0]} in {pixels[0]} pixels{more}, but mmseg's "
            f'LoadAnnotations keeps 8 bits of it, so only 0..255 can be in a file: {advice}')
    return results


class _NamesItsFile:
    """A loading transform whose errors name the file, ``results[key]``, that cannot be decoded."""

    def __init__(self, transform: Callable, key: str) -> None:
        self.transform = transform
        self.key = key

    def __call__(self, results: dict) -> Optional[dict]:
        path = results.get(self.key)
        try:
            return self.transform(results)
        except FileNotFoundError:  # names it
            raise
        except (cv2.error, OSError) as error:  # what OpenCV and Pillow raise
            raise ValueError(f"'{path}' cannot be decoded as an image, it is empty or damaged: get "
                             f'the file again ({error}).') from error

    def __repr__(self) -> str:
        return repr(self.transform)


class CheckedSegDataset(BaseSegDataset):
    """Base of the data sets that are read from files: says what is wrong with the files.

    A missing folder, an empty one, an image without a label, a file that cannot be decoded and a
    label value outside the classes each give one sentence, the first three when the list of files
    is made, the others when the file is loaded. Then the label map is still whole, and its values
    are not yet cut to 8 bits. Labels are asked for in training, and in a test whose pipeline loads
    them.

    The folders are found in one of two ways: from ``split``, by the first of the class's
    ``LAYOUTS`` whose image folder exists, or as in every data set of mmseg from ``data_prefix``.
    Where the class says nothing else, these are

    .. code-block:: none

        data_root/images/train/*.jpg
        data_root/labels/train/*.png

    Note:
        Label maps loaded inside another transform (``TestTimeAug``) are not checked.

        What mmseg sets to 255, classes that are left out by ``metainfo``, is ``ignore_index``
        here. The head and the padding of the pipeline have an ``ignore_index`` of their own.

    Args:
        split (str): The part of the data that a layout names, 'train', 'val' or 'test'.
            Not used if ``data_prefix`` is given.
        data_prefix (dict, optional): Folders of the images (``img_path``) and of the
            label maps (``seg_map_path``), below ``data_root``. Defaults to the layout.
        img_suffix (str, optional): How the names of the images end. Defaults to the
            first of ``IMG_SUFFIXES`` that occurs in the image folder.
        lazy_init (bool): Whether to look for no files yet.
        ignore_index (int): Label of the pixels that do not count. mmseg's ``LoadAnnotations`` can
            have 0 to 255, with ``reduce_zero_label`` 255 alone. Defaults to 255.
        **kwargs: Arguments of mmseg's ``BaseSegDataset``: ``data_root``, ``pipeline``, ...

    Raises:
        FileNotFoundError: If a folder, an image, a label map or ``ann_file`` is missing.
        ValueError: If a label map holds a value outside the classes, a file cannot be decoded, or
            the pipeline cannot have this ``ignore_index``.
    """

    LAYOUTS: Sequence[Tuple[str, str]] = (('images/{split}', 'labels/{split}'), )
    """(image folder, label folder) below ``data_root``, with ``{split}`` in both."""
    IMG_SUFFIXES: Sequence[str] = ('.jpg', '.png')
    HOW_TO_GET: str = ''
    """End of the message about a missing folder: where the data come from."""

    def __init__(self,
                 split: str = 'train',
                 data_prefix: Optional[Dict[str, str]] = None,
                 img_suffix: Optional[str] = None,
                 lazy_init: bool = False,
                 **kwargs) -> None:
        self.split = split
        if data_prefix is None:
            data_prefix = self._find_layout(kwargs.get('data_root'), kwargs.get('backend_args'))
        # The files are looked for after the pipeline is known: it decides if labels are needed.
        super().__init__(
            data_prefix=data_prefix, img_suffix=img_suffix, lazy_init=True, **kwargs)
        self._ignore_by_ignore_index()
        self._insert_checks()
        if not lazy_init:
            self.full_init()

    def load_data_list(self) -> List[dict]:
        """List the images and their label maps, as mmseg does."""
        labels_needed = self._loads_labels or not self.test_mode
        self._require_folders(labels_needed)
        if self.img_suffix is None:
            self.img_suffix = self._find_img_suffix()
        data_list = super().load_data_list()
        if not data_list:
            self._fail(f"the image folder '{self.data_prefix['img_path']}' holds no image "
                       f"'*{self.img_suffix}'")
        for info in data_list:
            if 'seg_map_path' in info:
                info['seg_map_path'] = self.label_path(info['seg_map_path'])
        if self.ann_file:
            self._require_files('img_path', self.img_suffix, data_list)
        if labels_needed:
            self._require_files('seg_map_path', self.seg_map_suffix, data_list)
        return data_list

    def label_path(self, path: str) -> str:
        """Give the path of a label map from the one it would have if it were named as its image."""
        return path

    def _find_layout(self, data_root: Optional[str], backend_args: Optional[dict]) -> dict:
        prefixes = [
            dict(img_path=img.format(split=self.split), seg_map_path=seg.format(split=self.split))
            for img, seg in self.LAYOUTS
        ]
        for prefix in prefixes:
            path = fileio.join_path(data_root or '.', prefix['img_path'])
            if fileio.isdir(path, backend_args=backend_args):
                return prefix
        return prefixes[0]

    def _find_img_suffix(self) -> str:
        files = self._list_files('img_path', tuple(self.IMG_SUFFIXES))
        for suffix in self.IMG_SUFFIXES:
            if any(name.endswith(suffix) for name in files):
                return suffix
        self._fail(f"the image folder '{self.data_prefix['img_path']}' holds no image "
                   f"'*{' or *'.join(self.IMG_SUFFIXES)}'")

    def _ignore_by_ignore_index(self) -> None:
        """Replace mmseg's 255 in the map of labels."""
        if self.ignore_index == 255:
            return
        if any(type(t) is EightBitLoadAnnotations for t in self.pipeline.transforms):
            who = f"{type(self).__name__} has ignore_index={self.ignore_index}, but mmseg's "
            if self.reduce_zero_label:
                raise ValueError(f'{who}LoadAnnotations turns 0 into 255 where reduce_zero_label '
                                 'is set: leave ignore_index=255, here and in the head.')
            if self.label_map is not None and self.ignore_index not in range(256):
                raise ValueError(f'{who}LoadAnnotations keeps 8 bits: choose one of 0..255.')
        if self.label_map is not None:
            self.label_map = {
                old: self.ignore_index if new == 255 else new
                for old, new in self.label_map.items()
            }
            self._metainfo['label_map'] = self.label_map

    def _insert_checks(self) -> None:
        check = partial(
            _check_loaded_labels,
            num_classes=len(self._metainfo['classes']),
            ignore_index=self.ignore_index)
        transforms = []
        for transform in self.pipeline.transforms:
            if isinstance(transform, LoadAnnotations):
                if type(transform) is EightBitLoadAnnotations:
                    transforms.append(
                        partial(_check_file_fits_8_bits, backend_args=transform.backend_args))
                transforms += [_NamesItsFile(transform, 'seg_map_path'), check]
            elif isinstance(transform, LoadImageFromFile):
                transforms.append(_NamesItsFile(transform, 'img_path'))
            elif isinstance(transform, LoadInstanceAnnotations):
                transforms.append(_NamesItsFile(transform, 'instance_map_path'))
            else:
                transforms.append(transform)
        self._loads_labels = check in transforms
        self._loads_instances = any(
            isinstance(t, _NamesItsFile) and t.key == 'instance_map_path' for t in transforms)
        self.pipeline.transforms = transforms

    def _list_files(self, folder: str, suffix) -> List[str]:
        return list(
            fileio.list_dir_or_file(
                self.data_prefix[folder],
                list_dir=False,
                suffix=suffix,
                recursive=True,
                backend_args=self.backend_args))

    def _require_folders(self, labels_needed: bool) -> None:
        folders = [('data_root', self.data_root), ('image folder', self.data_prefix['img_path'])]
        if labels_needed:
            if 'seg_map_path' not in self.data_prefix:
                self._fail(f'data_prefix={self.data_prefix} names no label folder (seg_map_path)')
            folders.append(('label folder', self.data_prefix['seg_map_path']))
        for name, path in folders:
            if path and not fileio.isdir(path, backend_args=self.backend_args):
                self._fail(f"the {name} '{path}' does not exist")
        if self.ann_file and not fileio.isfile(self.ann_file, backend_args=self.backend_args):
            self._fail(f"the list of images (ann_file) '{self.ann_file}' does not exist")

    def _require_files(self, folder: str, suffix: str, data_list: List[dict]) -> None:
        # One listing of the folder instead of a question per file: quick on network drives too.
        there = {
            fileio.join_path(self.data_prefix[folder], name)
            for name in self._list_files(folder, suffix)
        }
        missing = [info for info in data_list if info[folder] not in there]
        if missing:
            first = missing[0]
            what = (f"the image '{first['img_path']}' named in '{self.ann_file}' does not exist"
                    if folder == 'img_path' else
                    f"the image '{first['img_path']}' has no {_MAPS[folder]} '{first[folder]}'")
            self._fail(f'{what} ({len(missing)} of {len(data_list)} are missing)')

    def _fail(self, problem: str) -> None:
        suffixes = ' or '.join('*' + s for s in self.IMG_SUFFIXES)
        layouts = ', or '.join(
            f'{img}/ and {seg}/'.format(split='<split>') for img, seg in self.LAYOUTS)
        raise FileNotFoundError(
            f"{type(self).__name__}: {problem}; expected below data_root='{self.data_root}' are "
            f'images {suffixes} and label maps *{self.seg_map_suffix} in {layouts} '
            f'(or as data_prefix says). {self.HOW_TO_GET}'.rstrip())
