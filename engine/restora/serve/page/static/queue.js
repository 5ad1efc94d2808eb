// The photos of this page: at most two are sent at a time, and a full server is asked again.

import { Problem, followProgress, getResult, newId, sendPhoto } from "./api.js";

const AT_ONCE = 2;
const BUSY = new Set(["queue-full", "rate-limit", "draining", "starting", "device-memory", "host-memory"]);
const DEFAULT_WAIT_S = 5;
const ENDED = new Set(["done", "failed", "canceled"]);

/** One photo. state: waiting, uploading, queued, working, busy, done, failed or canceled.
 *  share: of the state that is done, 0..1; null if it is not known. */
export class Job {
  constructor(file, parameters) {
    this.key = newId();
    this.file = file;
    this.parameters = parameters;
    this.before = URL.createObjectURL(file);
    this.state = "waiting";
    this.share = null;
    this.note = "";
    this.problem = null;
    this.result = null;
    this.after = null;
  }

  get ended() {
    return ENDED.has(this.state);
  }

  get fileName() {
    const ending = { jpeg: "jpg" }[this.result.output.format.toLowerCase()] ?? this.result.output.format.toLowerCase();
    return `${this.file.name.replace(/\.[^.]*$/, "")}_restored.${ending}`;
  }
}

/** onChange is called with a job whenever something about it changes. */
export class Queue {
  constructor(onChange) {
    this.jobs = [];
    this.onChange = onChange;
    this.running = 0;
    this.controllers = new Map();
  }

  /** problem: why the photo is not sent; null if it is */
  add(file, parameters, problem = null) {
    const job = new Job(file, parameters);
    if (problem) Object.assign(job, { state: "failed", problem });
    this.jobs.push(job);
    this.onChange(job);
    this.#next();
    return job;
  }

  retry(job) {
    this.#set(job, { state: "waiting", share: null, problem: null });
    this.controllers.get(job)?.abort("again"); // ends the wait for a busy server
    this.#next();
  }

  cancel(job) {
    this.#set(job, { state: "canceled", share: null, note: "" });
    this.controllers.get(job)?.abort();
  }

  remove(job) {
    this.cancel(job);
    this.jobs = this.jobs.filter((other) => other !== job);
    URL.revokeObjectURL(job.before);
    if (job.after) URL.revokeObjectURL(job.after);
  }

  #next() {
    while (this.running < AT_ONCE) {
      const job = this.jobs.find((other) => other.state === "waiting" && !this.controllers.has(other));
      if (!job) return;
      this.running += 1;
      this.#run(job).finally(() => {
        this.running -= 1;
        this.controllers.delete(job);
        this.#next();
      });
    }
  }

  async #run(job) {
    while (job.state === "waiting") {
      const controller = new AbortController();
      this.controllers.set(job, controller);
      try {
        await this.#restore(job, controller.signal);
      } catch (error) {
        const problem = error instanceof Problem ? error : new Problem("page", `This page failed: ${error.message}`);
        if (problem.code === "canceled" || job.ended) return;
        if (!BUSY.has(problem.code)) {
          this.#set(job, { state: "failed", share: null, problem });
          return;
        }
        await this.#wait(job, problem, controller.signal);
      }
    }
  }

  async #restore(job, signal) {
    const id = newId();
    const progress = new AbortController();
    signal.addEventListener("abort", () => progress.abort());
    this.#set(job, { state: "uploading", share: 0, note: "" });
    followProgress(id, (event) => this.#take(job, event), progress.signal).catch(() => {}); // it only informs
    try {
      const onUpload = (share) => {
        if (job.state === "uploading") this.#set(job, { share });
      };
      const result = await sendPhoto(job.file, job.parameters, { id, onUpload, signal });
      const blob = await getResult(result.result.href, signal);
      this.#set(job, { state: "done", share: null, note: "", result, after: URL.createObjectURL(blob) });
    } finally {
      progress.abort();
    }
  }

  #take(job, event) {
    if (job.ended || job.state === "busy") return;
    if (event.state === "queued") {
      const note = event.position ? `${event.position} in front` : "";
      this.#set(job, { state: "queued", share: null, note });
    } else if (["decoding", "restoring", "encoding"].includes(event.state)) {
      const share = event.state === "restoring" && event.total ? event.done / event.total : null;
      this.#set(job, { state: "working", share, note: event.state });
    }
  }

  /** Count down, then try again; Try again and Cancel end it at once. */
  async #wait(job, problem, signal) {
    let left = problem.retryAfter ?? DEFAULT_WAIT_S;
    while (left > 0 && !signal.aborted) {
      this.#set(job, { state: "busy", share: null, problem, note: `trying again in ${left} s` });
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, 1000);
        signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
      });
      left -= 1;
    }
    if (job.state === "busy") this.#set(job, { state: "waiting", problem: null, note: "" });
  }

  #set(job, changes) {
    Object.assign(job, changes);
    this.onChange(job);
  }
}
