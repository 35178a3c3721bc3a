"use strict";
// The chat page: shows one conversation as its customer sees it, and keeps it current by long polling.
const { account, person } = document.body.dataset;
const at = (id) => document.getElementById(id);
const list = at("messages"), box = at("text"), menu = at("menu");
const known = new Set();
let state = { messages: [], fingerprint: "" }, asShop = false, first = true;

async function call(path, body) {
  const answer = await fetch(`/sandbox/${path}`, { method: "POST", body: JSON.stringify(body) });
  if (!answer.ok) throw new Error((await answer.json()).error);
  return answer.json();
}

async function follow() {
  for (;;) {
    try {
      const query = new URLSearchParams({ account, person, known: state.fingerprint });
      const answer = await fetch(`/sandbox/chat?${query}`, { cache: "no-store" });
      if (!answer.ok) throw new Error(answer.status);
      state = await answer.json();
      at("lost").hidden = true;
      show();
    } catch {
      at("lost").hidden = false;
      await new Promise((go) => setTimeout(go, 1000));
    }
  }
}

function show() {
  at("name").textContent = state.account.name;
  at("username").textContent = `@${state.account.username}`;
  at("avatar").textContent = [...state.account.name][0];
  at("hint").hidden = state.connected;
  const low = list.scrollHeight - list.scrollTop - list.clientHeight < 80;
  const rows = state.messages.flatMap((message, n) => row(message, state.messages[n - 1]));
  if (!rows.length) rows.push(line("empty", "Say hello. The shop answers in a moment."));
  if (state.typing) rows.push(typing());
  list.replaceChildren(...rows);
  if (low || first) list.scrollTop = list.scrollHeight;
  first = false;
}

function row(message, before) {
  const item = line(message.author, "");
  const bubble = document.createElement("span");
  bubble.className = "bubble";
  bubble.append(...message.gone ? ["taken back"] : words(message));
  item.append(bubble);
  item.classList.toggle("gone", message.gone);
  item.classList.toggle("turn", !before || (before.author === "customer") !== (message.author === "customer"));
  if (!known.has(message.mid) && !first) item.classList.add("fresh");
  known.add(message.mid);
  const notes = [message.edited && !message.gone && "edited", message.author === "owner" && "a person at the shop",
    state.seen === message.mid && "Seen"].filter(Boolean);
  if (notes.length) item.append(note(notes.join(" · ")));
  if (message.author === "customer" && !message.gone) offerMenu(bubble, message);
  const late = !before || message.at - before.at > 3600e3;
  return late ? [line("day", new Date(message.at).toLocaleTimeString([], { hour: "numeric", minute: "2-digit" })), item] : [item];
}

function words(message) {
  // The pretend model names what it answers in its first line.
  const [, quote, rest] = message.author === "app" && /^“([^]*?)”\n([^]*)$/.exec(message.text) || [];
  if (!quote) return [message.text];
  const small = document.createElement("span");
  small.className = "quote";
  small.textContent = quote;
  return [small, rest];
}

function line(kind, text) {
  const item = document.createElement("li");
  item.className = kind;
  item.textContent = text;
  return item;
}

function note(text) {
  const small = document.createElement("span");
  small.className = "note";
  small.textContent = text;
  return small;
}

function typing() {
  const item = line("typing turn", "");
  item.innerHTML = '<span class="bubble" role="img" aria-label="typing"><i></i><i></i><i></i></span>';
  return item;
}

function offerMenu(bubble, message) {
  let timer;
  const open = (x, y) => openMenu(x, y, [["Edit", () => edit(message)], ["Unsend", () => call("unsend", { mid: message.mid }), "danger"]]);
  bubble.tabIndex = 0;
  bubble.setAttribute("role", "button");
  bubble.oncontextmenu = (event) => { event.preventDefault(); open(event.clientX, event.clientY); };
  bubble.onpointerdown = (event) => { timer = setTimeout(() => open(event.clientX, event.clientY), 450); };
  bubble.onpointerup = bubble.onpointerleave = bubble.onpointercancel = () => clearTimeout(timer);
  bubble.onkeydown = (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    const place = bubble.getBoundingClientRect();
    open(place.left, place.bottom);
  };
}

// `side` is the side of the menu that is at x.
function openMenu(x, y, entries, side = "left") {
  menu.replaceChildren(...entries.map(([text, act, kind]) => {
    const button = document.createElement("button");
    button.textContent = text;
    button.type = "button";
    button.className = kind || "";
    button.setAttribute("role", "menuitem");
    button.onclick = () => { menu.hidden = true; act(); };
    return button;
  }));
  menu.hidden = false;
  const { width, height } = menu.getBoundingClientRect();
  menu.style.left = `${Math.max(8, Math.min(side === "left" ? x : x - width, innerWidth - width - 8))}px`;
  menu.style.top = `${Math.max(8, Math.min(y, innerHeight - height - 8))}px`;
  menu.querySelector("button").focus();
}

function edit(message) {
  const text = prompt("Change the message", message.text);
  if (text && text.trim() && text !== message.text) call("edit", { mid: message.mid, text });
}

function writeAs(shop) {
  asShop = shop;
  at("as").hidden = !shop;
  box.placeholder = shop ? "Answer as the shop…" : "Message…";
  box.focus();
}

at("more").onclick = (event) => {
  event.stopPropagation();
  const place = at("more").getBoundingClientRect();
  openMenu(place.right, place.bottom + 4, [
    [asShop ? "Write as the customer" : "Answer as the shop", () => writeAs(!asShop)],
    [state.connected ? "Connect the account anew" : "Connect the account", () => at("connect").click()],
  ], "right");
};
at("as-off").onclick = () => writeAs(false);
document.addEventListener("pointerdown", (event) => { if (!menu.contains(event.target)) menu.hidden = true; });
document.addEventListener("keydown", (event) => { if (event.key === "Escape") menu.hidden = true; });

box.oninput = () => { box.style.height = "auto"; box.style.height = `${box.scrollHeight + 2}px`; };
box.onkeydown = (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); at("composer").requestSubmit(); }
};
at("composer").onsubmit = async (event) => {
  event.preventDefault();
  const text = box.value;
  if (!text.trim()) return;
  box.value = "";
  box.oninput();
  list.scrollTop = list.scrollHeight;
  try { await call(asShop ? "human" : "say", { account, person, text }); } catch { box.value = text; }
};

follow();
