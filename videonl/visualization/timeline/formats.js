// Numbers and times as text, the same here and in formats.py.

/** Rounded half up, as toFixed does not always: (0.0625, 3) -> "0.063". */
function decimal(value, digits) {
  const scale = 10 ** digits;
  const scaled = Math.floor(value * scale + 0.5);
  return `${Math.floor(scaled / scale)}.${String(scaled % scale).padStart(digits, "0")}`;
}

const two = (number) => String(number).padStart(2, "0");

/** For people: 62.5 -> "1:02.5". */
function clock(seconds) {
  const tenths = Math.floor(seconds * 10 + 0.5);
  const minutes = Math.floor(tenths / 600);
  const start = minutes < 60 ? minutes : `${Math.floor(minutes / 60)}:${two(minutes % 60)}`;
  return `${start}:${two(Math.floor((tenths % 600) / 10))}.${tenths % 10}`;
}

/** For SubRip: 3661.0625 -> "01:01:01,063". */
function stamp(seconds) {
  const milliseconds = Math.floor(seconds * 1000 + 0.5);
  const minutes = Math.floor(milliseconds / 60000);
  const rest = milliseconds % 60000;
  return `${two(Math.floor(minutes / 60))}:${two(minutes % 60)}:${two(Math.floor(rest / 1000))},${String(rest % 1000).padStart(3, "0")}`;
}

const percent = (probability) => `${Math.floor(probability * 100 + 0.5)} %`;

/** With a digit where it matters: 0.0042 -> "0.4 %". */
function finePercent(probability) {
  if (probability > 0 && probability < 0.001) return "< 0.1 %";
  return `${decimal(100 * probability, 1)} %`;
}

function csvOf(segments) {
  const cell = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const rows = segments.map(({ start, end, label, probability }) =>
    [decimal(start, 3), decimal(end, 3), cell(label), decimal(probability, 4)].join(","),
  );
  return ["start_seconds,end_seconds,label,probability", ...rows, ""].join("\n");
}

function srtOf(segments) {
  const oneLine = (label) => label.trim().split(/\s+/u).join(" ");
  const noTags = (label) => label.replace(/<|--(?=>)/g, "$&\u2060").replaceAll("{", "(").replaceAll("}", ")");
  const cue = ({ start, end, label, probability }, index) =>
    `${index + 1}\n${stamp(start)} --> ${stamp(end)}\n${noTags(oneLine(label))} (${percent(probability)})\n\n`;
  return segments.map(cue).join("");
}
