"""What ``tools/train.py`` and ``tools/test.py`` are made of: options, config, runner, errors."""
import argparse
import inspect
import logging
import os
import re
import traceback
from contextlib import contextmanager
from typing import Iterator, Optional

from mmengine.config import Config, DictAction
from mmengine.device import get_device
from mmengine.dist import get_world_size
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmseg.registry import METRICS, RUNNERS

from .. import compat
from .cpu_training import prepare_distributed, replace_sync_batch_norm
from .running_statistics import AverageRunningStatisticsHook

PACKAGE_DIR = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that training and testing share.

    Args:
        parser (argparse.ArgumentParser): The parser of the tool.
    """
    parser.add_argument('--work-dir',
                        help='folder for logs, checkpoints and results; default: '
                        'work_dir of the config, else work_dirs/NAME_OF_CONFIG')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
                        help='entries of the config to replace, such as train_cfg.max_iters=10; '
                        'write lists as KEY="[a,b]" or KEY=a,b, without blanks')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none',
                        help='who started the processes; tools/dist_*.sh pass pytorch')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0,
                        help='set by older launchers; torchrun sets LOCAL_RANK instead')


def load_config(args: argparse.Namespace) -> Config:
    """Read the config of a tool and apply the shared options to it.

    Args:
        args (argparse.Namespace): ``config`` and the options of :func:`add_common_arguments`.

    Returns:
        Config: The config, with ``launcher`` and ``work_dir``.

    Raises:
        FileNotFoundError: The config, or one that it inherits from, does not exist.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    compat.check_config_inheritance()
    if not os.path.isfile(args.config):
        raise FileNotFoundError(f'config {args.config} does not exist; the first argument is the '
                                'path of a config file, such as those below configs/')
    try:
        cfg = Config.fromfile(args.config)
    except FileNotFoundError as error:
        raise FileNotFoundError(f'config {args.config} cannot be read, a file that it needs is '
                                f'missing: {error}') from None
    cfg.launcher = args.launcher
    if args.cfg_options is not None:
        cfg.merge_from_dict(args.cfg_options)
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        name = os.path.splitext(os.path.basename(args.config))[0]
        cfg.work_dir = os.path.join('work_dirs', name)
    return cfg


def build_runner(cfg: Config) -> Runner:
    """Make the runner of a config, on whatever devices there are.

    Args:
        cfg (Config): A config from :func:`load_config`.

    Returns:
        Runner: mmengine's runner, or the one named by ``runner_type``.

    Raises:
        FileNotFoundError: The checkpoint of ``load_from`` does not exist.
        ValueError: The launcher was not used to start this process, or cannot be used.
    """
    checkpoint = cfg.get('load_from')
    if checkpoint and '://' not in checkpoint and not os.path.isfile(
            os.path.expanduser(checkpoint)):
        raise FileNotFoundError(f'checkpoint {checkpoint} does not exist; tools/train.py writes '
                                'checkpoints to its --work-dir')
    if cfg.launcher == 'pytorch' and 'RANK' not in os.environ:
        raise ValueError('--launcher pytorch is for processes that torchrun started; use '
                         'tools/dist_train.sh or tools/dist_test.sh, or leave it out')
    prepare_distributed(cfg)
    replace_sync_batch_norm(cfg)
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    if get_world_size() > 1 and get_device() == 'cpu':
        runner.register_hook(AverageRunningStatisticsHook())
    return runner


def enable_amp(cfg: Config) -> None:
    """Switch a config to automatic mixed precision.

    Args:
        cfg (Config): Changed in place: ``optim_wrapper``.

    Raises:
        ValueError: There is no GPU, or ``optim_wrapper`` is of a type of its own.
    """
    if get_device() == 'cpu':
        raise ValueError('--amp needs a GPU, mmengine has no mixed precision on the CPU; leave it '
                         'out')
    wrapper = cfg.optim_wrapper
    kind = wrapper.get('type', 'OptimWrapper')
    if kind == 'AmpOptimWrapper':
        print_log('--amp changes nothing, the config uses mixed precision already.',
                  logger='current', level=logging.WARNING)
    elif kind == 'OptimWrapper':
        wrapper.type = 'AmpOptimWrapper'
        wrapper.setdefault('loss_scale', 'dynamic')
    else:
        raise ValueError(f"--amp goes with optim_wrapper type 'OptimWrapper', but the config has "
                         f'{kind!r}')


