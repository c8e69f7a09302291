"""Annotations of any content are boxes or a few words (hypothesis; a bounded budget)."""

from xml.sax.saxutils import escape

from hypothesis import given, settings
from hypothesis import strategies as st

from train.data.voc import read_objects

BUDGET = settings(max_examples=100, deadline=None, derandomize=True, database=None)
TAGS = ('annotation', 'object', 'name', 'bndbox', 'xmin', 'ymin', 'xmax', 'ymax', 'size', 'width')

numbers = st.one_of(
    st.integers(-5, 10**6).map(str),
    st.floats().map(str),
    st.sampled_from(['1e309', '-0', '٣', '0x1F', '1_000', ' 7 ', 'nan', '9' * 400, '9' * 5000]),
)
texts = numbers | st.text(max_size=12)


def element(tag, content):
    return f'<{tag}>{content}</{tag}>'


@st.composite
def annotations(draw):
    """Something like an annotation, of which parts are missing, doubled, nested or strange."""
    tree = st.recursive(
        texts.map(escape),
        lambda inner: st.lists(st.builds(element, st.sampled_from(TAGS), inner), max_size=4).map(
            ''.join
        ),
        max_leaves=8,
    )
    objects = []
    for _ in range(draw(st.integers(0, 3))):
        sides = ''.join(element(side, draw(numbers)) for side in TAGS[4:8])
        objects.append(
            element('object', element('name', escape(draw(texts))) + element('bndbox', sides))
        )
    return element('annotation', ''.join(objects) + draw(tree))


def check(file, content):
    file.write_bytes(content)
    try:
        size, boxes, faults = read_objects(str(file))
    except ValueError as e:
        assert str(e)
        return
    assert len(size) == 2
    for box in boxes:
        ymin, xmin, ymax, xmax = box.corners
        assert ymin < ymax
        assert xmin < xmax
    assert all(isinstance(fault, str) for fault in faults)


@BUDGET
@given(annotations())
def test_a_strange_annotation_is_boxes_or_a_few_words(tmp_path_factory, text):
    file = tmp_path_factory.getbasetemp() / 'strange.xml'
    check(file, text.encode('utf-8', 'surrogatepass'))


@BUDGET
@given(annotations(), st.integers(0, 400), st.binary(max_size=6), st.booleans())
def test_a_damaged_annotation_is_boxes_or_a_few_words(tmp_path_factory, text, at, junk, cut):
    content = text.encode('utf-8', 'surrogatepass')
    file = tmp_path_factory.getbasetemp() / 'damaged.xml'
    check(file, content[:at] + junk + (b'' if cut else content[at:]))


def test_a_deep_annotation_does_not_end_the_program(tmp_path):
    depth = 20_000
    check(tmp_path / 'deep.xml', b'<annotation>' * depth + b'</annotation>' * depth)
