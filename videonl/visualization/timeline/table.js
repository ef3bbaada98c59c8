// Lists: the segments, the classes that have a color, and the classes of a moment.

const ROWS_AT_ONCE = 200;

function swatch(color) {
  const square = document.createElement("i");
  square.className = "swatch";
  square.style.setProperty("--color", color);
  return square;
}

class Table {
  constructor(seek) {
    this.seek = seek;
    this.body = byId("rows");
    this.now = null;
    byId("more").addEventListener("click", () => this.add(this.segments.length));
  }

  show(segments, colorOf) {
    Object.assign(this, { segments, colorOf, now: null });
    this.body.replaceChildren();
    this.add(ROWS_AT_ONCE);
    byId("none").hidden = segments.length > 0;
  }

  add(count) {
    const start = this.body.children.length;
    this.body.append(...this.segments.slice(start, start + count).map((segment) => this.row(segment)));
    byId("more").hidden = this.body.children.length === this.segments.length;
    byId("more").textContent = `Show all ${this.segments.length} segments`;
  }

  row(segment) {
    const row = byId("row-template").content.firstElementChild.cloneNode(true);
    const { start, end, index, label, probability } = segment;
    row.querySelector("button").textContent = clock(start);
    row.querySelector(".end").textContent = clock(end);
    row.querySelector(".length").textContent = `${decimal(end - start, 1)} s`;
    row.querySelector(".label").append(swatch(this.colorOf(index)), label);
    row.querySelector(".value").textContent = finePercent(probability);
    row.addEventListener("click", () => this.seek(start));
    return row;
  }

  /** Marks the segment of a time. */
  mark(seconds) {
    const place = this.segments.findIndex(({ start, end }) => start <= seconds && seconds < end);
    if (place === this.now) return;
    this.body.children[this.now]?.removeAttribute("aria-current");
    this.body.children[place]?.setAttribute("aria-current", "true");
    this.now = place;
  }
}

/** Writes the classes of a moment as rows with bars. */
function writeMoment(list, top, moments, filtering) {
  const rows = top.map(({ index, probability }) => {
    const row = byId("moment-template").content.firstElementChild.cloneNode(true);
    row.style.setProperty("--color", moments.colorOf(index, filtering));
    row.style.setProperty("--share", probability);
    row.querySelector(".label").textContent = moments.classNames[index];
    row.querySelector(".value").textContent = finePercent(probability);
    return row;
  });
  list.replaceChildren(...rows);
}
