"""Find the regions of all images of a config, by Selective Search, and keep them in files.

The config's pipelines have LoadRegions, which says where the files are and with which settings
they are made:

    python tools/generate_regions.py CONFIG --workers 8

There is one .npz per image with the regions in three colour spaces (RGB, HSV, Lab). Files that
are there, complete and made with the same settings stay as they are, so the command can be
stopped and run again.
"""
import argparse
import sys
import time
from typing import List, Optional

import numpy as np
from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope
from mmengine.utils import ProgressBar

from mmseg_ext.engine import launch
from mmseg_ext.engine.region_jobs import Job, Outcome, RegionJobs
from mmseg_ext.ops.hierarchical_regions import COLOUR_SPACES

SPLITS = ['train', 'val', 'test']


def parse_args(argv: Optional[List[str]] = None) -> argparse.Namespace:
    """Read the command line.

    Args:
        argv (list[str], optional): Arguments. Defaults to those of the process.

    Returns:
        argparse.Namespace: The values.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file of mmseg')
    parser.add_argument(
        '--splits',
        nargs='+',
        default=SPLITS,
        help="the sets of '{SPLIT}_dataloader' (default: those of train, val and test there are)")
    parser.add_argument('--workers', type=int, default=2, help='processes (default: 2)')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, help='override settings, key=value')
    args = parser.parse_args(argv)
    if args.workers < 1:
        parser.error(f'--workers must be at least 1, got {args.workers}')
    return args


def find_loaders(cfg: Config, splits: List[str]) -> dict:
    """Give the data loaders of the splits that the config has.

    Args:
        cfg (Config): The config.
        splits (list[str]): 'train' for ``train_dataloader`` and so on.

    Returns:
        dict[str, dict]: Their configs by name.
    """
    names = [f'{split}_dataloader' for split in splits]
    there = [key for key in cfg if key.endswith('_dataloader')]
    unknown = [name for name in names if name not in there] if splits != SPLITS else []
    loaders = {name: cfg[name] for name in names if cfg.get(name) is not None}
    if unknown or not loaders:
        sys.exit(f'{cfg.filename} has none of {unknown or names}; it has {there}: choose with '
                 '--splits.')
    return loaders


def summarise(outcomes: List[Outcome]) -> str:
    """Say what was done.

    Args:
        outcomes (list[Outcome]): One per image.

    Returns:
        str: Two lines at most.
    """
    done = [outcome for outcome in outcomes if outcome.error is None]
    seconds = [outcome.seconds for outcome in done if outcome.seconds is not None]
    lines = [f'{len(outcomes)} images: {len(seconds)} made, {len(done) - len(seconds)} there '
             f'already, {len(outcomes) - len(done)} failed']
    if seconds:
        lines[0] += f'; {np.mean(seconds):.2f} s per image in one process'
    if done:
        means = np.mean([outcome.num_regions for outcome in done], axis=0)
        lines.append('Regions per image: ' + ', '.join(
            f'{mean:.1f} in {space}' for space, mean in zip(COLOUR_SPACES, means)))
    return '\n'.join(lines)


def main(argv: Optional[List[str]] = None) -> None:
    """Make the files.

    Args:
        argv (list[str], optional): Arguments. Defaults to those of the process.
    """
    args = parse_args(argv)
    cfg = Config.fromfile(args.config)
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    with launch.errors_as_sentences():
        jobs = RegionJobs(find_loaders(cfg, args.splits))

    outcomes, failures = [], []
    bar = ProgressBar(len(jobs.jobs))

    def report(job: Job, outcome: Outcome) -> None:
        outcomes.append(outcome)
        if outcome.error is not None:
            failures.append(f"No regions of '{job.img_path}': {outcome.error}")
        bar.update()

    start = time.perf_counter()
    try:
        jobs.run(args.workers, report)
    except KeyboardInterrupt:
        sys.exit(f'\nStopped after {len(outcomes)} of {len(jobs.jobs)} images; all that '
                 'were written are complete. Run the same command again for the others.')
    print(f'\n{summarise(outcomes)}')
    print(f'{time.perf_counter() - start:.0f} s, in {", ".join(jobs.folders)}')
    if failures:
        sys.exit('\n'.join(failures))


if __name__ == '__main__':
    main()
