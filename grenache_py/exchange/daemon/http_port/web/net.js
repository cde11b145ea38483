// The connection to the peer: JSON-RPC over /ws, one message a line. It connects again by itself,
// and says when nothing is heard.

const PING_AFTER_MS = 8000;
const STALE_AFTER_MS = 10000;
const DEAD_AFTER_MS = 16000;
const GREETED_WITHIN_MS = 8000;
const STEADY_AFTER_MS = 10000;
const TICK_MS = 500;
const PAUSE_MS_MIN = 500;
const PAUSE_MS_MAX = 8000;
const WRONG_TOKEN = -32006;

/** There was no answer, and there will be none: the line is lost. */
export class LineLost extends Error {}

/** The peer answered with an error. */
export class Refused extends Error {
  constructor({ code, message, data }) {
    super(message);
    this.code = code;
    this.data = data || {};
  }
}

export class Line {
  /**
   * open: makes a WebSocket. told(method, params): a notification. changed(): look at `state` again.
   * state: "connecting", "token" (one is needed), "live", "waiting". live(hello) comes before changed().
   */
  constructor(open, { live, told, changed }, now = () => performance.now()) {
    Object.assign(this, { _open: open, _live: live, _told: told, _changed: changed, _now: now });
    this.state = "waiting";
    this.hello = null;
    this.heardAt = null; // Date.now() of the last word
    this.aheadMs = 0; // the peer's clock and ours
    this.wrong = ""; // what it said of our token
    this._token = null;
    this._pauseMs = PAUSE_MS_MIN;
    this._retryAt = now();
    this._waiting = new Map();
    this._nextId = 0;
  }

  start() {
    this.tick();
    setInterval(() => this.tick(), TICK_MS);
  }

  /** Nothing was heard for long, though it was asked for. */
  get stale() {
    return this._pingAt !== null && this._now() - this._pingAt >= STALE_AFTER_MS - PING_AFTER_MS;
  }

  /** Until it tries again; 0 while it is trying. */
  get retryInS() {
    return this.state === "waiting" ? Math.max(1, Math.ceil((this._retryAt - this._now()) / 1000)) : 0;
  }

  /** What is answered; fails with Refused or LineLost. */
  call(method, params = {}) {
    if (this.state !== "live" && method !== "hello" && method !== "ping") {
      return Promise.reject(new LineLost("not connected"));
    }
    return new Promise((resolve, reject) => {
      const id = ++this._nextId;
      this._waiting.set(id, { resolve, reject });
      this._socket.send(JSON.stringify({ jsonrpc: "2.0", id, method, params }));
    });
  }

  /** Show a token, now and whenever it connects again. */
  show(token) {
    this._token = token;
    if (this.state === "waiting" || this.state === "connecting") return;
    this._greet(this._socket);
  }

  tick() {
    const now = this._now();
    if (this.state === "waiting") {
      if (now >= this._retryAt) this._connect();
    } else if (this.state === "connecting") {
      if (now - this._since >= GREETED_WITHIN_MS) this._lost();
    } else if (this._pingAt === null) {
      if (now - this._heard >= PING_AFTER_MS) this._ping();
    } else if (now - this._pingAt >= DEAD_AFTER_MS - PING_AFTER_MS) {
      this._lost();
    }
    this._changed();
  }

  _ping() {
    this._pingAt = this._now();
    this.call("ping").then(({ time }) => { this.aheadMs = time - Date.now(); }, () => {});
  }

  _connect() {
    this.state = "connecting";
    this._since = this._heard = this._now();
    this._pingAt = null;
    const socket = (this._socket = this._open());
    socket.onopen = () => this._greet(socket);
    socket.onmessage = (message) => this._received(message.data);
    socket.onclose = () => this._lost();
  }

  async _greet(socket) {
    const token = this._token;
    try {
      const hello = await this.call("hello", token ? { client: "page", token } : { client: "page" });
      if (socket !== this._socket) return;
      this.wrong = "";
      this.hello = hello;
      this.state = hello.token_needed ? "token" : "live";
      this._since = this._now();
      if (this.state === "live") {
        this._ping();
        this._live(hello);
      }
    } catch (error) {
      if (socket !== this._socket || error instanceof LineLost) return;
      if (token === null) return this._lost();
      this._token = null;
      this.wrong = error.message;
      if (this.state === "connecting") return this._greet(socket);
      if (error.code !== WRONG_TOKEN) this._lost();
    }
    this._changed();
  }

  _received(text) {
    const message = JSON.parse(text);
    this._heard = this._now();
    this._pingAt = null;
    this.heardAt = Date.now();
    if (message.method) return this._told(message.method, message.params);
    const call = this._waiting.get(message.id);
    this._waiting.delete(message.id);
    if (message.error) call?.reject(new Refused(message.error));
    else call?.resolve(message.result);
  }

  _lost() {
    const socket = this._socket;
    socket.onopen = socket.onmessage = socket.onclose = null;
    this._socket = null;
    socket.close();
    const now = this._now(), steady = this.state === "live" && now - this._since >= STEADY_AFTER_MS;
    this._pauseMs = steady ? PAUSE_MS_MIN : Math.min(2 * this._pauseMs, PAUSE_MS_MAX);
    this._retryAt = now + this._pauseMs * (0.5 + Math.random() / 2);
    this._pingAt = null;
    this.state = "waiting";
    const calls = [...this._waiting.values()];
    this._waiting.clear();
    for (const call of calls) call.reject(new LineLost("the line was lost"));
    this._changed();
  }
}
