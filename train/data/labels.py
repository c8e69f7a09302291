"""Names of classes beside a dataset."""

import os
import unicodedata

BACKGROUND = 'background'  # the class before all others that some classifiers have
LONGEST = 100  # letters of a name
# Categories of Unicode that break lines, tables or encodings: controls, halves of letters, breaks.
UNFIT = ('Cc', 'Cs', 'Zl', 'Zp')


def read_names(path: str, name: str = 'labels.txt') -> tuple[str, ...]:
    """The names in a file of a folder, one a line; () where there is no such file.

    Raises:
      ValueError: it names none, or one twice, or one that is no name (`check_name`).
    """
    file = os.path.join(path, name)
    if not os.path.isfile(file):
        return ()
    names = read_lines(file)
    if not names:
        raise ValueError(f'{file} names no class; expected one a line')
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f'{file} names a class more than once: {", ".join(twice)}')
    for name in names:
        try:
            check_name(name)
        except ValueError as e:
            raise ValueError(f'{file}: the class {name[:40]!r} has {e}') from None
    return names


def read_lines(file: str | os.PathLike) -> tuple[str, ...]:
    """The lines of a text file that are not empty, without the mark that Windows' editors begin with."""
    with open(file, encoding='utf-8-sig') as lines:
        return tuple(line.strip() for line in lines if line.strip())


def check_name(name: str) -> None:
    """Refuses what cannot be the name of a class, as damaged files hold it.

    Raises:
      ValueError: why, in a few words.
    """
    if not name:
        raise ValueError('no name')
    if len(name) > LONGEST:
        raise ValueError(f'a name of {len(name)} letters; expected at most {LONGEST}')
    if any(unicodedata.category(letter) in UNFIT for letter in name):
        raise ValueError('a name with a line break or control letter; expected plain text')


def numbered(count: int) -> tuple[str, ...]:
    """The labels of classes without names."""
    return tuple(str(number) for number in range(count))


def has_names(labels: tuple[str, ...]) -> bool:
    """Whether labels are more than the numbers from 0 on; a background before them is none."""
    rest = labels[1:] if labels[:1] == (BACKGROUND,) else labels
    return rest != numbered(len(rest))
