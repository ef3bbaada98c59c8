// Arrows from the query to the keys it reads most, across the strip, as in figure 3 of the non-local paper.

const SVG = "http://www.w3.org/2000/svg";

/** Draws arrows over a strip; positions are [frame, y, x] in the clip, shares from 0 to 1. */
function drawLinks(svg, pictures, size, query, targets) {
  const origin = svg.getBoundingClientRect();
  const boxes = pictures.map((picture) => picture.getBoundingClientRect());
  const place = ([frame, y, x]) => {
    const box = boxes[frame];
    return [
      box.left - origin.left + ((x + 0.5) / size[2]) * box.width,
      box.top - origin.top + ((y + 0.5) / size[1]) * box.height,
    ];
  };
  const shapes = [];
  const from = place(query);
  for (const { position, share } of targets.toReversed()) shapes.push(...arrow(from, place(position), share));
  svg.replaceChildren(...shapes);
}

function arrow(from, to, share) {
  const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
  const length = Math.hypot(dx, dy);
  if (length < 3) return [];
  const lift = Math.min(0.16 * length, 46);
  const control = [(from[0] + to[0]) / 2, Math.min(from[1], to[1]) - lift];
  const angle = Math.atan2(to[1] - control[1], to[0] - control[0]);
  const width = 1 + 1.6 * share;
  const head = 5 + 3 * share;
  const end = [to[0] - 0.7 * head * Math.cos(angle), to[1] - 0.7 * head * Math.sin(angle)];
  const path = `M${from.map(short)} Q${control.map(short)} ${end.map(short)}`;
  const opacity = 0.35 + 0.65 * share;
  return [
    shape({ class: "casing", d: path, "stroke-width": width + 1.5, opacity }),
    shape({ class: "line", d: path, "stroke-width": width, opacity }),
    shape({ class: "head", d: headPath(to, angle, head), opacity }),
  ];
}

function headPath([x, y], angle, size) {
  const corner = (turn) => [x - size * Math.cos(angle + turn), y - size * Math.sin(angle + turn)].map(short);
  return `M${short(x)},${short(y)} L${corner(0.45)} L${corner(-0.45)} Z`;
}

function short(number) {
  return Math.round(number * 10) / 10;
}

function shape(attributes) {
  const path = document.createElementNS(SVG, "path");
  for (const [name, value] of Object.entries(attributes)) path.setAttribute(name, value);
  return path;
}
