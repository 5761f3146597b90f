"""Calls every op with valid, odd and wrong arguments: the script of test_hostile_arguments.py.

    python tests/ops/hostile_calls.py REPORT SEED FIRST LAST NAME...

makes the calls FIRST to LAST - 1 of each target and writes what became of them to the file REPORT
(JSON) and, before each call, its target and number to REPORT.now: where the process dies, they name
the call, which `hostile_calls.py REPORT SEED NUMBER NUMBER+1 NAME` makes again.

Arguments lie at the end of a mapping, in front of a page that cannot be read, or at its beginning,
behind such a page: a kernel that leaves its arguments dies instead of reading memory of others.
"""
import ctypes
import functools
import json
import mmap
import os
import random
import resource
import sys
import time
import warnings
import zlib

import numpy as np
import torch

import mmseg_ext.ops as ops
from mmseg_ext.ops.hierarchical_regions import group_cells, texture_filters

RAW = torch.ops.mmseg_ext
#: What may be raised. Others (MemoryError, SystemError, AttributeError, ...) are no sentences.
EXPECTED = (ValueError, RuntimeError, TypeError, IndexError)
FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
DTYPES = (*FLOATS, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
          torch.complex64)
HOSTILE_INTS = (-1, 0, 1, 2, 7, 255, (1 << 31) - 1, 1 << 31, 1 << 33, 1 << 62,
                (1 << 63) - 1, -(1 << 63), 1 << 70)
HOSTILE_FLOATS = (-1., 0., 0.5, 1., 2., 1e-30, 1e30, float('nan'), float('inf'), -float('inf'))


# ---------------------------------------------------------------- memory between guard pages


class Guarded:
    """Memory in slots of some pages, each between two pages that cannot be touched."""

    def __init__(self, slots=64, pages=4):
        page = mmap.PAGESIZE
        self.slots, self.size, self.next = slots, pages * page, 0
        self.step = self.size + page
        self.memory = mmap.mmap(-1, slots * self.step + page)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        libc = ctypes.CDLL(None, use_errno=True)
        for slot in range(slots + 1):
            where = ctypes.c_void_p(self.address + slot * self.step)
            if libc.mprotect(where, ctypes.c_size_t(page), 0) != 0:  # PROT_NONE
                raise OSError(ctypes.get_errno(), 'mprotect')

    def place(self, tensor, at_end):
        """Copy a tensor, with its strides, to the end (or beginning) of a slot."""
        extent = 1 + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride()))
        size = extent * tensor.element_size()
        if tensor.numel() == 0 or size > self.size:
            return tensor
        self.next = (self.next + 1) % self.slots
        offset = self.next * self.step + mmap.PAGESIZE + (self.size - size if at_end else 0)
        memory = torch.frombuffer(self.memory, dtype=tensor.dtype, count=extent, offset=offset)
        memory.copy_(tensor.detach().as_strided((extent, ), (1, )))
        placed = memory.as_strided(tensor.shape, tensor.stride())
        return placed.requires_grad_() if tensor.requires_grad else placed


GUARDED = Guarded()


