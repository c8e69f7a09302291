"""Names of classes beside a dataset."""

import os


def read_names(path: str, name: str = 'labels.txt') -> tuple[str, ...]:
    """The names in a file of a folder, one a line; () where there is no such file.

    Raises:
      ValueError: it names none, or one twice.
    """
    file = os.path.join(path, name)
    if not os.path.isfile(file):
        return ()
    with open(file, encoding='utf-8') as lines:
        names = tuple(line.strip() for line in lines if line.strip())
    if not names:
        raise ValueError(f'{file} names no class; expected one a line')
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f'{file} names a class more than once: {", ".join(twice)}')
    return names
