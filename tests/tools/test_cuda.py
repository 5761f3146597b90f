"""What of `make cuda` can be tried without a GPU: the commands it would run, and its sentences."""
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(**settings):
    environment = {name: value for name, value in os.environ.items()
                   if name not in ('STEP', 'OUT', 'DRY', 'HAVE', 'PYTHON')}
    environment.update(PYTHON=sys.executable, **settings)
    return subprocess.run([str(ROOT / 'tools' / 'cuda.sh')], capture_output=True, text=True,
                          env=environment)


def commands(**settings):
    result = run(DRY='1', **settings)
    assert result.returncode == 0 and not result.stderr, result.stderr
    return result.stdout


def test_all_steps_in_their_order():
    text = commands()
    places = [text.index(part) for part in (
        '-m venv --system-site-packages', 'pip wheel --no-deps --no-build-isolation',
        'install -q --no-deps --no-build-isolation -e .', 'pytest -q -rs tests/ops',
        'configs/regions/', '--amp', 'tools/benchmark.py --device cuda')]
    assert places == sorted(places)
    # each on its own does its part
    assert text == ''.join(commands(STEP=step) for step in ('build', 'test', 'train', 'benchmark'))


def test_the_configs_that_are_trained_exist():
    named = re.findall(r'configs/[\w/.-]+\.py', (ROOT / 'tools' / 'cuda.sh').read_text())
    assert len(named) == 2 and all((ROOT / name).exists() for name in named)


def test_mmcv_is_compiled_for_cuda_or_without():
    assert 'FORCE_CUDA=1 TORCH_CUDA_ARCH_LIST=' in commands(STEP='build')
    assert 'FORCE_CUDA=0' in commands(STEP='build', MMCV_CUDA='0')


def test_wheels_are_those_that_the_machine_lacks():
    text = commands(STEP='wheels', HAVE='numpy scipy', PYTHON_VERSION='3.13')
    names = set(re.findall(r' ([\w-]+)==', text))
    assert {'mmengine', 'mmsegmentation', 'ftfy', 'setuptools', 'pytest', 'mmcv'} <= names
    # torch is there, and what it needs; its packages for CUDA are several GB
    assert not names & {'torch', 'sympy', 'filelock', 'numpy', 'scipy', 'ruff'}
    assert '--python-version 313' in text and '--platform manylinux_2_28_x86_64' in text
    assert '--no-binary mmcv' in text
    assert ' numpy==' in commands(STEP='wheels')


def test_results_go_where_out_says():
    assert 'mmseg_ext/benchmarks/results/FAMILY_cuda.json' in commands(STEP='benchmark')
    assert '/elsewhere/FAMILY_cuda.json' in commands(STEP='benchmark', OUT='/elsewhere')


@pytest.mark.parametrize('step', ['build', 'test', 'train', 'benchmark'])
def test_without_a_gpu_one_sentence_says_so(step):
    result = run(STEP=step, CUDA_VISIBLE_DEVICES='')
    assert result.returncode == 1 and result.stdout == ''
    sentence, = result.stderr.splitlines()
    assert sentence.startswith('error: there is no GPU here')


def test_an_unknown_step_is_named():
    result = run(STEP='fly')
    assert result.returncode == 1 and result.stderr.splitlines() == [
        "error: STEP must be wheels, build, test, train or benchmark, got 'fly'."]
