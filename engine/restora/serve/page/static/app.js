// The page: brings photos in, and keeps list, viewer and server status together.

import { Problem, getModels, setToken } from "./api.js";
import { PhotoList, describe } from "./list.js";
import { fillOptions, readOptions, watchOptions } from "./options.js";
import { Queue } from "./queue.js";
import { Viewer, size } from "./viewer.js";

const $ = (id) => document.getElementById(id);
const ASK_AGAIN_MS = 2000;
const THEME = "restora-theme";

let limits = null;
let chosen = null;
const viewer = new Viewer();
const queue = new Queue(update);
const list = new PhotoList($("photos"), {
  onChoose: choose,
  onRetry: (job) => queue.retry(job),
  onCancel: (job) => queue.cancel(job),
  onRemove: remove,
});

function update(job) {
  if (!queue.jobs.includes(job)) return;
  const before = job.told;
  job.told = job.state;
  if (job.state === "done" && before !== "done" && (chosen === null || chosen.state !== "done")) {
    choose(job);
  }
  list.show(job, job === chosen);
  if (job === chosen) viewer.show(job.state === "done" ? job : null);
  if (before !== job.state && ["done", "failed", "busy"].includes(job.state)) {
    $("news").textContent = `${job.file.name}: ${job.state === "done" ? "restored, " : ""}${describe(job)}`;
  }
}

function choose(job) {
  chosen = job;
  for (const other of queue.jobs) list.show(other, other === job);
  viewer.show(job !== null && job.state === "done" ? job : null);
}

function remove(job) {
  queue.remove(job);
  const next = list.remove(job);
  if (job === chosen) choose(queue.jobs.find((other) => other.state === "done") ?? null);
  (next ?? $("files")).focus(); // the button that had the focus is gone
}

function addFiles(files) {
  if (!files.length || limits === null) return;
  const parameters = readOptions();
  if (parameters === null) return;
  for (const file of files) {
    const job = queue.add(file, parameters, tooLarge(file));
    if (chosen === null) choose(job);
  }
}

/** The server would refuse it, after all of it is sent. */
function tooLarge(file) {
  const limit = limits.max_file_bytes;
  if (file.size <= limit) return null;
  return new Problem("file-too-large", `The file has ${size(file.size)}, the server takes ${size(limit)}.`);
}

function watchFiles() {
  $("files").addEventListener("change", () => {
    addFiles([...$("files").files]);
    $("files").value = ""; // so that the same file can be chosen again
  });
  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
  window.addEventListener("dragover", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    document.body.classList.add("over");
  });
  window.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) document.body.classList.remove("over");
  });
  window.addEventListener("drop", (event) => {
    document.body.classList.remove("over");
    if (!carriesFiles(event)) return;
    event.preventDefault();
    addFiles([...event.dataTransfer.files]);
  });
  window.addEventListener("paste", (event) => addFiles([...(event.clipboardData?.files ?? [])]));
}

function watchTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const show = () => {
    const theme = localStorage.getItem(THEME);
    if (theme) document.documentElement.dataset.theme = theme;
    const isDark = theme ? theme === "dark" : dark.matches;
    $("theme").setAttribute("aria-pressed", String(isDark));
  };
  $("theme").addEventListener("click", () => {
    const isDark = $("theme").getAttribute("aria-pressed") === "true";
    localStorage.setItem(THEME, isDark ? "light" : "dark");
    show();
  });
  dark.addEventListener("change", show);
  show();
}

async function connect() {
  try {
    const offered = await getModels();
    limits = offered.limits;
    fillOptions(offered);
    const first = offered.models.find((model) => model.default) ?? offered.models[0];
    $("server").textContent = `Ready: ${first.name}, ${first.precision} on ${first.backend}`;
    const pixels = Math.round(limits.max_pixels / 1e6);
    $("accepted").textContent = `JPEG, PNG, WebP, TIFF and more; up to ${pixels} megapixels and ${size(limits.max_file_bytes)}`;
    $("sign-in").hidden = true;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (error.status === 401 || error.status === 403) {
      $("server").textContent = "Not signed in";
      $("sign-in-why").textContent = error.message;
      $("sign-in").hidden = false;
      $("token").focus();
      return;
    }
    $("server").textContent = error.message;
    setTimeout(connect, ASK_AGAIN_MS);
  }
}

$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  setToken($("token").value);
  $("token").value = "";
  connect();
});
$("options").open = !matchMedia("(max-width: 52rem)").matches; // on narrow screens photos come first
watchOptions();
watchFiles();
watchTheme();
connect();
