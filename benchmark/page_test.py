from benchmark import page
from train.markdown import escape, markdown_table

NASTY = '<img src=x onerror=alert(1)>|[a](javascript:b) `c` *d*\n# e'


def test_text_of_unknown_origin_stays_text(tmp_path):
    markdown = markdown_table(['a', 'b'], [[escape(NASTY), '1']])
    html = page.to_html(tmp_path, markdown, 'title')
    assert '&lt;img src=x onerror=alert(1)&gt;|[a](javascript:b) `c` *d* # e</td>' in html


def test_the_page_holds_headings_tables_lists_and_pictures(tmp_path):
    (tmp_path / 'curves.png').write_bytes(b'PNG')
    markdown = (
        '# <b>\n\n## two\n\n| a | b |\n| :-- | --: |\n| 1 | <i> |\n\n![c](curves.png)\n\n'
        '- first\n  goes on\n- second\n\ntext & more'
    )
    html = page.to_html(tmp_path, markdown, 'a <title>')
    assert '<title>a &lt;title&gt;</title>' in html
    assert '<h1>&lt;b&gt;</h1>' in html
    assert '<h2>two</h2>' in html
    assert '<tr><td class="left">1</td><td>&lt;i&gt;</td></tr>' in html
    assert '<img alt="c" src="data:image/png;base64,UE5H">' in html
    assert '<ul><li>first\n  goes on</li><li>second</li></ul>' in html
    assert '<p>text &amp; more</p>' in html
