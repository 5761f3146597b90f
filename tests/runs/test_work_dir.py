import json

import pytest

from mmseg_ext.runs.rows import ENTRIES, write_rows
from mmseg_ext.runs.work_dir import class_tables, read_run


def read(write):
    return read_run(str(write.work_dir))


def test_a_training_is_a_row_with_its_last_validation(write, tmp_path):
    write.training(seed=3, load_from='/my/work_dirs/start/seed3/iter_900.pth')
    row = read(write)
    assert row == dict(
        name='lrn_r18', seed=3, data='CamVidDataset val', iterations=400, minutes=30.0,
        start='start/seed3/iter_900.pth', commit=None, device=None, threads=None,
        metrics=dict(aAcc=80.04, mIoU=50.25, mF1=None),
        per_class={'IoU': {'sky': 90.25, 'lane marking': None},
                   'Acc': {'sky': 96.97, 'lane marking': 0.0},
                   'E-measure': {'sky': 99.36, 'lane marking': 25.0}},
        curve=[[200, 30.5], [400, 50.25]])
    assert list(row) == list(ENTRIES)
    write_rows(str(tmp_path / 'rows.json'), [row])


def test_where_the_log_says_what_ran_the_row_says_it(write):
    write.training(extra='2026/11/22 07:31:00 - mmengine - INFO - mmseg_ext runs here: {"version": '
                         '"0.1.0", "commit": "abc-dirty", "device": "A CPU", "threads": 2}\n')
    row = read(write)
    assert (row['commit'], row['device'], row['threads']) == ('abc-dirty', 'A CPU', 2)


def test_one_validation_is_no_curve(write):
    write.training(validations=[(400, 50.25)])
    assert read(write)['curve'] is None


def test_a_seed_that_was_drawn_stands_in_the_log(write):
    write.training(seed=None, logged_seed=1234)
    assert read(write)['seed'] == 1234


def test_a_resumed_training_is_one_run(write):
    """Its start, seed and first validation come from the first part; the wall times add up."""
    write.training(time='070000', end='07:30:00', validations=[(200, 30.5)], seed=5,
                   load_from='a/b.pth')
    write.training(time='080000', end='08:10:00', validations=[], resumed=200, seed=6)
    write.training(time='090000', end='09:20:00', validations=[(400, 60.75)], resumed=200, seed=6)
    row = read(write)
    assert (row['minutes'], row['seed'], row['start']) == (60.0, 5, 'a/b.pth')
    assert row['curve'] == [[200, 30.5], [400, 60.75]]
    assert row['per_class']['IoU']['sky'] == 100.75


def test_a_training_that_began_anew_does_not_count_what_was_before(write):
    write.training(time='070000', end='07:30:00', validations=[(200, 30.5)])
    write.training(time='080000', end='08:10:00')
    assert read(write)['minutes'] == 10.0


def test_the_wall_time_of_a_training_without_its_beginning_is_not_known(write):
    write.training(validations=[(400, 60.75)], resumed=200)
    assert read(write)['minutes'] is None


def test_a_test_is_a_row_of_its_split(write):
    write.test(load_from='work_dirs/lrn/iter_400.pth', time='060000', miou=10.5)
    write.test(load_from='work_dirs/lrn/iter_400.pth')
    row = read(write)
    assert (row['iterations'], row['minutes'], row['curve']) == (None, None, None)
    assert row['data'] == 'CamVidDataset test' and row['start'] == 'lrn/iter_400.pth'
    assert row['metrics'] == dict(aAcc=80.04, mIoU=40.5, mF1=None)
    assert row['per_class']['IoU']['sky'] == 80.5


def test_a_test_beside_a_training_is_read_by_its_folder(write):
    write.training()
    test = write.test(time='080000')
    assert read(write)['metrics']['mIoU'] == 50.25
    assert read_run(str(test))['metrics']['mIoU'] == 40.5


def test_a_line_that_was_cut_and_values_of_other_hooks_are_passed_over(write):
    folder = write.training()
    with (folder / 'vis_data/scalars.json').open('a') as f:
        f.write('{"temperature": 60.0, "step": 400}\n{"aAcc": 8')
    assert read(write)['metrics']['mIoU'] == 50.25


