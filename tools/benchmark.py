"""Run benchmark cases: parity, time and peak memory of ours and the baselines in one run."""
import argparse
import json
import platform
import re
import subprocess

import mmcv
import mmengine
import mmseg
import numpy as np
import torch
from prettytable import PrettyTable

import mmseg_ext.benchmarks  # noqa: F401  (registers the cases)
from mmseg_ext.benchmarks import measure
from mmseg_ext.registry import BENCHMARKS


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--case', default='', help='regular expression that the names must match')
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu')
    parser.add_argument('--repeats', type=int, default=5, help='timed calls of each run')
    parser.add_argument('--out', help='JSON file for the results')
    return parser.parse_args()


def environment(device: str) -> dict:
    """Say on what the numbers were measured."""
    git = subprocess.run(['git', 'describe', '--always', '--dirty'], capture_output=True, text=True)
    with_gpu = device == 'cuda'
    return dict(
        commit=git.stdout.strip() or None,
        device=torch.cuda.get_device_name() if with_gpu else _cpu_name(),
        threads=torch.get_num_threads(),
        python=platform.python_version(),
        torch=torch.__version__,
        mmcv=mmcv.__version__,
        mmengine=mmengine.__version__,
        mmseg=mmseg.__version__,
        numpy=np.__version__)


def _cpu_name() -> str:
    try:
        with open('/proc/cpuinfo') as f:
            return re.search(r'model name\s*: (.+)', f.read()).group(1)
    except (OSError, AttributeError):
        return platform.processor()


def main() -> None:
    """Measure the chosen cases and print a table of each."""
    args = parse_args()
    names = [name for name in BENCHMARKS.module_dict if re.search(args.case, name)]
    if not names:
        raise SystemExit(f'No case matches {args.case!r} among {list(BENCHMARKS.module_dict)}.')
    report = dict(environment=environment(args.device), cases={})
    for name in names:
        case = BENCHMARKS.get(name)(args.device)
        results = measure(case, args.device, repeats=args.repeats)
        report['cases'][name] = dict(covers=list(case.covers), inputs=case.inputs, runs=results)
        table = PrettyTable(['run', 'median ms', 'IQR ms', 'ours / run', 'peak MiB'])
        for run, r in results.items():
            peak = '-' if r['peak_bytes'] is None else f"{r['peak_bytes'] / 2**20:.0f}"
            table.add_row([run, f"{1e3 * r['median_s']:.1f}", f"{1e3 * r['iqr_s']:.1f}",
                           f"{r['ratio']:.2f}", peak])
        print(f'{name}: {case.inputs}\n{table}', flush=True)
    if args.out:
        with open(args.out, 'w') as f:
            json.dump(report, f, indent=2)
            f.write('\n')


if __name__ == '__main__':
    main()
