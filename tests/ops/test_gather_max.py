import sys

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mmseg_ext.ops import extension_loaded, gather_max

IMPLEMENTATIONS = ['reference'] + (['cpp'] if extension_loaded() else [])
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
# widths of the kernel's blocks are 64, 16 and 1
COLUMNS = [1, 16, 33, 64, 150]


def index(groups):
    indptr = torch.tensor([0, *np.cumsum([len(group) for group in groups])])
    return indptr, torch.tensor([i for group in groups for i in group], dtype=torch.long)


def random_case(columns, dtype=torch.float64, seed=0, ties=False):
    rng = np.random.default_rng(seed)
    groups = [rng.integers(0, 11, size) for size in (3, 0, 1, 7, 0, 0, 12, 2)]
    source = torch.from_numpy(rng.standard_normal((11, columns)))
    return (source.round() if ties else source).to(dtype), *index(groups)


def by_loops(source, indptr, indices, gradient):
    """Output and gradient, one number at a time."""
    output = torch.zeros(len(indptr) - 1, source.size(1), dtype=source.dtype)
    received = torch.zeros_like(source, dtype=torch.float64)
    for m in range(len(output)):
        for d in range(source.size(1)):
            winner = None
            for k in indices[indptr[m]:indptr[m + 1]].tolist():
                if winner is None or source[k, d] > source[winner, d]:
                    winner = k
            if winner is not None:
                output[m, d] = source[winner, d]
                received[winner, d] += gradient[m, d].double()
    return output, received


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_by_hand(implementation):
    source = torch.tensor([[1., 5.], [2., 4.], [3., 6.]], requires_grad=True)
    indptr, indices = index([[0, 1], [], [2], [2, 0, 2]])
    output = gather_max(source, indptr, indices, implementation=implementation)
    assert output.tolist() == [[2, 5], [0, 0], [3, 6], [3, 6]]
    output.backward(torch.tensor([[1., 10.], [100., 100.], [2., 20.], [4., 40.]]))
    assert source.grad.tolist() == [[0, 10], [1, 0], [6, 60]]


@pytest.mark.parametrize('columns', COLUMNS)
@pytest.mark.parametrize('dtype', DTYPES, ids=str)
@pytest.mark.parametrize('ties', [False, True], ids=['distinct', 'ties'])
@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_output_and_gradient_are_those_of_loops(implementation, ties, dtype, columns):
    source, indptr, indices = random_case(columns, dtype, ties=ties)
    source.requires_grad_()
    output = gather_max(source, indptr, indices, implementation=implementation)
    gradient = torch.from_numpy(
        np.random.default_rng(1).integers(-4, 5, output.shape)).to(dtype)  # sums are exact
    output.backward(gradient)
    expected, received = by_loops(source.detach(), indptr, indices, gradient)
    assert torch.equal(output, expected)
    assert torch.equal(source.grad.double(), received)


@pytest.mark.parametrize('columns', COLUMNS)
@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_a_source_of_more_rows_than_there_are_entries(implementation, columns):
    """The compiled kernel copies a source that is used more often, and reads this one in place."""
    source = torch.randn(9, columns, dtype=torch.float64, requires_grad=True)
    case = index([[8, 2], [], [5, 0, 8]])
    output = gather_max(source, *case, implementation=implementation)
    gradient = torch.arange(3. * columns, dtype=torch.float64).view(3, columns)
    output.backward(gradient)
    expected, received = by_loops(source.detach(), *case, gradient)
    assert torch.equal(output, expected) and torch.equal(source.grad, received)


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_nan_is_a_maximum_and_minus_infinity_a_value(implementation):
    source = torch.tensor([[-torch.inf, 1.], [torch.nan, 2.]], requires_grad=True)
    output = gather_max(source, *index([[0], [0, 1], [1, 0]]), implementation=implementation)
    torch.testing.assert_close(
        output, torch.tensor([[-torch.inf, 1.], [torch.nan, 2.], [torch.nan, 2.]]), equal_nan=True)
    output[:, 0].sum().backward()
    assert source.grad[:, 0].tolist() == [1, 2]


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_empty_inputs(implementation):
    source = torch.randn(3, 5, requires_grad=True)
    output = gather_max(source, *index([[], []]), implementation=implementation)
    assert output.shape == (2, 5) and output.eq(0).all()
    output.sum().backward()
    assert source.grad.eq(0).all()
    assert gather_max(source, *index([]), implementation=implementation).shape == (0, 5)
    assert gather_max(source[:, :0], *index([[1]]), implementation=implementation).shape == (1, 0)
    assert gather_max(source[:0], *index([[]]), implementation=implementation).shape == (1, 5)


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_views_and_smaller_integers(implementation):
    source, indptr, indices = random_case(33)
    expected = gather_max(source, indptr, indices, implementation=implementation)
    other = gather_max(source.t().contiguous().t(), indptr.int(), indices.int(),
                       implementation=implementation)
    assert torch.equal(other, expected)


