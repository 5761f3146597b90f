"""What the tools are made of: options, config, data set, runner, errors."""
import argparse
import inspect
import logging
import os
import re
import traceback
from contextlib import contextmanager
from typing import Iterator, Optional, Tuple

from mmengine.config import Config, ConfigDict, DictAction
from mmengine.device import get_device
from mmengine.dist import get_world_size
from mmengine.logging import print_log
from mmengine.registry import init_default_scope
from mmengine.runner import CheckpointLoader, Runner, find_latest_checkpoint
from mmseg.registry import METRICS, MODELS, RUNNERS
from torch import nn

from .. import compat
from ..provenance import origin_line
from ..tools import tool_command
from .cpu_training import prepare_distributed, replace_sync_batch_norm
from .hooks.checkpoint_compatibility_hook import CheckpointCompatibilityHook
from .running_statistics import AverageRunningStatisticsHook

PACKAGE_DIR = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the config and the entries to replace in it, for every tool that reads a config."""
    parser.add_argument('config', help='path of the config file')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
                        help='entries of the config to replace, such as train_cfg.max_iters=10; '
                        'write lists as KEY="[a,b]" or KEY=a,b, without blanks')


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that training and testing share."""
    parser.add_argument('--work-dir',
                        help='folder for logs, checkpoints and results; default: '
                        'work_dir of the config, else work_dirs/NAME_OF_CONFIG')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none',
                        help='who started the processes; tools/dist_*.sh pass pytorch')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0,
                        help='set by older launchers; torchrun sets LOCAL_RANK instead')


