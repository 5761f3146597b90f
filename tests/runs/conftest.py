import json

import pytest

CONFIG = """\
default_hooks = dict(
    logger=dict(interval=50, log_metric_by_epoch=False, type='LoggerHook'))
load_from = {load_from!r}
randomness = {randomness}
train_cfg = dict(max_iters=400, type='IterBasedTrainLoop', val_interval=200)
val_dataloader = dict(
    batch_size=1,
    dataset=dict(data_root='/my/disk/camvid', split='val', type='CamVidDataset'))
test_dataloader = dict(
    batch_size=1,
    dataset=dict(data_root='/my/disk/camvid', split='test', type='CamVidDataset'))
"""
# What mmengine 0.10 and mmseg 1.2 write.
HEAD = """\
2026/11/22 {time} - mmengine - INFO -{space}
------------------------------------------------------------
Runtime environment:
    cudnn_benchmark: True
    seed: {logged_seed}
    GPU number: 1
------------------------------------------------------------

2026/11/22 {time} - mmengine - INFO - Config:
load_from = None
2026/11/22 {time} - mmengine - WARNING - The prefix is not set in metric class IoUMetric.
"""
TABLES = """\
2026/11/22 {time} - mmengine - INFO - Iter({split}) [100/100]    eta: 0:00:00  time: 0.3  \
data_time: 0.0061{space}
2026/11/22 {time} - mmengine - INFO - per class results:
2026/11/22 {time} - mmengine - INFO -{space}
+--------------+-------+-------+
|    Class     |  IoU  |  Acc  |
+--------------+-------+-------+
|     sky      | {sky} | 96.97 |
| lane marking |  nan  |  0.0  |
+--------------+-------+-------+
2026/11/22 {time} - mmengine - INFO - per class results:
+--------------+-----------+--------+
|    Class     | E-measure | Images |
+--------------+-----------+--------+
|     sky      |   99.36   |  101   |
| lane marking |    25.0   |  101   |
+--------------+-----------+--------+
2026/11/22 {time} - mmengine - INFO - near boundaries and outside:
+-------+-------+
| Width |  mIoU |
+-------+-------+
|   0   | 18.65 |
+-------+-------+
2026/11/22 {time} - mmengine - INFO - Iter({split}) [100/100]    aAcc: 80.0000  mIoU: {miou}00  \
data_time: 0.0080  time: 0.3259
"""


def metrics_of(miou):
    return dict(aAcc=80.04000091552734, mIoU=miou, mF1=float('nan'), data_time=0.008, time=0.3)


class Writer:
    """Writes what mmengine leaves in a work directory."""
    config = CONFIG

    def __init__(self, work_dir):
        self.work_dir = work_dir

    def part(self, time='070000', seed=0, logged_seed=0, load_from=None, config=CONFIG,
             name='lrn_r18'):
        """Begin a training or test; gives its folder and the beginning of its log."""
        folder = self.work_dir / f'20261122_{time}'
        (folder / 'vis_data').mkdir(parents=True)
        randomness = 'dict()' if seed is None else f'dict(seed={seed})'
        for path in (folder / 'vis_data/config.py', self.work_dir / f'{name}.py'):
            path.write_text(config.format(load_from=load_from, randomness=randomness))
        clock = ':'.join((time[:2], time[2:4], time[4:]))
        return folder, HEAD.format(time=clock, logged_seed=logged_seed, space=' ')

    def training(self, validations=((200, 30.5), (400, 50.25)), end='07:30:00', resumed=None,
                 extra='', **kwargs):
        """A training with these validations, (iteration, mIoU)."""
        folder, log = self.part(**kwargs)
        if resumed:
            log += f'2026/11/22 {end} - mmengine - INFO - resumed epoch: 4, iter: {resumed}\n'
        log += (f'2026/11/22 {end} - mmengine - INFO - Checkpoints will be saved to '
                f'{self.work_dir}.\n')
        lines = []
        for step, miou in validations:
            lines.append(dict(lr=0.1, data_time=0.01, loss=1.5, time=1.1, iter=step, step=step))
            lines.append(dict(**metrics_of(miou), step=step))
            log += TABLES.format(time=end, split='val', sky=miou + 40, miou=miou, space=' ')
        (folder / 'vis_data/scalars.json').write_text(
            ''.join(json.dumps(line) + '\n' for line in lines))
        (folder / f'{folder.name}.log').write_text(log + extra)
        return folder

    def test(self, miou=40.5, **kwargs):
        """A test with this mIoU."""
        folder, log = self.part(**kwargs)
        log += TABLES.format(time='07:01:00', split='test', sky=miou + 40, miou=miou, space=' ')
        (folder / f'{folder.name}.log').write_text(log)
        (folder / f'{folder.name}.json').write_text(json.dumps(metrics_of(miou)))
        return folder


@pytest.fixture
def write(tmp_path):
    """A work directory to write into, as mmengine does."""
    work_dir = tmp_path / 'run_0'
    work_dir.mkdir()
    return Writer(work_dir)