def enable_drawing(cfg: Config, show: bool, show_dir: Optional[str], wait_time: float) -> None:
    """Make a test draw its predictions.

    Args:
        cfg (Config): Changed in place: the visualization hook and the visualizer.
        show (bool): Whether to open a window for each image.
        show_dir (str, optional): Folder for the pictures.
        wait_time (float): Seconds that each window stays.

    Raises:
        ValueError: The config has no visualization hook.
    """
    hook = cfg.get('default_hooks', {}).get('visualization')
    if hook is None:
        raise ValueError('--show and --show-dir need a visualization hook; add visualization='
                         "dict(type='SegVisualizationHook') to default_hooks of the config")
    hook.draw = True
    if show:
        hook.update(show=True, wait_time=wait_time)
    if show_dir:
        cfg.visualizer.save_dir = show_dir


def enable_tta(cfg: Config) -> None:
    """Make a test use the test-time augmentation of its config.

    Args:
        cfg (Config): Changed in place: the pipeline of the test data and the model.

    Raises:
        ValueError: The config has no ``tta_pipeline`` or no ``tta_model``.
    """
    missing = [name for name in ('tta_pipeline', 'tta_model') if cfg.get(name) is None]
    if missing:
        raise ValueError(f"--tta needs {' and '.join(missing)} in the config")
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
    cfg.model = dict(cfg.tta_model, module=cfg.model)


def write_predictions(cfg: Config, out_dir: str) -> None:
    """Make a test write its label maps.

    Args:
        cfg (Config): Changed in place: the first metric of ``test_evaluator`` that can write.
        out_dir (str): Folder for the label maps, one PNG file for each image.

    Raises:
        ValueError: No metric can write, which an argument ``output_dir`` shows.
    """
    evaluators = cfg.test_evaluator
    evaluators = evaluators if isinstance(evaluators, (list, tuple)) else [evaluators]
    for evaluator in evaluators:
        classes = inspect.getmro(METRICS.get(evaluator.type))
        if any('output_dir' in inspect.signature(cls.__init__).parameters for cls in classes):
            evaluator.output_dir = out_dir
            return
    raise ValueError('--out needs a metric that writes predictions, such as IoUMetric, but the '
                     f"config has {', '.join(evaluator.type for evaluator in evaluators)}")


@contextmanager
def errors_as_sentences() -> Iterator[None]:
    """End the program with a sentence where this package found a mistake of the user.

    Every other error keeps its traceback.
    """
    try:
        yield
    except (ImportError, FileNotFoundError, ValueError, RuntimeError) as error:
        sentence = user_sentence(error)
        if sentence is None:
            raise
        raise SystemExit(f'error: {sentence}') from None
    except AssertionError as error:
        # All that mmseg's own data sets, such as VOC's, say where the data are not there.
        missing = re.match(r'Failed to load `ann_file` (.+)', str(error))
        if missing is None:
            raise
        raise SystemExit(f'error: the list of images {missing.group(1)} does not exist; is the '
                         'data set there? (the README.md beside the config, section Data, says '
                         'where to get it and what the folders look like)') from None


def user_sentence(error: Exception) -> Optional[str]:
    """Find the sentence for the user in an error.

    Args:
        error (Exception): An error that was raised and caught.

    Returns:
        str or None: The message of the error if code of this package raised it, in this process
        or in one that loads data. A RuntimeError counts only from ``mmseg_ext.engine``: elsewhere
        it comes out of torch's operators.
    """
    path = traceback.extract_tb(error.__traceback__)[-1].filename
    sentence = str(error)
    # torch puts the traceback of the process that loads data into the message.
    if re.match(r'Caught \w+ in DataLoader worker', sentence):
        path = re.findall(r'File "(.+?)", line', sentence)[-1]
        sentence = sentence.rsplit(f'{type(error).__name__}: ', 1)[-1].strip()
    wanted = os.path.join(PACKAGE_DIR, 'engine', '') if isinstance(error, RuntimeError) else (
        PACKAGE_DIR)
    return sentence if os.path.abspath(path).startswith(wanted) else None
