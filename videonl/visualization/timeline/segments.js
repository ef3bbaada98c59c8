// From windows to segments: the rule of segments.py.

/** Where the cells of windows begin and end: one more than there are windows. */
function cellBounds(times, duration) {
  const bounds = new Float64Array(times.length + 1);
  for (let cell = 1; cell < times.length; cell++) bounds[cell] = (times[cell - 1] + times[cell]) / 2;
  bounds[times.length] = duration;
  return bounds;
}

/** Neighboring cells of one class at or above the threshold, joined; short ones are dropped. */
function segmentsOf({ bounds, best, probabilities, classNames }, threshold, minSeconds) {
  const found = [];
  let first = 0;
  let total = 0;
  for (let cell = 0; cell < best.length; cell++) {
    if (cell > first && best[cell] !== best[cell - 1]) [first, total] = [cell, 0];
    if (probabilities[cell] < threshold) {
      [first, total] = [cell + 1, 0];
      continue;
    }
    total += probabilities[cell];
    if (found.length && found[found.length - 1].first === first) found.pop();
    found.push({
      first,
      start: bounds[first],
      end: bounds[cell + 1],
      index: best[cell],
      label: classNames[best[cell]],
      probability: total / (cell + 1 - first),
    });
  }
  return found.filter(({ start, end }) => end - start >= minSeconds);
}
