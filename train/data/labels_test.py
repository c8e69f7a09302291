import pytest

from train.data.labels import read_names


def test_names_are_lines(tmp_path):
    assert read_names(str(tmp_path)) == ()
    (tmp_path / 'labels.txt').write_text(' red blood cell \n\nwhite\n')
    assert read_names(str(tmp_path)) == ('red blood cell', 'white')


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        (' \n', 'names no class; expected one a line'),
        ('b\na\nb\n', 'names a class more than once: b'),
    ],
)
def test_names_that_are_none_or_twice_are_refused(tmp_path, text, reason):
    (tmp_path / 'labels.txt').write_text(text)
    with pytest.raises(ValueError, match=rf'labels\.txt {reason}'):
        read_names(str(tmp_path))