def each_tensor(value, change):
    """Apply a function to all tensors in a nest of lists and tuples."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, tuple) and hasattr(value, '_fields'):
        return type(value)(*(each_tensor(x, change) for x in value))
    if isinstance(value, (list, tuple)):
        return type(value)(each_tensor(x, change) for x in value)
    if isinstance(value, dict):
        return {name: each_tensor(x, change) for name, x in value.items()}
    return value


# ---------------------------------------------------------------- valid arguments


def side(r, most=6):
    """A size: small, now and then 1 or 0."""
    return r.choice((0, 1)) if r.random() < 0.06 else r.randint(1, most)


def values(r, *shape, dtype=None):
    """Random numbers, now and then all equal."""
    tensor = torch.zeros(shape) if r.random() < 0.05 else torch.randn(shape)
    return tensor.to(dtype or r.choice(FLOATS))


def accumulated(tensor):
    """The type in which an op adds up."""
    return torch.promote_types(tensor.dtype, torch.float32)


def maps_and_labels(r, classes=None):
    """Logits (N, C, H, W), labels (N, H, W) and the ignored label; now and then all ignored."""
    n, c, h, w = side(r, 2), classes or side(r), side(r), side(r, 20)
    logits = values(r, n, c, h, w)
    if r.random() < 0.3:
        logits = logits.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(c, (n, h, w)) if c else torch.full((n, h, w), 255)
    ignore_index = r.choice((255, 255, -100, 0))
    if ignore_index == 0 and c == 0:
        labels.fill_(0)
    labels[torch.rand(n, h, w) < r.choice((0., 0.2, 1.)) * (c > 0)] = ignore_index
    return logits, labels, 255 if c == 0 and ignore_index != 0 else ignore_index


def selection(r):
    """Options of a bootstrapped loss."""
    return dict(thresh=r.choice((None, 0.5, 1.)), min_kept=r.choice((None, 1, 5, 1000)),
                per_image=r.random() < 0.5)


def sparse_rows(r, rows, size):
    """indptr (rows + 1,) and indices below size; rows may be empty."""
    counts = torch.randint(0, 4, (rows, )) if size else torch.zeros(rows, dtype=torch.int64)
    indptr = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    indices = torch.randint(max(size, 1), (int(indptr[-1]), ))
    return dict(indptr=indptr, indices=indices)


def boot(r):
    logits, labels, ignore_index = maps_and_labels(r)
    weight = torch.rand(logits.size(1), dtype=accumulated(logits)) if r.random() < 0.5 else None
    return dict(logits=logits, labels=labels, class_weight=weight, **selection(r),
                ignore_index=ignore_index)


def boot_backward(r):
    arguments = boot(r)
    logits, labels = arguments['logits'], arguments['labels']
    kept = (labels != arguments['ignore_index']) & (torch.rand(labels.shape) < 0.5)
    return dict(gradient=torch.rand(len(logits), dtype=accumulated(logits)), logits=logits,
                labels=labels, class_weight=arguments['class_weight'], kept=kept)


def public_boot(r):
    arguments = boot(r)
    if arguments['class_weight'] is not None and r.random() < 0.5:
        arguments['class_weight'] = arguments['class_weight'].tolist()
    return dict(arguments, normalization=r.choice(('kept', 'valid', 'numel')))


def select(r):
    arguments = public_boot(r)
    del arguments['class_weight']
    return arguments


def mask(r):
    shape = tuple(side(r, 9) for _ in range(r.choice((1, 2, 3))))
    return dict(difficulty=values(r, *shape, dtype=r.choice(FLOATS[:2])),
                valid=torch.rand(shape) < r.choice((0., 0.7)), **selection(r))


def gather(r):
    source = values(r, side(r), side(r, 70))
    return dict(source=source, **sparse_rows(r, side(r), len(source)))


def gather_backward(r):
    arguments = gather(r)
    output = RAW.gather_max(**arguments)
    return dict(gradient=torch.randn(output.shape).to(output.dtype), source=arguments['source'],
                output=output, indptr=arguments['indptr'], indices=arguments['indices'])


def gather_bins(r):
    input, bins = values(r, side(r, 2), side(r, 20), side(r, 3), side(r, 3)), r.randint(1, 9)
    size = input.size(0) * input.size(2) * input.size(3)
    return dict(input=input, **sparse_rows(r, bins * side(r, 3), size), bins=bins)


def gather_bins_backward(r):
    arguments = gather_bins(r)
    output = RAW.gather_max_bins(**arguments)
    del arguments['bins']
    return dict(gradient=torch.randn(output.shape).to(output.dtype), **arguments)


def ranges(r, count, bins, size):
    first = torch.randint(size + 1, (count, bins))
    return torch.stack([first, torch.randint(size + 1, (count, bins)).maximum(first)])


def places(r, images, height, width):
    count = side(r, 4) if images else 0
    return dict(images=torch.randint(max(images, 1), (count, )),
                rows=ranges(r, count, r.randint(1, 3), height),
                columns=ranges(r, count, r.randint(1, 3), width),
                masks=r.choice((None, torch.rand(count, height, width) < 0.5)),
                column_major=r.random() < 0.5)


def index_of_bins(r):
    height, width = side(r), side(r)
    arguments = places(r, 3, height, width)
    return dict(arguments, height=height, width=width)


def pool(r):
    input = values(r, side(r, 2), side(r, 20), side(r), side(r))
    return dict(input=input, **places(r, len(input), *input.shape[2:]))


def pool_backward(r):
    arguments = pool(r)
    output = RAW.free_form_roi_pool(**arguments)
    return dict(gradient=torch.randn(output.shape).to(output.dtype), output=output, **arguments)


def public_pool(r):
    input, count = values(r, r.randint(1, 2), side(r, 5), side(r), side(r)), side(r, 4)
    size, mode = (r.randint(1, 3), r.randint(1, 3)), r.choice(('exact', 'calvin'))
    rois = torch.rand(count, 5) * 9
    rois[:, 0] = torch.randint(len(input), (count, ))
    grid = input.shape[2:] if mode == 'exact' else size
    masks = r.choice((None, torch.rand(count, *grid) < 0.5))
    return dict(input=input, rois=rois, masks=masks, output_size=size,
                spatial_scale=r.choice((1., 0.5, (0.3, 0.6))), mode=mode,
                bins=r.choice(('mmcv', 'calvin')))


def cell_map(r, height, width):
    """(H, W) int32 in which every number from 0 on occurs."""
    most = r.choice((1, 4, 12))
    cells = np.random.RandomState(r.getrandbits(30)).randint(0, most, (height, width))
    return torch.from_numpy(np.unique(cells, return_inverse=True)[1].reshape(height, width)).int()


def regions(r):
    """A RegionSet, and how many cells it has."""
    cells = cell_map(r, r.randint(1, 7), r.randint(1, 9))
    count = int(cells.max()) + 1
    groups = [sorted(r.sample(range(count), r.randint(1, count))) for _ in range(side(r, 4))]
    indptr = torch.tensor([0, *np.cumsum([len(x) for x in groups], dtype=int)])
    indices = torch.tensor([x for group in groups for x in group], dtype=torch.int64)
    return ops.RegionSet(cells, indptr, indices), count


def geometry(r):
    image, stride = regions(r)[0], r.randint(1, 5)
    size = tuple((x + stride - 1) // stride + r.choice((0, 0, 2)) for x in image.cells.shape)
    return dict(regions=image, size=size, stride=stride)


def raw_geometry(r):
    arguments = geometry(r)
    return dict(arguments['regions']._asdict(), height=arguments['size'][0],
                width=arguments['size'][1], stride=arguments['stride'])


def grid_masks(r):
    arguments = geometry(r)
    boxes = ops.region_geometry(**arguments)[0]
    return dict(regions=arguments['regions'], boxes=boxes, size=(r.randint(1, 4), r.randint(1, 4)))


def counts_of_labels(r):
    image, classes = regions(r)[0], r.randint(1, 5)
    height, width = image.cells.shape
    labels = torch.randint(classes, (height + r.choice((0, 2)), width + r.choice((0, 2))))
    labels[0, 0] = 254
    return dict(regions=image, labels=labels.to(r.choice((torch.int64, torch.uint8))),
                num_classes=classes, ignore_index=254)


def transposed(r):
    image, count = regions(r)
    return dict(indptr=image.indptr, indices=image.indices, size=count)


def to_pixel(r):
    arguments = gather(r)
    return dict(scores=arguments.pop('source'), **arguments, decay=r.choice((0., 0.5, 1.)))


def grouped(r):
    cells, classes = side(r), side(r)
    return dict(logits=values(r, cells, classes),
                label_counts=torch.randint(0, 9, (cells, classes)),
                class_weight=r.choice((None, torch.rand(classes), [1.] * classes)))


def histograms(r):
    height, width, channels = r.randint(1, 8), r.randint(1, 8), side(r, 3)
    cells = cell_map(r, height, width)
    smooth, derive, edges = map(torch.from_numpy, texture_filters())
    bins = torch.arange(256, dtype=torch.int32) * 24 // 255
    return dict(image=torch.randint(256, (height, width, channels), dtype=torch.uint8),
                cells=cells, num_cells=int(cells.max()) + 1, colour_bins=bins, smooth=smooth,
                derive=derive, edges=edges)


def merges(r):
    """A chain of cells, some pairs twice."""
    count = r.randint(1, 7)
    sizes = torch.randint(1, 9, (count, ))
    kinds = []
    for _ in range(r.choice((0, 1, 2))):
        counts = torch.randint(0, 9, (count, r.randint(1, 9)), dtype=torch.int32)
        counts[:, 0] += sizes.int()
        kinds.append(counts)
    corner = torch.randint(0, 9, (count, 2))
    boxes = torch.cat([corner, corner + torch.randint(0, 3, (count, 2))], dim=1)
    first = torch.arange(count - 1)
    pairs = torch.stack([first, first + 1], dim=1)
    return dict(histograms=kinds, sizes=sizes, boxes=boxes,
                pairs=torch.cat([pairs, pairs[:r.choice((0, 1))]]),
                num_pixels=int(sizes.sum()) + r.choice((0, 5)))


def network(r, classes, dtype):
    """Weights and biases of some layers."""
    channels = [classes, *(r.choice((1, 3, 8, 9)) for _ in range(r.randint(1, 3)))]
    weights = [torch.randn(b, a, 3, 3, dtype=dtype) for a, b in zip(channels, channels[1:])]
    return weights, [torch.randn(len(weight), dtype=dtype) for weight in weights]


def distance(r):
    logits, labels, ignore_index = maps_and_labels(r, classes=r.randint(1, 9))
    weights, biases = network(r, logits.size(1), accumulated(logits))
    weight = torch.rand(labels.shape, dtype=accumulated(logits)) if r.random() < 0.4 else None
    return dict(logits=logits, labels=labels, pixel_weight=weight, weights=weights, biases=biases,
                factors=[r.choice((0., 1.)) for _ in weights], activated=r.random() < 0.5,
                ignore_index=ignore_index, reduced=r.random() < 0.5,
                with_gradient=r.random() < 0.5)


def public_distance(r):
    arguments = distance(r)
    layers = list(zip(arguments.pop('weights'), arguments.pop('biases')))
    del arguments['reduced'], arguments['with_gradient']
    return dict(arguments, layers=layers, reduction=r.choice(('sum', 'none')))


def features(r):
    arguments = public_distance(r)
    layers = [(w.float(), b.float()) for w, b in arguments['layers']]
    maps = r.choice((arguments['logits'].float(), arguments['labels']))
    return dict(maps=maps, layers=layers, ignore_index=arguments['ignore_index'],
                activated=arguments['activated'])


def edges(r):
    labels = torch.randint(3, (side(r, 2), side(r), side(r, 40)))
    dtype = r.choice((torch.int64, torch.int32, torch.int16, torch.uint8))
    return dict(labels=labels.to(dtype), ignore_index=r.choice((255, 0, -1, 1 << 40)))


def image(r):
    size = (r.randint(1, 6), r.randint(1, 6), 3)
    return dict(image=np.random.RandomState(r.getrandbits(30)).randint(
        0, r.choice((2, 256)), size).astype(np.uint8))


def proposals(r):
    return dict(image(r), colour_space=r.choice(('rgb', 'rgb', 'rgb', 'hsv', 'lab')),
                scale=r.choice((10., 100)), sigma=r.choice((0., 0.8)),
                min_cell_size=r.choice((None, 5)), min_size=r.choice((0, 7)))


def grouping(r):
    arguments = image(r)
    return dict(arguments, cells=cell_map(r, *arguments['image'].shape[:2]).numpy(),
                min_size=r.choice((0, 7)))


def any_regions(r):
    return regions(r)[0]._asdict()


#: Target -> what is called, and what makes valid arguments. 'raw X' is torch.ops.mmseg_ext.X.
RAW_ARGUMENTS = dict(
    bootstrapped_cross_entropy=boot, bootstrapped_cross_entropy_backward=boot_backward,
    hard_pixel_mask=mask, gather_max=gather, gather_max_backward=gather_backward,
    gather_max_bins=gather_bins, gather_max_bins_backward=gather_bins_backward,
    bin_index=index_of_bins, free_form_roi_pool=pool, free_form_roi_pool_backward=pool_backward,
    region_geometry=raw_geometry, cell_histograms=histograms, merge_cells=merges,
    semantic_edges=edges, semantic_edge_distance=distance)
PUBLIC_ARGUMENTS = dict(
    RegionSet=any_regions, bootstrapped_cross_entropy=public_boot, extension_loaded=lambda r: {},
    free_form_roi_pool=public_pool, gather_max=gather, grouped_cross_entropy=grouped,
    hard_pixel_mask=mask, hierarchical_regions=proposals, label_counts=counts_of_labels,
    region_geometry=geometry, region_grid_masks=grid_masks, region_to_pixel=to_pixel,
    select_hard_pixels=select, semantic_edge_distance=public_distance,
    semantic_edge_features=features, semantic_edges=edges,
    sobel=lambda r: dict(maps=values(r, side(r, 2), side(r), side(r), side(r))),
    transpose_index=transposed)
WITH_IMPLEMENTATIONS = (
    'bootstrapped_cross_entropy', 'free_form_roi_pool', 'gather_max', 'hard_pixel_mask',
    'hierarchical_regions', 'region_geometry', 'region_to_pixel', 'select_hard_pixels',
    'semantic_edge_distance', 'semantic_edges', 'group_cells')


def target(name):
    """What a name stands for: what is called, and what makes valid arguments for it."""
    if name.startswith('raw '):
        return getattr(RAW, name[4:]), RAW_ARGUMENTS[name[4:]]
    if name == 'group_cells':
        return group_cells, grouping
    return getattr(ops, name), PUBLIC_ARGUMENTS[name]


#: All of them. group_cells is what hierarchical_regions does after its superpixels.
TARGETS = [*(f'raw {name}' for name in RAW_ARGUMENTS), *PUBLIC_ARGUMENTS, 'group_cells']


# ---------------------------------------------------------------- wrong arguments


def break_tensor(r, x):
    """Give a tensor that differs in its type, shape, strides or numbers."""
    if x.device.type == 'meta' or x.numel() > 1 << 16:  # broken before
        return x
    kind = r.choice(('type', 'rank', 'short', 'short', 'long', 'strides', 'value', 'value', 'value',
                     'fill', 'empty', 'transposed', 'expanded', 'byte', 'none', 'meta', 'huge'))
    dim = r.randrange(x.ndim) if x.ndim else None
    if kind == 'type':
        return x.to(r.choice(DTYPES))
    if kind == 'rank':
        return r.choice((x[None], x.flatten(), x[0] if x.ndim and len(x) else x[..., None]))
    if kind == 'none':
        return r.choice((None, 3, 'x', [1, 2], x.tolist() if x.numel() < 20 else 0.5))
    if kind == 'meta':
        return x.to('meta') if r.random() < 0.3 else x
    if kind == 'byte' and x.dtype == torch.bool:  # a bool made from other memory
        return torch.full(x.shape, r.randint(2, 255), dtype=torch.uint8).view(torch.bool)
    if kind == 'fill' and x.dtype != torch.bool:
        return torch.full_like(x, clipped(r, x.dtype))
    if dim is None:
        return x.reshape(-1)
    if kind == 'short':
        return x.narrow(dim, 0, r.randint(0, x.size(dim) - 1)) if x.size(dim) else x
    if kind == 'long':
        return torch.cat([x, x], dim=dim) if r.random() < 0.5 else torch.cat(
            [x, x.narrow(dim, 0, min(1, x.size(dim)))], dim=dim)
    if kind == 'empty':
        return x.narrow(dim, 0, 0)
    if kind == 'strides':
        return torch.stack([x, x], dim=-1)[..., 0]
    if kind == 'transposed':
        return x.transpose(0, -1) if r.random() < 0.5 else x.transpose(0, -1).contiguous(
            ).transpose(0, -1)
    if kind == 'expanded' and x.size(dim):
        return x.narrow(dim, 0, 1).expand(x.shape)
    if kind == 'huge' and x.size(dim) and r.random() < 0.2:
        return x.narrow(dim, 0, 1).expand(
            [(1 << 29) if i == dim else n for i, n in enumerate(x.shape)])
    if x.numel() and x.dtype != torch.bool:
        x = x.detach().clone()
        x[tuple(r.randrange(n) for n in x.shape)] = clipped(r, x.dtype)
    return x


def clipped(r, dtype):
    """A number that means trouble, of the type."""
    if dtype.is_floating_point or dtype.is_complex:
        return r.choice([x for x in HOSTILE_FLOATS
                         if dtype != torch.float16 or not 1e4 < abs(x) < 1e38])
    info = torch.iinfo(dtype)
    return r.choice([x for x in (-2, *HOSTILE_INTS, info.min, info.max)
                     if info.min <= x <= info.max])


def break_array(r, x):
    """The same of a numpy array."""
    kind = r.choice(('type', 'rank', 'short', 'value', 'value', 'strides', 'tensor', 'order'))
    if kind == 'type':
        return x.astype(r.choice((np.float32, np.int64, np.uint8, np.int32, bool, object)))
    if kind == 'rank':
        return r.choice((x[None], x[:1].sum(axis=0), x.ravel()))
    if kind == 'short':
        return x[:r.randrange(len(x) or 1)]
    if kind == 'strides' and x.ndim > 1:
        return x[::-1, ::-1]
    if kind == 'tensor' and x.dtype != object:
        return torch.from_numpy(x.copy())
    if kind == 'order':
        return np.asfortranarray(x)
    x = x.copy()
    if x.dtype.kind not in 'iu' or x.size == 0:  # broken before
        return x
    info = np.iinfo(x.dtype)
    x.flat[r.randrange(x.size)] = r.choice((info.min, info.max, 0, 1, 99))
    return x


def break_value(r, x):
    """Give another value than a valid one."""
    if isinstance(x, torch.Tensor):
        return break_tensor(r, x)
    if isinstance(x, np.ndarray):
        return break_array(r, x)
    if isinstance(x, dict):
        name = r.choice(list(x))
        return {**x, name: break_value(r, x[name])}
    if isinstance(x, (list, tuple)):
        items = list(x)
        kind = r.choice(('item', 'item', 'item', 'less', 'more', 'none'))
        if kind == 'none' or not items:
            return r.choice((None, [], (), [None], 3, [torch.zeros(2)]))
        where = r.randrange(len(items))
        if kind == 'less':
            del items[where]
        elif kind == 'more':
            items.insert(where, items[where])
        else:
            items[where] = break_value(r, items[where])
            if hasattr(x, '_fields'):
                return type(x)(*items)
        return type(x)(items) if type(x) in (list, tuple) else tuple(items)
    return r.choice((*HOSTILE_INTS, *HOSTILE_FLOATS, None, 'x', True, [], [1, 2], torch.ones(1)))


# ---------------------------------------------------------------- the calls


@functools.lru_cache(1)
def valid_arguments(name, seed):
    """Valid arguments. Several calls break the same ones, as to make them takes longest."""
    r = random.Random(f'{seed} {name}')
    torch.manual_seed(r.getrandbits(32))
    return target(name)[1](r)


def arguments_of(name, seed, number):
    """The arguments of a call: valid ones, of which none, one or two are broken."""
    r = random.Random(zlib.crc32(f'{seed} {name} {number}'.encode()))
    arguments = dict(valid_arguments(name, f'{seed} {number // 8}'))
    if name in WITH_IMPLEMENTATIONS:
        arguments['implementation'] = r.choice((None, None, 'reference', 'cpp'))
    for _ in range(r.choice((0, 0, 1, 1, 1, 1, 2))):
        if arguments:
            arguments = break_value(r, arguments)
    if r.random() < 0.2:  # through autograd
        arguments = each_tensor(arguments, lambda x: x.detach().requires_grad_()
                                if x.is_floating_point() and r.random() < 0.5 else x)
    at_end = r.random() < 0.75
    return each_tensor(arguments, lambda x: GUARDED.place(x, at_end) if x.device.type == 'cpu'
                       else x), r


def results_of(value):
    """All tensors of a result."""
    tensors = []
    each_tensor(value, lambda x: tensors.append(x))
    return tensors


def same(a, b):
    """Whether two results are the same, NaN included."""
    return a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())


def call(name, seed, number, libc):
    """Make a call.

    Returns:
        str: 'fine', 'refused', or what is wrong.
    """
    function = target(name)[0]
    arguments, r = arguments_of(name, seed, number)
    try:
        result = function(**arguments)
        for tensor in results_of(result):
            if tensor.requires_grad and tensor.device.type == 'cpu':
                tensor.sum().backward()
                break
    except EXPECTED as error:
        return 'refused' if str(error) else f'{type(error).__name__} without a sentence'
    except Exception as error:  # noqa: BLE001 - told below, and the test fails
        return f'{type(error).__name__}: {error}'
    on_cpu = all(x.device.type == 'cpu' for x in results_of(result))
    if name.startswith('raw ') and on_cpu and r.random() < 0.3:
        # what is read of fresh memory, or of memory of others, is now another byte
        libc.mallopt(-6, r.randint(1, 255))  # M_PERTURB
        again = function(**arguments)
        if not all(map(same, results_of(result), results_of(again))):
            return 'another result from the same arguments: it depends on memory of others'
    return 'fine'


def main(report, seed, first, last, *names):
    """Make calls of some targets and write what became of them."""
    warnings.simplefilter('ignore')
    torch.set_num_threads(1)
    # a wild size is to fail at once and not to fill the memory
    with open('/proc/self/statm') as file:
        size = int(file.read().split()[0]) * mmap.PAGESIZE
    resource.setrlimit(resource.RLIMIT_AS, (size + (384 << 20), ) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # a call that hangs is to die too; seconds of the processor, as the machine may have others
    resource.setrlimit(resource.RLIMIT_CPU, (300, 300))
    libc = ctypes.CDLL(None)
    now = os.open(report + '.now', os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    results = {}
    for name in names:
        start = time.perf_counter()
        outcomes = results[name] = dict(fine=0, refused=0, wrong=[])
        for number in range(int(first), int(last)):
            os.pwrite(now, f'{number:9d} {name:60s}'.encode(), 0)
            outcome = call(name, seed, number, libc)
            if outcome in ('fine', 'refused'):
                outcomes[outcome] += 1
            else:
                outcomes['wrong'].append([number, outcome])
        outcomes['seconds'] = time.perf_counter() - start
        with open(report, 'w') as file:
            json.dump(results, file)


if __name__ == '__main__':
    main(*sys.argv[1:])
