// Arrays out of a page: base64, deflated, byte plane by byte plane, perhaps quantized row by row.

/** Undoes base64, deflate and the byte planes: text -> Uint8Array. */
async function inflated(text, itemBytes) {
  const packed = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const planes = new Uint8Array(await new Response(stream).arrayBuffer());
  const count = planes.length / itemBytes;
  const bytes = new Uint8Array(planes.length);
  for (let plane = 0; plane < itemBytes; plane++) {
    for (let item = 0; item < count; item++) bytes[item * itemBytes + plane] = planes[plane * count + item];
  }
  return bytes;
}

const ARRAYS = { uint8: Uint8Array, int16: Int16Array, uint16: Uint16Array, float32: Float32Array, float64: Float64Array };

/** A matrix of numbers: {rows, columns, values, scale, offset}; row r is values * scale[r] + offset[r]. */
async function unpacked(spec) {
  const ArrayType = ARRAYS[spec.kind];
  const floats = async (text) => new Float32Array((await inflated(text, 4)).buffer);
  const [rows, columns] = spec.shape;
  return {
    rows,
    columns,
    values: new ArrayType((await inflated(spec.data, ArrayType.BYTES_PER_ELEMENT)).buffer),
    scale: spec.scale ? await floats(spec.scale) : new Float32Array(rows).fill(1),
    offset: spec.offset ? await floats(spec.offset) : new Float32Array(rows),
  };
}

/** The same as one Float32Array, row by row. */
function restored({ rows, columns, values, scale, offset }) {
  const numbers = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let index = row * columns; index < (row + 1) * columns; index++) {
      numbers[index] = values[index] * scale[row] + offset[row];
    }
  }
  return numbers;
}
