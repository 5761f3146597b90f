"""mmseg_ext::bootstrapped_cross_entropy and its backward in Triton.

Forward: one pass over the logits gives the loss of each pixel and a code: ignored, easy, hard. The
selection works on these two maps, in PyTorch. Backward: one pass over the logits, in which the
probabilities of the kept pixels are computed again; blocks without a kept pixel are not read. To
store the maximum and the sum of each pixel would move 16 more bytes a pixel and save none, for a
program has all classes of its pixels in registers.

Shapes: N images, C classes, P = H * W pixels of an image.
"""
from typing import Any, Dict, Optional, Tuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..checks import check_labels
from ..hard_pixel_mask import keep_hard
from ..library import accumulation_dtype, empty_gradient

# The codes of a pixel; a kernel reads only constants of this type from outside.
IGNORED, WRONG, EASY, HARD = (tl.constexpr(code) for code in range(4))

# Logits of a program, at most, where there are few enough classes: with 4 warps a thread has 32.
TILE = 4096
# Pixels of a program: at most, and at least, where a row of 16 float32 is 64 bytes.
MOST_PIXELS, LEAST_PIXELS = 512, 16


@triton.jit
def _locate(pixels, BLOCK: tl.constexpr):
    """Image and pixels of this program, and which of these exist."""
    blocks = tl.cdiv(pixels, BLOCK)
    # 64 bits: times a stride these become offsets, which may be 2^31 and more
    image = (tl.program_id(0) // blocks).to(tl.int64)
    pixel = (tl.program_id(0) % blocks).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    return image, pixel, pixel < pixels


@triton.jit
def _load(logits, classes, pixel, inside, by_class, by_pixel, ACC: tl.constexpr,
          CLASSES: tl.constexpr):
    """Logits of some pixels, (classes, pixels); -inf where there is no such class.

    All pixels that exist are read: a mask without gaps lets a thread load neighbours at once.
    """
    exist = (classes < CLASSES) & inside[None, :]
    # 64 bits: a stride times a class may be 2^31 and more
    at = classes.to(tl.int64) * by_class + pixel[None, :] * by_pixel
    x = tl.load(logits + at, mask=exist, other=0).to(ACC)
    return tl.where(classes < CLASSES, x, float('-inf'))


@triton.jit
def _exponentials(x, LOWEST: tl.constexpr):
    """Maximum over the classes, exp(x - maximum), and the sum of these."""
    # at least the lowest finite number: from a maximum of -inf, a logit of -inf would give NaN
    top = tl.maximum(tl.max(x, axis=0), LOWEST)
    exponentials = tl.exp(x - top[None, :])
    return top, exponentials, tl.sum(exponentials, axis=0)  # a NaN stays in the sum


@triton.jit(do_not_specialize=['ignore_index'])
def _forward_kernel(logits, labels, losses, codes, thresh, ignore_index, pixels, by_image, by_class,
                    by_pixel, LOWEST: tl.constexpr, CLASSES: tl.constexpr, ROWS: tl.constexpr,
                    BLOCK: tl.constexpr):
    ACC: tl.constexpr = losses.dtype.element_ty
    image, pixel, inside = _locate(pixels, BLOCK)
    at = image * pixels + pixel
    label = tl.load(labels + at, mask=inside, other=0)
    is_class = (label >= 0) & (label < CLASSES)
    valid = inside & is_class & (label != ignore_index)
    # No address is made of a label, so that a wrong one cannot lead out of the logits.
    classes = tl.arange(0, ROWS)[:, None]
    x = _load(logits + image * by_image, classes, pixel, inside, by_class, by_pixel, ACC, CLASSES)
    top, exponentials, total = _exponentials(x, LOWEST)
    target = tl.sum(tl.where(classes == label[None, :], x, 0), axis=0)
    # Not (top + log(total)) - target: with logits of 1e4 the logarithm would be lost in the sum.
    loss = tl.log(total) - (target - top)
    tl.store(losses + at, tl.where(valid, loss, 0), mask=inside)

    code = tl.where(valid, EASY, tl.where(is_class | (label == ignore_index), IGNORED, WRONG))
    if thresh is not None:
        exponential = tl.exp(target - top)
        # Rounded to nearest, where '/' on float32 is not: 1 / C has to equal a threshold of 1 / C.
        if ACC == tl.float32:
            probability = tl.div_rn(exponential, total)
        else:
            probability = exponential / total
        easy = probability >= tl.load(thresh)  # a NaN is not
        code = tl.where(valid & (easy == 0), HARD, code)
    tl.store(codes + at, code.to(tl.uint8), mask=inside)


@triton.jit
def _backward_kernel(factors, logits, labels, class_weight, kept, gradient, pixels, by_image,
                     by_class, by_pixel, to_image, to_class, to_pixel, LOWEST: tl.constexpr,
                     CLASSES: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    ACC: tl.constexpr = factors.dtype.element_ty
    image, pixel, inside = _locate(pixels, BLOCK)
    at = image * pixels + pixel
    keep = tl.load(kept + at, mask=inside, other=0) != 0
    classes = tl.arange(0, ROWS)[:, None]
    exist = (classes < CLASSES) & inside[None, :]
    to = gradient + image * to_image + (
        classes.to(tl.int64) * to_class + pixel[None, :] * to_pixel)
    if tl.max(keep.to(tl.int32), axis=0) == 0:
        tl.store(to, tl.full([ROWS, BLOCK], 0, gradient.dtype.element_ty), mask=exist)
    else:
        label = tl.load(labels + at, mask=inside, other=0)
        x = _load(logits + image * by_image, classes, pixel, inside, by_class, by_pixel, ACC,
                  CLASSES)
        _, exponentials, total = _exponentials(x, LOWEST)
        factor = tl.load(factors + image)
        if class_weight is not None:
            factor = factor * tl.load(class_weight + label, mask=keep, other=0)
        else:
            factor = tl.where(keep, factor, 0)
        hit = tl.where(classes == label[None, :], 1.0, 0.0).to(ACC)
        slope = (exponentials / total[None, :] - hit) * factor[None, :]
        slope = tl.where(keep[None, :], slope, 0)
        tl.store(to, slope.to(gradient.dtype.element_ty), mask=exist)


def forward(logits: Tensor, labels: Tensor, class_weight: Optional[Tensor],
            thresh: Optional[float], min_kept: Optional[int], per_image: bool,
            ignore_index: int) -> Tuple[Tensor, Tensor, Tensor, Tensor]:
    """Select the hard pixels and sum their losses, as ``mmseg_ext.ops.bootstrapped_cross_entropy``.

    Logits (N, C, H, W) of any strides, copied only where the rows of pixels do not join; labels
    int64; class weights of the type that sums have. Results as in its ``reference``. Equal inputs
    give equal bits. On a CPU a ValueError refuses a label that is no class; a GPU asserts.
    """
    x, labels = _joined(logits), labels.contiguous()
    accumulation = accumulation_dtype(logits)
    losses = torch.empty_like(labels, dtype=accumulation)
    codes = torch.empty_like(labels, dtype=torch.uint8)
    # A number is handed to a kernel in 32 bits, which would round a threshold for float64.
    limit = None if thresh is None else losses.new_full((1, ), thresh)
    grid, constants = _launch(x)
    with torch.cuda.device_of(logits):
        _forward_kernel[grid](x, labels, losses, codes, limit, ignore_index, x.size(2),
                              *x.stride(), **constants)
    return select_and_sum(losses, codes, labels, class_weight, logits.size(1), thresh, min_kept,
                          per_image, ignore_index)


def select_and_sum(losses: Tensor, codes: Tensor, labels: Tensor, class_weight: Optional[Tensor],
                   classes: int, thresh: Optional[float], min_kept: Optional[int], per_image: bool,
                   ignore_index: int) -> Tuple[Tensor, Tensor, Tensor, Tensor]:
    """Select among the losses of all pixels by their codes, with the results of ``forward``."""
    valid = codes >= EASY.value
    if labels.is_cuda:  # asserted there: to ask for the answer would wait for the GPU
        torch._assert_async((codes != WRONG.value).all(), 'labels hold a value that is neither one '
                            f'of the {classes} classes nor ignore_index, {ignore_index}.')
    else:
        check_labels(labels, codes != IGNORED.value, classes, ignore_index)
    over = None if thresh is None else codes == HARD.value
    kept = keep_hard(losses, valid, over, min_kept, per_image)
    if class_weight is not None:
        losses = losses * class_weight[torch.where(kept, labels, 0)]
    # Added up by PyTorch: atomic additions would make the last bits a matter of chance.
    sums = torch.where(kept, losses, 0).flatten(1).sum(dim=1)
    return sums, kept, kept.flatten(1).sum(dim=1), valid.flatten(1).sum(dim=1)


def backward(gradient: Tensor, logits: Tensor, labels: Tensor, class_weight: Optional[Tensor],
             kept: Tensor) -> Tensor:
    """Give the gradient: (softmax - one-hot) * w * gradient of the image where kept, else 0.

    Args:
        gradient (Tensor): (N,), with respect to the sums that ``forward`` returns.
        logits (Tensor): As in ``forward``.
        labels (Tensor): As in ``forward``.
        class_weight (Tensor, optional): As in ``forward``.
        kept (Tensor): (N, H, W) bool, as ``forward`` returns it.

    Returns:
        Tensor: (N, C, H, W), of the type of the logits; channels last if they are, else contiguous.
    """
    x = _joined(logits)
    result = empty_gradient(logits)
    to = result.flatten(2)
    if class_weight is not None:
        class_weight = class_weight.contiguous()
    grid, constants = _launch(x)
    with torch.cuda.device_of(logits):
        _backward_kernel[grid](
            gradient.contiguous(), x, labels.contiguous(), class_weight, kept.contiguous(), to,
            x.size(2), *x.stride(), *to.stride(), **constants)
    return result


def _joined(tensor: Tensor) -> Tensor:
    """(N, C, H, W) as (N, C, P): a view of what is contiguous or channels last, else a copy."""
    return tensor.flatten(2)


def _launch(x: Tensor) -> Tuple[Tuple[int], Dict[str, Any]]:
    """Grid and constants of both kernels."""
    rows = triton.next_power_of_2(max(x.size(1), 1))
    block = min(MOST_PIXELS, max(LEAST_PIXELS, TILE // rows))
    return (x.size(0) * triton.cdiv(x.size(2), block), ), dict(
        LOWEST=torch.finfo(accumulation_dtype(x)).min, CLASSES=x.size(1), ROWS=rows, BLOCK=block,
        num_warps=min(32, max(4, rows * block // 1024)))
