// Keeps an open page current. Everything works without it, by reloading.
"use strict";

const state = document.getElementById("state");
const live = document.getElementById("live");

// What came of a button is read out, and the keyboard goes on from there.
document.getElementById("said")?.focus();

if (state) {
  const source = new EventSource(state.dataset.live);
  const tell = (text) => { if (state.textContent !== text) state.textContent = text; };
  source.addEventListener("looked", () => tell("Live"));
  source.addEventListener("trouble", (event) => tell(JSON.parse(event.data)));
  source.addEventListener("ended", () => location.reload());
  source.addEventListener("section", (event) => {
    const { id, html } = JSON.parse(event.data);
    swap(document.getElementById(id), html);
  });
  source.onerror = () => {
    const closed = source.readyState === EventSource.CLOSED;
    tell(closed ? "Not live any more: reload the page" : "The board does not answer; trying again");
  };
}

// What the person has opened, written or reached with the keyboard stays as it is.
function swap(old, html) {
  const template = document.createElement("template");
  template.innerHTML = html.trim();
  const fresh = template.content.firstElementChild;
  for (const input of old.querySelectorAll("input[id]")) {
    const same = fresh.querySelector("#" + CSS.escape(input.id));
    if (same && input.value !== input.defaultValue) same.value = input.value;
  }
  for (const details of old.querySelectorAll("details[open]")) {
    const same = fresh.querySelector("#" + CSS.escape(details.id));
    if (same) same.open = true;
  }
  const focus = old.contains(document.activeElement) ? document.activeElement.id : null;
  old.replaceWith(fresh);
  if (focus !== null) (document.getElementById(focus) || fresh.querySelector("h2")).focus();
  if (fresh.dataset.say && fresh.dataset.say !== old.dataset.say) live.textContent = fresh.dataset.say;
}
