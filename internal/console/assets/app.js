// What a page does beyond links and forms: it keeps its live part up to date,
// copies commands, and follows the system's choice of dark or light.
"use strict";

(() => {
  const root = document.documentElement;
  if (!root.dataset.bsTheme) {
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const follow = () => { root.dataset.bsTheme = dark.matches ? "dark" : "light"; };
    dark.addEventListener("change", follow);
    follow();
  }

  // The server sends the HTML of the live part, escaped as on the page itself.
  const keepLive = (part) => {
    const source = new EventSource(location.href);
    source.onmessage = (event) => {
      const focused = document.activeElement && part.contains(document.activeElement) ? document.activeElement.id : "";
      part.innerHTML = event.data;
      if (focused) document.getElementById(focused)?.focus();
    };
    source.addEventListener("end", () => { source.close(); location.reload(); });
    addEventListener("pagehide", () => source.close());
  };

  const copy = async (button) => {
    const text = document.getElementById(button.dataset.copy).textContent;
    try {
      await navigator.clipboard.writeText(text);
    } catch { // plain http has no clipboard but of what is selected
      getSelection().selectAllChildren(document.getElementById(button.dataset.copy));
      document.execCommand("copy");
    }
    button.textContent = button.dataset.copied;
  };

  document.addEventListener("DOMContentLoaded", () => {
    const part = document.getElementById("live");
    if (part) keepLive(part);
    document.addEventListener("click", (event) => {
      const button = event.target.closest("[data-copy]");
      if (button) copy(button);
    });
    document.addEventListener("submit", (event) => {
      const question = event.target.dataset.confirm;
      if (question && !confirm(question)) event.preventDefault();
    });
    document.addEventListener("change", (event) => {
      if (event.target.matches("[data-submit]")) event.target.form.requestSubmit();
      if (event.target.matches("[data-go]")) location.assign(event.target.value);
    });
  });
})();
