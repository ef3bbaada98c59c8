// Pixels, cells and keys. The lists that say which cell or key a pixel belongs to come with the page.

/** Position [frame, y, x] -> the block's cell [t, y, x]. */
function cellOf(block, position) {
  return position.map((pixel, axis) => block.cellOfPixel[axis][pixel]);
}

function flatCell(block, [t, y, x]) {
  return (t * block.grid[1] + y) * block.grid[2] + x;
}

/** The pixels [first, end) of one axis that belong to a cell or key. */
function pixelsOf(list, value) {
  return [list.indexOf(value), list.lastIndexOf(value) + 1];
}

/** The box of a cell or key, by axis: [[first, end], [first, end], [first, end]]. */
function boxOf(lists, place) {
  return place.map((value, axis) => pixelsOf(lists[axis], value));
}

function centerOf(box) {
  return box.map(([first, end]) => (first + end) >> 1);
}

function keyPlace(block, key) {
  const [, height, width] = block.keys;
  return [Math.floor(key / (height * width)), Math.floor(key / width) % height, key % width];
}

/** The key of a pixel, or -1 where none covers it. */
function keyAt(block, position) {
  const [t, y, x] = position.map((pixel, axis) => block.keyOfPixel[axis][pixel]);
  return t < 0 || y < 0 || x < 0 ? -1 : (t * block.keys[1] + y) * block.keys[2] + x;
}

/** The keys with the largest positive weights, largest first. */
function strongest(weights, count) {
  const best = [];
  for (let key = 0; key < weights.length; key++) {
    const weight = weights[key];
    if (!(weight > 0) || (best.length === count && weight <= weights[best[count - 1]])) continue;
    let place = best.length;
    while (place > 0 && weight > weights[best[place - 1]]) place--;
    best.splice(place, 0, key);
    if (best.length > count) best.pop();
  }
  return best;
}

/** A query one cell away along an axis, in the middle of that cell; where the grid ends, the query itself. */
function neighbor(block, position, axis, step) {
  const cell = cellOf(block, position);
  const wanted = cell[axis] + step;
  if (wanted < 0 || wanted >= block.grid[axis] || !block.cellOfPixel[axis].includes(wanted)) return position;
  const moved = position.slice();
  const [first, end] = pixelsOf(block.cellOfPixel[axis], wanted);
  moved[axis] = (first + end) >> 1;
  return moved;
}
