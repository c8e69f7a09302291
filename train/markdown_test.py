from train.markdown import escape, markdown_table

NASTY = '<img src=x onerror=alert(1)>|[a](javascript:b) `c` *d*\n# e'


def test_text_of_unknown_origin_stays_one_cell_of_text():
    markdown = markdown_table(['a', 'b'], [[escape(NASTY), '1']])
    assert markdown.count('\n') == 2
    assert markdown.splitlines()[-1].count('|') == 3
    assert '[' not in markdown
    assert '<' not in markdown
