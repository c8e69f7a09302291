import pytest

from train.card_file import card_path, read_card, write_card


def test_a_card_lies_beside_its_file(tmp_path):
    path = tmp_path / 'mine_int8.tflite'
    write_card(path, {'scheme': 'int8', 'labels': ['å', 'b']})
    assert card_path(path) == tmp_path / 'mine_int8.json'
    assert read_card(path) == {'scheme': 'int8', 'labels': ['å', 'b']}


def test_a_file_without_a_card_has_none(tmp_path):
    assert read_card(tmp_path / 'x.tflite') is None


@pytest.mark.parametrize(
    ('text', 'message'),
    [('{"a": ', r'card .*x.json is not JSON'), ('[1]', r'card .*x.json is no JSON object')],
)
def test_a_damaged_card_is_refused(tmp_path, text, message):
    (tmp_path / 'x.json').write_text(text)
    with pytest.raises(ValueError, match=f'{message}.*export again or remove it'):
        read_card(tmp_path / 'x.tflite')
