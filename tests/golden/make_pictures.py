"""Makes the pictures of tests/golden/pictures again, and what PIL makes of them for a network.

    pip install pillow==13.0.0 numpy==2.4.6
    python make_pictures.py OUT

A picture is turned upright (ImageOps.exif_transpose), converted to L or RGB, and resized with BILINEAR, which is what
torchvision's Resize does on a PIL image. `expected.txt` has a line a result: file, channels, height, width; `expected.u8` has the
results in that order, [channels][height][width]. A picture of 16 bits keeps the upper eight.
"""

import pathlib
import sys

import numpy as np
from PIL import Image, ImageOps

SHAPES = [(1, 28, 28), (3, 32, 32), (3, 60, 17)]


def scene(height, width, channels, seed):
    """Smooth waves with some noise: neither a constant nor what JPEG destroys."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    planes = [
        127 + 90 * np.sin((x * (c + 1) + 2 * y) / 7 + c) + rng.integers(-20, 21, (height, width))
        for c in range(channels)
    ]
    return np.clip(np.stack(planes, axis=-1), 0, 255).astype(np.uint8).squeeze()


def pictures():
    rgb = Image.fromarray(scene(41, 53, 3, 1))
    rgba = Image.fromarray(scene(37, 29, 4, 2), "RGBA")
    grey = Image.fromarray(scene(33, 47, 1, 3))
    wide = scene(30, 45, 1, 4).astype(np.uint16) * 257 + (scene(30, 45, 1, 5) > 128).astype(np.uint16) * 100
    palette = rgb.quantize(17)
    clear = rgb.quantize(9)
    clear.info["transparency"] = 3
    exif = Image.Exif()
    exif[0x0112] = 6
    yield "grey.png", grey, {}
    yield "grey_alpha.png", rgba.convert("LA"), {}
    yield "bits.png", grey.convert("1"), {}
    yield "palette.png", palette, {}
    yield "palette_clear.png", clear, {"transparency": 3}
    yield "rgb.png", rgb, {}
    yield "rgba.png", rgba, {}
    yield "wide.png", Image.fromarray(wide), {}
    yield "turned.png", rgb, {"exif": exif}
    yield "grey.jpg", grey, {"quality": 90}
    yield "full.jpg", rgb, {"quality": 92, "subsampling": 0}
    yield "half.jpg", rgb, {"quality": 92, "subsampling": 2}
    yield "progressive.jpg", rgb, {"quality": 92, "progressive": True, "subsampling": 0}
    for orientation in range(2, 9):
        exif[0x0112] = orientation
        yield f"turned{orientation}.jpg", grey, {"quality": 90, "exif": exif.tobytes()}
    yield "cmyk.jpg", rgb.convert("CMYK"), {}
    yield "grey.bmp", grey, {}
    yield "bits.bmp", grey.convert("1"), {}
    yield "palette.bmp", palette, {}
    yield "rgb.bmp", rgb, {}
    yield "rgba.bmp", rgba, {}


def read(path, channels, height, width):
    with Image.open(path) as picture:
        picture = ImageOps.exif_transpose(picture)
        if picture.mode.startswith("I;16"):
            picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
        picture = picture.convert("L" if channels == 1 else "RGB")
        resized = picture.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized).reshape(height, width, channels).transpose(2, 0, 1)


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    lines, results = [], []
    for name, picture, options in pictures():
        picture.save(out / name, **options)
        if name == "cmyk.jpg":
            continue
        for shape in SHAPES:
            lines.append(" ".join(map(str, (name, *shape))))
            results.append(read(out / name, *shape).tobytes())
    (out / "expected.txt").write_text("\n".join(lines) + "\n")
    (out / "expected.u8").write_bytes(b"".join(results))


main()
