import pytest

from mobilenet_v3.tables import SPECS
from search.latency.model import MAdds


def test_madds_are_those_of_the_table_of_costs():
    assert MAdds(224, 1000).predict(SPECS['large']) == pytest.approx(216.6, abs=0.05)
    assert MAdds((224, 224), 1000).unit == 'M MAdds'
