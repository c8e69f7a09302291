import pytest

from benchmark.browser.posted import Posted, PostError


@pytest.mark.parametrize(
    ('body', 'message'),
    [
        (b'', 'the body is not JSON'),
        (b'{"a": 1', 'the body is not JSON'),
        (b'\xff\xfe', 'the body is not JSON'),
        (b'[' * 100_000, 'the body is not JSON'),
        (b'{"a": NaN}', 'NaN is no JSON'),
        (b'{"a": -Infinity}', '-Infinity is no JSON'),
        (b'[1, 2]', 'is JSON, but expected an object'),
    ],
)
def test_what_is_no_json_object_is_refused(body, message):
    with pytest.raises(PostError, match=message):
        Posted(body)


@pytest.mark.parametrize('value', [b'1', b'null', b'"a\\nb"', b'"\\u001b[2J"', b'"too long"'])
def test_a_text_is_one_printable_line(value):
    with pytest.raises(PostError, match=r'x is .*, expected a line of text of up to 4 characters'):
        Posted(b'{"x": %s}' % value).text('x', 4)


@pytest.mark.parametrize('value', [b'-1', b'11', b'2.0', b'true', b'"2"', b'9' * 400])
def test_a_whole_number_lies_within_its_limits(value):
    with pytest.raises(PostError, match=r'x is .*, expected a whole number from 0 to 10; reload'):
        Posted(b'{"x": %s}' % value).whole('x', 0, 10)


@pytest.mark.parametrize('value', [b'0', b'-0.5', b'11', b'1e999', b'true', b'"2"', b'null'])
def test_a_number_is_positive_and_finite(value):
    with pytest.raises(PostError, match=r'x is .*, expected a number above 0, up to 10; reload'):
        Posted(b'{"x": %s}' % value).number('x', 10.0)
    with pytest.raises(PostError, match=r'a value of x is .*, expected a number above 0, up to 10'):
        Posted(b'{"x": [1.5, %s]}' % value).numbers('x', 2, 10.0)


@pytest.mark.parametrize(('value', 'found'), [(b'[1.0]', '1 values'), (b'{}', '{}'), (b'3', '3')])
def test_numbers_are_as_many_as_wanted(value, found):
    with pytest.raises(PostError, match=f'x is {found}, expected 2 numbers; reload'):
        Posted(b'{"x": %s}' % value).numbers('x', 2, 10.0)


@pytest.mark.parametrize('value', [b'0', b'1', b'"true"', b'null'])
def test_a_flag_is_true_or_false(value):
    with pytest.raises(PostError, match=r'x is .*, expected true or false'):
        Posted(b'{"x": %s}' % value).flag('x')


def test_a_field_that_is_missing_or_unknown_is_named():
    posted = Posted(b'{"x": 1, "extra": 2}')
    with pytest.raises(PostError, match='y is missing'):
        posted.whole('y', 0, 1)
    assert posted.whole('x', 0, 1) == 1
    with pytest.raises(PostError, match="'extra' is no field of this message"):
        posted.nothing_else()


def test_values_come_back_as_they_were():
    posted = Posted(b'{"t": "Pixel 3", "f": false, "n": 2, "l": [1, 0.25]}')
    assert posted.text('t', 10) == 'Pixel 3'
    assert posted.flag('f') is False
    assert posted.number('n', 10.0) == 2.0
    assert posted.numbers('l', 2, 10.0) == [1.0, 0.25]
    posted.nothing_else()
