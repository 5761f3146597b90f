"""The first lines of a config say what it reproduces; configs/README.md repeats them."""
import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / 'configs'
LEAVES = sorted(p for p in CONFIGS.rglob('*.py') if '_base_' not in p.parts)
PAGES = sorted(CONFIGS.rglob('README.md'))
spec = importlib.util.spec_from_file_location(
    'config_index_tool', str(ROOT / 'tools/config_index.py'))
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)

HEADER = """\
# Reproduces: SEMEDA, Tables 1 and 5 (VOC 2012 val): DeepLab v3+, Xception-71,
#   cross entropy alone
# Paper: 77.1 mIoU, 85.9 F1 over all parts
# Here: 45.2 +- 0.8 mIoU on val; three runs
# A note: it is not read.
_base_ = './x.py'
"""


@pytest.mark.parametrize('path', LEAVES, ids=lambda p: p.stem)
def test_the_first_lines_of_a_config_have_the_form(path):
    kind, what, _, here = tool.read_header(path)
    if kind == 'Small version of':
        assert (CONFIGS / what).is_file() and what != f'{path.parent.name}/{path.name}'
        assert tool.hardware_of(path).startswith('CPU')
    elif not tool.hardware_of(path).startswith('CPU'):
        page = (CONFIGS / 'README.md').read_text()
        assert here.startswith('not run') or 'No full-size config has been trained' not in page


def test_values_are_read_with_the_lines_that_go_on(tmp_path):
    (tmp_path / 'x.py').write_text(HEADER)
    assert tool.read_header(tmp_path / 'x.py') == (
        'Reproduces', 'SEMEDA, Tables 1 and 5 (VOC 2012 val): DeepLab v3+, Xception-71, '
        'cross entropy alone', '77.1 mIoU, 85.9 F1 over all parts',
        '45.2 +- 0.8 mIoU on val; three runs')


@pytest.mark.parametrize('old, new, message', [
    (HEADER, '# CPU-sized.\n', r"x.py begins with the labels \(\); its first lines must be '# Rep"),
    ('# Paper: 77.1 mIoU, 85.9 F1 over all parts\n', '', "must be '# Reproduces:'"),
    ('Reproduces', 'Table', "must be '# Reproduces:'"),
    ('SEMEDA, Tables 1 and 5', 'SEMEDA, its tables', "'SEMEDA, its tables .* behind 'Reproduces'"),
    ('77.1 mIoU', 'about 77', "'about 77, 85.9 .*' behind 'Paper'"),
    ('45.2 +- 0.8 mIoU on val', 'better', "'better; three runs' behind 'Here'")])
def test_a_config_without_the_form_is_refused(tmp_path, old, new, message):
    assert old in HEADER
    (tmp_path / 'x.py').write_text(HEADER.replace(old, new))
    with pytest.raises(ValueError, match=message):
        tool.read_header(tmp_path / 'x.py')


def test_the_page_is_what_the_tool_writes(tmp_path, monkeypatch):
    tool.main(['--check'])
    page = (CONFIGS / 'README.md').read_text()
    assert all(f'| [`{p.name}`]({p.parent.name}/{p.name}) |' in page for p in LEAVES)
    for name in ('lrn', 'quickstart', 'bootstrapping', 'regions', 'semeda', 'instances'):
        (tmp_path / name).symlink_to(CONFIGS / name)
    (tmp_path / 'README.md').write_text(page.replace('| 77.3 mIoU |', '| 78.3 mIoU |'))
    monkeypatch.setattr(tool, 'CONFIGS', tmp_path)
    with pytest.raises(SystemExit, match='python tools/config_index.py writes it anew'):
        tool.main(['--check'])
    tool.main([])
    assert (tmp_path / 'README.md').read_text() == page


def test_rows_stand_in_the_order_of_the_papers_tables():
    rows = re.findall(r'\| Bootstrapping, Tables? (\d)', tool.table_of('bootstrapping'))
    assert len(rows) > 40 and rows == sorted(rows)


@pytest.mark.parametrize('path', PAGES, ids=lambda p: p.parent.name)
def test_names_of_configs_on_a_page_can_be_pasted(path):
    """No braces and no dots that stand for a part of a name, and no name of a file not there."""
    text = re.sub(r'```.*?```', '', path.read_text(), flags=re.S)
    assert not re.findall(r'\{|\w\*\w|\w_\.\.\.|\.\.\.[-_]', text)
    names = {p.stem for p in LEAVES}
    for name in re.findall(r'\w[\w-]*_\d+xb\d+-[\w-]*\w', path.read_text()):
        assert name in names, name
    for target in re.findall(r'\]\(([^)#:]+)(?:#[\w-]*)?\)', text):
        assert (path.parent / target).exists(), target
