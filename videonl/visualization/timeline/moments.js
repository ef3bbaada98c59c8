// What the page knows of every moment.

const NUM_TOP = 5;
const COLORED = 10; // classes with a color of their own

class Moments {
  constructor(data) {
    Object.assign(this, { classNames: data.classNames, curves: data.curves, duration: data.duration });
    this.palette = data.palette;
    this.other = data.other;
  }

  async unpack(data) {
    this.times = (await unpacked(data.times)).values;
    this.best = (await unpacked(data.best)).values;
    this.probabilities = (await unpacked(data.probabilities)).values;
    this.values = restored(await unpacked(data.values)); // curves x windows
    this.bounds = cellBounds(this.times, this.duration);
    this.rank = new Map(this.curves.map((index, rank) => [index, rank]));
  }

  get count() {
    return this.times.length;
  }

  /** The cell of a time: the last one that begins at or before it. */
  cellAt(seconds) {
    let [low, high] = [0, this.count - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.bounds[middle] <= seconds) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  valueOf(rank, cell) {
    return this.values[rank * this.count + cell];
  }

  /** The most probable classes of a cell that pass the filter: [{index, probability}]. */
  topOf(cell, passes = () => true) {
    const all = this.curves.map((index, rank) => ({ index, probability: this.valueOf(rank, cell) }));
    const others = all.filter(({ index }) => index !== this.best[cell] && passes(index));
    others.sort((one, other) => other.probability - one.probability);
    const first = { index: this.best[cell], probability: this.probabilities[cell] };
    return (passes(first.index) ? [first, ...others] : others).slice(0, NUM_TOP);
  }

  /** Classes among the first ten have a color; what is filtered for gets one in any case. */
  colorOf(index, filtering = false) {
    const rank = this.rank.get(index);
    if (rank === undefined || (rank >= COLORED && !filtering)) return this.other;
    return this.palette[rank % this.palette.length];
  }
}
