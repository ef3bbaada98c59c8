// State, and what follows from it.

const byId = (id) => document.getElementById(id);

class TimelinePage {
  constructor(data) {
    this.data = data;
    this.moments = new Moments(data);
    this.state = { threshold: data.threshold, minSeconds: data.minSeconds, text: "", chosen: new Set() };
  }

  async start() {
    await this.moments.unpack(this.data);
    this.writeAbout();
    byId("main").hidden = false;
    this.chart = new Chart(this.moments);
    this.table = new Table((seconds) => this.film.seek(seconds));
    this.film = new Film(this.data, this.moments.duration, (seconds) => this.showTime(seconds));
    connectControls(this);
    connectChart(this);
    connectKeys(this);
    this.update();
    this.showTime(0);
  }

  writeAbout() {
    const { video, about, duration, classNames, curves } = this.data;
    byId("video").textContent = video;
    byId("about").textContent = `, ${clock(duration)}, ${this.moments.count.toLocaleString("en")} windows, ${classNames.length} classes`;
    byId("made").textContent = about.join(" · ");
    const some = curves.length < classNames.length;
    const kept = some ? `${curves.length} of ${classNames.length} classes have curves: those that matter most at some moment. The rest is "other".` : "";
    byId("facts").textContent = `${kept} Segments and the most probable class of a moment are exact; curves are within 0.02 %.`.trim();
  }

  get filtering() {
    return this.state.text !== "" || this.state.chosen.size > 0;
  }

  /** Whether a class passes the filter: it is among the chosen ones, if any, and its name has the text. */
  passes(index) {
    const { text, chosen } = this.state;
    if (chosen.size && !chosen.has(index)) return false;
    return this.moments.classNames[index].toLowerCase().includes(text.toLowerCase());
  }

  /** Redraws everything after a change of filter, threshold or shortest segment. */
  update() {
    const { threshold, minSeconds } = this.state;
    this.segments = segmentsOf(this.moments, threshold, minSeconds).filter(({ index }) => this.passes(index));
    const passing = this.moments.curves.map((index, rank) => rank).filter((rank) => this.passes(this.moments.curves[rank]));
    this.shown = passing.slice(0, COLORED);
    this.table.show(this.segments, (index) => this.moments.colorOf(index, this.filtering));
    this.writeLegend();
    this.writeCounts();
    this.draw();
    this.showTime(this.film.time);
  }

  draw() {
    this.chart.draw(this);
    this.placeHead();
  }

  writeCounts() {
    const { threshold, minSeconds, text } = this.state;
    const count = this.segments.length;
    byId("count").textContent = count === 1 ? "1 segment" : `${count.toLocaleString("en")} segments`;
    byId("threshold").value = threshold;
    byId("threshold-text").textContent = `${Math.round(100 * threshold)} %`;
    if (document.activeElement !== byId("min-seconds")) byId("min-seconds").value = minSeconds;
    if (byId("filter").value !== text) byId("filter").value = text;
    byId("clear").hidden = !this.filtering;
  }

  /** The classes with a color; pressing one shows it alone, pressing others adds them. */
  writeLegend() {
    const ranks = this.filtering ? [...new Set([...this.shown, ...this.moments.curves.keys()].slice(0, COLORED))] : this.shown;
    const indices = [...new Set([...this.state.chosen, ...ranks.map((rank) => this.moments.curves[rank])])];
    const buttons = indices.map((index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(swatch(this.moments.colorOf(index, this.filtering)), this.moments.classNames[index]);
      button.setAttribute("aria-pressed", this.state.chosen.has(index));
      button.classList.toggle("out", this.filtering && !this.passes(index));
      button.addEventListener("click", () => this.choose(index));
      return button;
    });
    const rest = document.createElement("span");
    rest.className = "rest";
    rest.append(swatch("var(--ground)"), "other classes");
    byId("legend").replaceChildren(...buttons, ...(this.moments.classNames.length > buttons.length ? [rest] : []));
  }

  choose(index) {
    const { chosen } = this.state;
    if (!chosen.delete(index)) chosen.add(index);
    const place = [...byId("legend").children].indexOf(document.activeElement);
    this.update();
    byId("legend").children[place]?.focus();
  }

  set(change) {
    Object.assign(this.state, change);
    this.update();
  }

  clearFilter() {
    this.state.chosen.clear();
    this.set({ text: "" });
  }

  /** Follows the video. */
  showTime(seconds) {
    const cell = this.moments.cellAt(seconds);
    byId("moment-time").textContent = clock(seconds);
    if (cell !== this.cell || this.momentOf !== this.segments) {
      writeMoment(byId("moment"), this.moments.topOf(cell), this.moments, this.filtering);
      Object.assign(this, { cell, momentOf: this.segments });
    }
    this.table.mark(seconds);
    this.chart.reveal(seconds);
    this.placeHead();
    const [first] = this.moments.topOf(cell);
    const scroller = byId("scroller");
    scroller.setAttribute("aria-valuenow", seconds.toFixed(2));
    scroller.setAttribute("aria-valuetext", `${clock(seconds)}, ${this.moments.classNames[first.index]} ${percent(first.probability)}`);
  }

  placeHead() {
    const x = this.chart.xOf(this.film.time);
    byId("playhead").hidden = x < -1 || x > this.chart.width + 1;
    byId("playhead").style.setProperty("--x", `${Math.min(x, this.chart.width - 2)}px`);
  }

  /** Shows the classes of the moment under the pointer; null for none. */
  hover(x) {
    for (const id of ["crosshair", "tip"]) byId(id).hidden = x === null;
    if (x === null) return;
    const seconds = this.chart.timeAt(x);
    byId("crosshair").style.setProperty("--x", `${x}px`);
    byId("tip-time").textContent = clock(seconds);
    const top = this.moments.topOf(this.moments.cellAt(seconds), (index) => this.passes(index));
    writeMoment(byId("tip-list"), top, this.moments, this.filtering);
    const tip = byId("tip");
    const left = x + 16 + tip.offsetWidth > this.chart.width ? Math.max(x - 16 - tip.offsetWidth, 0) : x + 16;
    tip.style.setProperty("--x", `${left}px`);
  }

  /** To the window before or behind. */
  step(by) {
    const cell = Math.min(Math.max(this.cell + by, 0), this.moments.count - 1);
    this.film.seek(cell === 0 ? 0 : this.moments.times[cell]);
  }

  /** To the segment before or behind. */
  jump(by) {
    const { time } = this.film;
    const starts = this.segments.map(({ start }) => start);
    const next = by > 0 ? starts.find((start) => start > time + 0.01) : starts.findLast((start) => start < time - 0.25);
    if (next !== undefined) this.film.seek(next);
  }

  zoom(factor, seconds = this.film.time) {
    this.chart.setZoom(this.chart.zoom * factor, seconds);
    this.draw();
  }

  save(text, kind, type) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = `${this.data.stem}.${kind}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }
}

async function main() {
  try {
    window.timeline = new TimelinePage(JSON.parse(byId("data").textContent));
    await window.timeline.start();
    document.body.dataset.ready = "true";
  } catch (error) {
    byId("problem").textContent = `This browser cannot show the page: ${error.message}. Current versions of Chrome, Edge, Firefox and Safari can.`;
    byId("problem").hidden = false;
    throw error;
  }
}
