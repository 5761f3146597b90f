"""The ops where neither mmsegmentation nor its frameworks are installed."""
import subprocess
import sys

import pytest

# As if the frameworks were not installed: they are not found, and an import of one fails.
BLOCK = """
import importlib.util
import sys

FRAMEWORKS = {'mmseg', 'mmcv', 'mmengine', 'cv2'}
find_spec = importlib.util.find_spec


class Blocker:

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.split('.')[0] in FRAMEWORKS:
            raise ModuleNotFoundError(f'{name} is blocked', name=name)


importlib.util.find_spec = lambda name, package=None: (
    None if name.split('.')[0] in FRAMEWORKS else find_spec(name, package))
sys.meta_path.insert(0, Blocker)
"""

RUN_OPS = """
import torch

from mmseg_ext.ops import (bootstrapped_cross_entropy, free_form_roi_pool, gather_max,
                           semantic_edge_distance, semantic_edges, sobel)

logits = torch.randn(2, 3, 6, 8, requires_grad=True)
labels = torch.randint(0, 3, (2, 6, 8))
layers = [(torch.randn(4, 3, 3, 3), torch.randn(4)), (torch.randn(2, 4, 3, 3), torch.randn(2))]
maximum = gather_max(logits.flatten(0, 2), torch.tensor([0, 2, 3]), torch.tensor([0, 1, 5]))
pooled = free_form_roi_pool(logits, torch.tensor([[1., 0, 0, 7, 5]]), None, 2)
value = (bootstrapped_cross_entropy(logits, labels, thresh=0.5, min_kept=4)
         + semantic_edge_distance(logits, labels, layers, [1., 0.5])
         + sobel(logits).abs().sum() + maximum.sum() + pooled.sum())
value.backward()
assert logits.grad.isfinite().all() and logits.grad.abs().sum() > 0
assert semantic_edges(labels).any()
assert not FRAMEWORKS.intersection(sys.modules)
"""


def run(code):
    return subprocess.run([sys.executable, '-c', BLOCK + code], capture_output=True, text=True)


def test_ops_run_forward_and_backward_and_import_no_framework():
    result = run(RUN_OPS)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize('code', ['from mmseg_ext import models',
                                  'import mmseg_ext; mmseg_ext.datasets.CamVidDataset'])
def test_plugins_are_refused_with_the_sentence_that_says_what_to_install(code):
    result = run(code)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith(
        'ImportError: mmseg_ext needs mmengine>=0.5.0,<1.0.0, which is not installed: pip install ')


def test_an_unknown_name_is_no_question_of_what_is_installed():
    result = run('import mmseg_ext; mmseg_ext.nonsense')
    assert result.stderr.splitlines()[-1] == (
        "AttributeError: module 'mmseg_ext' has no attribute 'nonsense'")
