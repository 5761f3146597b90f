"""Write the tables of configs/README.md from the first lines of the configs.

    python tools/config_index.py           # writes them
    python tools/config_index.py --check   # fails where the page has others

A config begins with three labelled comments. A value goes on in lines that are indented:

    # Reproduces: PAPER, TABLE (DATA): ROW   or   Small version of: FAMILY/NAME.py   or   Ours: WHAT
    # Paper: 77.2 class accuracy, 61.7 mIoU   or   not given
    # Here: 54.8 mIoU on val; NOTE   or   run; NOTE   or   not run; NOTE

Numbers are in per cent. Comments after these lines are not read.
"""
import argparse
import re
import sys
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
MARK = '<!-- Below: written by tools/config_index.py. -->\n'
FAMILIES = ('quickstart', 'flagship', 'lrn', 'bootstrapping', 'regions', 'semeda', 'instances',
            'fused', 'claims')
NUMBER = r'\d+\.\d+( \+- \d+\.\d+)? (mIoU|class accuracy|global accuracy|F1|mAPr)[\w ]*'
NUMBERS = rf'{NUMBER}(, {NUMBER})*'
REPRODUCES = (r'(LRN|Bootstrapping|Regions|SEMEDA), '
              r'(Table \d|Tables \d(, \d)* and \d|Sec\. \d(\.\d)?) \([^)]+\): .+')
#: What may stand behind each label.
FORMS = {
    'Reproduces': REPRODUCES, 'Small version of': r'\w+/[\w-]+\.py', 'Ours': '.+',
    'Paper': rf'not given|{NUMBERS}', 'Here': rf'(not run|run|{NUMBERS} on [\w ]+)(; .+)?'
}
KINDS = ('Small version of', 'Reproduces', 'Ours')
#: What the last part of a name begins with: the data set and the page that tells how to get it.
DATA = {
    'camvid': ('CamVid', 'lrn'), 'sunrgbd': ('SUN RGB-D', 'lrn'), 'voc12': ('PASCAL VOC', 'lrn'),
    'cityscapes': ('Cityscapes', 'bootstrapping'),
    'pascal-context': ('PASCAL-Context', 'bootstrapping'), 'siftflow': ('SIFT Flow', 'regions'),
    'labelme-facade': ('LabelMeFacade', 'regions'), 'helen': ('HELEN', 'semeda'),
    'fasseg': ('FASSEG', 'semeda'), 'sbd': ('SBD', 'instances'),
    'voc-instances': ('own, in the layout of VOC', 'instances'), 'scenes': ('drawn, no files', None)
}


class Header(NamedTuple):
    """The first lines of a config.

    Attributes:
        kind (str): One of :data:`KINDS`.
        what (str): The row of the paper, the full-size config, or what the config is.
        paper (str): The paper's numbers.
        here (str): Whether it was run here, and what it gave.
    """
    kind: str
    what: str
    paper: str
    here: str


def read_header(path: Path) -> Header:
    """Read the labelled comments at the top of a config.

    Args:
        path (Path): The config.

    Returns:
        Header: Their values.

    Raises:
        ValueError: A label is missing or another one, or its value has not the form.
    """
    values: Dict[str, str] = {}
    for line in path.read_text(encoding='utf-8').splitlines():
        found = re.fullmatch(r'# ([A-Z][a-z ]+): (.+)', line)
        if found and len(values) < 3:
            values[found.group(1)] = found.group(2)
        elif line.startswith('#   ') and values:
            values[list(values)[-1]] += ' ' + line[1:].strip()
        else:
            break
    labels = tuple(values)
    if labels not in [(kind, 'Paper', 'Here') for kind in KINDS]:
        raise ValueError(f'{path.name} begins with the labels {labels}; its first lines must be '
                         "'# Reproduces:' ('# Small version of:' or '# Ours:'), '# Paper:' and "
                         "'# Here:', as tools/config_index.py describes them.")
    for label, value in values.items():
        if not re.fullmatch(FORMS[label], value):
            raise ValueError(f'{path.name} has {value!r} behind {label!r}; the form is '
                             f'{FORMS[label]!r} (see tools/config_index.py).')
    return Header(labels[0], *values.values())


def data_of(path: Path) -> str:
    """Name the data set of a config, with a link to the page that tells how to get it."""
    name, page = next(v for k, v in DATA.items() if path.stem.split('_')[-1].startswith(k))
    return f'[{name}]({page}/README.md#data)' if page else name


def hardware_of(path: Path) -> str:
    """Read GPUs and images per GPU from the name. Narrow and lite networks, edge networks and all
    claims are for a CPU.
    """
    gpus, batch = re.search(r'_(\d+)xb(\d+)-', path.stem).groups()
    small = (re.search(r'-w\d+[_-]|_lite\d[_-]', path.stem) or path.stem.startswith('edges')
             or path.parent.name == 'claims')
    return f'CPU, batch {batch}' if small else f'{gpus} x {batch}'


def table_of(family: str) -> str:
    """Make the table of a folder: CPU-sized configs, the papers' rows in order, ours."""
    rows = []
    for path in CONFIGS.glob(f'{family}/*.py'):
        kind, what, paper, here = read_header(path)
        place = re.sub(r'Tables (\d)[^(]*', r'Table \1 ', what)  # several: by the first
        order = [text.zfill(4) if text.isdigit() else text for text in re.split(r'(\d+)', place)]
        if kind == 'Small version of':
            what = f'small version of [{Path(what).name}]({what})'
        elif kind == 'Ours':
            what = f'*ours:* {what}'
        cells = (f'[`{path.name}`]({family}/{path.name})', what, paper, here, hardware_of(path),
                 data_of(path))
        rows.append((KINDS.index(kind), order, '| ' + ' | '.join(cells) + ' |'))
    page = CONFIGS / family / 'README.md'
    about = [f'More: [{family}/README.md]({family}/README.md).', ''] if page.is_file() else []
    return '\n'.join([f'## configs/{family}', '', *about,
                      '| config | what it reproduces | paper | here | GPUs x batch | data |',
                      '|---|---|---|---|---|---|', *(row for _, _, row in sorted(rows)), ''])


def main(argv: Optional[List[str]] = None) -> None:
    """Write the page or compare it.

    Args:
        argv (list[str], optional): Arguments. Defaults to those of the process.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--check', action='store_true', help='compare, write nothing')
    args = parser.parse_args(argv)
    page = CONFIGS / 'README.md'
    text = page.read_text(encoding='utf-8')
    new = text.split(MARK)[0] + MARK + '\n' + '\n'.join(map(table_of, FAMILIES))
    if not args.check:
        page.write_text(new, encoding='utf-8')
    elif new != text:
        sys.exit('configs/README.md differs from the first lines of the configs; '
                 'python tools/config_index.py writes it anew.')


if __name__ == '__main__':
    main()
