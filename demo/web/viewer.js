// The viewer of demo_elite360m.py: one panorama as flat maps, from inside and as a point cloud (views.js), with the
// values under the pointer.
//
// Gradio runs views.js, measure.js and this file when viewer.html is loaded, with `element` (its root), `props.value`
// (from demo/layers.py), `watch` and `server` (functions of demo/page.py).

const ARRAYS = { uint8: Uint8Array, int8: Int8Array, uint16: Uint16Array };
const find = (selector) => element.querySelector(selector);

/** A new element with properties and children. */
function make(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

/** The value map of a layer, with its values as a typed array. */
function decode({ type, data, step, unit }) {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  return { values: new ARRAYS[type](bytes.buffer), step, unit };
}

class Viewer {
  constructor() {
    this.ruler = new Ruler(find(".measure"), find(".distance"), () => this.data && this.mark());
    new ResizeObserver(() => this.data && this.redraw()).observe(find(".views"));
    if (!document.createElement("canvas").getContext("webgl2")) {
      find(".views").replaceChildren("this browser has no WebGL 2: only flat maps are shown");
      return;
    }
    const onTap = (angles) => this.select(...angles);
    this.look = new LookAround(find(".look"), (u, v) => this.onTurn(u, v), onTap);
    this.cloud = new PointCloud(find(".cloud"), () => this.onMove(), (pixel) => this.select(...this.angles(pixel)));
    find(".look").addEventListener("pointermove", (event) => {
      this.showValues(...this.look.angles(event.offsetX, event.offsetY));
    });
    find(".look").addEventListener("keyup", () => this.showValues(this.look.u, this.look.v));
    const views = [this.look, this.cloud];
    element.querySelectorAll(".reset").forEach((button, i) => button.addEventListener("click", () => views[i].reset()));
  }

  degrees(angle) {
    return `${(angle * DEGREES).toFixed(1)}°`;
  }

  /** Show what the server sends: a new panorama, or an error. */
  async show(data) {
    find(".alert").hidden = !data.error;
    find(".alert").textContent = data.error ?? "";
    if (data.error) return;
    const layers = data.layers.map((layer) => ({
      ...layer,
      image: make("img", { src: layer.image, alt: layer.caption, draggable: false }),
      ...(layer.value_map && { value_map: decode(layer.value_map) }),
    }));
    await Promise.all(layers.map((layer) => layer.image.decode()));
    const depth = layers.find((layer) => layer.name === "depth");
    this.depth = depth && new DepthMap(data.width, data.height, depth.value_map);
    this.data = { ...data, layers };
    find(".empty").hidden = true;
    find(".shown").hidden = false;
    find(".title").textContent = data.title;
    find(".read-out").textContent = "point at a map or at the inside view";
    find(".maps").style = ""; // hides the mark of the pointer
    find(".maps").replaceChildren(...layers.map((layer) => this.map(layer)));
    find(".measure").hidden = !depth;
    this.ruler.unit = depth?.value_map.unit ?? "";
    this.offerDownloads(data.files);
    if (this.look) this.showViews(layers);
    this.ruler.measure(false);
    // On small screens the result is below the examples.
    if (element.getBoundingClientRect().top > innerHeight / 2) element.scrollIntoView({ behavior: "smooth" });
  }

  showViews(layers) {
    find(".outside").hidden = !this.depth;
    const buttons = layers.map((layer) => {
      const button = make("button", { textContent: layer.title, role: "radio", onclick: () => this.choose(layer) });
      button.addEventListener("keydown", (event) => this.chooseNeighbor(event));
      return button;
    });
    find(".choice").replaceChildren(...buttons);
    if (this.depth) this.cloud.show(this.depth);
    this.choose(layers[0]);
    this.look.reset();
  }

  /** Handle a key on a layer's button: arrows choose the next or the previous layer, as in any group of radio buttons. */
  chooseNeighbor(event) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const buttons = [...find(".choice").children];
    const next = buttons[(buttons.indexOf(event.currentTarget) + step + buttons.length) % buttons.length];
    next.click();
    next.focus();
  }

  offerDownloads({ key, kinds }) {
    const buttons = kinds.map(([kind, name]) => {
      return make("button", { textContent: name, onclick: () => this.download(key, kind) });
    });
    find(".downloads").replaceChildren("download: ", ...buttons);
  }

  async download(key, kind) {
    const { name, data, error } = await server.download({ key, kind });
    find(".alert").hidden = !error;
    find(".alert").textContent = error ?? "";
    if (error) return;
    const url = URL.createObjectURL(new Blob([Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0))]));
    make("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60000);
  }

  /** A flat map: its image, with a scale or legend below. */
  map(layer) {
    const image = make("div", { className: "picture" }, layer.image);
    layer.image.dataset.layer = layer.name;
    image.addEventListener("pointermove", (event) => this.showValues(...this.mapAngles(event)));
    image.addEventListener("click", (event) => {
      const angles = this.mapAngles(event);
      this.select(...angles);
      if (!this.ruler.active) this.look?.lookAt(...angles);
    });
    const caption = make("figcaption", {}, make("span", { textContent: layer.caption }));
    if (layer.scale) caption.append(this.scale(layer.scale));
    const figure = make("figure", {}, image, caption);
    if (layer.legend) figure.append(this.legend(layer));
    if (layer.value_map) figure.append(...this.quality(layer));
    return figure;
  }

  /** The seam score of a map, and its error if there is ground truth. */
  quality(layer) {
    const parts = [];
    if (layer.seam != null) {
      const title =
        "change across the left and right border, relative to that between other columns: about 1 is good; " +
        "click to look at the border";
      const onclick = () => {
        this.choose(layer);
        this.look?.lookAt(Math.PI, 0);
      };
      parts.push(make("button", { className: "seam", textContent: `seam ${layer.seam.toFixed(1)}`, title, onclick }));
    }
    const { error } = layer;
    const text = error?.summary ?? "error unknown";
    const title = error ? "" : "there is no ground truth for this panorama";
    const caption = make("figcaption", {}, make("span", { className: "error", textContent: text, title }), ...parts);
    if (!error) return [caption];
    const image = make("img", { src: error.image, alt: `error of ${layer.title}` });
    const name = make("span", { textContent: "error" });
    const scale = make("figcaption", {}, name, error.scale ? this.scale(error.scale) : "red: wrong");
    return [caption, make("div", { className: "error-map" }, image), scale];
  }

  scale({ low, high, unit, image }) {
    const ends = [low, high].map((value) => make("span", { textContent: `${value} ${unit}` }));
    return make("span", { className: "scale" }, ends[0], make("img", { src: image, alt: "" }), ends[1]);
  }

  /** The classes that occur, the most frequent first. */
  legend({ legend, value_map: { values } }) {
    const counts = new Array(legend.length).fill(0);
    for (const value of values) counts[value]++;
    const order = [...legend.keys()].filter((i) => counts[i]).sort((i, j) => counts[j] - counts[i]);
    return make("ul", { className: "legend" }, ...order.map((i) => this.chip(...legend[i])));
  }

  chip(name, color) {
    const swatch = make("i");
    swatch.style.background = color;
    return make("li", {}, swatch, name);
  }

  choose(layer) {
    if (!this.look) return;
    for (const view of [this.look, this.cloud]) view.setLayer(layer.image, layer.name === "RGB");
    [...find(".choice").children].forEach((button, i) => {
      const isChosen = this.data.layers[i] === layer;
      Object.assign(button, { ariaChecked: isChosen, tabIndex: isChosen ? 0 : -1 });
    });
    this.redraw();
  }

  /** Draw both views, and the marks everywhere. */
  redraw() {
    this.look?.redraw();
    if (this.look && this.depth) this.cloud.redraw();
    this.mark();
  }

  /** Show the points of the ruler in all views. */
  mark() {
    if (this.look) this.markView(this.look);
    if (this.look && this.depth) this.markView(this.cloud);
    for (const map of element.querySelectorAll(".picture")) {
      const [width, height] = [map.clientWidth, map.clientHeight];
      this.ruler.mark(map, ({ u, v }) => [(u / (2 * Math.PI) + 0.5) * width, (v / Math.PI + 0.5) * height]);
    }
  }

  markView(view) {
    this.ruler.mark(view.canvas.parentElement, ({ position }) => view.project(position));
  }

  onTurn(u, v) {
    const direction = `longitude ${this.degrees(u)}, latitude ${this.degrees(v)}`;
    find(".look-caption").textContent = `looking at ${direction} · drag, wheel or pinch`;
    this.markView(this.look);
  }

  /** Move the marks on the point cloud, and the arrows that point up and ahead. */
  onMove() {
    this.markView(this.cloud);
    const arrows = Object.entries({ up: [0, -1, 0], ahead: [0, 0, 1] }).map(([name, vector]) => {
      const [x, y] = this.cloud.direction(vector).map((value) => 26 * value);
      const anchor = x < -1 ? "end" : "start";
      return `<line x2="${x}" y2="${y}" /><text x="${1.2 * x}" y="${1.2 * y}" text-anchor="${anchor}">${name}</text>`;
    });
    find(".compass").innerHTML = arrows.join("");
  }

  /** Show the values in a direction that was clicked, and measure from or to it. */
  select(u, v) {
    this.showValues(u, v);
    if (this.ruler.active) this.ruler.add(this.depth.point(this.pixel(u, v)), u, v);
  }

  /** Longitude and latitude of a pixel of the maps. */
  angles(pixel) {
    const { width, height } = this.data;
    const [x, y] = [pixel % width, Math.floor(pixel / width)];
    return [((x + 0.5) / width - 0.5) * 2 * Math.PI, ((y + 0.5) / height - 0.5) * Math.PI];
  }

  mapAngles({ currentTarget: image, offsetX, offsetY }) {
    return [(offsetX / image.clientWidth - 0.5) * 2 * Math.PI, (offsetY / image.clientHeight - 0.5) * Math.PI];
  }

  /** The pixel of the maps that shows a direction. */
  pixel(u, v) {
    const { width, height } = this.data;
    const column = clamp(Math.floor((u / (2 * Math.PI) + 0.5) * width), 0, width - 1);
    return clamp(Math.floor((v / Math.PI + 0.5) * height), 0, height - 1) * width + column;
  }

  /** Show the values in a direction, and mark the direction on the maps. */
  showValues(u, v) {
    const { layers } = this.data;
    const [x, y] = [u / (2 * Math.PI) + 0.5, v / Math.PI + 0.5];
    const pixel = this.pixel(u, v);
    const values = layers.filter((layer) => layer.value_map).map((layer) => this.value(layer, pixel));
    const direction = [`longitude ${this.degrees(u)}`, `latitude ${this.degrees(v)}`];
    find(".read-out").replaceChildren(...[...direction, ...values].map((text) => make("span", { textContent: text })));
    find(".maps").style.setProperty("--x", `${100 * x}%`);
    find(".maps").style.setProperty("--y", `${100 * y}%`);
  }

  value({ name, legend, value_map: { values, step, unit } }, pixel) {
    if (legend) return `class ${legend[values[pixel]][0]}`;
    if (name === "depth" && !values[pixel]) return "no depth";
    const channels = values.length / (this.data.width * this.data.height);
    const numbers = Array.from({ length: channels }, (_, i) => (step * values[pixel * channels + i]).toFixed(2));
    return `${name} ${numbers.join(", ")} ${unit}`.trim();
  }
}

const viewer = new Viewer();
watch("value", () => props.value && viewer.show(props.value));
