"""Find the regions of all images of a config, by Selective Search, and keep them in files.

The config's pipelines have LoadRegions, which says where the files are and with which settings
they are made:

    python tools/generate_regions.py CONFIG --workers 8

There is one .npz per image with the regions in three colour spaces (RGB, HSV, Lab). Files that
exist, are complete and were made with the same settings stay as they are, so the command can be
stopped and run again.
"""
import argparse
import sys
import time
from typing import List, Optional

import numpy as np
from mmengine.utils import ProgressBar

from mmseg_ext.engine import launch
from mmseg_ext.engine.region_jobs import Job, Outcome, RegionJobs
from mmseg_ext.ops.hierarchical_regions import COLOUR_SPACES

SPLITS = ['train', 'val', 'test']


def parse_args(argv: Optional[List[str]] = None) -> argparse.Namespace:
    """Read the command line.

    Args:
        argv (list[str], optional): Arguments. Defaults to the command line.

    Returns:
        argparse.Namespace: The values.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    launch.add_config_arguments(parser)
    parser.add_argument(
        '--splits',
        nargs='+',
        help="the sets of '{SPLIT}_dataloader' (default: train, val and test, if they are there)")
    parser.add_argument('--workers', type=int, default=2, help='processes (default: 2)')
    args = parser.parse_args(argv)
    if args.workers < 1:
        parser.error(f'--workers must be at least 1, got {args.workers}')
    return args


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
        argv (list[str], optional): Arguments. Defaults to the command line.
    """
    args = parse_args(argv)
    with launch.errors_as_sentences():
        cfg = launch.read_config(args.config, args.cfg_options)
        splits = args.splits or [name for name in SPLITS if cfg.get(f'{name}_dataloader')] or SPLITS
        jobs = RegionJobs({f'{name}_dataloader': dict(dataset=launch.dataset_of(cfg, name))
                           for name in splits})

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
