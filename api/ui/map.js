// The map as an element of the page: the canvas, its legend, and what hands and keys do to it.
//
// Takes addresses of points and colors; tells the server which point somebody looks at (`look`) or
// picks (`pick`), over the page's own connection, so that no id is ever in an address.

import { Plot } from "graphsvc-chart";

const REACH = { mouse: 14, touch: 26 };
const REST_MS = 60;
const STEP = 60;
const CLICK_PIXELS = 6;
const FOUND_ZOOM = 6;

export default {
  template: `
    <div class="gs-map">
      <div class="gs-map-plane" ref="plane">
        <canvas ref="canvas" tabindex="0" role="application" aria-label="Map"
          aria-describedby="gs-map-keys" @keydown="key" @blur="leave" @focus="focused"
          @pointerdown="press" @pointermove="hover" @pointerup="release"
          @pointercancel="release" @pointerleave="leave" @wheel.prevent="wheel"></canvas>
        <div class="gs-map-ring" v-show="ring" :style="ring"></div>
        <div class="gs-map-ring gs-map-mark" v-show="marked" :style="marked"></div>
        <div class="gs-map-tip" v-show="tip.text" :style="tip.style" role="status">
          <div class="gs-map-title">{{ tip.text }}</div><div>{{ tip.under }}</div>
        </div>
        <div class="gs-map-tools">
          <button type="button" aria-label="Closer" title="Closer (+)" @click="zoom(1.5)">+</button>
          <button type="button" aria-label="Farther" title="Farther (-)"
            @click="zoom(1 / 1.5)">&minus;</button>
          <button type="button" aria-label="All of it" title="All of it (0)"
            @click="all">&#x2922;</button>
        </div>
        <div class="gs-map-said" v-if="said" role="alert">{{ said }}</div>
      </div>
      <p id="gs-map-keys" class="gs-map-keys">{{ keys }}</p>
      <ul class="gs-map-legend" aria-label="Colors">
        <li v-for="entry in legend" :key="entry.label">
          <button type="button" :aria-pressed="String(!off[entry.label])" @click="toggle(entry)">
            <span class="gs-map-swatch" :style="swatch(entry)"></span>
            <span>{{ entry.label }}</span> <span
              class="gs-map-count">{{ entry.count.toLocaleString() }}</span>
          </button>
        </li>
      </ul>
    </div>`,
  props: { name: String },
  data() {
    return {
      legend: [],
      off: {},
      tip: { text: "", under: "", style: {} },
      ring: null,
      marked: null,
      said: "",
      keys:
        "Wheel, pinch or + and - to zoom, drag or arrow keys to move, 0 for all of it; " +
        "click a point, or press Enter on the one that is ringed, to see its neighbors.",
    };
  },
  mounted() {
    this.plot = new Plot(this.$refs.canvas);
    this.aimed = -1;
    this.spot = null;
    this.told = new Map();
    this.pointers = new Map();
    this.sizes = new ResizeObserver(() => {
      this.plot.resize();
      this.soon();
    });
    this.sizes.observe(this.$refs.canvas);
    this.theme = new MutationObserver(() => this.dye());
    this.theme.observe(document.body, { attributes: true, attributeFilter: ["class"] });
    this.$el.plot = this.plot;
  },
  unmounted() {
    this.sizes.disconnect();
    this.theme.disconnect();
    clearTimeout(this.resting);
  },
  methods: {
    // Called by the server.

    load(address) {
      this.loaded = this.fetched(address).then((bytes) => {
        if (!bytes) return;
        this.plot.load(bytes);
        this.restore();
      });
    },
    async paint(address) {
      this.wanted = address;
      const bytes = await this.fetched(address);
      await this.loaded;
      if (!bytes || this.wanted !== address) return;
      const length = new DataView(bytes).getUint32(0, true);
      const head = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 4, length)));
      this.head = head;
      this.legend = head.legend;
      this.off = {};
      this.plot.paint(new Uint8Array(bytes, 4 + length));
      this.dye();
      this.$el.dataset.painted = address;
    },
    tell(point, text, under) {
      this.told.set(point, [text, under]);
      if (point === this.aimed) this.showTip();
    },
    mark(x, y) {
      this.spot = [x, y];
      this.plot.lookAt(x, y, FOUND_ZOOM);
      this.soon();
      this.$refs.canvas.focus();
      this.aimAtMiddle();
    },

    // What hands do.

    press(event) {
      this.$refs.canvas.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
      this.pressed = this.pointers.size === 1 ? [event.offsetX, event.offsetY] : null;
    },
    hover(event) {
      const here = [event.offsetX, event.offsetY];
      const before = this.pointers.get(event.pointerId);
      if (!before) {
        this.aim(this.plot.nearest(...here, REACH.mouse));
        return;
      }
      const from = this.pressed;
      if (from && Math.hypot(here[0] - from[0], here[1] - from[1]) > CLICK_PIXELS) {
        this.pressed = null;
      }
      if (this.pointers.size === 1 && !this.pressed) {
        this.plot.move(here[0] - before[0], here[1] - before[1]);
      } else if (this.pointers.size === 2) {
        const [[, other]] = [...this.pointers].filter(([id]) => id !== event.pointerId);
        const apart = (a) => Math.max(1, Math.hypot(a[0] - other[0], a[1] - other[1]));
        const middle = [(here[0] + other[0]) / 2, (here[1] + other[1]) / 2];
        this.plot.move((here[0] - before[0]) / 2, (here[1] - before[1]) / 2);
        this.plot.zoomBy(apart(here) / apart(before), ...middle);
      }
      if (this.pointers.size === 1 && this.pressed) return;
      this.pointers.set(event.pointerId, here);
      this.soon();
    },
    release(event) {
      const clicked = this.pressed && event.type === "pointerup";
      this.pointers.delete(event.pointerId);
      this.pressed = null;
      if (!clicked) return this.remember();
      const touch = event.pointerType !== "mouse";
      const reach = touch ? REACH.touch : REACH.mouse;
      const point = this.plot.nearest(event.offsetX, event.offsetY, reach);
      // A finger first shows what it has met, and picks it when it comes again.
      if (point >= 0 && (!touch || point === this.aimed)) this.pick(point);
      else this.aim(point);
    },
    wheel(event) {
      const lines = event.deltaMode === 1 ? 16 : 1;
      this.plot.zoomBy(Math.exp(-event.deltaY * lines * 0.0016), event.offsetX, event.offsetY);
      this.soon();
    },
    leave(event) {
      // A finger that is lifted has left, and what it has met is to be read.
      if (event.pointerType === "touch") return;
      if (event.type === "blur" || !this.pointers.size) this.aim(-1);
    },
    focused() {
      if (this.$refs.canvas.matches(":focus-visible")) this.aimAtMiddle();
    },
    key(event) {
      const moves = {
        ArrowLeft: [STEP, 0],
        ArrowRight: [-STEP, 0],
        ArrowUp: [0, STEP],
        ArrowDown: [0, -STEP],
      };
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (moves[event.key]) this.plot.move(...moves[event.key]);
      else if (event.key === "+" || event.key === "=") this.plot.zoomBy(1.5);
      else if (event.key === "-") this.plot.zoomBy(1 / 1.5);
      else if (event.key === "0") this.plot.showAll();
      else if (event.key === "Enter" && this.aimed >= 0) return this.pick(this.aimed);
      else return;
      event.preventDefault();
      this.soon();
      this.aimAtMiddle();
    },
    zoom(factor) {
      this.plot.zoomBy(factor);
      this.soon();
    },
    all() {
      this.plot.showAll();
      this.soon();
    },
    toggle(entry) {
      this.off = { ...this.off, [entry.label]: !this.off[entry.label] };
      this.aim(-1);
      this.dye();
    },

    // How it looks.

    swatch(entry) {
      const colors = entry.codes.map((code) => this.colorOf(code));
      if (colors.length === 1) return { background: colors[0] };
      return { background: `linear-gradient(90deg, ${colors.join(",")})`, width: "5rem" };
    },
    colorOf(code) {
      const dark = document.body.classList.contains("body--dark");
      return this.head.colors[code][dark ? 1 : 0];
    },
    dye() {
      if (!this.head) return;
      const colors = [];
      for (const entry of this.legend) {
        for (const code of entry.codes) {
          colors[code] = this.off[entry.label] ? null : parsed(this.colorOf(code));
        }
      }
      this.plot.dye(colors, parsed(getComputedStyle(this.$refs.plane).backgroundColor));
      this.legend = [...this.legend];
      this.soon();
    },
    soon() {
      if (this.waiting) return;
      this.waiting = true;
      requestAnimationFrame(() => {
        this.waiting = false;
        this.plot.draw();
        this.place();
        clearTimeout(this.remembering);
        this.remembering = setTimeout(() => this.remember(), 300);
      });
    },
    // The rings and the words stay with their points.
    place() {
      const at = ([left, top]) => ({ transform: `translate(${left}px, ${top}px)` });
      this.marked = this.spot && at(this.plot.placeOf(...this.spot));
      if (this.aimed < 0) {
        this.ring = null;
        return;
      }
      const place = this.plot.placeOf(this.plot.x[this.aimed], this.plot.y[this.aimed]);
      this.ring = at(place);
      const { clientWidth, clientHeight } = this.$refs.canvas;
      this.tip.style = {
        [place[0] > clientWidth / 2 ? "right" : "left"]:
          `${(place[0] > clientWidth / 2 ? clientWidth - place[0] : place[0]) + 14}px`,
        [place[1] > clientHeight / 2 ? "bottom" : "top"]:
          `${(place[1] > clientHeight / 2 ? clientHeight - place[1] : place[1]) + 10}px`,
      };
    },
    aimAtMiddle() {
      const { clientWidth, clientHeight } = this.$refs.canvas;
      this.aim(this.plot.nearest(clientWidth / 2, clientHeight / 2, clientHeight / 2));
    },
    aim(point) {
      if (point === this.aimed) return;
      this.aimed = point;
      this.tip.text = this.tip.under = "";
      this.$refs.canvas.style.cursor = point >= 0 ? "pointer" : "";
      this.place();
      clearTimeout(this.resting);
      if (point < 0) return;
      if (this.told.has(point)) this.showTip();
      else this.resting = setTimeout(() => this.$emit("look", { point }), REST_MS);
    },
    showTip() {
      [this.tip.text, this.tip.under] = this.told.get(this.aimed);
    },
    pick(point) {
      this.remember();
      this.$emit("pick", { point });
    },
    // Whoever comes back finds the map as it was left.
    remember() {
      const { zoom, middle } = this.plot;
      sessionStorage.setItem("graphsvc-map", JSON.stringify({ name: this.name, zoom, middle }));
    },
    restore() {
      const left = JSON.parse(sessionStorage.getItem("graphsvc-map") || "{}");
      if (left.name !== this.name) return;
      this.plot.zoom = left.zoom;
      this.plot.middle = left.middle;
    },
    async fetched(address) {
      const answer = await fetch(`${window.path_prefix}${address}`);
      if (answer.ok && !answer.redirected) return answer.arrayBuffer();
      this.said = answer.status === 409 ? "Another bundle is live by now; load the page again." :
        "The map could not be loaded; load the page again.";
      return null;
    },
  },
};

function parsed(color) {
  if (color.startsWith("#")) {
    const value = parseInt(color.slice(1), 16);
    return [value >> 16, (value >> 8) & 255, value & 255];
  }
  return color.match(/\d+/g).slice(0, 3).map(Number);
}
