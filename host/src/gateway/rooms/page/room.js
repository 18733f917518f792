// The pages of rooms. What others say is put into the page as text, never as markup.

/** Longest pause before the next try to connect, in milliseconds. */
const LONGEST = 10_000;
/** Messages that stay in sight. */
const KEPT = 1_000;

const find = (id) => document.getElementById(id);

function enter(form) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    location.assign(`room/${encodeURIComponent(find("code").value.trim())}/`);
  });
}

function part(name, kind, text) {
  const element = document.createElement(name);
  if (kind) element.className = kind;
  element.textContent = text;
  return element;
}

function show({ message, identity, timestamp }) {
  const log = find("log");
  const line = document.createElement("li");
  if (identity) line.append(part("span", "who", identity), " ");
  if (timestamp) {
    const time = part("time", "", `(${new Date(timestamp).toLocaleString()})`);
    time.dateTime = timestamp;
    line.append(time);
  }
  if (line.hasChildNodes()) line.append(": ");
  line.append(typeof message === "string" ? message : JSON.stringify(message));
  log.append(line);
  while (log.childElementCount > KEPT) log.firstElementChild.remove();
  line.scrollIntoView({ block: "end" });
}

function talk(form) {
  const code = location.pathname.split("/").filter(Boolean).at(-1);
  const url = new URL(`../../ws/endpoint/${code}/`, location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  let socket;
  let failures = 0;

  const connect = () => {
    socket = new WebSocket(url);
    socket.addEventListener("open", () => {
      failures = 0;
      find("state").textContent = "connected";
    });
    socket.addEventListener("message", ({ data }) => show(JSON.parse(data)));
    socket.addEventListener("close", () => {
      const pause = Math.min(2 ** failures * 1_000, LONGEST);
      failures += 1;
      find("state").textContent = `not connected, next try in ${pause / 1_000} s`;
      setTimeout(connect, pause);
    });
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const input = find("message");
    if (socket.readyState !== WebSocket.OPEN) return;
    socket.send(JSON.stringify({ message: input.value }));
    input.value = "";
  });
  connect();
}

if (find("enter")) enter(find("enter"));
if (find("say")) talk(find("say"));