def read_config(path: str, cfg_options: Optional[dict] = None) -> Config:
    """Read a config, and let names mean from now on what they mean in it.

    ``cfg_options`` replaces entries by dotted names. A FileNotFoundError says that the config, or
    one that it inherits from, does not exist.
    """
    compat.check_config_inheritance()
    if not os.path.isfile(path):
        raise FileNotFoundError(f'config {path} does not exist; the first argument is the path of '
                                'a config file, such as those below configs/')
    try:
        cfg = Config.fromfile(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(f'config {path} cannot be read, a file that it needs is missing: '
                                f'{error}') from None
    cfg.merge_from_dict(cfg_options or {})
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    return cfg


def dataset_of(cfg: Config, split: str) -> ConfigDict:
    """Find the data set of a split in a config: ``'train'`` names ``train_dataloader``.

    It is a part of the config, not a copy. A ValueError says that there is no such loader.
    """
    name = f'{split}_dataloader'
    if cfg.get(name) is None:
        loaders = [key for key in cfg if key.endswith('_dataloader') and cfg[key] is not None]
        raise ValueError(f'{cfg.filename} has no {name!r}; it has {loaders}')
    return cfg[name].dataset


def work_dir_of(config: str) -> str:
    """Name the folder that belongs to a config file: ``work_dirs/NAME_OF_CONFIG``."""
    return os.path.join('work_dirs', os.path.splitext(os.path.basename(config))[0])


def load_config(args: argparse.Namespace) -> Config:
    """Read the config of a training or test and apply the options that the two share to it."""
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = read_config(args.config, args.cfg_options)
    cfg.launcher = args.launcher
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or work_dir_of(args.config)
    return cfg


def set_seed(cfg: Config, seed: int) -> None:
    """Make a run one of several that differ in their seed alone.

    Its folder is ``seed{seed}`` below the work folder. ``'{seed}'`` in ``load_from`` becomes the
    number: each run starts from the checkpoint of its own seed.
    """
    cfg.merge_from_dict({'randomness.seed': seed})
    cfg.work_dir = os.path.join(cfg.work_dir, f'seed{seed}')
    if cfg.get('load_from'):
        cfg.load_from = cfg.load_from.replace('{seed}', str(seed))


def set_resume(cfg: Config, resume: bool) -> None:
    """Make a run go on from the latest checkpoint in its work folder, or start where none is there.

    ``load_from`` is the start. mmengine would go on from it as if the run had been there.
    """
    cfg.resume = resume
    if resume and cfg.get('load_from'):
        latest = find_latest_checkpoint(cfg.work_dir)
        cfg.load_from = latest or cfg.load_from
        cfg.resume = latest is not None


def check_checkpoint(path: str) -> None:
    """Refuse a checkpoint that is not there; an address is left to mmengine."""
    if '://' not in path and not os.path.isfile(os.path.expanduser(path)):
        raise FileNotFoundError(f'checkpoint {path} does not exist; make one by: '
                                + tool_command('train.py', 'CONFIG'))


def load_segmentor(cfg: Config, checkpoint: str) -> Tuple[nn.Module, dict]:
    """Build the model of a config with the weights of a checkpoint, ready to predict.

    Gives the content of the checkpoint too. A ValueError says what does not fit.
    """
    check_checkpoint(checkpoint)
    network = MODELS.build(cfg.model)
    content = CheckpointLoader.load_checkpoint(checkpoint, map_location='cpu', logger='silent')
    problem, _ = CheckpointCompatibilityHook.load(network, content)
    if problem:
        raise ValueError(f'{checkpoint} does not fit the model of {cfg.filename}: {problem}')
    return network.to(get_device()).eval(), content


def build_runner(cfg: Config) -> Runner:
    """Make the runner of a config from :func:`load_config`, on GPUs or on CPU cores.

    Its log says which commit of this package runs, and on what.

    Raises:
        FileNotFoundError: The checkpoint of ``load_from`` does not exist.
        ValueError: The launcher was not used to start this process, or cannot be used.
    """
    if cfg.get('load_from'):
        check_checkpoint(cfg.load_from)
    if cfg.launcher == 'pytorch' and 'RANK' not in os.environ:
        raise ValueError('--launcher pytorch is for processes that torchrun started; leave it out, '
                         f"or start with {tool_command('dist_train.sh')} or "
                         f"{tool_command('dist_test.sh')}")
    prepare_distributed(cfg)
    replace_sync_batch_norm(cfg)
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    if runner.rank == 0:
        runner.logger.info(origin_line(get_device()))
    if get_world_size() > 1 and get_device() == 'cpu':
        runner.register_hook(AverageRunningStatisticsHook())
    return runner


def enable_amp(cfg: Config) -> None:
    """Switch a config to automatic mixed precision, or raise a ValueError that says why not."""
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
    """Make a test draw its predictions: in windows for ``wait_time`` seconds, into a folder.

    A config without a visualization hook raises a ValueError.
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
    """Make a test use the test-time augmentation of its config; a ValueError where it has none."""
    missing = [name for name in ('tta_pipeline', 'tta_model') if cfg.get(name) is None]
    if missing:
        raise ValueError(f"--tta needs {' and '.join(missing)} in the config")
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
    cfg.model = dict(cfg.tta_model, module=cfg.model)


def write_predictions(cfg: Config, out_dir: str) -> None:
    """Make a test write its label maps into a folder, one PNG file for each image.

    The first metric of ``test_evaluator`` with an argument ``output_dir`` writes them. A ValueError
    says that no metric can write.
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
        # mmseg's own data sets, such as VOC, say no more than this if the data are missing.
        missing = re.match(r'Failed to load `ann_file` (.+)', str(error))
        if missing is None:
            raise
        raise SystemExit(f'error: the list of images {missing.group(1)} does not exist; is the '
                         'data set there? (the README.md beside the config, section Data, says '
                         'where to get it and what the folders look like)') from None


def user_sentence(error: Exception) -> Optional[str]:
    """Find the sentence for the user in an error that was raised and caught.

    It is the message of the error if code of this package raised it, in this process or in one that
    loads data. A RuntimeError counts only from ``mmseg_ext.engine``: elsewhere it comes out of
    torch's operators.
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
