"""What figures share: matplotlib without a screen, and files that are written whole."""

import io
import os
from typing import Any

from train.files import write_file


def pyplot() -> Any:
    """matplotlib.pyplot, imported when it is needed, drawing without a screen."""
    import matplotlib as mpl

    mpl.use('Agg')
    from matplotlib import pyplot

    return pyplot


def save_figure(figure: Any, path: str | os.PathLike) -> None:
    """Writes a figure as a PNG and closes it."""
    image = io.BytesIO()
    figure.savefig(image, format='png', dpi=110)
    pyplot().close(figure)
    write_file(path, image.getvalue())


def plain(text: str) -> str:
    """A name of unknown origin: in matplotlib a `$` would begin mathematics."""
    return text.replace('$', r'\$')
