// A panorama from inside and as a point cloud: plain WebGL 2, no dependencies.
//
// Axes and angles are those of utils/sphere.py: x right, y down, z forward; longitude u grows to the right, latitude v
// downward, both 0 in the middle of the panorama. Angles are in radians.

const DEGREES = 180 / Math.PI;
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** Right, down and forward of a camera looking at longitude u, latitude v: the columns of a 3x3 matrix. */
function axes(u, v) {
  const [su, cu, sv, cv] = [Math.sin(u), Math.cos(u), Math.sin(v), Math.cos(v)];
  return [cu, 0, -su, -sv * su, cv, -sv * cu, cv * su, sv, cv * cu];
}

// ---- Shaders ----------------------------------------------------------------------------------------------------

const LOOK_VERTEX = `#version 300 es
void main() {  // one triangle that covers the canvas
  gl_Position = vec4(gl_VertexID == 1 ? 3 : -1, gl_VertexID == 2 ? 3 : -1, 0, 1);
}`;

const LOOK_FRAGMENT = `#version 300 es
precision highp float;
uniform sampler2D layer;
uniform mat3 camera;
uniform vec2 size;    // of the canvas in pixels
uniform float focal;  // focal length, in half heights of the canvas
out vec4 color;
void main() {
  vec2 at = (2.0 * gl_FragCoord.xy - size) / size.y;
  vec3 ray = camera * vec3(at.x, -at.y, focal);
  vec2 angles = vec2(atan(ray.x, ray.z), atan(ray.y, length(ray.xz)));
  color = texture(layer, angles / vec2(${2 * Math.PI}, ${Math.PI}) + 0.5);
}`;

const CLOUD_VERTEX = `#version 300 es
precision highp float;
uniform highp usampler2D depth;
uniform sampler2D layer;
uniform mat3 camera;
uniform vec2 size;
uniform float focal, unit, distance;  // unit: of depth; distance: of the eye from the middle
uniform vec3 middle;                  // center of rotation
out vec4 shade;
void main() {  // vertex i is pixel i of the depth map
  ivec2 grid = textureSize(depth, 0);
  ivec2 pixel = ivec2(gl_VertexID % grid.x, gl_VertexID / grid.x);
  vec2 at = (vec2(pixel) + 0.5) / vec2(grid);
  vec2 angles = (at - 0.5) * vec2(${2 * Math.PI}, ${Math.PI});
  vec3 ray = vec3(cos(angles.y) * sin(angles.x), sin(angles.y), cos(angles.y) * cos(angles.x));
  float range = float(texelFetch(depth, pixel, 0).r) * unit;
  vec3 from_eye = ray * range - middle + camera[2] * distance;
  vec3 seen = transpose(camera) * from_eye;
  const float near = 0.05, far = 200.0;
  float z = ((far + near) * seen.z - 2.0 * far * near) / (far - near);
  gl_Position = vec4(seen.x * focal * size.y / size.x, -seen.y * focal, z, seen.z);
  // As large as the gap to the next row, so that surfaces have no holes.
  gl_PointSize = clamp(${(0.75 * Math.PI).toFixed(4)} * range / float(grid.y) * focal * size.y / seen.z, 1.0, 48.0);
  // Walls and ceiling are hidden from behind, so that one sees into the room; so are pixels without depth.
  if (dot(ray, from_eye) < 0.0 || range == 0.0) gl_Position = vec4(2, 2, 2, 1);
  shade = texture(layer, at);
}`;

const CLOUD_FRAGMENT = `#version 300 es
precision mediump float;
in vec4 shade;
out vec4 color;
void main() { color = shade; }`;

// ---- A canvas with a pair of shaders -------------------------------------------------------------------

class Canvas {
  constructor(canvas, vertexShader, fragmentShader) {
    this.canvas = canvas;
    const gl = (this.gl = canvas.getContext("webgl2"));
    this.program = gl.createProgram();
    for (const [type, source] of [[gl.VERTEX_SHADER, vertexShader], [gl.FRAGMENT_SHADER, fragmentShader]]) {
      const shader = gl.createShader(type);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(this.program, shader);
    }
    gl.linkProgram(this.program);
    gl.useProgram(this.program);
    gl.enable(gl.DEPTH_TEST);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    for (const [unit, name] of ["layer", "depth"].entries()) {
      gl.uniform1i(this.at(name), unit);
    }
  }

  at(name) {
    return this.gl.getUniformLocation(this.program, name);
  }

