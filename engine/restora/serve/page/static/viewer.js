// One result: before and after with a divider, zoom, the faces, the facts.

const $ = (id) => document.getElementById(id);
const PIXELATED_FROM = 2;
const FORMATS = { jpg: "JPEG", png: "PNG", webp: "WebP", tiff: "TIFF" };
const STAGES = {
  upload: "Upload", queue: "Queue", decode: "Reading", upsample: "Enlarging", detect: "Finding faces",
  faces: "Restoring faces", paste: "Pasting faces", encode: "Writing", total: "Total",
};

export class Viewer {
  constructor() {
    this.job = null;
    this.stage = $("stage");
    this.canvas = $("canvas");
    $("split").addEventListener("input", () => this.#showSplit());
    $("zoom").addEventListener("change", () => this.#showZoom());
    $("show-boxes").addEventListener("change", () => ($("boxes").hidden = !$("show-boxes").checked));
    new ResizeObserver(() => this.#showZoom({ keep: false })).observe($("viewer"));
    this.canvas.addEventListener("pointerdown", (event) => this.#drag(event));
    for (const side of ["before", "after"]) {
      $(side).addEventListener("error", () => this.#cannotShow(side));
    }
    this.#showSplit();
  }

  /** Show a job that is done, or nothing for null. */
  show(job) {
    if (job === this.job) return;
    this.job = job;
    $("result").hidden = job === null;
    $("empty").hidden = job !== null;
    $("viewer-title").textContent = job === null ? "Result" : job.file.name;
    if (job === null) return;
    $("cannot-show").hidden = true;
    $("before").alt = `${job.file.name} before`;
    $("after").alt = `${job.file.name} after`;
    for (const side of ["before", "after"]) {
      $(side).hidden = false;
      $(side).src = job[side];
    }
    $("split").value = 50;
    $("zoom").querySelector("[value=fit]").checked = true;
    $("download").href = job.after;
    $("download").download = job.fileName;
    this.#showSplit();
    this.#showZoom();
    this.#showFaces();
    this.#showFacts();
  }

  #showSplit() {
    const split = Number($("split").value);
    // hides what is left of the divider
    $("after").style.clipPath = `inset(0 0 0 ${split}%)`;
    $("divider").style.left = `${split}%`;
    $("split").setAttribute("aria-valuetext", `${split} % before, ${100 - split} % after`);
  }

  #showZoom({ keep = true } = {}) {
    if (this.job === null) return;
    const { width, height } = this.job.result.output;
    const chosen = $("zoom").querySelector(":checked").value;
    const fits = chosen === "fit";
    const free = Math.floor(this.stage.getBoundingClientRect().width);
    const high = Math.max(200, 0.72 * window.innerHeight);
    const zoom = fits ? Math.min(free / width, high / height, 4) : Number(chosen) / window.devicePixelRatio;
    const center = this.#center();
    this.canvas.style.width = `${width * zoom}px`;
    this.canvas.style.height = `${height * zoom}px`;
    this.stage.classList.toggle("deep", !fits && Number(chosen) >= PIXELATED_FROM);
    if (keep) this.#scrollTo(center);
  }

  /** The middle of what is visible, as shares of width and height. */
  #center() {
    const { stage, canvas } = this;
    return [
      (stage.scrollLeft + stage.clientWidth / 2) / Math.max(1, canvas.offsetWidth),
      (stage.scrollTop + stage.clientHeight / 2) / Math.max(1, canvas.offsetHeight),
    ].map((share) => Math.min(1, share));
  }

  #scrollTo([across, down]) {
    const { stage, canvas } = this;
    stage.scrollLeft = across * canvas.offsetWidth - stage.clientWidth / 2;
    stage.scrollTop = down * canvas.offsetHeight - stage.clientHeight / 2;
  }

  /** Near the divider, or on a picture that fits, a drag moves the divider; else it moves the picture. */
  #drag(down) {
    if (down.button !== 0) return;
    const scrolls = this.stage.scrollWidth > this.stage.clientWidth || this.stage.scrollHeight > this.stage.clientHeight;
    const splits = down.target === $("divider") || (!scrolls && down.pointerType === "mouse");
    if (!splits && down.pointerType !== "mouse") return; // a finger scrolls
    down.preventDefault();
    const start = [this.stage.scrollLeft + down.clientX, this.stage.scrollTop + down.clientY];
    const move = (event) => {
      if (splits) {
        const box = this.canvas.getBoundingClientRect();
        $("split").value = (100 * (event.clientX - box.left)) / box.width;
        this.#showSplit();
      } else {
        this.stage.scrollLeft = start[0] - event.clientX;
        this.stage.scrollTop = start[1] - event.clientY;
      }
    };
    move(down);
    const ended = new AbortController();
    const signal = ended.signal;
    window.addEventListener("pointermove", move, { signal });
    window.addEventListener("pointerup", () => ended.abort(), { signal });
    window.addEventListener("pointercancel", () => ended.abort(), { signal });
  }

