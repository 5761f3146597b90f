"""Run benchmark cases: parity, time and peak memory of ours and the baselines in one run.

Results are written from a clean checkout only, so that their commit says what was measured. To try
something, leave --out away, or add --draft.
"""
import argparse
import os
import platform
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Dict, List, Optional

import mmcv
import mmengine
import mmseg
import numpy as np
import torch
from mmengine.registry import DefaultScope

from mmseg_ext.benchmarks import family, measure
from mmseg_ext.benchmarks.measure import Peaks
from mmseg_ext.benchmarks.peaks import peaks_in_own_process
from mmseg_ext.benchmarks.report import case_table
from mmseg_ext.benchmarks.results_file import RESULTS, write_results
from mmseg_ext.ops import extension_loaded
from mmseg_ext.provenance import DIRTY, ROOT, checked_out, device_name
from mmseg_ext.registry import BENCHMARKS

#: Load per core above which a note says that the numbers will be unsteady.
BUSY = 0.25


def parse_args(argv: Optional[List[str]] = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--case', default='', help='regular expression that the names must match')
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu')
    parser.add_argument('--rounds', type=int, default=20,
                        help='how often each run is timed at most')
    parser.add_argument('--seconds', type=float, default=20,
                        help='after which a phase of a case has had enough rounds, if there were 5')
    parser.add_argument('--small', action='store_true',
                        help='sizes of the tests: to try a case, not to learn what it costs')
    parser.add_argument('--draft', action='store_true',
                        help='write from a changed checkout too, marked so, and not into the '
                        'results of the package; --small means it too')
    parser.add_argument('--list', action='store_true', help='print the cases and what they compare')
    out = parser.add_mutually_exclusive_group()
    out.add_argument('--out', type=Path, help='JSON file for the results')
    out.add_argument('--out-dir', type=Path,
                     help='folder for one JSON file per family, FAMILY_DEVICE.json; all cases')
    args = parser.parse_args(argv)
    if args.out_dir and args.case:
        parser.error('--out-dir writes whole families; with --case use --out.')
    return args


def check_target(path: Path, draft: bool, commit: Optional[str], changes: List[str]) -> None:
    """End the program where results may not be written.

    Args:
        path (Path): The file or folder for the results.
        draft (bool): Whether they are for a trial only.
        commit (str, optional): As from ``provenance.checked_out``.
        changes (list[str]): Likewise.
    """
    is_published = RESULTS in (path.resolve(), *path.resolve().parents)
    if is_published and draft:
        raise SystemExit(f'error: --draft and --small do not write below {RESULTS}, got {path}; '
                         'write to another folder')
    if is_published and commit is None:
        raise SystemExit(f'error: results below {RESULTS} name the commit that was measured, but '
                         f'{ROOT} is no checkout of git; write to another folder')
    if changes and not draft:
        some = ', '.join(changes[:3]) + (', ...' if len(changes) > 3 else '')
        raise SystemExit(f'error: results name the commit that was measured, but {len(changes)} '
                         f'files differ from commit {commit} ({some}); commit them, or add --draft')


def environment(device: str, commit: Optional[str], changes: List[str]) -> dict:
    """Say what was measured, and on what."""
    return dict(
        commit=commit + DIRTY if changes else commit,
        device=device_name(device),
        threads=torch.get_num_threads(),
        os=platform.system(),
        machine=platform.machine(),
        compiled_extension=extension_loaded(),
        python=platform.python_version(),
        torch=str(torch.__version__),
        numpy=np.__version__,
        mmcv=mmcv.__version__,
        mmengine=mmengine.__version__,
        mmseg=mmseg.__version__)


def warn_if_busy() -> None:
    """Say that the numbers will be unsteady while other programs run."""
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    if load > BUSY:
        print(f'note: other programs kept {load:.0%} of the cores busy over the last minute; the '
              'numbers will be unsteady.', file=sys.stderr)


def main(argv: Optional[List[str]] = None) -> None:
    """Measure the chosen cases, print a table of each and write the results."""
    args = parse_args(argv)
    names = [name for name in BENCHMARKS.module_dict if re.search(args.case, name)]
    if not names:
        raise SystemExit(f'No case matches {args.case!r} among {list(BENCHMARKS.module_dict)}.')
    if args.list:
        for name in names:
            print(f'{name} ({family(name)}): {BENCHMARKS.get(name).__doc__.splitlines()[0]}')
        return
    warn_if_busy()
    checkout = checked_out(ROOT)
    target = args.out or args.out_dir
    if target is not None:
        check_target(target, args.draft or args.small, *checkout)
    described = environment(args.device, *checkout)
    files: Dict[Optional[Path], List[str]] = defaultdict(list)
    for name in names:
        in_dir = args.out_dir and args.out_dir / f'{family(name)}_{args.device}.json'
        files[in_dir or args.out].append(name)
    peaks = peaks_in_own_process(names, args.small) if args.device == 'cpu' else {}
    for path, names_of_file in files.items():
        # names mean what they mean in a config of mmseg
        with DefaultScope.overwrite_default_scope('mmseg'):
            cases = {name: run_case(name, args, peaks.get(name)) for name in names_of_file}
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_results(dict(environment=described, cases=cases), str(path))


def run_case(name: str, args: argparse.Namespace, peaks: Optional[Peaks]) -> dict:
    """Measure a case, print its table and return its entry of the results."""
    function = BENCHMARKS.get(name)
    case = function(args.device, small=args.small)
    phases = measure(case, args.device, rounds=args.rounds, seconds=args.seconds,
                     peaks=peaks)
    entry = dict(covers=list(function.covers), inputs=case.inputs, phases=phases)
    print(case_table(name, entry), flush=True)
    return entry


if __name__ == '__main__':
    main()