  /** Bind a new texture to a unit. It wraps in longitude. */
  texture(unit, filter) {
    const gl = this.gl;
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.deleteTexture(gl.getParameter(gl.TEXTURE_BINDING_2D));
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, filter);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, filter);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.REPEAT);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
  }

  setLayer(image, smooth) {
    const gl = this.gl;
    this.texture(0, smooth ? gl.LINEAR : gl.NEAREST);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, image);
  }

  setDepth(width, height, depth) {
    const gl = this.gl;
    this.texture(1, gl.NEAREST);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.R16UI, width, height, 0, gl.RED_INTEGER, gl.UNSIGNED_SHORT, depth);
  }

  /** Draw `count` points or triangles. Uniforms by name: lists of 1, 2, 3 or, for the matrix, 9 numbers. */
  draw(mode, count, uniforms) {
    const gl = this.gl;
    const width = Math.round(this.canvas.clientWidth * devicePixelRatio);
    const height = Math.round(this.canvas.clientHeight * devicePixelRatio);
    Object.assign(this.canvas, { width, height });
    gl.viewport(0, 0, width, height);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    const setters = { 1: "uniform1fv", 2: "uniform2fv", 3: "uniform3fv" };
    for (const [name, values] of Object.entries({ ...uniforms, size: [width, height] })) {
      if (values.length === 9) gl.uniformMatrix3fv(this.at(name), false, values);
      else gl[setters[values.length]](this.at(name), values);
    }
    gl.drawArrays(mode, 0, count);
  }

  /** Call `turn` with the pixels of a drag, and `zoom` with the factor of a wheel event. */
  onMove(turn, zoom) {
    let last = null;
    this.canvas.addEventListener("pointerdown", (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      last = [event.clientX, event.clientY];
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (!this.canvas.hasPointerCapture(event.pointerId)) return;
      turn(event.clientX - last[0], event.clientY - last[1]);
      last = [event.clientX, event.clientY];
    });
    this.canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      zoom(Math.exp(clamp(event.deltaY, -100, 100) / 500));
    }, { passive: false });
  }
}

// ---- From inside ------------------------------------------------------------------------------------------------

class LookAround extends Canvas {
  constructor(canvas, onTurn) {
    super(canvas, LOOK_VERTEX, LOOK_FRAGMENT);
    this.onTurn = onTurn;
    this.u = this.v = 0;
    this.field = 70 / DEGREES; // of view, vertical
    this.onMove(
      (dx, dy) => {
        const perPixel = this.field / canvas.clientHeight; // the scene follows the pointer
        this.lookAt(this.u - dx * perPixel, this.v - dy * perPixel);
      },
      (factor) => {
        this.field = clamp(this.field * factor, 15 / DEGREES, 120 / DEGREES);
        this.redraw();
      },
    );
  }

  lookAt(u, v) {
    this.u = u - 2 * Math.PI * Math.round(u / (2 * Math.PI));
    this.v = clamp(v, -Math.PI / 2, Math.PI / 2);
    this.redraw();
    this.onTurn(this.u, this.v);
  }

  redraw() {
    this.draw(this.gl.TRIANGLES, 3, { camera: axes(this.u, this.v), focal: [this.focal()] });
  }

  focal() {
    return 1 / Math.tan(this.field / 2);
  }

  /** Longitude and latitude of a pixel of the canvas. */
  angles(x, y) {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const camera = axes(this.u, this.v);
    const seen = [(2 * x - width) / height, (2 * y - height) / height, this.focal()];
    const ray = [0, 1, 2].map((i) => camera[i] * seen[0] + camera[3 + i] * seen[1] + camera[6 + i] * seen[2]);
    return [Math.atan2(ray[0], ray[2]), Math.atan2(ray[1], Math.hypot(ray[0], ray[2]))];
  }
}

// ---- From outside -----------------------------------------------------------------------------------------------

class PointCloud extends Canvas {
  constructor(canvas) {
    super(canvas, CLOUD_VERTEX, CLOUD_FRAGMENT);
    this.onMove(
      (dx, dy) => {
        this.u += dx / 200;
        this.v = clamp(this.v + dy / 200, -Math.PI / 2, Math.PI / 2);
        this.redraw();
      },
      (factor) => {
        this.distance = clamp(this.distance * factor, 0.5, 60);
        this.redraw();
      },
    );
  }

  /** Show the points of a depth map, from above, at a distance at which the room fits. */
  show(width, height, { values, step }) {
    this.setDepth(width, height, values);
    const [low, high] = [[Infinity, Infinity, Infinity], [-Infinity, -Infinity, -Infinity]];
    values.forEach((value, i) => {
      if (!value) return; // without a depth
      const [u, v] = [((i % width) + 0.5) / width - 0.5, (Math.floor(i / width) + 0.5) / height - 0.5];
      axes(2 * Math.PI * u, Math.PI * v).slice(6).forEach((forward, axis) => {
        low[axis] = Math.min(low[axis], forward * value * step);
        high[axis] = Math.max(high[axis], forward * value * step);
      });
    });
    const middle = low.map((value, axis) => (value + high[axis]) / 2);
    const distance = 0.85 * Math.hypot(...low.map((value, axis) => high[axis] - value));
    Object.assign(this, { count: width * height, unit: step, middle, distance, u: 0.5, v: 0.8 });
  }

  redraw() {
    const { unit, distance, middle } = this;
    const uniforms = { camera: axes(this.u, this.v), focal: [1.8], unit: [unit], distance: [distance], middle };
    this.draw(this.gl.POINTS, this.count, uniforms);
  }
}
