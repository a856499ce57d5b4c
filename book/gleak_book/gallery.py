"""A table of small pictures with scores, a row for each class, that a page sorts by any column."""

import base64
import hashlib
import html
import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from gleak_lib.errors import ShapeError
from PIL import Image
from torch import Tensor

QUALITY = 80  # of WebP
MARK = " <b>✓</b>"
STYLE = """
#{id} {{ overflow-x: auto; --tile: clamp(30px, 7.2vw, 60px); content-visibility: auto;
  contain-intrinsic-size: auto calc({count} * (var(--tile) + 1.1rem) + 9rem); }}
#{id} table {{ border-collapse: collapse; margin: 0 auto; display: table; width: auto; }}
#{id} :is(th, td) {{ padding: 1px 2px; border: 0; background: none; text-align: center;
  vertical-align: top; font-size: 0.75rem; line-height: 1.3; }}
#{id} thead th {{ vertical-align: bottom; }}
#{id} thead span {{ display: inline-block; writing-mode: vertical-rl; rotate: 180deg; white-space: nowrap; }}
#{id} b {{ display: inline-block; rotate: 90deg; }}
#{id} tbody th {{ text-align: right; vertical-align: middle; padding-right: 6px; }}
#{id} i {{ display: block; width: var(--tile); height: var(--tile); image-rendering: pixelated;
  background-size: {count}00% 100%; background-position-x: var(--at); }}
#{id} button {{ all: unset; cursor: pointer; }}
#{id} button span {{ border-right: 1px dotted; }}
#{id} button:focus-visible {{ outline: 2px solid; }}
#{id} [aria-sort] button span {{ border-right: 3px solid; }}
"""
SCRIPT = """
(() => {{
  const table = document.querySelector("#{id} table"), body = table.tBodies[0];
  table.querySelectorAll("thead th[data-sort]").forEach(head => {{
    const button = document.createElement("button"), place = head.cellIndex;
    button.append(...head.childNodes);
    head.append(button);
    button.title = "sort";
    button.onclick = () => {{
      const sign = head.getAttribute("aria-sort") === head.dataset.sort ? -1 : 1;
      const first = head.dataset.sort === "ascending" ? sign : -sign;
      table.querySelectorAll("th[aria-sort]").forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", first > 0 ? "ascending" : "descending");
      const value = row => Number(row.cells[place].dataset.value);
      body.append(...[...body.rows].sort((a, b) => first * (value(a) - value(b))));
    }};
  }});
}})();
"""


@dataclass(frozen=True)
class Gallery:
    """A table for a notebook that carries its pictures itself, one file for each column.

    A browser lays it out and decodes its files when it comes into view.
    """

    source: str = field(repr=False)

    def _repr_html_(self) -> str:
        """Return the table, its style, and the few lines that sort it."""
        return self.source


def gallery(
    labels: Sequence[int],
    originals: Tensor,
    columns: Mapping[str, tuple[Tensor, Sequence[float]]],
    *,
    names: Sequence[str] | None = None,
    exact: Collection[str] = (),
) -> Gallery:
    """Return a row for each image: its class, the original, and each column's picture above its score.

    Rows are in the order of the classes until a reader sorts them by another column.

    Args:
        labels: N classes, from 0.
        originals: N x C x H x W in [0, 1], C 1 or 3.
        columns: heading -> what was found, of the originals' shape, and its N scores.
        names: of the classes; None shows their numbers.
        exact: headings that get a mark, for instance where a closed form gives the images back.

    Raises:
        ShapeError: If labels, images and scores are not equally many, or images are neither gray nor color.
    """
    if originals.ndim != 4 or originals.shape[1] not in (1, 3):
        raise ShapeError(f"originals must be N x C x H x W with C 1 or 3, got {tuple(originals.shape)}.")
    for heading, (images, scores) in columns.items():
        if images.shape != originals.shape or not len(scores) == len(labels) == len(images):
            raise ShapeError(
                f"{heading} needs {len(labels)} scores and images of shape {tuple(originals.shape)}, got "
                f"{len(scores)} and {tuple(images.shape)}."
            )
    sprites = [_sprite(originals), *(_sprite(images) for images, _ in columns.values())]
    content = f"{list(labels)}{list(columns)}{sprites}"  # the same name at each run, another for each gallery
    name = f"gallery-{hashlib.sha256(content.encode()).hexdigest()[:8]}"
    style = STYLE.format(id=name, count=len(labels)) + "".join(
        f"#{name} .s{place} {{ background-image: url(data:image/webp;base64,{data}) }}\n"
        for place, data in enumerate(sprites)
    )
    heads = ['<th data-sort="ascending"><span>class</span></th>', "<th><span>original</span></th>"] + [
        f'<th data-sort="descending"><span>{html.escape(heading)}{MARK * (heading in exact)}</span></th>'
        for heading in columns
    ]
    rows = []
    for row in sorted(range(len(labels)), key=labels.__getitem__):
        label = f"{labels[row]}" if names is None else names[labels[row]]
        head = f'<th data-value="{labels[row]}">{html.escape(label)}</th>'
        cells = [head, _cell(0, f"{label}, original")]
        for number, (heading, (_, scores)) in enumerate(columns.items(), 1):
            text = f"{round(scores[row], 2) + 0:.2f}".replace("-", "−")  # no -0.00
            cells.append(_cell(number, f"{label}, {heading}", text, scores[row]))
        rows.append(f'<tr style="--at:{100 * row / max(len(labels) - 1, 1):.4g}%">{"".join(cells)}</tr>')
    return Gallery(
        f'<div id="{name}"><style>{style}</style><table><thead><tr>{"".join(heads)}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table><script>{SCRIPT.format(id=name)}</script></div>"
    )


def _cell(sprite: int, alt: str, text: str = "", value: float = 0) -> str:
    """Return a cell that shows its row's tile of a column's file, with words for those who cannot see it."""
    alt = html.escape(alt)
    return f'<td data-value="{value:.4g}"><i class="s{sprite}" role="img" aria-label="{alt}"></i>{text}</td>'


def _sprite(images: Tensor) -> str:
    """Return N images side by side, as WebP in Base64."""
    pixels = (images.detach().cpu().clamp(0, 1) * 255).round().byte().permute(2, 0, 3, 1)  # H x N x W x C
    sheet = pixels.reshape(pixels.shape[0], -1, pixels.shape[3]).squeeze(-1).numpy()
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(sheet)).save(buffer, "WEBP", quality=QUALITY, method=6)
    return base64.b64encode(buffer.getvalue()).decode()
