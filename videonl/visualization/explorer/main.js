// State, controls and drawing of the whole page.

const FRAME_MS = 250; // slower than the clip, to have time to look
const byId = (id) => document.getElementById(id);

class Explorer {
  constructor(clip) {
    this.clip = clip;
    this.state = { query: clip.query, time: clip.query[0], kept: false, strength: 1, links: 8, shown: [0] };
    this.panels = [];
    this.lastResponseMs = null;
    document.body.classList.toggle("small-clip", Math.min(clip.size[1], clip.size[2]) < 160);
    byId("time").max = clip.size[0] - 1;
    this.writeAbout();
    if (clip.compare !== null) this.state.shown.push(clip.compare);
  }

  writeAbout() {
    const { video, size, sources, blocks } = this.clip;
    byId("video").textContent = video;
    const names = sources.map(({ name, prediction }) => `${sources.length > 1 ? name : "the network"} calls it ${prediction}`);
    byId("about").textContent = [`, ${size[0]} frames of ${size[2]} × ${size[1]} pixels`, ...names].join("; ");
    const percent = Math.max(Math.ceil(1e4 * Math.max(...blocks.map((block) => block.error))) / 100, 0.01);
    this.facts = `Weights are within ${percent} % of each query's largest weight, checked when the page was written.`;
  }

  async start() {
    for (const block of this.clip.blocks) block.row = await rowsOf(block);
    byId("main").hidden = false;
    byId("keys").open = this.state.shown.length === 1 && matchMedia("(min-width: 901px) and (hover: hover)").matches;
    this.layOut();
    connectControls(this);
    connectKeys(this);
    new ResizeObserver(() => this.panels.forEach((panel) => panel.drawLines(this.state))).observe(byId("strips"));
  }

  /** Makes as many panels as blocks are shown. */
  layOut() {
    const { shown } = this.state;
    while (this.panels.length < shown.length) {
      const panel = new Panel(this.clip, this.panels.length, (place, index) => this.choose(place, index));
      connectPictures(this, panel);
      this.panels.push(panel);
    }
    this.panels.length = shown.length;
    this.panels.forEach((panel, place) => panel.show(this.clip.blocks[shown[place]], shown[place]));
    for (const part of ["stage", "strip", "list"]) {
      byId(`${part}s`).replaceChildren(...this.panels.map((panel) => panel[part]));
    }
    byId("main").classList.toggle("comparing", shown.length > 1);
    byId("compare").setAttribute("aria-pressed", shown.length > 1);
    byId("compare").hidden = this.clip.blocks.length < 2;
    this.ask();
  }

  choose(place, index) {
    if (place >= this.state.shown.length || index >= this.clip.blocks.length) return;
    this.state.shown[place] = (index + this.clip.blocks.length) % this.clip.blocks.length;
    this.panels[place].show(this.clip.blocks[this.state.shown[place]], this.state.shown[place]);
    this.ask();
  }

  toggleCompare() {
    const { shown } = this.state;
    if (shown.length > 1) shown.pop();
    else shown.push(this.clip.compare ?? (shown[0] + 1) % this.clip.blocks.length);
    this.layOut();
  }

  /** Asks from a position; `keep` holds it there while the pointer moves on. */
  setQuery(query, { keep = this.state.kept, follow = false } = {}) {
    const [before, after] = [this.state.query, query].map((position) => this.panels.map(({ block }) => cellOf(block, position)));
    const moved = String(before) !== String(after);
    Object.assign(this.state, { query, kept: keep });
    if (follow) this.state.time = query[0];
    if (moved || follow) this.ask();
    else this.writeQuery();
  }

  ask() {
    const started = performance.now();
    for (const panel of this.panels) panel.ask(this.state.query, this.state.links);
    this.draw();
    for (const panel of this.panels) panel.drawList((frame) => this.setTime(frame));
    this.writeQuery();
    this.writeTime();
    this.measure(started);
  }

  draw() {
    const pixels = colorPixels(this.clip.colors, this.state.strength);
    for (const panel of this.panels) panel.draw(this.state, pixels);
    byId("strength-text").textContent = `${Math.round(100 * this.state.strength)} %`;
    byId("links-text").textContent = this.state.links;
  }

  setTime(frame) {
    this.state.time = frame;
    const pixels = colorPixels(this.clip.colors, this.state.strength);
    for (const panel of this.panels) panel.drawStage(this.state, pixels);
    this.writeTime();
  }

  setStrength(strength) {
    this.state.strength = Math.min(Math.max(strength, 0), 1);
    byId("strength").value = 100 * this.state.strength;
    this.draw();
  }

  setLinks(links) {
    this.state.links = links;
    byId("links").value = links;
    this.ask();
  }

  togglePlaying() {
    this.timer = this.timer ? void clearInterval(this.timer) : setInterval(() => this.setTime((this.state.time + 1) % this.clip.size[0]), FRAME_MS);
    byId("play").setAttribute("aria-label", this.timer ? "Pause" : "Play");
    byId("play-icon").setAttribute("d", this.timer ? "M3 2h4v12H3zM9 2h4v12H9z" : "M4 2l10 6-10 6z");
  }

  /** From the start of an answer until the browser has painted it. */
  measure(started) {
    requestAnimationFrame(() => {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => {
        this.lastResponseMs = performance.now() - started;
        byId("facts").textContent = `${this.facts} Last answer: ${this.lastResponseMs.toFixed(0)} ms.`;
      };
      port2.postMessage(null);
    });
  }

  writeQuery() {
    const { query, kept } = this.state;
    const block = this.panels[0].block;
    const [frame, y, x] = query;
    byId("query-text").textContent = `frame ${frame} (${this.clip.times[frame]}), y ${y}, x ${x}`;
    byId("cell-text").textContent = `cell ${cellOf(block, query).join(", ")} of ${block.grid.join(" × ")}`;
    byId("pin").setAttribute("aria-pressed", kept);
    byId("pin").textContent = kept ? "Kept" : "Keep";
  }

  writeTime() {
    byId("time").value = this.state.time;
    byId("time-text").textContent = `frame ${this.state.time}, ${this.clip.times[this.state.time]}`;
  }

  /** The weight under the pointer, for each panel. */
  writePointer(position) {
    const told = this.panels.map(({ block, weights }) => {
      const key = keyAt(block, position);
      return key < 0 ? "no key" : number(weights[key]);
    });
    byId("pointer-text").textContent = `under the pointer: ${told.join(" and ")}`;
  }
}

async function main() {
  try {
    window.explorer = new Explorer(JSON.parse(byId("data").textContent));
    await window.explorer.start();
    document.body.dataset.ready = "true";
  } catch (error) {
    byId("problem").textContent = `This browser cannot show the page: ${error.message}. Current versions of Chrome, Edge, Firefox and Safari can.`;
    byId("problem").hidden = false;
    throw error;
  }
}