@pytest.mark.parametrize('columns', [3, 17])
@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_gradcheck(implementation, columns):
    source, indptr, indices = random_case(columns)
    assert torch.autograd.gradcheck(
        lambda x: gather_max(x, indptr, indices, implementation=implementation),
        source.requires_grad_())


@pytest.mark.skipif(not extension_loaded(), reason='the extension is not built')
@pytest.mark.skipif(not hasattr(torch.library, 'opcheck'), reason='this torch has no opcheck')
def test_opcheck():
    source, indptr, indices = random_case(20)
    ops = torch.ops.mmseg_ext
    torch.library.opcheck(ops.gather_max.default, (source.requires_grad_(), indptr, indices))
    source = source.detach()
    output = ops.gather_max(source, indptr, indices)
    torch.library.opcheck(ops.gather_max_backward.default,
                          (torch.ones_like(output), source, output, indptr, indices))


def test_the_gradient_does_not_depend_on_the_threads():
    rng = np.random.default_rng(0)
    source = torch.randn(50, 200)
    case = index([rng.integers(0, 50, 20) for _ in range(300)])
    gradient, results, threads = torch.randn(300, 200), [], torch.get_num_threads()
    for count in (1, 2):
        torch.set_num_threads(count)
        x = source.clone().requires_grad_()
        gather_max(x, *case).backward(gradient)
        results.append(x.grad)
    torch.set_num_threads(threads)
    assert torch.equal(*results)


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
@pytest.mark.parametrize('indptr, indices, message', [
    ([0, 2], [0, 3], 'rows of the source, 0 to 2'), ([0, 1], [-1], 'rows of the source'),
    ([0, 3], [0, 1], 'rise from 0 to the number of indices, 2'),
    ([0, 2, 1, 2], [0, 1], 'rise from 0'), ([1, 2], [0, 1], 'rise from 0')])
def test_an_index_that_leads_out_of_the_source_is_refused(
        implementation, indptr, indices, message):
    with pytest.raises(ValueError, match=message):
        gather_max(torch.zeros(3, 2), torch.tensor(indptr), torch.tensor(indices),
                   implementation=implementation)


def test_wrong_shapes_and_types_are_refused():
    with pytest.raises(ValueError, match=r'\(N, D\), got torch.float32 \(3,\)'):
        gather_max(torch.zeros(3), *index([[0]]))
    with pytest.raises(ValueError, match='must be integers, got torch.float32'):
        gather_max(torch.zeros(3, 2), torch.tensor([0., 1.]), torch.tensor([0]))


class LargestResult(TorchDispatchMode):
    """Notes the most elements that an operation makes."""

    numel = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if torch.is_tensor(result):
            self.numel = max(self.numel, result.numel())
        return result


@pytest.mark.parametrize('block, largest', [(1, 100), (300, 300), (450, 400), (2**22, 700)])
def test_the_reference_takes_blocks_of_columns_and_gives_the_same(block, largest, monkeypatch):
    """With 100 entries: 1, 3, 4 or all of 7 columns."""
    generator = torch.Generator().manual_seed(0)
    source = torch.randint(0, 3, (9, 7), generator=generator).double()
    indptr = torch.tensor([0, 6, 6, 7, 100])
    indices = torch.randint(0, 9, (100, ), generator=generator)
    received = torch.arange(28.).double().view(4, 7)
    expected = by_loops(source, indptr, indices, received)
    monkeypatch.setattr(sys.modules['mmseg_ext.ops.gather_max'], 'REFERENCE_BLOCK', block)
    source.requires_grad_()
    with LargestResult() as largest_result:
        output = gather_max(source, indptr, indices, implementation='reference')
    gradient, = torch.autograd.grad(output, source, received)
    torch.testing.assert_close(output.detach(), expected[0], rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(gradient, expected[1].view_as(gradient), rtol=0, atol=0)
    assert largest_result.numel == largest
