"""A figure that carries its alternative text, for pages that show what another page has made."""

import base64
import html
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gleak_lib.errors import ParameterError
from gleak_lib.plots.style import WIDTH

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE = 800  # pixels of the page on which a figure of `WIDTH` inches is shown


@dataclass(frozen=True)
class Picture:
    """A picture for a notebook, with words for those who cannot see it.

    Attributes:
        data: WebP without loss, a third smaller than PNG.
        alt: what is to be seen.
        width: pixels on a page that is wide enough; on a narrower one it shrinks.
    """

    data: bytes = field(repr=False)
    alt: str
    width: int

    def _repr_html_(self) -> str:
        """Return an image element that carries its data itself."""
        data = base64.b64encode(self.data).decode()
        return (
            f'<img src="data:image/webp;base64,{data}" alt="{html.escape(self.alt)}" width="{self.width}" '
            'style="max-width: 100%; height: auto; background: white">'
        )


def picture(figure: "Figure", alt: str) -> Picture:
    """Return a figure as a picture with alternative text.

    Args:
        figure: of any function here.
        alt: what is to be seen, in a sentence.

    Raises:
        ParameterError: an empty `alt`.
    """
    if not alt.strip():
        raise ParameterError("A picture needs a sentence that says what is to be seen: alt is empty.")
    data = io.BytesIO()
    figure.savefig(data, format="webp", pil_kwargs={"lossless": True, "quality": 60})
    return Picture(data.getvalue(), alt, round(PAGE * float(figure.get_size_inches()[0]) / WIDTH))
