"""A report in Markdown, with tables and pictures, as one HTML page."""

import base64
import html
import re
from pathlib import Path

_STYLE = (
    'body{font:15px/1.5 system-ui,sans-serif;max-width:80rem;margin:2rem auto;padding:0 1rem}'
    'h2{margin-top:2.5rem}h3{margin-top:1.8rem}.wide{overflow-x:auto}'
    'table{border-collapse:collapse;font-variant-numeric:tabular-nums}'
    'td,th{padding:.25rem .7rem;border-bottom:1px solid #ccc;text-align:right;vertical-align:top}'
    'td{white-space:nowrap}.left{text-align:left;white-space:normal}'
    'td:first-child{min-width:11rem}img{max-width:100%}'
)


def to_html(folder: Path, markdown: str, title: str) -> str:
    """A page that needs no other file.

    Args:
      folder: where the pictures lie.
      markdown: headings, paragraphs, lists with '- ', tables and pictures, apart by empty lines;
        text of unknown origin in it went through `train.markdown.escape`.
      title: of the page.
    """
    blocks = [_block(folder, block.strip()) for block in markdown.split('\n\n') if block.strip()]
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f'<title>{html.escape(title)}</title><style>{_STYLE}</style>\n'
        + '\n'.join(blocks)
        + '\n</html>\n'
    )


def _block(folder: Path, text: str) -> str:
    if heading := re.fullmatch(r'(#{1,3}) (.*)', text):
        level = len(heading[1])
        return f'<h{level}>{_text(heading[2])}</h{level}>'
    if text.startswith('|'):
        return _table(text)
    if picture := re.fullmatch(r'!\[([^]]*)\]\(([^)]+)\)', text):
        data = base64.b64encode((folder / picture[2]).read_bytes()).decode()
        return f'<img alt="{_text(picture[1])}" src="data:image/png;base64,{data}">'
    if text.startswith('- '):
        items = re.split(r'\n(?=- )', text)
        return '<ul>' + ''.join(f'<li>{_text(item[2:])}</li>' for item in items) + '</ul>'
    return f'<p>{_text(text)}</p>'


def _table(text: str) -> str:
    head, marks, *rows = [
        [cell.strip() for cell in line.strip('|').split('|')] for line in text.splitlines()
    ]
    sides = ['' if mark.endswith(':') else ' class="left"' for mark in marks]
    lines = [
        ''.join(
            f'<{tag}{side}>{_text(cell)}</{tag}>' for cell, side in zip(row, sides, strict=True)
        )
        for tag, row in [('th', head), *(('td', row) for row in rows)]
    ]
    body = ''.join(f'<tr>{line}</tr>' for line in lines)
    return f'<div class="wide"><table>{body}</table></div>'


def _text(text: str) -> str:
    """Markdown text as HTML: the entities that `escape` wrote stay, all else becomes text."""
    return html.escape(html.unescape(text))
