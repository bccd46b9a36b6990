// Only comfort: every page does everything without this file.
"use strict";

(() => {
  // A second press of the same button sends nothing.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    if (form.method === "post" && !form.hasAttribute("hx-post")) {
      form.dataset.sent = "1";
      form.setAttribute("aria-busy", "true");
    }
  });
  const release = (form) => {
    delete form.dataset.sent;
    form.removeAttribute("aria-busy");
  };

  // Coming back to a page by the browser's back button, its forms may be sent again.
  window.addEventListener("pageshow", () => document.querySelectorAll("form[data-sent]").forEach(release));

  // <input type="checkbox" data-all="cases"> ticks every box of that name.
  document.addEventListener("change", (event) => {
    const name = event.target.dataset && event.target.dataset.all;
    if (name) {
      for (const box of document.querySelectorAll(`input[type=checkbox][name="${CSS.escape(name)}"]:not(:disabled)`)) {
        box.checked = event.target.checked;
      }
    }
    if (event.target.dataset && event.target.dataset.submit !== undefined) {
      event.target.form.requestSubmit();
    }
    // <strong data-count="sources"> tells how many boxes of that name are ticked.
    for (const place of document.querySelectorAll("[data-count]")) {
      place.textContent = document.querySelectorAll(`input[name="${CSS.escape(place.dataset.count)}"]:checked`).length;
    }
  });

  // What asks before it is done must be seen whole: its button may stand at the window's lower edge.
  document.addEventListener("toggle", (event) => {
    if (event.target.matches && event.target.matches("details.confirm[open]")) event.target.lastElementChild.scrollIntoView({ block: "nearest" });
  }, true);

  // Escape closes what asks first, and gives the focus back to its button.
  document.addEventListener("keydown", (event) => {
    const open = event.key === "Escape" && event.target.closest && event.target.closest("details.confirm[open]");
    if (open) {
      open.open = false;
      open.querySelector("summary").focus();
    }
  });

  // Cancel closes it, too.
  document.addEventListener("click", (event) => {
    const open = event.target.closest && event.target.closest("[data-cancel]") && event.target.closest("details");
    if (open) {
      open.open = false;
      open.querySelector("summary").focus();
    }
  });
})();
