// What people do: pointer, sliders, buttons and keys.

/** Pointers on the pictures of a panel: moving asks, unless the query is kept; pressing asks and keeps. */
function connectPictures(explorer, panel) {
  const connect = (picture, frameOf) => {
    const position = (event) => {
      const box = picture.getBoundingClientRect();
      const [, height, width] = explorer.clip.size;
      const along = (offset, length, pixels) => Math.min(Math.max(Math.floor((offset / length) * pixels), 0), pixels - 1);
      return [frameOf(), along(event.clientY - box.top, box.height, height), along(event.clientX - box.left, box.width, width)];
    };
    picture.addEventListener("pointermove", (event) => {
      const isDragging = event.buttons > 0;
      if (isDragging || !explorer.state.kept) explorer.setQuery(position(event));
      explorer.writePointer(position(event));
    });
    picture.addEventListener("pointerdown", (event) => {
      explorer.setQuery(position(event), { keep: true, follow: true });
      explorer.writePointer(position(event));
    });
    picture.addEventListener("pointerleave", () => (byId("pointer-text").textContent = ""));
  };
  connect(panel.stagePicture, () => explorer.state.time);
  panel.pictures.forEach((picture, frame) => connect(picture, () => frame));
}

function connectControls(explorer) {
  byId("play").addEventListener("click", () => explorer.togglePlaying());
  byId("time").addEventListener("input", (event) => explorer.setTime(+event.target.value));
  byId("strength").addEventListener("input", (event) => explorer.setStrength(event.target.value / 100));
  byId("links").addEventListener("input", (event) => explorer.setLinks(+event.target.value));
  byId("pin").addEventListener("click", () => explorer.setQuery(explorer.state.query, { keep: !explorer.state.kept }));
  byId("auto").addEventListener("click", () => askMostChanged(explorer));
  byId("compare").addEventListener("click", () => explorer.toggleCompare());
}

function askMostChanged(explorer) {
  explorer.setQuery(explorer.panels[0].block.mostChanged, { keep: true, follow: true });
}

function connectKeys(explorer) {
  const move = (axis, step) => () => {
    const query = neighbor(explorer.panels[0].block, explorer.state.query, axis, step);
    explorer.setQuery(query, { keep: true, follow: true });
  };
  const turn = (place, step) => () => {
    const { shown } = explorer.state;
    if (place < shown.length) explorer.choose(place, (shown[place] + step + explorer.clip.blocks.length) % explorer.clip.blocks.length);
  };
  const strength = (step) => () => explorer.setStrength(explorer.state.strength + step);
  const actions = {
    ArrowLeft: move(2, -1), ArrowRight: move(2, 1), ArrowUp: move(1, -1), ArrowDown: move(1, 1), ",": move(0, -1), ".": move(0, 1),
    "[": turn(0, -1), "]": turn(0, 1), "{": turn(1, -1), "}": turn(1, 1),
    "-": strength(-0.1), "+": strength(0.1), "=": strength(0.1),
    " ": () => explorer.togglePlaying(),
    l: () => explorer.setLinks(explorer.state.links ? 0 : 8),
    p: () => byId("pin").click(),
    a: () => askMostChanged(explorer),
    c: () => byId("compare").hidden || explorer.toggleCompare(),
    Escape: () => explorer.setQuery(explorer.state.query, { keep: false }),
  };
  for (let digit = 1; digit <= 9; digit++) actions[digit] = () => explorer.choose(0, digit - 1);
  document.addEventListener("keydown", (event) => {
    const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action || event.ctrlKey || event.metaKey || event.altKey || isOwnKey(event)) return;
    event.preventDefault();
    action();
  });
}

/** Keys that the focused control needs itself: arrows of a slider, space of a button. */
function isOwnKey({ key, target }) {
  if (target.matches("input")) return key.startsWith("Arrow") || key === " ";
  return target.matches("button, summary") && key === " ";
}

main();
