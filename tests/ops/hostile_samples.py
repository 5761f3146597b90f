"""Valid arguments of every op, public and raw, for hostile_calls.py to break.

A new op needs a function here that makes its arguments from a random.Random, and a line in one of
the two tables at the end.
"""
import numpy as np
import torch

import mmseg_ext.ops as ops
from mmseg_ext.ops.hierarchical_regions import group_cells, texture_filters

RAW = torch.ops.mmseg_ext
FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


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


def enlarged_boot(r):
    """Arguments of boot for logits of another size."""
    arguments = boot(r)
    logits, height, width = arguments['logits'], side(r), side(r)
    if arguments['labels'].numel() == 0:
        height, width = max(height, 1), max(width, 1)
    small = values(r, *logits.shape[:2], max(height, 1), max(width, 1), dtype=logits.dtype)
    return dict(arguments, logits=small)


def axis(r, small, large, dtype):
    """One direction of an enlargement: two tensors."""
    taps = r.randint(1, small)
    return torch.randint(small - taps + 1, (large, )).int(), torch.rand(taps, large, dtype=dtype)


def axes(r, logits, size):
    names = ('first_row', 'row_weight', 'first_column', 'column_weight')
    tensors = [x for pair in zip(logits.shape[2:], size)
               for x in axis(r, *pair, accumulated(logits))]
    return dict(zip(names, tensors))


def raw_enlarged_boot(r):
    arguments = enlarged_boot(r)
    logits, labels = arguments.pop('logits'), arguments.pop('labels')
    return dict(logits=logits, labels=labels, **axes(r, logits, labels.shape[1:]), **arguments)


def enlarged_boot_backward(r):
    arguments = raw_enlarged_boot(r)
    logits, labels = arguments['logits'], arguments['labels']
    kept = (labels != arguments['ignore_index']) & (torch.rand(labels.shape) < 0.5)
    for name in ('thresh', 'min_kept', 'per_image', 'ignore_index'):
        del arguments[name]
    return dict(gradient=torch.rand(len(logits), dtype=accumulated(logits)), **arguments, kept=kept,
                losses=torch.rand(labels.shape, dtype=accumulated(logits)))


def public_enlarged_boot(r):
    return dict(enlarged_boot(r), align_corners=r.random() < 0.5,
                normalization=r.choice(('kept', 'valid', 'numel')))


def small_logits(r):
    return values(r, side(r, 2), r.randint(1, 5), r.randint(1, 6), r.randint(1, 6))


def argmax(r):
    return dict(logits=small_logits(r), size=(r.randint(1, 9), r.randint(1, 30)),
                align_corners=r.random() < 0.5,
                through=r.choice((None, [(7, 9), (0, 1, 2, 0), 'horizontal'])))


def raw_argmax(r):
    logits = small_logits(r)
    return dict(logits=logits, **axes(r, logits, (side(r), side(r, 30))))


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
    return dict(regions=image, size=size, stride=stride, mask_rule=r.choice(('half', 'any')))


def raw_geometry(r):
    arguments = geometry(r)
    return dict(arguments['regions']._asdict(), height=arguments['size'][0],
                width=arguments['size'][1], stride=arguments['stride'],
                half=arguments['mask_rule'] == 'half')


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


def pixel_boxes(r):
    """Boxes of random corners, some the wrong way round, and scores, some equal."""
    dtype, count = r.choice(FLOATS[:2]), side(r, 60)
    boxes = values(r, count, 4, dtype=dtype)
    boxes[:, 2:] += r.choice((0, 1, 3))
    return dict(boxes=boxes, scores=(2 * values(r, count, dtype=dtype)).round(),
                iou_thr=r.choice((0, 0.5, 0.7, 1.)))


def pixel_scores(r):
    """Classes and scores of pixels, two at each, and the boxes that they predict for any class."""
    size = side(r, 9), side(r, 9)
    classes = torch.randint(-1, 4, size)
    boxes = values(r, 4, *size, dtype=torch.float32)
    return dict(classes=torch.stack([classes, 3 - classes]), scores=torch.rand(2, *size),
                boxes=lambda label: boxes, background=(0, ), min_size=r.choice((1, 3)),
                region_iou=r.choice(('any', 0.3)), max_instances=r.choice((2, 50)))


def instance_logits(r):
    size = side(r, 9), side(r, 9)
    boxes = values(r, 4, *size, dtype=torch.float32)
    return dict(logits=values(r, r.randint(2, 5), *size), boxes=lambda label: boxes,
                top_n=r.choice((1, 2)), min_size=r.choice((1, 3)))


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
    semantic_edges=edges, semantic_edge_distance=distance, cluster_pixel_boxes=pixel_boxes,
    upsampled_cross_entropy=raw_enlarged_boot,
    upsampled_cross_entropy_backward=enlarged_boot_backward, upsampled_argmax=raw_argmax)
PUBLIC_ARGUMENTS = dict(
    RegionSet=any_regions, bootstrapped_cross_entropy=public_boot,
    cluster_pixel_boxes=pixel_boxes, extension_loaded=lambda r: {},
    free_form_roi_pool=public_pool, gather_max=gather, grouped_cross_entropy=grouped,
    hard_pixel_mask=mask, hierarchical_regions=proposals, label_counts=counts_of_labels,
    logits_to_instances=instance_logits, pixel_instances=pixel_scores, region_geometry=geometry,
    region_grid_masks=grid_masks, region_to_pixel=to_pixel,
    select_hard_pixels=select, semantic_edge_distance=public_distance,
    semantic_edge_features=features, semantic_edges=edges,
    sobel=lambda r: dict(maps=values(r, side(r, 2), side(r), side(r), side(r))),
    transpose_index=transposed, upsampled_argmax=argmax,
    upsampled_cross_entropy=public_enlarged_boot)
#: Those that take `implementation`.
WITH_IMPLEMENTATIONS = (
    'bootstrapped_cross_entropy', 'cluster_pixel_boxes', 'free_form_roi_pool', 'gather_max',
    'hard_pixel_mask', 'hierarchical_regions', 'pixel_instances', 'region_geometry',
    'region_to_pixel', 'select_hard_pixels', 'semantic_edge_distance', 'semantic_edges',
    'upsampled_argmax', 'upsampled_cross_entropy', 'group_cells')


def target(name):
    """What a name stands for: what is called, and what makes valid arguments for it."""
    if name.startswith('raw '):
        return getattr(RAW, name[4:]), RAW_ARGUMENTS[name[4:]]
    if name == 'group_cells':
        return group_cells, grouping
    return getattr(ops, name), PUBLIC_ARGUMENTS[name]


#: All of them. group_cells is what hierarchical_regions does after its superpixels.
TARGETS = [*(f'raw {name}' for name in RAW_ARGUMENTS), *PUBLIC_ARGUMENTS, 'group_cells']
