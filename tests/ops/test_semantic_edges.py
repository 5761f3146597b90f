import pytest
import torch

from mmseg_ext.ops import extension_loaded, semantic_edges

IMPLEMENTATIONS = ['reference'] + (['cpp'] if extension_loaded() else [])
DTYPES = [torch.uint8, torch.int16, torch.int32, torch.int64]
# a pixel, a row, a column, nothing but border, a vector of the processor and a part of one
SHAPES = [(1, 1, 1), (2, 1, 6), (2, 6, 1), (1, 2, 2), (3, 5, 7), (2, 4, 64 + 3)]
each_implementation = pytest.mark.parametrize('implementation', IMPLEMENTATIONS)


def by_loops(labels, ignore_index):
    edges = torch.zeros(labels.shape, dtype=torch.bool)
    for n, image in enumerate(labels.tolist()):
        for y, row in enumerate(image):
            for x, label in enumerate(row):
                around = [value for line in image[max(y - 1, 0):y + 2]
                          for value in line[max(x - 1, 0):x + 2]]
                others = set(around) - {label, ignore_index}
                edges[n, y, x] = label != ignore_index and len(others) > 0
    return edges


def random_labels(shape, dtype=torch.int64, num_labels=3, ignore_index=255):
    """Blocks and single pixels of few labels, so that there are edges and none."""
    generator = torch.Generator().manual_seed(0)
    n, h, w = shape
    labels = torch.randint(num_labels, (n, h // 3 + 1, w // 3 + 1), generator=generator)
    labels = labels.repeat_interleave(3, 1).repeat_interleave(3, 2)[:, :h, :w].contiguous()
    labels[torch.rand(shape, generator=generator) < 0.05] = 1
    labels[torch.rand(shape, generator=generator) < 0.1] = ignore_index
    return labels.to(dtype)


HAND = {
    'both sides of a boundary': (['....##', '....##', '....##'], ['...xx.', '...xx.', '...xx.']),
    'a corner touches diagonally': (['....', '.###', '.###', '.###'],
                                    ['xxxx', 'xxxx', 'xx..', 'xx..']),
    'one pixel and all around it': (['.....', '..#..', '.....', '.....'],
                                    ['.xxx.', '.xxx.', '.xxx.', '.....']),
    'beside an ignored pixel is none': (['..?..', '..?..'], ['.....', '.....']),
    'nor across one': (['..?##', '..?##'], ['.....', '.....']),
    'an ignored pixel is none': (['.?#', '...'], ['..x', '.xx']),
    'the border of the image is none': (['##', '##'], ['..', '..']),
}


@pytest.mark.parametrize('drawing, expected', HAND.values(), ids=HAND)
@each_implementation
def test_by_hand(implementation, drawing, expected):
    labels = torch.tensor([['.#?'.index(c) for c in row] for row in drawing])[None]
    edges = semantic_edges(labels, ignore_index=2, implementation=implementation)[0]
    assert edges.dtype == torch.bool
    assert [''.join('.x'[edge] for edge in row) for row in edges.tolist()] == expected


@pytest.mark.parametrize('shape', SHAPES, ids=str)
@pytest.mark.parametrize('dtype', DTYPES, ids=str)
@each_implementation
def test_edges_are_those_of_loops(implementation, dtype, shape):
    labels = random_labels(shape, dtype)
    edges = semantic_edges(labels, implementation=implementation)
    assert torch.equal(edges, by_loops(labels, 255))


@pytest.mark.parametrize('dtype', DTYPES[1:], ids=str)
@each_implementation
def test_the_outermost_numbers_of_a_type_are_labels_like_others(implementation, dtype):
    limits = torch.iinfo(dtype)
    values = torch.tensor([limits.min, limits.max, limits.max - 1, 7])
    for ignore_index in values.tolist():
        labels = values[random_labels((2, 9, 10), num_labels=4, ignore_index=3)].to(dtype)
        edges = semantic_edges(labels, ignore_index, implementation=implementation)
        assert torch.equal(edges, by_loops(labels, ignore_index))


@pytest.mark.parametrize('values', [(0, 1, 1 + 2**16), (0, 1, 2**32), (-1, 0, 2**40)], ids=str)
@each_implementation
def test_labels_that_only_differ_beyond_16_bits_differ(implementation, values):
    labels = torch.tensor(values)[random_labels((1, 9, 10), ignore_index=2)]
    for ignore_index in (255, *values):
        edges = semantic_edges(labels, ignore_index, implementation=implementation)
        assert torch.equal(edges, by_loops(labels, ignore_index))


@pytest.mark.parametrize('ignore_index', [-1, 256, 2**16, 2**32, -2**40])
@pytest.mark.parametrize('dtype', DTYPES[:2], ids=str)
@each_implementation
def test_an_ignored_number_is_not_cut_off_to_the_type(implementation, dtype, ignore_index):
    """It would be 0 or 255, which are labels here."""
    labels = random_labels((2, 9, 10), dtype)
    edges = semantic_edges(labels, ignore_index, implementation=implementation)
    assert torch.equal(edges, by_loops(labels, ignore_index))


@pytest.mark.parametrize('dtype', [torch.bool, torch.int8], ids=str)
@each_implementation
def test_other_integers_are_read_too(implementation, dtype):
    labels = random_labels((2, 9, 10), num_labels=2, ignore_index=1)
    edges = semantic_edges(labels.to(dtype), implementation=implementation)
    assert torch.equal(edges, by_loops(labels, 255)) and edges.any()


@each_implementation
def test_views(implementation):
    labels = random_labels((4, 9, 20))
    for view in (labels.mT, labels[::2], labels[:, 1:-1, 2:-3], labels.flip(2),
                 labels[:1].expand(3, -1, -1)):
        edges = semantic_edges(view, implementation=implementation)
        assert torch.equal(edges, by_loops(view, 255))


@pytest.mark.parametrize('threads', [1, 3])
@each_implementation
def test_rows_of_several_images_over_several_threads(implementation, threads):
    """Tasks that begin and end within an image, and images that begin within a task."""
    before = torch.get_num_threads()
    labels = random_labels((4, 10, 700)).repeat(1, 9, 1)
    torch.set_num_threads(threads)
    edges = semantic_edges(labels, implementation=implementation)
    torch.set_num_threads(before)
    # 0 around images that are joined is ignored here
    joined = torch.nn.functional.pad(labels + 1, (0, 0, 0, 1)).flatten(0, 1)[None]
    joined[joined == 256] = 0
    expected = semantic_edges(joined, 0, implementation='reference')
    assert torch.equal(edges, expected.view(4, 91, 700)[:, :90])


@each_implementation
def test_nothing_but_one_label_or_ignored_pixels_has_no_edge(implementation):
    for value in (0, 255):
        labels = torch.full((2, 5, 6), value)
        assert not semantic_edges(labels, implementation=implementation).any()


@pytest.mark.parametrize('shape', [(0, 3, 4), (2, 0, 4), (2, 3, 0)], ids=str)
@each_implementation
def test_empty_inputs(implementation, shape):
    edges = semantic_edges(torch.zeros(shape).long(), implementation=implementation)
    assert edges.shape == shape and edges.dtype == torch.bool


@pytest.mark.skipif(not extension_loaded(), reason='the extension is not built')
@pytest.mark.skipif(not hasattr(torch.library, 'opcheck'), reason='this torch has no opcheck')
@pytest.mark.parametrize('dtype', DTYPES, ids=str)
def test_opcheck(dtype):
    torch.library.opcheck(torch.ops.mmseg_ext.semantic_edges.default,
                          (random_labels((2, 3, 4), dtype), 255))


@each_implementation
def test_compile(implementation):
    labels = random_labels((2, 6, 7))
    compiled = torch.compile(semantic_edges, backend='aot_eager', fullgraph=True)
    assert torch.equal(compiled(labels, implementation=implementation), by_loops(labels, 255))


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match=r'\(N, H, W\), got torch.int64 \(3, 4\)'):
        semantic_edges(torch.zeros(3, 4).long())
    with pytest.raises(ValueError, match='integer tensor .* got torch.float32'):
        semantic_edges(torch.zeros(1, 3, 4))