def test_names_of_metrics_lose_the_prefix_of_the_loop(write):
    folder = write.training(validations=[])
    (folder / 'vis_data/scalars.json').write_text(json.dumps(
        {'val/mIoU': 50.123456, 'val/time': 0.1, 'step': 400}))
    assert read(write)['metrics'] == {'mIoU': 50.1235}


def of_epochs(config, epochs):
    return config.replace('log_metric_by_epoch=False, ', '').replace(
        "max_iters=400, type='IterBasedTrainLoop'",
        f"max_epochs={epochs}, type='EpochBasedTrainLoop'")


def test_a_schedule_of_epochs_is_counted_in_iterations(write):
    """The last iterations of an epoch may have no line of their own."""
    config = of_epochs(write.config, 4)
    write.training(config=config, validations=[(2, 30.5), (4, 50.25)], extra=(
        '2026/11/22 07:30:00 - mmengine - INFO - Epoch(train)   [4][350/367]  lr: 1e-3\n'))
    row = read(write)
    assert row['iterations'] == 4 * 367
    assert row['curve'] == [[2 * 367, 30.5], [4 * 367, 50.25]]


def test_a_schedule_of_iterations_may_count_validations_by_epochs(write):
    """mmengine's default: the step of a validation is then 0."""
    config = write.config.replace('log_metric_by_epoch=False, ', '')
    folder = write.training(config=config, validations=[])

    def lines(*logged):
        pairs = [(dict(loss=1., iter=i, step=i), dict(mIoU=i / 10, time=1., step=0))
                 for i in logged]
        (folder / 'vis_data/scalars.json').write_text(
            '\n'.join(json.dumps(line) for pair in pairs for line in pair))

    lines(200, 390)
    row = read(write)
    assert row['iterations'] == 400 and row['curve'] == [[200, 20.0], [400, 39.0]]
    lines(200, 350)
    with pytest.raises(ValueError, match='has not ended: its last validation is at iteration 350'):
        read(write)


def test_of_two_configs_in_a_folder_the_log_names_the_one(write):
    write.training(extra='2026/11/22 07:30:00 - mmengine - INFO - Exp name: '
                         'lrn_r18_20261122_070000\n')
    (write.work_dir / 'lrn_r18.py').rename(write.work_dir / 'a.py')
    (write.work_dir / 'b.py').write_text('')
    assert read(write)['name'] == 'lrn_r18'


def test_a_run_whose_config_had_no_file_has_the_name_of_its_folder(write):
    write.training(name='20261122_070000')
    assert read(write)['name'] == 'run_0'


def test_the_first_of_two_tables_with_one_column_counts():
    one = '+--+\n| Class | F1 |\n+--+\n| a | 1.0 |\n'
    end = 'Iter(val) [2/2]    mIoU: 1'
    assert class_tables([one, one.replace('1.0', '2.0'), end]) == {'F1': {'a': 1.0}}
    # a table without its evaluation: the run was stopped between the two
    assert class_tables([one, end, one.replace('1.0', '2.0')]) == {'F1': {'a': 1.0}}


@pytest.mark.parametrize('validations, message', [
    ([(200, 30.5)], r'has not ended: its last validation is at iteration 200 of 400; .*resume'),
    ([], 'a training without a validation, or one that has not come to its first')])
def test_a_training_that_has_not_ended_is_refused(write, validations, message):
    write.training(time='050000')  # what ended before is not taken for it
    write.training(validations=validations)
    with pytest.raises(ValueError, match=message):
        read(write)


def test_a_folder_that_is_no_run_is_refused(write, tmp_path):
    with pytest.raises(ValueError, match='is no work directory of a training or test'):
        read(write)
    with pytest.raises(FileNotFoundError, match='nowhere does not exist; .*train.py CONFIG'):
        read_run(str(tmp_path / 'nowhere'))


def test_a_run_without_its_config_is_refused(write):
    folder = write.test()
    (folder / 'vis_data/config.py').unlink()
    assert read(write)['name'] == 'lrn_r18'  # --show-dir moves it; the copy beside it does
    (write.work_dir / 'lrn_r18.py').unlink()
    with pytest.raises(FileNotFoundError, match='has no config: neither .*config.py nor .*exists'):
        read(write)
