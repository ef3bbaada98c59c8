// What people do: pointer, sliders, buttons and keys.

function connectControls(page) {
  byId("threshold").addEventListener("input", (event) => page.set({ threshold: Math.round(100 * event.target.value) / 100 }));
  byId("min-seconds").addEventListener("input", (event) => page.set({ minSeconds: Math.max(+event.target.value || 0, 0) }));
  byId("filter").addEventListener("input", (event) => page.set({ text: event.target.value }));
  byId("clear").addEventListener("click", () => page.clearFilter());
  byId("zoom-in").addEventListener("click", () => page.zoom(2));
  byId("zoom-out").addEventListener("click", () => page.zoom(0.5));
  byId("csv").addEventListener("click", () => page.save(csvOf(page.segments), "csv", "text/csv"));
  byId("srt").addEventListener("click", () => page.save(srtOf(page.segments), "srt", "application/x-subrip"));
  byId("file").addEventListener("change", (event) => event.target.files[0] && page.film.open(event.target.files[0]));
}

function connectChart(page) {
  const { scroller } = page.chart;
  const xOf = (event) => Math.min(Math.max(event.clientX - scroller.getBoundingClientRect().left, 0), page.chart.width);
  scroller.addEventListener("pointermove", (event) => {
    if (event.pointerType !== "touch") page.hover(xOf(event)); // under a finger it would be hidden, and stay
    if (event.buttons & 1 && event.pointerType === "mouse") page.film.seek(page.chart.timeAt(xOf(event)));
  });
  scroller.addEventListener("pointerleave", () => page.hover(null));
  scroller.addEventListener("click", (event) => page.film.seek(page.chart.timeAt(xOf(event))));
  scroller.addEventListener("scroll", () => page.draw());
  const wheel = (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    page.zoom(event.deltaY < 0 ? 1.25 : 0.8, page.chart.timeAt(xOf(event)));
  };
  scroller.addEventListener("wheel", wheel, { passive: false });
  scroller.setAttribute("aria-valuemax", page.moments.duration.toFixed(2));
  new ResizeObserver(() => page.draw()).observe(scroller);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => page.draw());
}

function connectKeys(page) {
  const threshold = (by) => () => page.set({ threshold: Math.min(Math.max(Math.round(100 * page.state.threshold + by) / 100, 0), 1) });
  const actions = {
    " ": () => page.film.toggle(),
    ArrowLeft: () => page.step(-1), ArrowRight: () => page.step(1),
    "[": () => page.jump(-1), "]": () => page.jump(1),
    ArrowUp: threshold(5), ArrowDown: threshold(-5),
    "+": () => page.zoom(2), "=": () => page.zoom(2), "-": () => page.zoom(0.5),
    "/": () => byId("filter").focus(),
    Home: () => page.film.seek(0), End: () => page.film.seek(page.moments.times[page.moments.count - 1]),
    Escape: () => (document.activeElement.blur(), page.clearFilter()),
  };
  document.addEventListener("keydown", (event) => {
    const action = actions[event.key];
    if (!action || event.ctrlKey || event.metaKey || event.altKey || isOwnKey(event)) return;
    event.preventDefault();
    action();
  });
}

/** Keys that the focused control needs itself: all of a text field, arrows of a slider, space of a button. */
function isOwnKey({ key, target }) {
  if (key === "Escape") return false;
  if (target.matches("input[type=range]")) return key.startsWith("Arrow") || key === "Home" || key === "End";
  return target.matches("input") || (target.matches("button, summary") && key === " ");
}

main();
