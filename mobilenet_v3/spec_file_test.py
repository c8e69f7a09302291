import json

import pytest

from mobilenet_v3.spec_file import from_dict, load_model_spec, to_dict
from mobilenet_v3.tables import SPECS, get_spec


@pytest.mark.parametrize('name', SPECS)
def test_a_spec_survives_json(name):
    spec = get_spec(name)
    assert from_dict(json.loads(json.dumps(to_dict(spec)))) == spec


def test_a_file_stands_for_a_name(tmp_path):
    path = tmp_path / 'mine.json'
    path.write_text(json.dumps({**to_dict(get_spec('v2')), 'name': 'mine'}))
    assert load_model_spec(str(path)).name == 'mine'
    assert load_model_spec('v2') == get_spec('v2')


def edit(values, path, value):
    *parents, last = path
    for key in parents:
        values = values[key]
    if value is KeyError:
        del values[last]
    else:
        values[last] = value


@pytest.mark.parametrize(
    ('path', 'value', 'message'),
    [
        (('blocks', 3, 'kernel'), 'five', r"blocks\[3\].kernel is 'five'; expected int"),
        (('blocks', 3, 'kernel'), 4, r'blocks\[3\].kernel is 4; expected an odd number'),
        (('blocks', 3, 'kernel'), True, r'blocks\[3\].kernel is True; expected int'),
        (('blocks', 0, 'filters'), KeyError, r'blocks\[0\].filters is missing'),
        (
            ('blocks', 0, 'kernal'),
            3,
            r"blocks\[0\].kernal is no field of BlockSpec; did you mean 'k",
        ),
        (('blocks', 3, 'se', 'ratio'), 2, r'blocks\[3\].se.ratio is 2.0; expected a fraction'),
        (('blocks',), {}, r'blocks is \{\}; expected a list'),
        (('stem',), 7, 'stem is 7; expected an object of fields'),
        (('blocks', 1, 'expansion'), 8, r'blocks\[1\].expansion is 8, narrower than its input'),
        (('name',), None, 'name is None; expected str'),
        (('name',), '', "name is ''; expected at most 100 of A to Z, a to z, 0 to 9, _"),
        (('name',), '../x', "name is '../x'; expected"),
        (('name',), '/tmp/x', "name is '/tmp/x'; expected"),
        (('name',), '.x', "name is '.x'; expected"),
        (('name',), 'a\\b', "name is 'a.*b'; expected"),
        (('name',), 'a\n', "name is 'a.*n'; expected"),
        (('name',), 101 * 'x', "name is 'x*'; expected"),
    ],
)
def test_an_invalid_spec_names_the_field(path, value, message):
    values = json.loads(json.dumps(to_dict(get_spec('large'))))
    edit(values, path, value)
    with pytest.raises(ValueError, match=message):
        from_dict(values)


@pytest.mark.parametrize(
    ('content', 'message'),
    [('{', 'is not JSON'), ('[]', 'is not a valid spec: the spec is'), ('\xff\x00', 'is not')],
)
def test_a_file_that_is_no_spec_is_refused(tmp_path, content, message):
    path = tmp_path / 'broken.json'
    path.write_bytes(content.encode('latin-1'))
    with pytest.raises(ValueError, match=message):
        load_model_spec(str(path))


def test_a_missing_file_is_refused():
    with pytest.raises(ValueError, match=r'there is no spec file nowhere.json'):
        load_model_spec('nowhere.json')
