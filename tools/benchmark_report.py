"""Draw tables and figures from benchmark results: FILE.png beside each FILE.json, tables to stdout.

Without files: all results of the package, and their README.md is written anew.
"""
import argparse
from pathlib import Path
from typing import List, Optional

from mmseg_ext.benchmarks.report import draw, readme
from mmseg_ext.benchmarks.results_file import RESULTS, read_results


def parse_args(argv: Optional[List[str]] = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('files', nargs='*', type=Path, help='JSON files of tools/benchmark.py')
    return parser.parse_args(argv)


def main(argv: Optional[List[str]] = None) -> None:
    """Read the results, draw the figures and print the tables."""
    args = parse_args(argv)
    files = args.files or sorted(RESULTS.glob('*.json'))
    if not files:
        raise SystemExit(f'There are no results in {RESULTS}: measure some with `make benchmark`.')
    try:
        all_results = {path.stem: read_results(str(path)) for path in files}
    except (OSError, ValueError) as error:
        raise SystemExit(str(error)) from None
    for path in files:
        draw(all_results[path.stem], path.stem, str(path.with_suffix('.png')))
    page = readme(all_results)
    print(page)
    if not args.files:
        (RESULTS / 'README.md').write_text(page, encoding='utf-8')


if __name__ == '__main__':
    main()
