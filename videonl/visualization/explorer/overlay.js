// Weights as color: clear at 0, brightest and nearly opaque at the query's largest weight.

/** The color table as packed pixels, with opacity scaled by strength from 0 to 1. */
function colorPixels(colors, strength) {
  const pixels = new Uint8ClampedArray(256 * 4);
  for (let step = 0; step < 256; step++) {
    const [red, green, blue, alpha] = colors[step];
    pixels.set([red, green, blue, Math.round(alpha * strength)], 4 * step);
  }
  return new Uint32Array(pixels.buffer);
}

/** The weight drawn in full color: the largest, or 1 where none is positive. */
function fullWeight(weights) {
  let largest = 0;
  for (const weight of weights) if (weight > largest) largest = weight;
  return largest > 0 ? largest : 1;
}

/** Colors one frame's canvas, every pixel by the key that covers it. */
function drawOverlay(canvas, block, weights, full, frame, pixels) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  const out = new Uint32Array(image.data.buffer);
  const [frameKeys, rowKeys, columnKeys] = block.keyOfPixel;
  const [, height, width] = block.keys;
  const slice = frameKeys[frame];
  for (let y = 0, start = 0; slice >= 0 && y < canvas.height; y++, start += canvas.width) {
    if (rowKeys[y] < 0) continue;
    if (y > 0 && rowKeys[y] === rowKeys[y - 1]) {
      out.copyWithin(start, start - canvas.width, start);
      continue;
    }
    const row = (slice * height + rowKeys[y]) * width;
    for (let x = 0; x < canvas.width; x++) {
      if (columnKeys[x] < 0) continue;
      out[start + x] = pixels[Math.round((Math.max(weights[row + columnKeys[x]], 0) / full) * 255)];
    }
  }
  context.putImageData(image, 0, 0);
}

/** The color bar, left to right. */
function drawBar(canvas, colors) {
  const image = new ImageData(256, 1);
  image.data.set(colors.flat());
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** Puts a marker around the query's cell; dashed on the frames it is not in. */
function placeMarker(marker, box, size, frame) {
  const [frames, rows, columns] = box;
  const percent = (pixels, whole) => `${(100 * pixels) / whole}%`;
  marker.style.top = percent(rows[0], size[1]);
  marker.style.left = percent(columns[0], size[2]);
  marker.style.height = percent(rows[1] - rows[0], size[1]);
  marker.style.width = percent(columns[1] - columns[0], size[2]);
  marker.classList.toggle("elsewhere", frame < frames[0] || frame >= frames[1]);
}
