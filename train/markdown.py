"""Markdown that reports are written in: tables, and text of unknown origin."""

import html
import re
from collections.abc import Sequence


def escape(text: object) -> str:
    """Text of unknown origin for Markdown, in a table's cell too: it stays text, on one line."""
    plain = html.escape(' '.join(str(text).split()), quote=False)
    return re.sub(r'[|`*\[\]\\]', lambda sign: f'&#{ord(sign[0])};', plain)


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """A table, its first `left` columns to the left; the cells are already escaped."""
    marks = [':---' if column < left else '---:' for column in range(len(head))]
    return '\n'.join('| ' + ' | '.join(row) + ' |' for row in [head, marks, *rows])
