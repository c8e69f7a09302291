import numpy as np

from mobilenet_v3.tables import SPECS
from search.latency.form import FileForm
from search.space import MNASNET, Space, draw
from search.space_parts import space_parts

FORM = FileForm(64, 10)


def test_all_parts_of_a_space_are_found_without_drawing_all_its_networks():
    space = Space(SPECS['small'], {**MNASNET, 'op': ('separable', 'inverted_3')})
    parts = set(space_parts(space, FORM))
    rng = np.random.default_rng(0)
    for _ in range(200):
        assert set(FORM.parts(space.spec(draw(space.options, rng)))) <= parts
