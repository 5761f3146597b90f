"""Which implementation runs, and what is said where one is missing."""
import importlib
import os
import shutil
import subprocess
import sys

import pytest
import torch

from mmseg_ext.ops import bootstrapped_cross_entropy, extension_loaded, library

semantic_edges, semantic_edge_distance, hard_pixel_mask = (
    importlib.import_module(f'mmseg_ext.ops.{name}')
    for name in ('semantic_edges', 'semantic_edge_distance', 'hard_pixel_mask'))
CPU = torch.device('cpu')
LOGITS, LABELS = torch.randn(1, 3, 4, 4), torch.zeros(1, 4, 4).long()


def run_without_extension(code):
    """Run code in a process in which the compiled extension cannot be imported."""
    block = "import sys; sys.modules['mmseg_ext._C'] = None\n"
    return subprocess.run([sys.executable, '-c', block + code], capture_output=True, text=True,
                          env={'PATH': '', 'PYTHONWARNINGS': 'default'})


@pytest.mark.skipif(shutil.which(os.environ.get('CXX', 'c++')) is None, reason='no compiler')
def test_the_extension_is_there_where_it_can_be_built():
    """Without it most tests of the kernels would be skipped, and nobody would notice."""
    assert extension_loaded(), library._missing


def test_without_the_extension_everything_works_and_one_warning_says_so():
    run = run_without_extension(
        'import torch\n'
        'from mmseg_ext.ops import bootstrapped_cross_entropy, extension_loaded, hard_pixel_mask\n'
        'assert not extension_loaded()\n'
        'x, y = torch.randn(1, 3, 4, 4, requires_grad=True), torch.zeros(1, 4, 4).long()\n'
        'for _ in range(3):\n'
        '    bootstrapped_cross_entropy(x, y, thresh=.5, min_kept=3).backward()\n'
        'hard_pixel_mask(torch.rand(2, 2), torch.ones(2, 2).bool(), min_kept=1)\n'
        'assert x.grad.abs().sum() > 0\n')
    assert run.returncode == 0, run.stderr
    assert run.stderr.count('slower PyTorch code') == 1


def test_without_the_extension_importing_says_nothing():
    run = run_without_extension('import mmseg_ext.ops')
    assert run.returncode == 0 and 'PyTorch code' not in run.stderr


def test_an_implementation_that_is_missing_is_not_replaced():
    run = run_without_extension(
        'import torch\n'
        'from mmseg_ext.ops import bootstrapped_cross_entropy\n'
        'bootstrapped_cross_entropy(torch.randn(1, 3, 4, 4), torch.zeros(1, 4, 4).long(),\n'
        "                           implementation='cpp')\n")
    assert "RuntimeError: implementation='cpp' was asked for" in run.stderr


def test_triton_needs_a_gpu_or_its_interpreter(monkeypatch):
    monkeypatch.delenv('TRITON_INTERPRET', raising=False)
    with pytest.raises(RuntimeError, match='triton.* tensor on cpu.*TRITON_INTERPRET=1'):
        bootstrapped_cross_entropy(LOGITS, LABELS, implementation='triton')


def test_triton_is_found_by_its_module(tmp_path):
    """Its distribution has another name on some platforms."""
    code = ('import importlib.metadata, torch\n'
            'from mmseg_ext.ops import library\n'
            'print(library.triton_usable(torch.device("cuda")))\n')

    def usable(source):
        (tmp_path / 'triton').mkdir(exist_ok=True)
        if source is not None:
            (tmp_path / 'triton' / '__init__.py').write_text(source)
        run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                             env={'PATH': '', 'PYTHONPATH': str(tmp_path)})
        assert run.returncode == 0, run.stderr
        return run.stdout.strip()

    assert usable(None) == 'False'  # a folder that happens to have the name
    assert usable("__version__ = '3.4.0+git'") == 'True'
    assert usable("__version__ = '2.3.1'") == 'False'


def test_choosing_is_no_break_for_a_compiler():
    code = ('import torch\n'
            'from mmseg_ext.ops import library\n'
            'def f(x):\n'
            '    return x + int(library.triton_usable(torch.device("cuda")))\n'
            'x = torch.zeros(1)\n'
            'assert torch.compile(f, backend="eager", fullgraph=True)(x) == f(x)\n')
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_macs_have_no_float64():
    assert library.widest_float(torch.device('mps')) == torch.float32
    assert library.widest_float(torch.device('cpu')) == torch.float64


def test_the_device_decides(monkeypatch):
    edges = semantic_edges.OP
    assert edges.choose(None, CPU) == ('cpp' if extension_loaded() else 'reference')
    assert edges.choose('reference', CPU) == 'reference'
    with pytest.warns(UserWarning, match='no kernels for meta'):
        assert edges.choose(None, torch.device('meta')) == 'reference'


def test_on_cuda_an_op_takes_the_kernels_that_it_has(monkeypatch):
    cuda = torch.device('cuda')
    monkeypatch.setattr(library, 'triton_usable', lambda device: True)
    assert semantic_edges.OP.choose(None, cuda) == 'triton'
    assert semantic_edge_distance.OP.choose(None, cuda) == 'cuda'
    monkeypatch.setattr(library, 'triton_usable', lambda device: False)
    monkeypatch.setattr(library, '_warned', set())
    with pytest.warns(UserWarning, match='triton, 3.0 or newer, is not installed'):
        assert semantic_edges.OP.choose(None, cuda) == 'reference'
    # it has no kernels for CUDA, so nothing is missing
    assert hard_pixel_mask.OP.choose(None, cuda) == 'reference'


def test_an_op_without_triton_kernels_says_so():
    with pytest.raises(RuntimeError, match='this op has no such kernels'):
        hard_pixel_mask.OP.choose('triton', torch.device('cuda'))


def test_an_op_is_declared_in_one_place():
    """Its first argument has a gradient with respect to the first result, and no other."""
    scale = library.Op(
        'scale_for_test(Tensor x, Tensor y, float factor) -> (Tensor, Tensor)',
        lambda x, y, factor: (torch.empty_like(x), torch.empty_like(x)),
        lambda x, y, factor: (x * y * factor, x.detach() + y),
        cpu=lambda x, y, factor: (x * y * factor, x + y),
        backward=lambda gradient, x, result, y, factor: gradient * y * factor)
    x, y = torch.randn(2, 5, requires_grad=True, dtype=torch.float64)
    torch.library.opcheck(scale.dispatch, (x, y, 3.))
    for implementation in ('cpp', 'reference'):
        product, total = scale(x, y, 3., implementation=implementation)
        assert not total.requires_grad or implementation == 'reference'
        gradient, = torch.autograd.grad(product.sum(), x)
        torch.testing.assert_close(gradient, 3 * y)
