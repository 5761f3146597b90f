"""Reads what a training or test of mmengine leaves behind: WORK_DIR/TIME/TIME.log and others."""
import json
import math
import re
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional

from mmengine.config import Config

from ..provenance import read_origin
from ..tools import tool_command

#: The beginning of a record of a log: time, logger, level.
RECORD = re.compile(r'^(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) - \S+ - [A-Z]+ - ', re.M)
#: The record that ends an evaluation, behind its tables.
EVALUATED = re.compile(r'(?:Iter|Epoch)\((?:val|test)\) *(?:\[ *\d+\])?\[(\d+)/\1\]')
#: Entries beside the metrics in a line of results.
OTHERS = {'time', 'data_time', 'step', 'iter', 'epoch', 'memory'}
DECIMALS = 4  # of a metric in the log of mmengine

Metrics = Dict[str, Optional[float]]


class Evaluation(NamedTuple):
    """A validation: after how many iterations, and its metrics, None where NaN."""
    iterations: int
    metrics: Metrics


class Part:
    """A folder WORK_DIR/TIME: one start of a training or test.

    Args:
        folder (Path): It holds TIME.log.

    Attributes:
        folder (Path): As given.
        log (str): Text of TIME.log.
        name (str): Of the config.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = (folder / f'{folder.name}.log').read_text(encoding='utf-8', errors='replace')
        work_dir = folder.absolute().parent
        configs = [path for path in work_dir.glob('*.py') if not is_part_name(path.stem)]
        logged = re.search(rf'Exp name: (.+)_{folder.name}$', self.log, re.M)
        self.name = (configs[0].stem if len(configs) == 1 else
                     logged.group(1) if logged else work_dir.name)
        self._configs = [folder / 'vis_data/config.py', work_dir / f'{self.name}.py']

    @cached_property
    def config(self) -> Config:
        """The config, as the run wrote it."""
        for path in self._configs:
            if path.is_file():
                return Config.fromfile(str(path), import_custom_modules=False)
        raise FileNotFoundError(f'{self.folder} has no config: neither {self._configs[0]} nor '
                                f'{self._configs[1]} exists')

    @property
    def is_training(self) -> bool:
        """Whether a training was started."""
        return 'Checkpoints will be saved to' in self.log or any('iter' in line
                                                                 for line in self.scalars)

    @property
    def is_resumed(self) -> bool:
        """Whether it goes on where another part ended."""
        return re.search(r'resumed epoch: \d+, iter: \d+', self.log) is not None

    @cached_property
    def scalars(self) -> List[dict]:
        """What a training wrote: a dictionary for some iterations, one for each validation."""
        path = self.folder / 'vis_data/scalars.json'
        lines = path.read_text(encoding='utf-8').splitlines() if path.is_file() else []
        found = []
        for line in lines:
            try:
                found.append(json.loads(line))
            except ValueError:
                pass  # a process that was killed leaves half a line
        return found

    def seed(self) -> Optional[int]:
        """Find the seed, in the config or else, where it was drawn, in the log."""
        seed = (self.config.get('randomness') or {}).get('seed')
        logged = re.search(r'^    seed: (\d+)$', self.log, re.M)
        return int(logged.group(1)) if seed is None and logged else seed

    def records(self) -> List[str]:
        """Split the log into its records, without their beginnings."""
        return RECORD.split(self.log)[2::2]

    def minutes(self) -> float:
        """Measure the time from the first record of the log to the last."""
        times = [datetime.strptime(time, '%Y/%m/%d %H:%M:%S') for time in RECORD.findall(self.log)]
        return (times[-1] - times[0]).total_seconds() / 60 if times else 0.

    def planned_iterations(self) -> Optional[int]:
        """Find how long the whole training is; None if it ended before its log says so."""
        loop = self.config.get('train_cfg') or {}
        if loop.get('max_iters'):
            return loop['max_iters']
        total = re.search(r'Iter\(train\) +\[ *\d+/(\d+)\]', self.log)
        if total:
            return int(total.group(1))
        per_epoch = re.search(r'Epoch\(train\) +\[ *\d+\]\[ *\d+/(\d+)\]', self.log)
        return int(per_epoch.group(1)) * loop.get('max_epochs', 0) if per_epoch else None

    def validations(self) -> List[Evaluation]:
        """Find the validations of a training."""
        config, planned = self.config, self.planned_iterations()
        logger = config.get('default_hooks', {}).get('logger', {})
        max_epochs = (config.get('train_cfg') or {}).get('max_epochs')
        logged, found = 0, []
        for line in self.scalars:
            if 'iter' in line:
                logged = line['iter']
                continue
            if not any(key.endswith('time') for key in line):
                continue  # a value that some other hook wrote
            iterations = line['step']
            if logger.get('log_metric_by_epoch', True):  # then the step is the epoch
                if max_epochs and planned:
                    iterations = planned * line['step'] // max_epochs
                else:  # the last iterations may be too few for a line of their own
                    near = planned and logged + logger.get('interval', 10) > planned
                    iterations = planned if near else logged
            found.append(Evaluation(iterations, metrics_of(line)))
        return found


def read_run(path: str) -> dict:
    """Make a row of a run, see :mod:`mmseg_ext.runs.rows`.

    Args:
        path (str): A work directory of mmengine. If it holds a training, the last training counts,
            with its last validation; a training that was resumed is one training. Otherwise the
            last test counts. A folder ``WORK_DIR/TIME`` stands for itself alone.

    Returns:
        dict: The row.

    Raises:
        FileNotFoundError: There is no such folder, or its config is missing.
        ValueError: It holds no run, or a run that has not ended or was not evaluated.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise FileNotFoundError(f'{path} does not exist; a work directory is made by '
                                + tool_command('train.py', 'CONFIG', '--work-dir', 'WORK_DIR'))
    folders = [folder] if _is_part(folder) else sorted(filter(_is_part, folder.iterdir()))
    parts = [Part(one) for one in folders]
    trainings = [part for part in parts if part.is_training]
    if trainings:
        chain = [trainings.pop()]
        while chain[0].is_resumed and trainings:
            chain.insert(0, trainings.pop())
        return _row_of_training(chain, path)
    tests = [part for part in parts if (part.folder / f'{part.folder.name}.json').is_file()]
    if not tests:
        raise ValueError(f'{path} is no work directory of a training or test: it has no folder '
                         'TIME with TIME.log of a training, or with TIME.log and TIME.json of a '
                         'test')
    return _row_of_test(tests[-1])


