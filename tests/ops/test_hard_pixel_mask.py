import pytest
import torch

from mmseg_ext.ops import extension_loaded, hard_pixel_mask

IMPLEMENTATIONS = ['reference'] + (['cpp'] if extension_loaded() else [])
pytestmark = pytest.mark.parametrize('implementation', IMPLEMENTATIONS)

DIFFICULTY = [[0.9, 0.1, 0.5, 0.5, -0.3], [0.5, 0.7, 0.2, 0.5, 0.0]]
VALID = [[1, 1, 1, 1, 1], [0, 1, 1, 1, 1]]


@pytest.mark.parametrize('options, expected', [
    (dict(), VALID),
    (dict(thresh=0.5), [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0]]),
    (dict(min_kept=3), [[1, 0, 1, 0, 0], [0, 1, 0, 0, 0]]),
    (dict(min_kept=5), [[1, 0, 1, 1, 0], [0, 1, 0, 1, 0]]),
    (dict(thresh=0.5, min_kept=2), [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0]]),
    (dict(thresh=0.8, min_kept=2), [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0]]),
    (dict(min_kept=2, per_image=True), [[1, 0, 1, 0, 0], [0, 1, 0, 1, 0]]),
    (dict(thresh=0.6, min_kept=2, per_image=True), [[1, 0, 1, 0, 0], [0, 1, 0, 1, 0]]),
    (dict(thresh=-1.0), VALID),
    (dict(min_kept=99), VALID),
], ids=str)
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_by_hand(implementation, options, expected, dtype):
    difficulty, valid = torch.tensor(DIFFICULTY, dtype=dtype), torch.tensor(VALID).bool()
    mask = hard_pixel_mask(difficulty, valid, implementation=implementation, **options)
    assert mask.dtype == torch.bool and mask.int().tolist() == expected


@pytest.mark.parametrize('count', [1, 17, 5000, 65536, 69999])
@pytest.mark.parametrize('kind', ['distinct', 'few-values', 'equal'])
def test_the_hardest_of_many_are_those_of_a_stable_sort(implementation, kind, count):
    """Sizes over several tasks of a thread; ties over all of them."""
    generator = torch.Generator().manual_seed(0)
    difficulty = torch.randn(2, 35000, generator=generator, dtype=torch.float64)
    if kind != 'distinct':
        difficulty = difficulty.round() if kind == 'few-values' else torch.zeros_like(difficulty)
    valid = torch.rand(difficulty.shape, generator=generator) < 0.95
    mask = hard_pixel_mask(difficulty, valid, min_kept=count, implementation=implementation)
    order = difficulty.masked_fill(~valid, -torch.inf).flatten().sort(descending=True, stable=True)
    expected = torch.zeros(valid.numel(), dtype=torch.bool)
    expected[order.indices[:min(count, int(valid.sum()))]] = True
    assert torch.equal(mask.flatten(), expected)


def test_nan_is_the_hardest_and_zero_has_no_sign(implementation):
    difficulty = torch.tensor([[1.0, -torch.nan, torch.inf, -0.0, 0.0]])
    valid = torch.ones(1, 5).bool()
    options = dict(implementation=implementation)
    assert hard_pixel_mask(difficulty, valid, min_kept=2, **options).tolist() == [[0, 1, 1, 0, 0]]
    assert hard_pixel_mask(difficulty, valid, thresh=5., **options).tolist() == [[0, 1, 1, 0, 0]]
    assert hard_pixel_mask(difficulty, valid, min_kept=4, **options).tolist() == [[1, 1, 1, 1, 0]]


def test_negative_infinity_is_a_difficulty_like_others(implementation):
    difficulty = torch.tensor([[-torch.inf, 1.0, -torch.inf]])
    valid = torch.tensor([[True, True, False]])
    mask = hard_pixel_mask(difficulty, valid, min_kept=2, implementation=implementation)
    assert mask.tolist() == [[True, True, False]]


def test_nothing_valid_and_nothing_at_all(implementation):
    difficulty = torch.rand(2, 3)
    options = dict(min_kept=2, implementation=implementation)
    assert not hard_pixel_mask(difficulty, torch.zeros(2, 3).bool(), **options).any()
    assert hard_pixel_mask(difficulty[:0], torch.zeros(0, 3).bool(), **options).shape == (0, 3)


def test_wrong_arguments_are_refused(implementation):
    with pytest.raises(ValueError, match=r'one shape, got \(2, 3\) and \(3,\)'):
        hard_pixel_mask(torch.rand(2, 3), torch.ones(3).bool(), implementation=implementation)
    assert hard_pixel_mask(torch.rand(3), torch.ones(3).bool(), min_kept=2.0,
                           implementation=implementation).sum() == 2
    with pytest.raises(ValueError, match='min_kept'):
        hard_pixel_mask(torch.rand(2), torch.ones(2).bool(), min_kept=0,
                        implementation=implementation)


@pytest.mark.skipif(not hasattr(torch.library, 'opcheck'), reason='this torch has no opcheck')
def test_opcheck(implementation):
    if implementation == 'cpp':
        torch.library.opcheck(torch.ops.mmseg_ext.hard_pixel_mask.default,
                              (torch.rand(2, 9), torch.rand(2, 9) < 0.8, 0.5, 3, True))
