// One block on the page: its stage (the frame of the moment, large), its strip (all frames), its list of strongest keys.

class Panel {
  constructor(clip, index, choose) {
    this.clip = clip;
    this.index = index;
    this.stage = fromTemplate("stage-template");
    this.strip = fromTemplate("strip-template");
    this.list = fromTemplate("list-template");
    this.stagePicture = this.stage.querySelector(".picture");
    this.buttons = this.addBlockButtons(choose);
    this.addFrames();
    drawBar(this.stage.querySelector(".bar canvas"), clip.colors);
  }

  addBlockButtons(choose) {
    const holder = this.stage.querySelector(".blocks");
    return this.clip.sources.flatMap((source, sourceIndex) => {
      const group = document.createElement("fieldset");
      if (this.clip.sources.length > 1) group.append(element("legend", source.name));
      else group.setAttribute("aria-label", "Block");
      holder.append(group);
      return [...this.clip.blocks.entries()]
        .filter(([, block]) => block.source === sourceIndex)
        .map(([index, block]) => {
          const button = element("button", block.name);
          button.type = "button";
          button.addEventListener("click", () => choose(this.index, index));
          group.append(button);
          return { button, index };
        });
    });
  }

  addFrames() {
    const [numFrames, height, width] = this.clip.size;
    const frames = this.strip.querySelector(".frames");
    frames.style.setProperty("--columns", Math.min(Math.max(numFrames, 4), 8));
    this.pictures = this.clip.frames.map((source, index) => {
      const figure = fromTemplate("frame-template");
      figure.querySelector("img").src = source;
      const caption = figure.querySelector("figcaption");
      caption.append(element("span", `frame ${index}`), element("span", `, ${this.clip.times[index]}`, "time"));
      frames.append(figure);
      return figure.querySelector(".picture");
    });
    for (const picture of [this.stagePicture, ...this.pictures]) {
      const canvas = picture.querySelector("canvas");
      [canvas.width, canvas.height] = [width, height];
    }
  }

  /** Takes a block, whose rows are ready. */
  show(block, blockIndex) {
    this.block = block;
    this.weights = null;
    for (const { button, index } of this.buttons) button.setAttribute("aria-pressed", index === blockIndex);
    const notes = [block.note];
    if (block.mayBeNegative) notes.push(this.isEvidence ? "Evidence against the class (below 0) is shown as 0." : "Weights below 0 are shown as 0.");
    this.stage.querySelector(".note").textContent = notes.join(" ").trim();
    this.stage.querySelector(".bar-name").textContent = block.quantity;
    this.strip.querySelector("h2").textContent = this.title;
  }

  get isEvidence() {
    return this.block.quantity === "evidence";
  }

  get title() {
    const source = this.clip.sources[this.block.source];
    return this.clip.sources.length > 1 ? `${this.block.name} of ${source.name}` : this.block.name;
  }

  /** Everything that depends on the query. */
  ask(query, links) {
    this.weights = this.block.row(flatCell(this.block, cellOf(this.block, query)));
    this.full = fullWeight(this.weights);
    this.queryBox = boxOf(this.block.cellOfPixel, cellOf(this.block, query));
    this.targets = strongest(this.weights, Math.max(links, 8)).map((key) => {
      const box = boxOf(this.block.keyOfPixel, keyPlace(this.block, key));
      return { position: centerOf(box), box, weight: this.weights[key], share: this.weights[key] / this.full };
    });
    const ticks = this.stage.querySelector(".ticks");
    ticks.querySelector(".middle").textContent = number(this.full / 2);
    ticks.querySelector(".most").textContent = number(this.full);
  }

  draw(state, pixels) {
    for (const [frame, picture] of this.pictures.entries()) this.drawPicture(picture, frame, pixels);
    this.drawStage(state, pixels);
    this.drawLines(state);
  }

  drawPicture(picture, frame, pixels) {
    drawOverlay(picture.querySelector("canvas"), this.block, this.weights, this.full, frame, pixels);
    placeMarker(picture.querySelector(".marker"), this.queryBox, this.clip.size, frame);
  }

  drawStage({ time }, pixels) {
    const image = this.stagePicture.querySelector("img");
    if (image.src !== this.clip.frames[time]) image.src = this.clip.frames[time];
    this.drawPicture(this.stagePicture, time, pixels);
    this.stagePicture.setAttribute("aria-label", `Frame ${time} with ${this.isEvidence ? this.title : `what ${this.title} reads`}, as color. Arrow keys move the query.`);
    for (const [frame, picture] of this.pictures.entries()) picture.parentNode.classList.toggle("now", frame === time);
  }

  drawLines({ links }) {
    const from = centerOf(this.queryBox);
    const targets = this.isEvidence ? [] : this.targets.slice(0, links); // nobody reads evidence
    drawLinks(this.strip.querySelector(".lines"), this.pictures, this.clip.size, from, targets);
  }

  drawList(goTo) {
    this.list.querySelector("h2").textContent = this.isEvidence ? `Most ${this.title}` : `${this.title} reads most`;
    const items = this.targets.slice(0, 6).map(({ position, weight, share }) => {
      const item = document.createElement("li");
      const button = element("button");
      button.type = "button";
      button.style.setProperty("--share", share);
      const [frame, y, x] = position;
      button.append(element("span", `frame ${frame}, y ${y}, x ${x}`), element("span", number(weight), "value"));
      button.addEventListener("click", () => goTo(frame));
      item.append(button);
      return item;
    });
    this.list.querySelector("ol").replaceChildren(...items);
  }
}

function fromTemplate(id) {
  return document.getElementById(id).content.firstElementChild.cloneNode(true);
}

/** An element with text; text never becomes markup. */
function element(name, text = "", className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = className;
  return made;
}

/** Three digits; of very small and very large numbers the power of ten too. */
function number(value) {
  const size = Math.abs(value);
  return value !== 0 && (size < 0.0001 || size >= 1000) ? value.toExponential(2) : value.toPrecision(3);
}
