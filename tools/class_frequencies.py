"""Count the classes of a config's training set and print the class weights that follow.

The table ends with the ignored pixels, called void. With --out the numbers go to a JSON file
that a config can inherit:

    python tools/class_frequencies.py CONFIG --out configs/_base_/class_weights/camvid.json

    _base_ = ['../_base_/class_weights/camvid.json']
    ... class_weight={{_base_.camvid_class_weights.median_frequency}}

or, with --only, a list of weights for a loss's class_weight='FILE.json'.
"""
import argparse
import json
from pathlib import Path
from typing import List, Optional

from prettytable import PrettyTable

from mmseg_ext.datasets.class_frequencies import count_dataset, innermost_cfg, summarise
from mmseg_ext.engine import launch


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
        '--split', default='train', help="count the set of '{SPLIT}_dataloader' (default: train)")
    parser.add_argument('--out', help='JSON file to write')
    parser.add_argument(
        '--only',
        choices=('median_frequency', 'inverse_frequency'),
        help='write nothing but the list of these weights')
    parser.add_argument(
        '--name', help='key in the JSON file, before _class_weights (default: from the data set)')
    parser.add_argument(
        '--ignored',
        choices=('class', 'drop'),
        default='class',
        help='ignored pixels: counted as one more class in the median and in the images '
        '(default, as for the CamVid weights of SegNet), or left out')
    parser.add_argument('--workers', type=int, default=2, help='threads (default: 2)')
    args = parser.parse_args(argv)
    if args.only and not args.out:
        parser.error('--only says what to write and needs --out')
    return args


def make_table(summary: dict) -> PrettyTable:
    """Set the summary as a table, one row per class and the ignored pixels last.

    Args:
        summary (dict): Result of ``summarise``.

    Returns:
        PrettyTable: The table, weights with 9 decimals.
    """
    table = PrettyTable(
        ['class', 'pixels', 'images', 'median_frequency', 'inverse_frequency', 'none'])
    table.align = 'r'
    table.align['class'] = 'l'
    rows = zip(*(summary[key] for key in ('classes', 'pixel_counts', 'image_counts',
                                          'median_frequency', 'inverse_frequency')))
    for name, pixels, images, median, inverse in rows:
        table.add_row([name, pixels, images, f'{median:.9f}', f'{inverse:.9f}', 1])
    void = summary['ignored']
    table.add_row([
        'void', void['pixel_count'], void['image_count'], f"{void['median_frequency']:.9f}", '-',
        '-'
    ])
    return table


def write_json(path: str, key: str, summary: dict) -> None:
    """Write the summary below one key, one line per entry so that a diff is readable.

    Args:
        path (str): JSON file.
        key (str): The key.
        summary (dict): What stands below it.
    """
    lines = ',\n'.join(f'    {json.dumps(k)}: {json.dumps(v)}' for k, v in summary.items())
    with open(path, 'w', encoding='utf-8') as file:
        file.write(f'{{\n  {json.dumps(key)}: {{\n{lines}\n  }}\n}}\n')


def main(argv: Optional[List[str]] = None) -> None:
    """Count, print, write.

    Args:
        argv (list[str], optional): Arguments. Defaults to the command line.
    """
    args = parse_args(argv)
    with launch.errors_as_sentences():
        cfg = launch.dataset_of(launch.read_config(args.config, args.cfg_options), args.split)
        counts, classes = count_dataset(cfg, args.workers)
    summary = summarise(counts, classes, count_ignored=args.ignored == 'class')

    print(make_table(summary))
    print(f"{summary['num_images']} label maps")
    absent = [c for c, n in zip(classes, summary['pixel_counts']) if n == 0]
    if absent:
        print(f"No pixel of {', '.join(absent)}: weight 0, and left out of the median.")
    if args.out and args.only:
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        Path(args.out).write_text(json.dumps(summary[args.only]) + '\n')
        print(f"Written to {args.out}; in a config: class_weight='{args.out}'")
    elif args.out:
        kind = innermost_cfg(cfg)['type']
        kind = kind if isinstance(kind, str) else kind.__name__
        name = args.name or kind.split('.')[-1].replace('Dataset', '').lower()
        source = f'{len(counts)} label maps of {kind}, counted by tools/class_frequencies.py'
        key = f'{name}_class_weights'
        write_json(args.out, key, dict(source=source, **summary))
        print(f'Written to {args.out}; in a config that inherits it: '
              f'class_weight={{{{_base_.{key}.median_frequency}}}}')


if __name__ == '__main__':
    main()
