// Copy buttons, and what scrolls sideways for the keyboard: every page works without scripts.
function reachable() {
  for (const one of document.querySelectorAll(".scroll, .prose pre, .prose table, .empty pre")) {
    if (one.scrollWidth > one.clientWidth + 1) one.tabIndex = 0;
    else one.removeAttribute("tabindex");
  }
}
reachable();
addEventListener("resize", reachable);
addEventListener("load", reachable);  // pictures have their size by then
for (const button of document.querySelectorAll("button[data-copy]")) {
  if (!navigator.clipboard) continue;
  const label = button.ariaLabel;
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = button.ariaLabel = "Copied";
    } catch {
      getSelection().selectAllChildren(button.previousElementSibling);  // for the reader's own Ctrl-C
      return;
    }
    setTimeout(() => { button.textContent = "Copy"; button.ariaLabel = label; }, 1500);
  });
}
