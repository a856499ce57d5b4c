"""The gallery: its pictures, its scores, their order, and the script that sorts them."""

import base64
import io
import re

import numpy as np
import pytest
import torch
from gleak_book.gallery import gallery
from PIL import Image

from gleak_lib.errors import ShapeError

LEVELS = torch.tensor([0.2, 0.8, 0.5])
ORIGINALS = LEVELS[:, None, None, None].expand(3, 3, 8, 8)
FOUND = {"none": (1 - ORIGINALS, [0.123, -0.001, 0.9]), "a < b": (ORIGINALS, [0.5, 1.0, 0.25])}


def shown(labels=(2, 0, 1), **options):
    return gallery(labels, ORIGINALS, FOUND, **options)._repr_html_()


def sprites(source):
    data = re.findall(r"url\(data:image/webp;base64,([^)]+)\)", source)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(one)))) for one in data]


def test_each_column_is_one_file_of_all_its_pictures_in_the_order_of_the_images():
    files = sprites(shown())
    for file, images in zip(files, (ORIGINALS, 1 - ORIGINALS, ORIGINALS), strict=True):
        assert file.shape == (8, 24, 3)
        tiles = file.reshape(8, 3, 8, 3).swapaxes(0, 1)
        np.testing.assert_allclose(tiles / 255, images.movedim(1, -1), atol=0.02)


def test_rows_are_in_the_order_of_classes_and_each_tile_is_that_of_its_image():
    source = shown(names=("cat", "dog & co", "frog"))
    assert re.findall(r'<th data-value="(\d)">([^<]+)', source) == [
        ("0", "cat"),
        ("1", "dog &amp; co"),
        ("2", "frog"),
    ]
    places = re.findall(r'<tr style="--at:([\d.]+)%">', source)
    assert places == ["50", "100", "0"]  # of the images 1, 2 and 0
    assert "background-position-x: var(--at)" in source and source.count('class="s0"') == 3
    scores = re.findall(r'<td data-value="([^"]+)"><i class="s1"[^>]*></i>([^<]+)', source)
    assert scores == [("-0.001", "0.00"), ("0.9", "0.90"), ("0.123", "0.12")]
    assert 'aria-label="dog &amp; co, a &lt; b"></i>0.25' in source


def test_what_a_closed_form_gives_back_is_marked_and_every_other_column_is_not():
    heads = re.findall(r'<th data-sort="descending"><span>(.+?)</span></th>', shown(exact={"none"}))
    assert heads == ["none <b>✓</b>", "a &lt; b"]


def test_galleries_of_one_page_keep_to_themselves_and_are_the_same_at_each_run():
    first, second = shown(), shown(labels=(0, 1, 2))
    names = {re.findall(r'<div id="([^"]+)"', source)[0] for source in (first, second)}
    assert len(names) == 2 and shown() == first
    for name, source in ((name, first) for name in names if name in first):
        selectors = re.findall(r"^#(\S+)", source, re.M)
        assert set(selectors) == {name} and f'querySelector("#{name} table")' in source


def test_a_gallery_of_one_gray_image():
    source = gallery([4], torch.ones(1, 1, 8, 8), {"none": (torch.zeros(1, 1, 8, 8), [0.0])})._repr_html_()
    assert [file.mean() for file in sprites(source)] == [255, 0]
    assert '<th data-value="4">4</th>' in source


@pytest.mark.parametrize(
    ("labels", "originals", "message"),
    [
        ([0, 1], ORIGINALS, "none needs 2 scores"),
        ([0, 1, 2], ORIGINALS[:2], r"none needs 3 scores and images of shape \(2, 3, 8, 8\)"),
        ([0, 1, 2], ORIGINALS[:, :2], "C 1 or 3"),
    ],
)
def test_what_does_not_fit_together(labels, originals, message):
    with pytest.raises(ShapeError, match=message):
        gallery(labels, originals, FOUND)
