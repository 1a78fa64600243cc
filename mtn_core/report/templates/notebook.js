(() => {
  // A reader who wants results alone hides the code, on this page and the next ones.
  const button = document.getElementById("code");
  const root = document.documentElement;
  const show = (hidden) => {
    if (hidden) root.dataset.code = "hidden"; else delete root.dataset.code;
    button.textContent = hidden ? "Show code" : "Hide code";
    button.setAttribute("aria-pressed", String(hidden));
  };
  if (!button) return;
  button.hidden = false;
  show(page.recall("code") === "hidden");
  button.addEventListener("click", () => {
    const hidden = root.dataset.code !== "hidden";
    page.remember("code", hidden ? "hidden" : "shown");
    show(hidden);
  });
})();
