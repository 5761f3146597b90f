"""Pairs of runs: differences of their metrics with standard errors.

A and B are lists of rows as :mod:`mmseg_ext.runs.rows` describes them. A difference is B - A.
"""
import math
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

Pair = Tuple[dict, dict]
Values = Dict[str, Optional[float]]
#: Entries of a row that a comparison names where A and B have other values.
CONDITIONS = ('data', 'iterations', 'start', 'commit', 'device', 'threads')


class Estimate(NamedTuple):
    """A mean, and its standard error s / sqrt(n) with n - 1 in s; None where there is one value."""
    mean: float
    error: Optional[float]

    @classmethod
    def of(cls, values: Sequence[float]) -> 'Estimate':
        """Estimate the mean of the population that n > 0 values come from."""
        n = len(values)
        mean = math.fsum(values) / n
        if n == 1:
            return cls(mean, None)
        squares = math.fsum((value - mean)**2 for value in values)
        return cls(mean, math.sqrt(squares / (n - 1) / n))

    def text(self, decimals: int = 2, sign: str = '') -> str:
        """Write it as ``'45.20 +- 0.81'``; ``sign='+'`` writes the plus too."""
        mean = f'{self.mean:{sign}.{decimals}f}'
        return mean if self.error is None else f'{mean} +- {self.error:.{decimals}f}'


class Line(NamedTuple):
    """One line of a comparison.

    Attributes:
        name (str): The metric or class.
        a (Estimate): Of the runs of A.
        b (Estimate): Of the runs of B.
        difference (Estimate): Of the paired differences B - A.
        single (list[float]): These differences, in the order of the pairs.
    """
    name: str
    a: Estimate
    b: Estimate
    difference: Estimate
    single: List[float]

    @property
    def decimals(self) -> int:
        """As :func:`decimals_of` says of the two means."""
        return decimals_of(self.a.mean, self.b.mean)


def decimals_of(*means: float) -> int:
    """Two for per cent and the like, four where every mean is a share, such as 0.8123."""
    return 4 if 0 < max(map(abs, means)) <= 1 else 2


def pair_runs(a: Sequence[dict], b: Sequence[dict]) -> Tuple[List[Pair], List[str]]:
    """Pair the runs of A with those of B.

    By seed, where each run has a seed, no seed occurs twice on a side and both sides have one in
    common; otherwise in the given order. What has no partner is left out.

    Args:
        a (Sequence[dict]): Rows.
        b (Sequence[dict]): Rows.

    Returns:
        tuple: The pairs, and sentences that say how they were made and what is unlike in A and B.

    Raises:
        ValueError: There is no run on a side.
    """
    if not a or not b:
        raise ValueError(f'there is nothing to compare: A has {len(a)} runs and B has {len(b)}')
    by_seed = [{row['seed']: row for row in rows} for rows in (a, b)]
    common = sorted(by_seed[0].keys() & by_seed[1].keys() - {None})
    are_unique = all(None not in seeds and len(seeds) == len(rows)
                     for seeds, rows in zip(by_seed, (a, b)))
    if are_unique and common:
        pairs = [(by_seed[0][seed], by_seed[1][seed]) for seed in common]
        said = [f'Paired by seed: {_list(common)}.']
        for side, seeds, others in (('A', *by_seed), ('B', *by_seed[::-1])):
            alone = sorted(seeds.keys() - others.keys())
            if alone:
                said.append(f'Left out, {side} alone has the seed: {_list(alone)}.')
    else:
        why = 'A and B have no seed in common' if are_unique else (
            'not every run has a seed, or a seed occurs twice')
        pairs = list(zip(a, b))
        said = [f'Paired in the given order, because {why}.']
        if len(a) != len(b):
            longer, rows = max(('A', a), ('B', b), key=lambda side: len(side[1]))
            said.append(f'Left out, the last {abs(len(a) - len(b))} of the {len(rows)} runs of '
                        f'{longer}.')
    if len(pairs) == 1:
        said.append('One pair: there is no standard error.')
    return pairs, said + unlike(pairs)


def unlike(pairs: Sequence[Pair]) -> List[str]:
    """Say in sentences in which conditions A and B differ besides the config."""
    said = []
    for key in CONDITIONS:
        sides = [sorted({_known(row[key]) for row in rows}) for rows in zip(*pairs)]
        if sides[0] != sides[1]:
            said.append(f'Not the same {key}: A {_list(sides[0])}; B {_list(sides[1])}.')
    return said


def compare_metrics(pairs: Sequence[Pair]) -> Tuple[List[Line], List[str]]:
    """Compare the metrics of pairs from :func:`pair_runs`.

    Returns:
        tuple: A line for each metric that is a number in every run, and sentences about the others.
    """
    return _compare([(a['metrics'], b['metrics']) for a, b in pairs])


def compare_classes(pairs: Sequence[Pair]) -> Tuple[Dict[str, List[Line]], List[str]]:
    """Compare the values of each class: lines for each column, such as IoU; else the same."""
    found, said = {}, []
    for column in _common([(a['per_class'], b['per_class']) for a, b in pairs]):
        found[column], more = _compare(
            [(a['per_class'][column], b['per_class'][column]) for a, b in pairs])
        said += [f'{column} of classes: {sentence}' for sentence in more]
    return found, said


def compare_metric(pairs: Sequence[Pair], name: str) -> Optional[Line]:
    """Compare one metric, or the value of one class, such as ``'IoU of pole'``.

    Returns:
        Line: None where a run has no number for it.
    """
    values = [tuple({name: value_of(row, name)} for row in pair) for pair in pairs]
    return next(iter(_compare(values)[0]), None)


def value_of(row: dict, name: str) -> Optional[float]:
    """Find a metric, or the value of one class, such as ``'IoU of pole'``, in a row."""
    column, _, class_name = name.partition(' of ')
    return (row['per_class'].get(column, {}).get(class_name) if class_name else
            row['metrics'].get(name))


def verdict(difference: Estimate) -> str:
    """Say what a difference shows by two standard errors: holds, the opposite, or not shown.

    One pair shows nothing.
    """
    if difference.error is None or abs(difference.mean) <= 2 * difference.error:
        return 'not shown'
    return 'holds' if difference.mean > 0 else 'the opposite'


def _compare(values: Sequence[Tuple[Values, Values]]) -> Tuple[List[Line], List[str]]:
    lines, without_number = [], []
    for name in _common(values):
        of_a, of_b = zip(*((a[name], b[name]) for a, b in values))
        if None in of_a + of_b:
            without_number.append(name)
            continue
        single = [b - a for a, b in zip(of_a, of_b)]
        lines.append(Line(name, Estimate.of(of_a), Estimate.of(of_b), Estimate.of(single), single))
    every = {name: None for pair in values for side in pair for name in side}
    missing = [name for name in every if name not in _common(values)]
    said = [f'Left out, {why} in at least one run: {_list(some)}.'
            for why, some in (('not a number (NaN)', without_number), ('missing', missing)) if some]
    return lines, said


def _common(values: Sequence[Tuple[dict, dict]]) -> List[str]:
    """The names that all have, in the order of the first."""
    return [name for name in values[0][0] if all(name in side for pair in values for side in pair)]


def _known(value: Optional[object]) -> str:
    return 'unknown' if value is None else str(value)


def _list(values: Sequence) -> str:
    return ', '.join(map(str, values))
