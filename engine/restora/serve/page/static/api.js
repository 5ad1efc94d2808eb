// Requests to the server: models, one photo, its progress, its result.

const TOKEN = "restora-token";

/** An error that the server, or the way to it, gave. code: of the problem document. */
export class Problem extends Error {
  constructor(code, detail, { status = 0, retryAfter = null } = {}) {
    super(detail);
    this.code = code;
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/** The token is kept until the tab is closed. */
export function setToken(token) {
  sessionStorage.setItem(TOKEN, token);
}

export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16)); // randomUUID needs HTTPS
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export async function getModels() {
  const answer = await ask("/v1/models");
  return answer.json();
}

/** The bytes of a kept result, as a Blob. */
export async function getResult(href, signal) {
  const answer = await ask(href, { signal });
  return answer.blob();
}

/** Send one photo; gives the JSON of its result.
 *  onUpload: called with the share of its bytes that is sent, 0..1 */
export function sendPhoto(file, parameters, { id, onUpload, signal }) {
  // fetch() does not tell how much of a body is sent
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `/v1/restore?${new URLSearchParams(parameters)}`);
    request.setRequestHeader("Accept", "application/json");
    request.setRequestHeader("Content-Type", file.type || "application/octet-stream");
    request.setRequestHeader("X-Request-Id", id);
    for (const [name, value] of Object.entries(authorization())) {
      request.setRequestHeader(name, value);
    }
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) onUpload(event.loaded / event.total);
    });
    request.addEventListener("load", () => {
      if (request.status === 200) resolve(JSON.parse(request.responseText));
      else reject(problemFrom(request.status, request.responseText, request.getResponseHeader("Retry-After")));
    });
    request.addEventListener("error", () => reject(unreachable()));
    request.addEventListener("abort", () => reject(new Problem("canceled", "Canceled.")));
    signal.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}

/** Follow a request by its id; calls onEvent with each state until the request ends. */
export async function followProgress(id, onEvent, signal) {
  const answer = await ask(`/v1/progress/${id}`, { signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text = (text + value).replaceAll("\r\n", "\n");
    const events = text.split("\n\n");
    text = events.pop();
    for (const event of events) {
      const data = event.split("\n").filter((line) => line.startsWith("data:"));
      if (data.length) onEvent(JSON.parse(data.map((line) => line.slice(5).trim()).join("\n")));
    }
  }
}

function authorization() {
  const token = sessionStorage.getItem(TOKEN);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: authorization(), cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw new Problem("canceled", "Canceled.");
    throw unreachable();
  }
  if (answer.ok) return answer;
  throw problemFrom(answer.status, await answer.text(), answer.headers.get("Retry-After"));
}

function unreachable() {
  return new Problem("unreachable", "The server does not answer.");
}

function problemFrom(status, text, retryAfter) {
  let problem = {};
  try {
    problem = JSON.parse(text);
  } catch {
    // a proxy in between answers in HTML
  }
  const seconds = Number(retryAfter ?? problem.retry_after ?? NaN);
  return new Problem(problem.code ?? `http-${status}`, problem.detail ?? `The server answered ${status}.`, {
    status,
    retryAfter: Number.isFinite(seconds) ? seconds : null,
  });
}