  #cannotShow(side) {
    if (this.job === null) return;
    $(side).hidden = true;
    const what = side === "before" ? "the original" : "the result";
    $("cannot-show").textContent = `This browser cannot show the format of ${what}.`;
    $("cannot-show").hidden = false;
  }

  #showFaces() {
    const { faces, input } = this.job.result;
    $("faces-found").hidden = faces === null;
    $("boxes").replaceChildren();
    $("face-list").replaceChildren();
    if (faces === null) return;
    $("faces-title").textContent = faces.error ? `Faces: ${faces.error}` : `Faces: ${faces.found} found, ${faces.restored} restored`;
    $("show-boxes").parentElement.hidden = !faces.list.length;
    faces.list.forEach((face, index) => {
      const [left, top, right, bottom] = face.box;
      const box = document.createElement("span");
      box.dataset.number = index + 1;
      box.style.left = `${(100 * left) / input.width}%`;
      box.style.top = `${(100 * top) / input.height}%`;
      box.style.width = `${(100 * (right - left)) / input.width}%`;
      box.style.height = `${(100 * (bottom - top)) / input.height}%`;
      $("boxes").append(box);
      const item = document.createElement("li");
      const show = document.createElement("button");
      show.type = "button";
      show.className = "small";
      show.setAttribute("aria-pressed", "false");
      show.textContent = `${index + 1}: ${face.status}${face.reason ? `, ${face.reason}` : ""}, score ${face.score.toFixed(2)}`;
      show.addEventListener("click", () => this.#chooseFace(show, box, face));
      item.append(show);
      $("face-list").append(item);
    });
  }

  #chooseFace(button, box, face) {
    const chosen = button.getAttribute("aria-pressed") !== "true";
    for (const other of $("face-list").querySelectorAll("button")) other.setAttribute("aria-pressed", "false");
    for (const other of $("boxes").children) other.classList.remove("chosen");
    if (!chosen) return;
    button.setAttribute("aria-pressed", "true");
    box.classList.add("chosen");
    const { width, height } = this.job.result.input;
    const [left, top, right, bottom] = face.box;
    this.#scrollTo([(left + right) / 2 / width, (top + bottom) / 2 / height]);
  }

  #showFacts() {
    const { model, precision, backend, scale, input, output, faces, seconds } = this.job.result;
    const facts = [
      ["Original", `${input.width} × ${input.height}, ${input.format}, ${input.bits} bits, ${size(input.bytes)}`],
      ["Result", `${output.width} × ${output.height}, ${FORMATS[output.format] ?? output.format}, ${size(output.bytes)}`],
      ["Model", `${model}, ${scale} times larger, ${precision} on ${backend}`],
    ];
    if (faces) facts.push(["Face model", faces.model]);
    for (const [stage, name] of Object.entries(STAGES)) {
      if (seconds[stage] !== undefined) facts.push([name, `${seconds[stage].toFixed(2)} s`]);
    }
    $("facts").replaceChildren(...facts.flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
  }
}

function element(tag, text) {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}

export function size(bytes) {
  if (bytes < 1e6) return `${Math.ceil(bytes / 1e3)} kB`;
  return `${(bytes / 1e6).toFixed(bytes < 1e8 ? 1 : 0)} MB`;
}
