import math

import pytest

from search import settings


def test_the_defaults_are_in_range():
    settings.check(settings.get_config())


@pytest.mark.parametrize(
    ('field', 'value'),
    [
        ('netadapt.steps', 0),
        ('netadapt.rate', 0.0),
        ('sampling.budget', 0),
        ('sampling.batch', 0),
        ('sampling.epochs', -1.0),
        ('sampling.epochs', math.nan),
        ('sampling.reward_weight', 0.07),
        ('sampling.reward_weight', -math.inf),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(field, value):
    c = settings.get_config()
    part, name = field.split('.')
    c[part][name] = value
    with pytest.raises(ValueError, match=rf'^search\.{field} is {value}; expected '):
        settings.check(c)
