"""COCO files of any content are boxes or one clear line (hypothesis; a bounded budget)."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from train.data.coco_json import read_annotations

BUDGET = settings(max_examples=100, deadline=None, derandomize=True, database=None)

numbers = st.integers(-2, 50) | st.integers(-(2**70), 2**70) | st.floats()
plain = st.none() | st.booleans() | numbers | st.text(max_size=8)
anything = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
ids = st.integers(0, 2)


def records(**fields):
    """Records whose fields are as expected, now and then strange or missing."""
    strange = {name: values | anything for name, values in fields.items()}
    record = st.fixed_dictionaries(fields)
    return st.lists(record | record | st.fixed_dictionaries({}, optional=strange), max_size=4)


files = st.fixed_dictionaries(
    {
        'images': records(
            id=ids,
            file_name=st.sampled_from(
                ['a.jpg', 'b/c.jpg'] * 3 + ['../x.jpg', '/etc/passwd', '', '.']
            ),
            height=st.integers(1, 50),
            width=st.integers(1, 50),
        ),
        'annotations': records(
            id=ids,
            image_id=ids,
            category_id=ids,
            bbox=st.lists(st.floats(0, 50) | numbers, min_size=4, max_size=4),
            area=numbers,
            iscrowd=st.integers(0, 1),
        ),
        'categories': records(
            id=ids, name=st.sampled_from(['cat', 'dog', 'owl']), supercategory=plain
        ),
    }
)


def check(folder, content):
    file = folder / 'instances.json'
    file.write_bytes(content)
    try:
        found = read_annotations(str(file), [str(folder / 'images')])
    except ValueError as e:
        assert 'instances.json' in str(e)
        return None
    names = found.classes
    assert len(set(names)) == len(names) > 0
    for annotated in found.images:
        assert annotated.image.startswith(str(folder / 'images'))
        for box in annotated.boxes:
            ymin, xmin, ymax, xmax = box.corners
            assert ymin < ymax
            assert xmin < xmax
            assert 0 <= box.area < 2**40
    return names


@BUDGET
@given(files)
def test_a_strange_file_is_boxes_or_a_clear_line(tmp_path_factory, content):
    check(tmp_path_factory.getbasetemp(), json.dumps(content).encode())


@BUDGET
@given(st.binary(max_size=80) | anything.map(lambda values: json.dumps(values).encode()))
def test_another_file_is_refused(tmp_path_factory, content):
    assert check(tmp_path_factory.getbasetemp(), content) is None


@pytest.mark.parametrize('content', [b'[' * 10**6, b'{"images":' * 10**5, b'7' * 10**5, b''])
def test_a_file_made_to_exhaust_is_refused(tmp_path, content):
    assert check(tmp_path, content) is None
