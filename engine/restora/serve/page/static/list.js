// The list of photos: what each is doing, and what can be done with it.

const WORDS = {
  waiting: "Waiting",
  uploading: "Uploading",
  queued: "In the server’s queue",
  working: "Restoring",
  busy: "The server is busy",
  done: "Restored",
  failed: "Failed",
  canceled: "Canceled",
};
const STEPS = { decoding: "Reading", restoring: "Restoring", encoding: "Writing" };

/** A few words about a job. */
export function describe(job) {
  if (job.state === "failed") return job.problem.message.replace(/^./, (first) => first.toUpperCase());
  if (job.state === "done") {
    const { input, output } = job.result;
    return `${input.width} × ${input.height} → ${output.width} × ${output.height}, ${job.result.seconds.total.toFixed(1)}\u00a0s`;
  }
  let words = job.state === "working" ? STEPS[job.note] : WORDS[job.state];
  if (job.note && job.state !== "working") words += `, ${job.note}`;
  if (job.share !== null) words += `, ${Math.floor(100 * job.share)} %`;
  return words;
}

export class PhotoList {
  constructor(element, { onChoose, onRetry, onCancel, onRemove }) {
    this.element = element;
    this.calls = { onChoose, onRetry, onCancel, onRemove };
    this.items = new Map();
  }

  show(job, chosen) {
    let item = this.items.get(job);
    if (!item) {
      item = this.#make(job);
      this.items.set(job, item);
      this.element.append(item.root);
    }
    item.root.className = [job.state, chosen ? "chosen" : ""].join(" ").trim();
    item.name.setAttribute("aria-current", chosen ? "true" : "false");
    setText(item.state, describe(job));
    item.progress.hidden = job.ended || job.state === "waiting" || job.state === "busy";
    if (job.share === null) item.progress.removeAttribute("value");
    else item.progress.value = job.share;
    const again = job.state === "failed" || job.state === "canceled" || job.state === "busy";
    item.retry.hidden = !again;
    item.cancel.hidden = job.ended;
    item.remove.hidden = !job.ended;
  }

  remove(job) {
    const { root } = this.items.get(job);
    const next = root.nextElementSibling ?? root.previousElementSibling;
    root.remove();
    this.items.delete(job);
    return next?.querySelector(".name") ?? null;
  }

  #make(job) {
    const root = document.createElement("li");
    const thumb = document.createElement("span");
    thumb.className = "thumb";
    const image = document.createElement("img");
    image.alt = "";
    image.addEventListener("error", () => image.remove());
    image.src = job.before;
    thumb.append(image);
    const name = button("", () => this.calls.onChoose(job));
    name.className = "name";
    const text = document.createElement("span");
    text.textContent = job.file.name;
    name.append(text);
    name.title = job.file.name;
    const acts = document.createElement("span");
    acts.className = "acts";
    const of = ` ${job.file.name}`;
    const retry = button("Try again", () => this.calls.onRetry(job), of);
    const cancel = button("Cancel", () => this.calls.onCancel(job), of);
    const remove = button("✕", () => this.calls.onRemove(job));
    remove.setAttribute("aria-label", `Remove${of}`);
    remove.title = "Remove";
    acts.append(retry, cancel, remove);
    const state = document.createElement("span");
    state.className = "state";
    const progress = document.createElement("progress");
    progress.setAttribute("aria-label", `Progress of ${job.file.name}`);
    root.append(thumb, name, acts, state, progress);
    return { root, name, retry, cancel, remove, state, progress };
  }
}

/** unseen: said by screen readers after the text, so that buttons of different photos differ. */
function button(text, onClick, unseen = "") {
  const element = document.createElement("button");
  element.type = "button";
  element.className = "small";
  element.textContent = text;
  if (unseen) element.setAttribute("aria-label", text + unseen);
  element.addEventListener("click", onClick);
  return element;
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
