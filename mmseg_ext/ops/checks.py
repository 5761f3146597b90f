"""What several ops ask of their arguments, and the sentences that refuse others."""
from numbers import Integral
from typing import Any, Sequence, Tuple

from torch import Tensor

from mmseg_ext.compat import is_compiling

#: The largest number of 64 bits, and the largest size: products of two sizes do not overflow.
MOST, MOST_SIZE = (1 << 63) - 1, 1 << 31


def check_tensors(**tensors: Any) -> None:
    """Refuse what is not a tensor.

    Args:
        **tensors: The arguments by name.

    Raises:
        ValueError: If one is not.
    """
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise ValueError(f'{name} must be a tensor, got {type(tensor).__name__}.')


def is_integer(tensor: Tensor) -> bool:
    """Whether a tensor holds whole numbers (or bools)."""
    # not is_complex(), which stops the compiler of torch 2.1
    return not (tensor.is_floating_point() or tensor.dtype.is_complex or tensor.is_quantized)


def check_whole(name: str, value: Any, least: int = -MOST - 1, most: int = MOST) -> None:
    """Refuse what is not a whole number in a range.

    Args:
        name (str): Of the argument.
        value (Any): The argument.
        least (int): The least that is allowed. Defaults to the least number of 64 bits.
        most (int): The largest. Defaults to that of 64 bits.

    Raises:
        ValueError: If it is not.
    """
    if not isinstance(value, Integral) or not least <= value <= most:
        raise ValueError(f'{name} must be a whole number from {least} to {most}, got {value!r}.')


def check_ignore_index(ignore_index: float) -> int:
    """Give the ignored label as an integer, which is what the kernels take.

    Args:
        ignore_index (float): The argument. 255.0 is a whole number.

    Returns:
        int: The label.

    Raises:
        ValueError: If it is not a whole number of 64 bits.
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
    """Refuse what is not a map of logits and one of labels that fit each other.

    Args:
        logits (Tensor): (N, C, H, W), floating-point.
        labels (Tensor): (N, H, W), integers.
        names (tuple[str, str]): What the caller calls them.

    Raises:
        ValueError: If so.
    """
    check_tensors(**dict(zip(names, (logits, labels))))
    if logits.ndim != 4 or labels.shape != (logits.size(0), *logits.shape[2:]):
        raise ValueError(
            f'{names[0]} must be (N, C, H, W) and {names[1]} (N, H, W) with the same N, H and W, '
            f'got {tuple(logits.shape)} and {tuple(labels.shape)}.')
    if not logits.is_floating_point() or not is_integer(labels):
        raise ValueError(f'{names[0]} must be floating-point and {names[1]} integer tensors, got '
                         f'{logits.dtype} and {labels.dtype}.')


def check_labels(labels: Tensor, valid: Tensor, classes: int, ignore_index: int) -> None:
    """Refuse labels that are no class, on a CPU: on a GPU the answer would be waited for.

    Args:
        labels (Tensor): Integers of any shape.
        valid (Tensor): Bool, same shape: those that are not ignored.
        classes (int): C.
        ignore_index (int): Label of the others, for the sentence.

    Raises:
        ValueError: If a valid label is not from 0 to C - 1.
    """
    if labels.device.type == 'cpu' and not is_compiling():
        wrong = valid & ((labels < 0) | (labels >= classes))
        if wrong.any():
            refuse_label(labels[wrong][0], classes, ignore_index)


def refuse_label(label: float, classes: int, ignore_index: int) -> None:
    """Say that a label is no class (``csrc`` says the same).

    Raises:
        ValueError: Always.
    """
    raise ValueError(
        f'labels hold {int(label)}, which is neither one of the {classes} classes, 0 to '
        f'{classes - 1}, nor ignore_index, {ignore_index}.')


def check_class_weight(class_weight: Tensor, classes: int) -> None:
    """Refuse class weights that are not one number for each class.

    Args:
        class_weight (Tensor): (C,).
        classes (int): C.

    Raises:
        ValueError: If the shape is another one.
    """
    if class_weight.shape != (classes, ):
        raise ValueError(f'class_weight must have one number for each of the {classes} classes, '
                         f'got shape {tuple(class_weight.shape)}.')


def check_size(name: str, size: Any) -> None:
    """Refuse what is not a height and a width.

    Args:
        name (str): Of the argument.
        size (Any): The argument.

    Raises:
        ValueError: If it is not.
    """
    if not isinstance(size, Sequence) or len(size) != 2:
        raise ValueError(f'{name} must be a height and a width, got {size!r}.')
    for side in size:
        check_whole(name, side, 1, MOST_SIZE)


def check_index_form(indptr: Tensor, indices: Tensor) -> None:
    """Refuse what has not the shapes and types of a compressed sparse row index.

    Args:
        indptr (Tensor): (M + 1,).
        indices (Tensor): (nnz,).

    Raises:
        ValueError: If so.
    """
    check_tensors(indptr=indptr, indices=indices)
    if indptr.ndim != 1 or indices.ndim != 1 or indptr.numel() == 0:
        raise ValueError('indptr must be (M + 1,) and indices (nnz,), got '
                         f'{tuple(indptr.shape)} and {tuple(indices.shape)}.')
    if not is_integer(indptr) or not is_integer(indices):
        raise ValueError(f'indptr and indices must be integers, got {indptr.dtype} and '
                         f'{indices.dtype}.')


def check_indptr(indptr: Tensor, indices: Tensor) -> None:
    """Refuse what is not a compressed sparse row index.

    Args:
        indptr (Tensor): (M + 1,), rising from 0 to nnz.
        indices (Tensor): (nnz,).

    Raises:
        ValueError: If a shape or a type is wrong or, on a CPU (the answer would have to be waited
            for on a GPU), ``indptr`` does not rise from 0 to nnz.
    """
    check_index_form(indptr, indices)
    if indptr.device.type != 'cpu':
        return
    indptr = indptr.long()  # differences of unsigned numbers are not negative
    if indptr[0] != 0 or indptr[-1] != len(indices) or (indptr.diff() < 0).any():
        raise ValueError(f'indptr must rise from 0 to the number of indices, {len(indices)}.')


def check_index(indptr: Tensor, indices: Tensor, size: int, of: str = 'rows of the source') -> None:
    """Refuse a compressed sparse row index that leads out of what it is for.

    Args:
        indptr (Tensor): (M + 1,), rising from 0 to nnz.
        indices (Tensor): (nnz,), from 0 to ``size`` - 1.
        size (int): How many there are.
        of (str): What the indices are.

    Raises:
        ValueError: As ``check_indptr`` or, on a CPU, if an index is not below ``size``.
    """
    check_indptr(indptr, indices)
    if indices.device.type == 'cpu' and len(indices) \
            and (indices.min() < 0 or indices.max() >= size):
        raise ValueError(f'indices must be {of}, 0 to {size - 1}.')
