import importlib.util
import re
from pathlib import Path

import cv2
import pytest

TOOL = Path(__file__).resolve().parents[2] / 'tools/plot_box_noise.py'
spec = importlib.util.spec_from_file_location('plot_box_noise_tool', str(TOOL))
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)


def test_more_noise_gives_a_lower_precision_and_a_little_costs_little(tmp_path, capsys):
    path = tmp_path / 'new' / 'noise.png'
    tool.main(['--out', str(path), '--num-images', '2', '--size', '120', '160'])
    lines = capsys.readouterr().out.splitlines()
    lines = [line for line in lines if 'WARNING' not in line]
    volumes = [float(re.search(r'mAPr_vol +([\d.]+)', line).group(1)) for line in lines[:-1]]
    assert len(volumes) == len(tool.LEVELS)
    assert volumes[1] > 0.9 * volumes[0] and volumes[-1] < 0.5 * volumes[0]
    assert cv2.imread(str(path)).shape[2] == 3 and lines[-1].endswith(f'{path}')


def test_exact_boxes_lose_only_instances_that_are_too_small_or_alike():
    scenes = [tool.ScenesDataset(num_images=2, size=(120, 160), seed=1)[i] for i in range(2)]
    exact, merged = (tool.measure(scenes, 0., iou_thr)['mAPr_50'] for iou_thr in (0.95, 0.1))
    assert exact > 60 and exact > merged


def test_a_file_that_is_no_picture_is_refused(capsys):
    with pytest.raises(SystemExit):
        tool.main(['--out', 'noise.txt'])
    assert '--out must end in one of' in capsys.readouterr().err
