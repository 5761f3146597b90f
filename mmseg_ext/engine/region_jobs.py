"""Make the files of regions that the data sets of a config ask for."""
import copy
import os
import signal
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Union

import cv2
import numpy as np
import torch
from mmcv.transforms import LoadAnnotations
from mmengine.dataset import BaseDataset
from mmseg.registry import DATASETS, TRANSFORMS

from ..datasets.regions.files import (
    BrokenRegionFile,
    Settings,
    describe,
    read_regions,
    write_regions,
)
from ..datasets.transforms.load_regions import LoadRegions
from ..ops.hierarchical_regions import COLOUR_SPACES, hierarchical_regions


class Job(NamedTuple):
    """One file to make: from which item of which data set."""
    path: str
    settings: Settings
    dataset: int
    index: int
    img_path: str


class Outcome(NamedTuple):
    """The result of a job.

    Attributes:
        num_regions (tuple[int]): Regions in each colour space.
        seconds (float, optional): Time to find and write them; None if the file was there.
        error (str, optional): Why there are no regions.
    """
    num_regions: Sequence[int] = ()
    seconds: Optional[float] = None
    error: Optional[str] = None


class RegionJobs:
    """The files that ``LoadRegions`` reads in the pipelines of a config.

    Args:
        loaders (dict[str, dict]): Configs of data loaders by name.

    Attributes:
        jobs (dict[str, Job]): The files to make, by path.
        folders (list[str]): All ``regions_dir``.

    Raises:
        ValueError: If no pipeline has ``LoadRegions``, or two of them disagree about a file.
    """

    def __init__(self, loaders: Dict[str, dict]) -> None:
        self.datasets: List[BaseDataset] = []
        self.jobs: Dict[str, Job] = {}
        self.folders: List[str] = []
        for loader in loaders.values():
            for cfg in _leaves(loader['dataset']):
                self._add_dataset(cfg)
        if not self.datasets:
            raise ValueError(f'No pipeline of {", ".join(loaders)} has LoadRegions: there are no '
                             'files to make.')

    def run(self, workers: int, report: Callable[[Job, Outcome], None]) -> None:
        """Make the files in parallel.

        When it is interrupted, what the workers already have is finished, and nothing else begun.

        Args:
            workers (int): Number of processes.
            report (Callable): Called with each job and its outcome, in the order in which they end.
        """
        with ProcessPoolExecutor(
                workers, initializer=_start_worker, initargs=(self.datasets, )) as pool:
            jobs = {pool.submit(_work, job): job for job in self.jobs.values()}
            try:
                for future in as_completed(jobs):
                    report(jobs[future], future.result())
            finally:
                for future in jobs:
                    future.cancel()

    def _add_dataset(self, cfg: dict) -> None:
        kinds = [_class(transform['type']) for transform in cfg.get('pipeline', [])]
        if LoadRegions not in kinds:
            return
        position = kinds.index(LoadRegions)
        source = TRANSFORMS.build(cfg['pipeline'][position])
        if '://' in source.regions_dir:
            raise ValueError(f"regions_dir='{source.regions_dir}' is not a local folder: make the "
                             'files in one and copy them there.')
        # the transforms before LoadRegions, but those that read labels
        before = [transform for transform, kind in zip(cfg['pipeline'], kinds[:position])
                  if not (isinstance(kind, type) and issubclass(kind, LoadAnnotations))]
        dataset = DATASETS.build(dict(copy.deepcopy(cfg), pipeline=before))
        dataset.full_init()
        self.datasets.append(dataset)
        if source.regions_dir not in self.folders:
            self.folders.append(source.regions_dir)
        for index in range(len(dataset)):
            img_path = dataset.get_data_info(index)['img_path']
            path = os.path.normpath(source.regions_path(img_path))
            job = Job(path, source.settings, len(self.datasets) - 1, index, img_path)
            _check_same(self.jobs.setdefault(path, job), job)


def _check_same(job: Job, other: Job) -> None:
    if os.path.abspath(job.img_path) != os.path.abspath(other.img_path):
        raise ValueError(f"The images '{job.img_path}' and '{other.img_path}' would have the same "
                         f"file '{job.path}': give each set a regions_dir of its own, or set "
                         'img_dir to a folder that both lie in.')
    if job.settings != other.settings:
        raise ValueError(f"'{job.path}' is asked for with {describe(job.settings)} and with "
                         f'{describe(other.settings)}: make them the same, or give each a '
                         'regions_dir of its own.')


def _leaves(cfg: dict) -> List[dict]:
    """Configs of the data sets inside all wrappers."""
    inner = [cfg['dataset']] if 'dataset' in cfg else cfg.get('datasets', [])
    return [leaf for child in inner for leaf in _leaves(child)] if inner else [cfg]


def _class(kind: Union[str, type]) -> Optional[type]:
    return TRANSFORMS.get(kind) if isinstance(kind, str) else kind


#: In a worker: the data sets that the jobs refer to.
_datasets: List[BaseDataset] = []


def _start_worker(datasets: List[BaseDataset]) -> None:
    # Ctrl-C is for the parent, which lets the workers finish their files
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    _datasets[:] = datasets


def _work(job: Job) -> Outcome:
    try:
        results = _datasets[job.dataset].prepare_data(job.index)
        if results is None or results.get('img') is None:
            return Outcome(error='its pipeline gives no image before LoadRegions')
        image = results['img']
        counts = _count_regions(job, image.shape[:2])
        if counts:
            return Outcome(counts)
        start = time.perf_counter()
        rgb = np.ascontiguousarray(image[..., ::-1])
        regions = {space: hierarchical_regions(rgb, space, **job.settings)
                   for space in COLOUR_SPACES}
        write_regions(job.path, regions, job.settings)
        counts = [regions[space].num_regions for space in COLOUR_SPACES]
        return Outcome(counts, time.perf_counter() - start)
    except Exception as error:  # an error in one image must not stop the others
        return Outcome(error=f'{type(error).__name__}: {error}')


def _count_regions(job: Job, size: Sequence[int]) -> List[int]:
    """Regions in each colour space; an empty list if there is no file or it has to be made anew."""
    try:
        with open(job.path, 'rb') as file:
            data = file.read()
        counts = []
        for space in COLOUR_SPACES:
            regions, settings = read_regions(data, space)
            if settings != job.settings or regions.cells.shape != tuple(size):
                return []
            counts.append(regions.num_regions)
        return counts
    except (FileNotFoundError, BrokenRegionFile):
        return []
