"""Where a number comes from: version and commit of this package, hardware and threads."""
import json
import platform
import re
import shutil
import subprocess
from pathlib import Path
from typing import List, Optional, Tuple

import torch

#: Folder of the package that runs: of the checkout, or of the installed packages.
ROOT = Path(__file__).resolve().parents[1]
#: Behind the commit, if files of the checkout differ from it.
DIRTY = '-dirty'
#: What runs and benchmarks write into a checkout: it changes nothing that runs.
WRITTEN = ('mmseg_ext/benchmarks/results', 'configs/claims/*.json', 'configs/claims/*.md',
           'configs/claims/*.png')
#: Before the JSON in the line of :func:`origin_line`.
ORIGIN = 'mmseg_ext runs here: '
GIT_SECONDS = 20


def checked_out(root: Path = ROOT) -> Tuple[Optional[str], List[str]]:
    """Say which commit is checked out, and which files differ from it.

    Args:
        root (Path): The folder that holds ``mmseg_ext``. Defaults to that of this package.

    Returns:
        tuple: The short hash, None outside git or where git fails, and the paths of changed and
        new files. Files of :data:`WRITTEN` do not count.
    """

    def git(*arguments: str) -> str:
        # Without the lock, so that a commit that is made at this moment does not fail.
        return subprocess.run(['git', '--no-optional-locks', *arguments], cwd=str(root), text=True,
                              check=True, capture_output=True, timeout=GIT_SECONDS).stdout

    try:
        # An installed package may lie inside the repository of another project.
        if not shutil.which('git') or not git('ls-files', 'mmseg_ext/__init__.py'):
            return None, []
        others = [f':(exclude){path}' for path in WRITTEN]
        changes = git('status', '--porcelain', '--', '.', *others)
        commit = git('rev-parse', '--short', 'HEAD').strip()
    except (OSError, subprocess.SubprocessError):
        return None, []
    return commit, [line[3:] for line in changes.splitlines()]


def device_name(device: str) -> str:
    """Name the model of a ``'cpu'`` or ``'cuda'`` device; another kind is its own name."""
    if device == 'cuda':
        return torch.cuda.get_device_name()
    if device != 'cpu':
        return device
    try:
        with open('/proc/cpuinfo') as f:
            return re.search(r'model name\s*: (.+)', f.read()).group(1)
    except (OSError, AttributeError):
        return platform.processor() or platform.machine()


def origin_line(device: str) -> str:
    """Write what runs here and on what, for the log of a training or test on a ``device``."""
    from . import __version__  # it is set when the package has been imported
    commit, changes = checked_out()
    return ORIGIN + json.dumps(dict(
        version=__version__, commit=f'{commit}{DIRTY}' if changes else commit,
        device=device_name(device), threads=torch.get_num_threads()))


def read_origin(log: str) -> Optional[dict]:
    """Find the line of :func:`origin_line` in the text of a log.

    Returns:
        dict: ``version``, ``commit`` (None outside git), ``device`` and ``threads``, of the last
        such line; None where there is no such line.
    """
    lines = re.findall(re.escape(ORIGIN) + r'(\{.*\})', log)
    return json.loads(lines[-1]) if lines else None
