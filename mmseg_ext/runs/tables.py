"""Tables as text and in Markdown."""
from typing import Sequence


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table in Markdown."""
    lines = [f"| {' | '.join(line)} |" for line in [header, *rows]]
    return '\n'.join([lines[0], '|' + '---|' * len(header), *lines[1:]])


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table with columns of equal width."""
    widths = [max(map(len, column)) for column in zip(header, *rows)]
    return '\n'.join('  '.join(map(str.ljust, line, widths)).rstrip() for line in [header, *rows])
