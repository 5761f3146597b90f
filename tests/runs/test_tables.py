from mmseg_ext.runs.tables import markdown_table, text_table

ROWS = [['mIoU', '45.20 +- 0.81'], ['pole', '3']]


def test_a_table_in_markdown():
    assert markdown_table(['metric', 'A'], ROWS) == (
        '| metric | A |\n|---|---|\n| mIoU | 45.20 +- 0.81 |\n| pole | 3 |')


def test_a_table_as_text_has_columns_of_equal_width():
    assert text_table(['metric', 'A'], ROWS) == (
        'metric  A\nmIoU    45.20 +- 0.81\npole    3')
