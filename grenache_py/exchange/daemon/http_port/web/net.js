// The connection to the peer, JSON-RPC over /ws: made anew when nothing is heard.

const STALE_AFTER_MS = 10000;
/** So long without a word it is given up. Who is to show a token is told nothing. */
const SILENT_MS_MAX = { connecting: 8000, token: Infinity, live: 16000 };
const PAUSE_MS = [1000, 4000];
const WRONG_TOKEN = -32006;

/** There was no answer, and there will be none: the line is lost. */
export class LineLost extends Error {}

export class Line {
  state = "waiting"; // or "connecting", "token" (one is needed), "live"
  hello = null; // the peer's answer to the greeting
  status = null; // how the peer is
  heardAt = null; // Date.now() of the last word
  aheadMs = 0; // the peer's clock and ours
  wrong = ""; // what the peer said of our token
  #on;
  #now;
  #socket;
  #token;
  #calls = new Map();
  #nextId = 0;
  #retryAt = -Infinity;
  #heard;

  /** on: open() makes a WebSocket; live(): it is connected, anew; told(method, params); changed(): look at `state`. */
  constructor(on, now = () => performance.now()) {
    this.#on = on;
    this.#now = now;
  }

  get stale() { return this.state === "live" && this.#now() - this.#heard >= STALE_AFTER_MS; }

  /** Until it tries again; 0 while it is trying. */
  get retryInS() {
    return this.state === "waiting" ? Math.max(1, Math.ceil((this.#retryAt - this.#now()) / 1000)) : 0;
  }

  /** What is answered; fails with LineLost, or with an error that has the peer's `code` and `data`. */
  call(method, params) {
    return this.state === "live" ? this.#ask(method, params) : Promise.reject(new LineLost("not connected"));
  }

  /** Show a token, now and whenever it connects again. */
  show(token) {
    this.#token = token;
    if (this.state === "live") this.#greet();
    if (this.state !== "token") return;
    this.lose();
    this.#retryAt = this.#now();
  }

  /** Look at the clock. */
  tick() {
    const now = this.#now();
    if (now - this.#heard >= SILENT_MS_MAX[this.state]) this.lose();
    else if (this.state === "waiting" && now >= this.#retryAt) {
      this.state = "connecting";
      this.#heard = now;
      const socket = this.#socket = this.#on.open();
      socket.onopen = () => this.#greet();
      socket.onmessage = (message) => this.#received(JSON.parse(message.data));
      socket.onclose = () => this.lose();
    }
    this.#on.changed();
  }

  /** Give the line up, and connect again after a pause. */
  lose() {
    if (this.state === "waiting") return;
    const socket = this.#socket, calls = [...this.#calls.values()], [least, most] = PAUSE_MS;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
    this.#retryAt = this.#now() + least + Math.random() * (most - least);
    this.state = "waiting";
    this.#calls.clear();
    for (const { reject } of calls) reject(new LineLost("the line was lost"));
    this.#on.changed();
  }

  #ask(method, params = {}) {
    return new Promise((resolve, reject) => {
      const id = ++this.#nextId;
      this.#calls.set(id, { resolve, reject });
      this.#socket.send(JSON.stringify({ jsonrpc: "2.0", id, method, params }));
    });
  }

  async #greet() {
    try {
      this.hello = await this.#ask("hello", { client: "page", token: this.#token });
      if (this.#token) this.wrong = "";
      if (this.hello.token_needed) this.state = "token";
      else {
        this.#know((await this.#ask("status.subscribe")).status);
        this.state = "live";
        this.#on.live();
      }
    } catch (error) {
      if (error instanceof LineLost) return;
      if (error.code !== WRONG_TOKEN || !this.#token) return this.lose();
      this.#token = undefined;
      this.wrong = error.message;
      if (this.state === "connecting") return this.#greet();
    }
    this.#on.changed();
  }

  #know(status) {
    this.status = status;
    this.aheadMs = status.time - Date.now();
  }

  #received({ id, method, params, result, error }) {
    this.#heard = this.#now();
    this.heardAt = Date.now();
    if (method === "gap") this.lose(); // one of what is followed has ended
    else if (method) {
      if (method === "status.update") this.#know(params);
      this.#on.told(method, params);
    } else {
      const { resolve, reject } = this.#calls.get(id);
      this.#calls.delete(id);
      if (error) reject(Object.assign(new Error(error.message), error));
      else resolve(result);
    }
  }
}
