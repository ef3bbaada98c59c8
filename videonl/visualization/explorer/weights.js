// The weights of any query, computed from what the page holds: a table, a product of two matrices, or hops along lines.

/** For a block: a function from a flat query cell to the weights of all keys, a Float32Array in row-major order. */
async function rowsOf(block) {
  const makers = { table: tableRows, product: productRows, hops: hopRows };
  return makers[block.weights.form](block);
}

async function tableRows({ weights }) {
  const { columns, values, scale, offset } = await unpacked(weights.table);
  return (query) => {
    const row = new Float32Array(columns);
    for (let key = 0; key < columns; key++) row[key] = values[query * columns + key] * scale[query] + offset[query];
    return row;
  };
}

async function productRows({ weights, grid, keys }) {
  const left = restored(await unpacked(weights.left)); // components x queries
  const right = restored(await unpacked(weights.right)); // components x keys
  const [rank, numKeys] = weights.right.shape;
  const numQueries = weights.left.shape[1];
  return (query) => {
    const row = new Float64Array(numKeys);
    for (let component = 0; component < rank; component++) {
      const factor = left[component * numQueries + query];
      if (factor === 0) continue;
      const start = component * numKeys;
      for (let key = 0; key < numKeys; key++) row[key] += factor * right[start + key];
    }
    return activated(row, weights, reachable(weights, grid, keys, query));
  };
}

/** Which keys a query reads: null for all of them, or a function of the key's index. */
function reachable({ reach, groupFrames }, grid, keys, query) {
  if (reach === "spacetime") return null;
  const framePixels = grid[1] * grid[2];
  const keyPixels = keys[1] * keys[2];
  if (reach === "time") return (key) => key % keyPixels === query % framePixels;
  const group = Math.floor(Math.floor(query / framePixels) / groupFrames);
  return (key) => Math.floor(Math.floor(key / keyPixels) / groupFrames) === group;
}

/** Turns products into weights, as the block does. */
function activated(row, { activation }, reads) {
  if (activation === "none") return Float32Array.from(row);
  let count = 0;
  let largest = -Infinity;
  for (let key = 0; key < row.length; key++) {
    if (reads && !reads(key)) continue;
    count++;
    if (row[key] > largest) largest = row[key];
  }
  let total = activation === "softmax" ? 0 : count;
  const result = new Float32Array(row.length);
  for (let key = 0; key < row.length; key++) {
    if (reads && !reads(key)) continue;
    result[key] = activation === "relu_mean" ? Math.max(row[key], 0) : row[key];
    if (activation === "softmax") total += result[key] = Math.exp(row[key] - largest);
  }
  for (let key = 0; key < result.length; key++) result[key] /= total;
  return result;
}

async function hopRows({ weights, grid }) {
  const hops = [];
  for (const [index, spec] of weights.hops.entries()) hops.push({ matrix: await unpacked(spec), axes: weights.axes[index] });
  const strides = [grid[1] * grid[2], grid[2], 1];
  const numCells = grid[0] * grid[1] * grid[2];
  return (query) => {
    let arrived = new Float32Array(numCells);
    arrived[query] = 1;
    for (const { matrix, axes } of hops.toReversed()) arrived = oneHopEarlier(arrived, matrix, axes, grid, strides);
    return arrived;
  };
}

/** Where what has arrived was one hop earlier: every cell hands its share back along its lines. */
function oneHopEarlier(arrived, { columns, values, scale }, axes, grid, strides) {
  const earlier = new Float32Array(arrived.length);
  for (let cell = 0; cell < arrived.length; cell++) {
    if (arrived[cell] === 0) continue;
    let column = cell * columns;
    for (const axis of axes) {
      const place = Math.floor(cell / strides[axis]) % grid[axis];
      let target = cell - place * strides[axis];
      for (let step = 0; step < grid[axis]; step++, target += strides[axis]) {
        earlier[target] += arrived[cell] * values[column++] * scale[cell];
      }
    }
  }
  return earlier;
}
