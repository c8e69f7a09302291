"""The parts of all networks of a space: what a latency table has to hold for a search in it."""

import itertools

from benchmark.blocks.parts import Part
from search.latency.form import FileForm
from search.space import Space


def space_parts(space: Space, form: FileForm) -> list[Part]:
    """The parts of all networks of a space, each once.

    A block depends on its own stage and on the width of the one before, and the head on the width
    of the last: so every stage is varied with the width before it, the others staying as they are.
    """
    numbers = [int(d.name.partition('/')[0].removeprefix('stage_')) for d in space.decisions]
    found: dict[Part, None] = {}
    for stage in range(1, len(space.stages) + 1):
        ranges = [
            range(len(decision.options))
            if number == stage or decision.name == f'stage_{stage - 1}/width'
            else range(1)
            for number, decision in zip(numbers, space.decisions, strict=True)
        ]
        for architecture in itertools.product(*ranges):
            found.update(dict.fromkeys(form.parts(space.spec(architecture))))
    return list(found)
