"""Spec files of any content are networks or one clear line (hypothesis; a bounded budget)."""

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilenet_v3.cost import count
from mobilenet_v3.spec_file import from_dict, load_model_spec, to_dict
from mobilenet_v3.tables import SPECS

# The same examples each time: a test that fails now and then guards nothing.
BUDGET = settings(max_examples=100, deadline=None, derandomize=True, database=None)

numbers = st.integers(-3, 300) | st.integers(-(2**70), 2**70) | st.floats()
plain = st.none() | st.booleans() | numbers | st.text(max_size=8)
anything = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


def places(value, path=()):
    """Where something stands in plain values."""
    yield path
    children = {dict: dict.items, list: enumerate}.get(type(value), lambda _: ())(value)
    for key, child in children:
        yield from places(child, (*path, key))


@st.composite
def changed_specs(draw):
    """A spec of ours, of which one to three things are something else, doubled or gone."""
    values = json.loads(json.dumps(to_dict(SPECS[draw(st.sampled_from(sorted(SPECS)))])))
    for _ in range(draw(st.integers(1, 3))):
        paths = list(places(values))[1:]
        *way, last = paths[draw(st.integers(0, len(paths) - 1))]
        holder = values
        for step in way:
            holder = holder[step]
        what = draw(st.sampled_from(['replace', 'remove', 'double']))
        if what == 'replace':
            holder[last] = draw(anything)
        elif what == 'remove':
            del holder[last]
        elif isinstance(holder, list):
            holder.append(copy.deepcopy(holder[last]))
        else:
            holder[f'{last}_'] = holder[last]
    return values


def check(read):
    """Reads a spec: a network that can be counted and written again, or a ValueError."""
    try:
        spec = read()
    except ValueError as e:
        assert str(e)
        return
    assert from_dict(json.loads(json.dumps(to_dict(spec)))) == spec
    try:
        assert count(spec, resolution=64).params > 0
    except ValueError as e:  # such as an image too small for it
        assert str(e)


@BUDGET
@given(changed_specs())
def test_a_changed_spec_is_a_network_or_refused(values):
    check(lambda: from_dict(values))


@BUDGET
@given(anything)
def test_any_json_is_refused(values):
    with pytest.raises(ValueError):
        from_dict(values)


@BUDGET
@given(st.binary(max_size=60) | anything.map(lambda values: json.dumps(values).encode()))
def test_a_file_of_any_content_is_refused(tmp_path_factory, content):
    assert_refused(tmp_path_factory.getbasetemp(), content)


@pytest.mark.parametrize('content', [b'[' * 10**6, b'{"a":' * 10**5, b'1' * 5000, b''])
def test_a_file_made_to_exhaust_is_refused(tmp_path, content):
    assert_refused(tmp_path, content)


def assert_refused(folder, content):
    file = folder / 'net.json'
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r'net\.json'):
        load_model_spec(str(file))
