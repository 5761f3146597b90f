"""A config names the part of a pipeline that it changes: a position says nothing to its reader."""
import ast
from pathlib import Path

import pytest

CONFIGS = Path(__file__).parents[2] / 'configs'
CHANGES_IN_PLACE = {'append', 'clear', 'extend', 'insert', 'pop', 'remove', 'reverse', 'update'}


def positions(text):
    """Lines of a config that index, take a list apart, or change the list of a base in place."""
    for node in ast.walk(ast.parse(text)):
        by_index = isinstance(node, ast.Subscript)
        in_place = isinstance(node, ast.Call) and getattr(
            node.func, 'attr', '') in CHANGES_IN_PLACE
        targets = getattr(node, 'targets', []) if isinstance(node, ast.Assign) else []
        apart = any(isinstance(target, (ast.Tuple, ast.List)) and not (
            isinstance(node.value, ast.Tuple)) for target in targets)
        of_base = any(isinstance(target, ast.Attribute) for target in targets)
        if by_index or in_place or apart or of_base:
            yield f'line {node.lineno}: {text.splitlines()[node.lineno - 1].strip()}'


@pytest.mark.parametrize('path', sorted(CONFIGS.rglob('*.py')), ids=lambda p: p.stem)
def test_no_part_of_a_pipeline_is_meant_by_its_position(path):
    found = list(positions(path.read_text()))
    assert not found, (f'{path.name} changes a list by position or in place, {found}; name the '
                       'part in the base, `resize = [...]`, and build the list from its parts.')


@pytest.mark.parametrize('line', [
    '_base_.train_pipeline[2].scale = (1024, 512)',
    'train_pipeline = [*_base_.train_pipeline[:-1], pack]',
    'load, *rest = _base_.train_pipeline',
    'first = _base_.tta_pipeline[1].transforms[0][0]',
    '_base_.train_pipeline.insert(1, resize)',
    'train_pipeline.pop()',
    '_base_.train_dataloader.dataset.pipeline = []'])
def test_what_means_a_position_is_found(line):
    assert len(list(positions(line))) >= 1


def test_parts_that_are_named_are_no_positions():
    assert not list(positions(
        'resize = [dict(type="Resize", scale=(480, 360))]\n'
        'a, b = 1, 2\n'
        'train_pipeline = _base_.load + resize + _base_.pack\n'
        'weight = {{_base_.weights.median}}\n'))
