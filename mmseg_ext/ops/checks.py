"""What several ops ask of their arguments, and the sentences that refuse others."""
from numbers import Integral
from typing import Any, Sequence, Tuple

from torch import Tensor

from mmseg_ext.compat import is_compiling

#: The largest number of 64 bits, and the largest size: products of two sizes do not overflow.
MOST, MOST_SIZE = (1 << 63) - 1, 1 << 31


def check_tensors(**tensors: Any) -> None:
    """Raise a ValueError unless all arguments, given by name, are tensors."""
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise ValueError(f'{name} must be a tensor, got {type(tensor).__name__}.')


def is_integer(tensor: Tensor) -> bool:
    """Whether a tensor holds whole numbers (or bools)."""
    # not is_complex(), which stops the compiler of torch 2.1
    return not (tensor.is_floating_point() or tensor.dtype.is_complex or tensor.is_quantized)


def check_whole(name: str, value: Any, least: int = -MOST - 1, most: int = MOST) -> None:
    """Raise a ValueError unless a value is a whole number from `least` to `most`."""
    if not isinstance(value, Integral) or not least <= value <= most:
        raise ValueError(f'{name} must be a whole number from {least} to {most}, got {value!r}.')


def check_ignore_index(ignore_index: float) -> int:
    """Give the ignored label as an integer, which the kernels take; 255.0 is one.

    Raise a ValueError for what is no whole number of 64 bits.
    """
    if isinstance(ignore_index, float) and ignore_index.is_integer():
        ignore_index = int(ignore_index)
    if not isinstance(ignore_index, Integral) or not -MOST - 1 <= ignore_index <= MOST:
        raise ValueError(f'ignore_index must be a whole number, got {ignore_index!r}; where every '
                         'pixel counts, give one that is not a label, such as -1.')
    return int(ignore_index)


def check_logits_and_labels(logits: Tensor,
                            labels: Tensor,
                            names: Tuple[str, str] = ('logits', 'labels')) -> None:
    """Raise a ValueError unless these are floats (N, C, H, W) and integers (N, H, W).

    `names` are what the caller calls them.
    """
    check_tensors(**dict(zip(names, (logits, labels))))
    if logits.ndim != 4 or labels.shape != (logits.size(0), *logits.shape[2:]):
        raise ValueError(
            f'{names[0]} must be (N, C, H, W) and {names[1]} (N, H, W) with the same N, H and W, '
            f'got {tuple(logits.shape)} and {tuple(labels.shape)}.')
    if not logits.is_floating_point() or not is_integer(labels):
        raise ValueError(f'{names[0]} must be floating-point and {names[1]} integer tensors, got '
                         f'{logits.dtype} and {labels.dtype}.')


def check_enlargement(logits: Tensor, labels: Tensor) -> None:
    """Raise a ValueError unless these are floats (N, C, h, w) and integers (N, H, W)."""
    check_tensors(logits=logits, labels=labels)
    if logits.ndim != 4 or labels.ndim != 3 or len(logits) != len(labels):
        raise ValueError('logits must be (N, C, h, w) and labels (N, H, W) with the same N, got '
                         f'{tuple(logits.shape)} and {tuple(labels.shape)}.')
    if 0 in logits.shape[2:] and labels.numel():
        raise ValueError(f'logits of no position, {tuple(logits.shape)}, cannot be enlarged to '
                         f'{tuple(labels.shape[1:])}.')
    if not logits.is_floating_point() or not is_integer(labels):
        raise ValueError('logits must be floating-point and labels integer tensors, got '
                         f'{logits.dtype} and {labels.dtype}.')


def check_labels(labels: Tensor, valid: Tensor, classes: int, ignore_index: int) -> None:
    """Raise a ValueError if a valid label is not one of the classes, 0 to C - 1.

    On a CPU only: on a GPU the answer would be waited for.
    """
    if labels.device.type == 'cpu' and not is_compiling():
        wrong = valid & ((labels < 0) | (labels >= classes))
        if wrong.any():
            # csrc says the same
            raise ValueError(
                f'labels hold {int(labels[wrong][0])}, which is neither one of the {classes} '
                f'classes, 0 to {classes - 1}, nor ignore_index, {ignore_index}.')


def check_class_weight(class_weight: Tensor, classes: int) -> None:
    """Raise a ValueError unless the weights are (C,)."""
    if class_weight.shape != (classes, ):
        raise ValueError(f'class_weight must have one number for each of the {classes} classes, '
                         f'got shape {tuple(class_weight.shape)}.')


def check_size(name: str, size: Any) -> None:
    """Raise a ValueError unless a size is a height and a width, 1 to 2^31 each."""
    if not isinstance(size, Sequence) or len(size) != 2:
        raise ValueError(f'{name} must be a height and a width, got {size!r}.')
    for side in size:
        check_whole(name, side, 1, MOST_SIZE)


def check_index_form(indptr: Tensor, indices: Tensor) -> None:
    """Raise a ValueError unless indptr (M + 1,) and indices (nnz,) are integers of these shapes."""
    check_tensors(indptr=indptr, indices=indices)
    if indptr.ndim != 1 or indices.ndim != 1 or indptr.numel() == 0:
        raise ValueError('indptr must be (M + 1,) and indices (nnz,), got '
                         f'{tuple(indptr.shape)} and {tuple(indices.shape)}.')
    if not is_integer(indptr) or not is_integer(indices):
        raise ValueError(f'indptr and indices must be integers, got {indptr.dtype} and '
                         f'{indices.dtype}.')


def check_indptr(indptr: Tensor, indices: Tensor) -> None:
    """Raise a ValueError unless indptr rises from 0 to nnz, as a compressed sparse row index does.

    Its values are looked at on a CPU only: on a GPU the answer would be waited for.
    """
    check_index_form(indptr, indices)
    if indptr.device.type != 'cpu':
        return
    indptr = indptr.long()  # differences of unsigned numbers are not negative
    if indptr[0] != 0 or indptr[-1] != len(indices) or (indptr.diff() < 0).any():
        raise ValueError(f'indptr must rise from 0 to the number of indices, {len(indices)}.')


def check_index(indptr: Tensor, indices: Tensor, size: int, of: str = 'rows of the source') -> None:
    """Raise a ValueError unless this is a compressed sparse row index of `size` things.

    On a GPU only its form is checked. `of` says what the indices are.
    """
    check_indptr(indptr, indices)
    if indices.device.type == 'cpu' and len(indices) \
            and (indices.min() < 0 or indices.max() >= size):
        raise ValueError(f'indices must be {of}, 0 to {size - 1}.')
