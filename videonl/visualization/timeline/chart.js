// The strip of segments and the stacked probabilities, drawn for the part of the time that is in view.

const STRIP_PX = 30;
const GAP_PX = 8;
const AXIS_PX = 24;
const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200];
const TICK_PX = 84; // least distance of ticks

class Chart {
  constructor(moments) {
    this.moments = moments;
    this.canvas = byId("chart");
    this.context = this.canvas.getContext("2d");
    this.scroller = byId("scroller");
    this.zoom = 1;
  }

  get width() {
    return this.scroller.clientWidth;
  }

  get secondsPerPixel() {
    return this.moments.duration / (this.width * this.zoom);
  }

  /** The time at a place across the visible part, in CSS pixels. */
  timeAt(x) {
    const seconds = (this.scroller.scrollLeft + x) * this.secondsPerPixel;
    return Math.min(Math.max(seconds, 0), this.moments.duration);
  }

  xOf(seconds) {
    return seconds / this.secondsPerPixel - this.scroller.scrollLeft;
  }

  get mostZoom() {
    return Math.max(1, this.moments.count / 12);
  }

  /** Zooms so that a time stays where it is. */
  setZoom(zoom, seconds) {
    const x = Math.min(Math.max(this.xOf(seconds), 0), this.width);
    this.zoom = Math.min(Math.max(zoom, 1), this.mostZoom);
    byId("spacer").style.width = `${this.width * this.zoom}px`;
    this.scroller.scrollLeft = seconds / this.secondsPerPixel - x;
  }

  /** Scrolls so that a time is in view. */
  reveal(seconds) {
    const x = this.xOf(seconds);
    if (this.zoom > 1 && (x < 0 || x > this.width)) this.scroller.scrollLeft += x - 0.1 * this.width;
  }

  draw(view) {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [this.width, this.canvas.clientHeight];
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    byId("spacer").style.width = `${width * this.zoom}px`;
    const style = getComputedStyle(document.body);
    this.ink = { quiet: style.getPropertyValue("--quiet"), ground: style.getPropertyValue("--ground"), line: style.getPropertyValue("--line") };
    const context = this.context;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.font = `12px ${style.fontFamily}`;
    this.drawSegments(view, width);
    this.drawStack(view, width, STRIP_PX + GAP_PX, height - STRIP_PX - GAP_PX - AXIS_PX, ratio);
    this.drawAxis(width, height);
  }

  drawSegments({ segments, filtering }, width) {
    const { context, moments } = this;
    context.fillStyle = this.ink.ground;
    context.fillRect(0, 0, width, STRIP_PX);
    context.textBaseline = "middle";
    for (const { start, end, index, label } of segments) {
      const [left, right] = [this.xOf(start), this.xOf(end)];
      if (right < 0 || left > width) continue;
      const color = moments.colorOf(index, filtering);
      context.fillStyle = color;
      context.fillRect(left, 0, Math.max(right - left - (right - left > 4 ? 1 : 0), 1), STRIP_PX);
      const from = Math.max(left, 0);
      const text = fitting(context, label, Math.min(right, width) - from - 14);
      context.fillStyle = inkOn(color);
      if (text) context.fillText(text, from + 7, STRIP_PX / 2 + 1);
    }
  }

  /** Column by column the mean of the cells in it; what is left of 1 is the other classes. */
  drawStack({ shown, filtering }, width, top, height, ratio) {
    const { context, moments } = this;
    context.fillStyle = this.ink.ground;
    context.fillRect(0, top, width, height);
    const colors = shown.map((rank) => moments.colorOf(moments.curves[rank], filtering));
    const step = 1 / ratio;
    for (let x = 0; x < width; x += step) {
      const first = moments.cellAt(this.timeAt(x));
      const last = Math.max(first, moments.cellAt(this.timeAt(x + step)) - 1);
      let bottom = top + height;
      shown.forEach((rank, place) => {
        let total = 0;
        for (let cell = first; cell <= last; cell++) total += moments.valueOf(rank, cell);
        const tall = (total / (last - first + 1)) * height;
        if (tall < 0.2) return;
        context.fillStyle = colors[place];
        context.fillRect(x, bottom - tall, step, tall);
        bottom -= tall;
      });
    }
  }

  drawAxis(width, height) {
    const { context, moments } = this;
    const step = STEPS.find((seconds) => seconds / this.secondsPerPixel >= TICK_PX) ?? Math.ceil((TICK_PX * this.secondsPerPixel) / 7200) * 7200;
    context.textBaseline = "alphabetic";
    const first = Math.floor(this.timeAt(0) / step);
    for (let tick = first; tick * step <= Math.min(this.timeAt(width), moments.duration); tick++) {
      const x = this.xOf(tick * step);
      context.fillStyle = this.ink.line;
      context.fillRect(x, height - AXIS_PX, 1, 6);
      context.fillStyle = this.ink.quiet;
      const text = step < 1 ? clock(tick * step) : clock(tick * step).slice(0, -2);
      const half = context.measureText(text).width / 2;
      context.fillText(text, Math.min(Math.max(x - half, 0), width - 2 * half), height - 4);
    }
  }
}

/** The text, or as much of it as fits and can be read. */
function fitting(context, text, width) {
  if (width < 18) return "";
  if (context.measureText(text).width <= width) return text;
  let [low, high] = [0, text.length];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (context.measureText(`${text.slice(0, middle)}…`).width <= width) low = middle;
    else high = middle - 1;
  }
  return low > 1 ? `${text.slice(0, low)}…` : "";
}

/** Black or white, whichever can be read better on a color "#rrggbb". */
function inkOn(color) {
  const linear = (place) => {
    const share = parseInt(color.slice(place, place + 2), 16) / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  };
  const luminance = 0.2126 * linear(1) + 0.7152 * linear(3) + 0.0722 * linear(5);
  return 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05 ? "#ffffff" : "#14181d";
}
