import math

import pytest

from mmseg_ext.runs.comparison import (
    Estimate,
    compare_classes,
    compare_metric,
    compare_metrics,
    pair_runs,
    unlike,
    verdict,
)


def row(seed=0, miou=50., **entries):
    return dict(
        dict(name='x', seed=seed, data='CamVidDataset val', iterations=400, minutes=3., start=None,
             commit='abc', device='A CPU', threads=1, metrics={'mIoU': miou},
             per_class={'IoU': {'sky': miou, 'pole': 1.}}, curve=None), **entries)


def rows(*values, seeds=None):
    return [row(seed, value) for seed, value in zip(seeds or range(len(values)), values)]


def test_mean_and_errors_of_a_comparison_worked_by_hand():
    """A 50 52 54: mean 52, s 2. B 53 53 59: mean 55, s = sqrt(12). Differences 3 1 5: mean 3, s 2.

    The runs of A and B vary together, so the difference is known as well as a mean of A alone.
    """
    pairs, _ = pair_runs(rows(50., 52., 54.), rows(53., 53., 59.))
    (line, ), said = compare_metrics(pairs)
    assert (line.name, line.single, said) == ('mIoU', [3., 1., 5.], [])
    assert line.a == pytest.approx((52., 2 / math.sqrt(3)))
    assert line.b == pytest.approx((55., 2.))
    assert line.difference == pytest.approx((3., 2 / math.sqrt(3)))
    assert line.difference.text(sign='+') == '+3.00 +- 1.15' and line.b.text() == '55.00 +- 2.00'


def test_one_pair_has_no_error_and_shows_nothing():
    pairs, said = pair_runs(rows(50.), rows(90.))
    (line, ), _ = compare_metrics(pairs)
    assert line.difference == (40., None) and line.difference.text(sign='+') == '+40.00'
    assert said == ['Paired by seed: 0.', 'One pair: there is no standard error.']
    assert verdict(line.difference) == 'not shown'


def test_runs_are_paired_by_seed_in_any_order():
    a, b = rows(50., 60., seeds=[2, 1]), rows(61., 51., seeds=[1, 2])
    pairs, said = pair_runs(a, b)
    assert pairs == [(a[1], b[0]), (a[0], b[1])] and said == ['Paired by seed: 1, 2.']


def test_runs_without_a_partner_are_left_out_and_named():
    pairs, said = pair_runs(rows(1., 2., 3., seeds=[0, 1, 2]), rows(4., 5., seeds=[1, 7]))
    assert [(a['seed'], b['seed']) for a, b in pairs] == [(1, 1)]
    assert said[:3] == ['Paired by seed: 1.', 'Left out, A alone has the seed: 0, 2.',
                        'Left out, B alone has the seed: 7.']


@pytest.mark.parametrize('seeds_a, seeds_b, why', [
    ([0, 0], [0, 1], 'not every run has a seed, or a seed occurs twice'),
    ([0, 1], [0, None], 'not every run has a seed, or a seed occurs twice'),
    ([0, 1], [8, 5], 'A and B have no seed in common')])
def test_runs_are_paired_in_order_where_seeds_do_not_tell(seeds_a, seeds_b, why):
    a, b = rows(1., 2., seeds=seeds_a), rows(3., 4., seeds=seeds_b)
    pairs, said = pair_runs(a, b)
    assert pairs == [(a[0], b[0]), (a[1], b[1])]
    assert said == [f'Paired in the given order, because {why}.']


def test_a_run_too_many_in_the_given_order_is_left_out_and_counted():
    pairs, said = pair_runs(rows(1., 2., seeds=[0, 0]), rows(3., 4., 5., seeds=[0, 0, 0]))
    assert len(pairs) == 2
    assert said[1] == 'Left out, the last 1 of the 3 runs of B.'


def test_a_side_without_runs_is_refused():
    with pytest.raises(ValueError, match='nothing to compare: A has 0 runs and B has 1'):
        pair_runs([], rows(1.))


def test_conditions_that_differ_are_named():
    pairs = [(row(), row(iterations=800, commit=None)), (row(), row(data='CamVidDataset test'))]
    assert unlike(pairs) == [
        'Not the same data: A CamVidDataset val; B CamVidDataset test, CamVidDataset val.',
        'Not the same iterations: A 400; B 400, 800.',
        'Not the same commit: A abc; B abc, unknown.']
    assert pair_runs(*zip(*pairs))[1][1:] == unlike(pairs)


def test_metrics_without_a_number_in_every_run_are_left_out_and_named():
    a = [row(0, metrics=dict(mIoU=1., mF1=None, old=1.)), row(1, metrics=dict(mIoU=1., mF1=2.))]
    b = [row(seed, metrics=dict(mIoU=1., mF1=2.)) for seed in (0, 1)]
    lines, said = compare_metrics(pair_runs(a, b)[0])
    assert [line.name for line in lines] == ['mIoU']
    assert said == ['Left out, not a number (NaN) in at least one run: mF1.',
                    'Left out, missing in at least one run: old.']


def test_classes_are_compared_by_column():
    a = row(per_class={'IoU': {'sky': 90., 'pole': None}, 'Acc': {'sky': 95.}})
    b = row(per_class={'IoU': {'sky': 92., 'pole': 3., 'car': 7.}})
    columns, said = compare_classes([(a, b)])
    assert {name: [line.name for line in lines] for name, lines in columns.items()} == {
        'IoU': ['sky']}
    assert columns['IoU'][0].single == [2.]
    assert said == ['IoU of classes: Left out, not a number (NaN) in at least one run: pole.',
                    'IoU of classes: Left out, missing in at least one run: car.']


def test_one_metric_or_class_is_found_by_its_name():
    pairs, _ = pair_runs(rows(50., 52.), rows(53., 53.))
    assert compare_metric(pairs, 'mIoU').single == [3., 1.]
    assert compare_metric(pairs, 'IoU of pole').single == [0., 0.]
    assert compare_metric(pairs, 'IoU of car') is None and compare_metric(pairs, 'mF1') is None


@pytest.mark.parametrize('mean, error, said', [
    (1., 0.49, 'holds'), (1., 0.5, 'not shown'), (-1., 0.49, 'the opposite'),
    (-1., 0.5, 'not shown'), (0., 0., 'not shown'), (0.1, 0., 'holds')])
def test_a_verdict_needs_two_standard_errors(mean, error, said):
    assert verdict(Estimate(mean, error)) == said


@pytest.mark.parametrize('a, b, decimals', [
    (0.8, 0.9, 4), (0.8, 1.2, 2), (54., 55., 2), (0., 0., 2), (-0.5, 0.1, 4)])
def test_shares_are_written_with_four_decimals(a, b, decimals):
    (line, ), _ = compare_metrics(pair_runs(rows(a), rows(b))[0])
    assert line.decimals == decimals
