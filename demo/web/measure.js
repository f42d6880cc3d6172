// The distance between two points that are chosen in any of the views, and their marks in all of them.

class Ruler {
  /** `button` and `output`: elements; `onChange` is called when points come or go. */
  constructor(button, output, onChange) {
    Object.assign(this, { button, output, onChange, points: [], unit: "" });
    button.addEventListener("click", () => this.measure(!this.active));
  }

  get active() {
    return this.button.getAttribute("aria-pressed") === "true";
  }

  /** Begin or end measuring. */
  measure(active) {
    this.button.setAttribute("aria-pressed", active);
    this.set([]);
  }

  /** Take a point: its place (x, y, z), or null without depth, and its angles. A third one begins anew. */
  add(place, u, v) {
    if (!place) this.output.textContent = "no depth there";
    else this.set([...(this.points.length === 2 ? [] : this.points), { place, u, v }]);
  }

  set(points) {
    this.points = points;
    this.output.textContent = this.text();
    this.onChange();
  }

  text() {
    if (!this.active) return "";
    if (this.points.length < 2) return this.points.length ? "choose the second point" : "choose two points in any view";
    const [a, b] = this.points.map(({ place }) => place);
    const length = Math.hypot(...a.map((value, axis) => value - b[axis]));
    return `A to B: ${`${length.toFixed(2)} ${this.unit}`.trim()}, by predicted depth`;
  }

  /** Show the marks in a view: an element with room for them, and a function from a point to its pixel or null. */
  mark(view, place) {
    view.querySelectorAll(".end").forEach((mark) => mark.remove());
    this.points.forEach((point, i) => {
      const at = place(point);
      if (!at) return;
      const mark = make("b", { className: "end", textContent: "AB"[i] });
      Object.assign(mark.style, { left: `${at[0]}px`, top: `${at[1]}px` });
      view.append(mark);
    });
  }
}
