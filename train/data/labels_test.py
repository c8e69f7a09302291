import pytest

from train.data.labels import read_lines, read_names


def test_names_are_lines(tmp_path):
    assert read_names(str(tmp_path)) == ()
    (tmp_path / 'labels.txt').write_text(' red blood cell \n\nwhite\n')
    assert read_names(str(tmp_path)) == ('red blood cell', 'white')
    (tmp_path / 'labels.txt').write_bytes(b'\xef\xbb\xbfred\n')  # as Windows' editors write it
    assert read_names(str(tmp_path)) == ('red',)


def test_lines_are_as_they_are(tmp_path):
    (tmp_path / 'x.txt').write_bytes(b'\xef\xbb\xbfcrane\r\n\r\n crane\r\n')
    assert read_lines(tmp_path / 'x.txt') == ('crane', 'crane')


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        (' \n', 'names no class; expected one a line'),
        ('a\na\tb\n', r"the class 'a\\tb' has a name with a line break or control letter"),
        ('a' * 101, 'has a name of 101 letters; expected at most 100'),
        ('b\na\nb\n', 'names a class more than once: b'),
    ],
)
def test_names_that_are_none_or_twice_are_refused(tmp_path, text, reason):
    (tmp_path / 'labels.txt').write_text(text)
    with pytest.raises(ValueError, match=rf'labels\.txt.* {reason}'):
        read_names(str(tmp_path))