def metrics_of(line: dict) -> Metrics:
    """Choose the metrics among the entries of a line of results, rounded as in the log.

    Values that are no numbers are left out; NaN and infinity become None.
    """
    named = {re.sub(r'^(val|test)/', '', key): value for key, value in line.items()}
    return {key: _finite(value) for key, value in named.items()
            if key not in OTHERS and type(value) in (int, float)}


def class_tables(records: List[str]) -> Dict[str, Metrics]:
    """Read the tables per class of the last evaluation from the records of a log.

    Returns:
        dict[str, dict]: For each column, such as IoU, the values of the classes. They come from
        every table whose first column is "Class"; where two metrics have a column of the same
        name, from the first.
    """
    tables, last = {}, {}
    for record in records:
        if EVALUATED.match(record):
            tables, last = {}, tables
        rows = [[cell.strip() for cell in line.strip('| \n').split('|')]
                for line in record.splitlines() if line.startswith('|')]
        if not rows or rows[0][0] != 'Class':
            continue
        for i, column in enumerate(rows[0][1:], start=1):
            # EMeasureMetric counts images, the same for every run
            if column != 'Images':
                tables.setdefault(column, {row[0]: _finite(float(row[i])) for row in rows[1:]})
    return last


def _row_of_training(chain: List[Part], path: str) -> dict:
    first, last = chain[0], chain[-1]
    validations = [one for part in chain for one in part.validations()]
    planned = last.planned_iterations()
    if not validations:
        raise ValueError(f'{path} holds a training without a validation, or one that has not come '
                         'to its first (a validation is read from vis_data/scalars.json, which '
                         "dict(type='LocalVisBackend') in vis_backends writes)")
    end = validations[-1]
    if planned is None or end.iterations < planned:
        raise ValueError(f'{path} holds a training that has not ended: its last validation is at '
                         f'iteration {end.iterations} of {planned}; wait for its end, or resume '
                         f"it by {tool_command('train.py', 'CONFIG', '--resume')}")
    curve = {one.iterations: value for one in validations for key, value in one.metrics.items()
             if key.split('/')[-1] == 'mIoU'}
    records = [record for part in chain for record in part.records()]
    return _row(first, last, 'val', end.metrics, records,
                iterations=end.iterations,
                minutes=None if first.is_resumed else round(sum(p.minutes() for p in chain), 1),
                curve=sorted(map(list, curve.items())) if len(curve) > 1 else None)


def _row_of_test(part: Part) -> dict:
    results = json.loads((part.folder / f'{part.folder.name}.json').read_text(encoding='utf-8'))
    return _row(part, part, 'test', metrics_of(results), part.records())


def _row(first: Part, last: Part, split: str, metrics: Metrics, records: List[str],
         iterations: Optional[int] = None, minutes: Optional[float] = None,
         curve: Optional[list] = None) -> dict:
    """Put a row together; seed and start are those of the first part."""
    origin = read_origin(last.log) or {}
    start = first.config.get('load_from')
    return dict(
        name=last.name, seed=first.seed(), data=_data_of(last.config, split), iterations=iterations,
        minutes=minutes, start=_end_of(start) if start else None, commit=origin.get('commit'),
        device=origin.get('device'), threads=origin.get('threads'), metrics=metrics,
        per_class=class_tables(records), curve=curve)


def _data_of(config: Config, split: str) -> str:
    """Name the data set that a loader reads, and its split as the config has it."""
    dataset = (config.get(f'{split}_dataloader') or {}).get('dataset') or {}
    part = (dataset.get('split') or dataset.get('ann_file')
            or (dataset.get('data_prefix') or {}).get('img_path') or '')
    return f"{dataset.get('type', 'unknown')} {_end_of(str(part))}".strip()


def _end_of(path: str) -> str:
    """What says which file it is, without whose disk it is on.

    The path below ``work_dirs``, where it has such a folder, else its last two parts.
    """
    parts = Path(path).parts
    if 'work_dirs' in parts[:-1]:
        return '/'.join(parts[parts.index('work_dirs') + 1:])
    return '/'.join(parts[-2:])


def _is_part(folder: Path) -> bool:
    return is_part_name(folder.name) and (folder / f'{folder.name}.log').is_file()


def is_part_name(name: str) -> bool:
    """Whether a name is a time, as mmengine names the folder of a run."""
    return re.fullmatch(r'\d{8}_\d{6}', name) is not None


def _finite(value: float) -> Optional[float]:
    return round(value, DECIMALS) if math.isfinite(value) else None
