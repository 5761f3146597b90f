"""Peak memory in a process of its own."""
import pytest

from mmseg_ext.benchmarks.peaks import peaks_in_own_process


def test_peaks_are_of_what_is_in_use_and_do_not_depend_on_earlier_cases():
    """A small tensor after a large one: a process that kept the large one would not grow again."""
    name = 'score_maps_to_instances'
    first = peaks_in_own_process([name])[name]['decoding']
    after = peaks_in_own_process(['hard_pixel_mask_by_rank', name])[name]['decoding']
    assert list(first) == list(after) and first['ours'] > 2**20
    for run, peak in first.items():
        assert after[run] == pytest.approx(peak, abs=2**19)
